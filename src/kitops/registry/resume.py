"""A blob as one stream that goes on where it broke off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kitops.content.events import Message
from kitops.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from kitops.content.protocols import Run
    from kitops.registry.network import Patience
    from kitops.registry.stretch import Stretch

_SKIP: Final = 256 * 1024
_FIRST_PAUSE: Final = 4
"""Pauses after a break, in pauses between the tries of one request: those were tried in vain already."""


class Breaks:
    """How patient to be with a connection that breaks again and again. Not thread-safe.

    Args:
        patience: of the network.
    """

    def __init__(self, patience: Patience) -> None:
        self.count = 0
        self._patience = patience

    def note(self, error: NetworkError, *, moved: bool) -> float:
        """A connection broke; seconds to wait before the next.

        Args:
            error: why.
            moved: whether bytes came since the last break: then patience begins anew.

        Raises:
            NetworkError: ``error``, when it is permanent or patience has ended.
        """
        self.count = 1 if moved else self.count + 1
        if error.permanent or self.count >= self._patience.attempts:
            raise error
        return self.pause_after(self.count)

    def pause_after(self, count: int) -> float:
        """Seconds to wait after so many breaks."""
        return min(self._patience.pause * _FIRST_PAUSE * 2.0 ** (count - 1), self._patience.longest_pause)


class ResumingReader:
    """Reads a blob in order. After a break it asks for the rest, or skips what it had where there are no ranges.

    Args:
        what: names the blob in errors.
        open_at: opens the blob from an offset on, or from its start where there are no ranges.
        start: the offset to begin at.
        size: of the blob in bytes.
        patience: of the network.
        run: its cancel token ends waits; its observer is told of breaks.
    """

    def __init__(  # noqa: PLR0917 - one place makes it
        self, what: str, open_at: Callable[[int], Stretch], start: int, size: int, patience: Patience, run: Run
    ) -> None:
        self._what = what
        self._open_at = open_at
        self._size = size
        self._run = run
        self._breaks = Breaks(patience)
        self._position = start
        self._moved = False
        self._stretch: Stretch | None = None

    def readinto(self, buffer: memoryview, /) -> int:
        if not buffer:
            return 0
        while True:
            try:
                count = self._read(buffer)
            except NetworkError as error:
                self.close()
                if self._position >= self._size:
                    raise
                pause = self._breaks.note(error, moved=self._moved)
                self._moved = False
                self._run.observer(Message("info", f"{error.message}; going on from byte {self._position}"))
                self._run.cancel.wait(pause)
            else:
                self._position += count
                self._moved = self._moved or count > 0
                return count

    def seek(self, offset: int, /) -> int:
        """Go on from there, as an upload does that an earlier attempt began."""
        if offset != self._position:
            self.close()
            self._position = offset
        return offset

    def open(self) -> None:
        """Send the request, so that a refusal is told now."""
        if self._stretch is None:
            self._stretch = self._open_at(self._position)
            self._skip(self._stretch)

    def close(self) -> None:
        """Give the connection back. May be called twice."""
        stretch, self._stretch = self._stretch, None
        if stretch is not None:
            stretch.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, buffer: memoryview) -> int:
        self.open()
        if self._stretch is None:
            raise AssertionError("open() opens")
        count = self._stretch.readinto(buffer)
        if not count and self._stretch.end <= self._position < self._size:  # the registry sends shorter parts
            self.close()
            return self._read(buffer)
        if not count and self._position < self._size:
            raise NetworkError(f"reading {self._what}: the connection was closed early")
        return count

    def _skip(self, stretch: Stretch) -> None:
        buffer = memoryview(bytearray(_SKIP))
        position = stretch.start
        while position < self._position:
            count = stretch.readinto(buffer[: self._position - position])
            if not count:
                break
            position += count
