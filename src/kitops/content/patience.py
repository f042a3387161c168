"""How often in a row something may fail before it is given up: only failures that got nothing on count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kitops.content.events import Message

if TYPE_CHECKING:
    from kitops.content.protocols import Run
    from kitops.errors import NetworkError

MOST: Final = 8
_LONGEST: Final = 30.0


class Patience:
    """Patience with one source. Not thread-safe.

    Args:
        run: told of failures; its cancel token ends waits.
        most: failures in a row.
    """

    def __init__(self, run: Run, most: int = MOST) -> None:
        self._run = run
        self._most = most
        self._failures = 0

    def note(self, error: NetworkError, *, moved: bool) -> None:
        """Wait before the next try: half a second, and twice as long after each failure.

        Args:
            error: why the last one failed.
            moved: whether it got anything: then patience begins anew.

        Raises:
            NetworkError: ``error``, when it is permanent or patience has ended.
            Cancelled: the end was asked for.
        """
        self._failures = 1 if moved else self._failures + 1
        if self._failures > self._most or error.permanent:
            raise error
        self._run.observer(Message("warning", f"{error.message}; trying again"))
        self._run.cancel.wait(min(2.0 ** (self._failures - 2), _LONGEST))
