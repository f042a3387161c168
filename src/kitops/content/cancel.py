"""One token that ends everything: Ctrl-C, SIGTERM and the first worker that fails."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from kitops.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STEP: Final = 0.05
"""Seconds between two looks at the token while waiting."""


class CancelToken:
    """Watched by every loop and every wait. Any thread or signal handler may cancel it.

    It is a plain flag on purpose: a lock (as ``threading.Event`` has) could be held by the very thread that a signal
    handler interrupts.
    """

    def __init__(self) -> None:
        self._is_cancelled = False
        self._signal_number: int | None = None
        self._closers: set[Callable[[], None]] = set()

    @property
    def is_cancelled(self) -> bool:
        return self._is_cancelled

    def cancel(self, signal_number: int | None = None) -> None:
        """Ask everything that watches this token to stop, and close what blocks on a socket."""
        if self._signal_number is None:
            self._signal_number = signal_number
        self._is_cancelled = True
        for close in tuple(self._closers):
            close()

    def check(self) -> None:
        """Raise Cancelled if the end was asked for."""
        if self._is_cancelled:
            raise Cancelled(self._signal_number)

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until the end is asked for.

        Raises:
            Cancelled: it was.
        """
        end = time.monotonic() + seconds
        self.check()
        while (rest := end - time.monotonic()) > 0:
            time.sleep(min(_STEP, rest))
            self.check()

    @contextmanager
    def closing(self, close: Callable[[], None]) -> Iterator[None]:
        """In the block, cancelling calls ``close``, which must neither raise nor block: it wakes a blocked read."""
        self._closers.add(close)
        try:
            self.check()
            yield
        finally:
            self._closers.discard(close)
