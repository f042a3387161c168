"""One token that ends everything: Ctrl-C, SIGTERM and the first worker that fails."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kitops.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class CancelToken:
    """Watched by every loop and every wait. Thread-safe; :meth:`cancel` may be called from a signal handler."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._signal_number: int | None = None
        self._closers: set[Callable[[], None]] = set()

    @property
    def is_cancelled(self) -> bool:
        return self._event.is_set()

    def cancel(self, signal_number: int | None = None) -> None:
        """Ask everything that watches this token to stop, and close what blocks on a socket."""
        if self._signal_number is None:
            self._signal_number = signal_number
        self._event.set()
        for close in tuple(self._closers):
            close()

    def check(self) -> None:
        """Raise Cancelled if the end was asked for."""
        if self._event.is_set():
            raise Cancelled(self._signal_number)

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until the end is asked for.

        Raises:
            Cancelled: it was.
        """
        self._event.wait(seconds)
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
