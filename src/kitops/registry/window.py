"""A blob as one stream that comes over several connections: what is ahead of its reader waits in a window of memory.

:func:`kitops.registry.download.fetch_missing` fills the window as it would fill a file; the window holds back whoever
is too far ahead, and gives the reader its bytes in order. The bytes that the reader needs next are always taken, so
nothing can wait for ever.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kitops.content.cancel import CancelToken
from kitops.content.spans import Span, Spans
from kitops.registry.download import fetch_missing

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from kitops.content.protocols import Run
    from kitops.oci.descriptor import Descriptor
    from kitops.registry.download import Origin

_MIB: Final = 1024 * 1024
PIECE: Final = 6 * _MIB
"""Bytes of one request beside others: several fit into the window."""
ROOM: Final = 48 * _MIB
"""Bytes that all windows of a repository hold together, beside :data:`OWN` of each."""
OWN: Final = 2 * _MIB
"""Bytes that a window may always hold."""
_PATIENCE: Final = 0.2


class Room:
    """Bytes that windows share. Thread-safe.

    Args:
        size: how many there are.
    """

    def __init__(self, size: int = ROOM) -> None:
        self._size = size
        self._free = size
        self._lock = threading.Lock()

    def take(self, size: int, *, is_read: bool) -> bool:
        """Take ``size`` of them, if they are there; a window that nobody reads yet leaves half to the others."""
        with self._lock:
            if self._free - size < (0 if is_read else self._size // 2):
                return False
            self._free -= size
            return True

    def give_back(self, size: int) -> None:
        """What was taken."""
        with self._lock:
            self._free += size


class Window:
    """Takes the bytes of a blob as they come, and gives them to one reader in order.

    See :class:`kitops.registry.download.Takes`; nothing is verified here.

    Args:
        desc: the blob.
        start: where the reader begins.
        room: shared with other windows.
        cancel: ends waits.
    """

    def __init__(self, desc: Descriptor, start: int, room: Room, cancel: CancelToken) -> None:
        self._desc = desc
        self._front = start
        self._room = room
        self._cancel = cancel
        self._here = Spans([Span(0, start)] if start else ())
        self._pieces: dict[
            int, tuple[bytes, int]
        ] = {}  # by offset: the bytes, and how many of the shared ones they are
        self._rest = memoryview(b"")
        self._is_read = False
        self._is_closed = False
        self._is_over = False
        self._failure: BaseException | None = None
        self._changed = threading.Condition()

    # who fills it

    @property
    def desc(self) -> Descriptor:
        return self._desc

    def missing(self) -> list[Span]:
        with self._changed:
            return self._here.missing(0, self.desc.size)

    def write(self, offset: int, chunk: memoryview) -> int:
        """Take bytes, when there is room for them; how many were new."""
        new = 0
        with self._changed:
            for gap in self._here.missing(offset, offset + len(chunk)):
                shared = self._wait_for_room(gap)
                if shared is None:
                    break
                self._pieces[gap.start] = bytes(chunk[gap.start - offset : gap.end - offset]), shared
                self._here.add(gap.start, gap.end)
                new += gap.size
            self._changed.notify_all()
        return new

    def is_superseded(self) -> bool:
        return self._is_closed

    def let_go(self) -> None:
        """What comes now is not wanted, and nobody need wait for room."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Nothing more comes."""
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def _wait_for_room(self, gap: Span) -> int | None:
        """How many of the shared bytes were taken for these; None when nobody wants them any more."""
        while not (self._is_closed or self._is_over or self._cancel.is_cancelled):
            if gap.end <= self._front + OWN:
                return 0
            if self._room.take(gap.size, is_read=self._is_read):
                return gap.size
            self._changed.wait(_PATIENCE)
        return None

    # who reads it

    def readinto(self, buffer: memoryview, /) -> int:
        if not self._rest:
            self._rest = self._next_piece()
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        """Forget what is here, and let go of whoever waits for room."""
        with self._changed:
            self._is_closed = True
            for _, shared in self._pieces.values():
                self._room.give_back(shared)
            self._pieces.clear()
            self._changed.notify_all()

    def _next_piece(self) -> memoryview:
        """The piece at the front, once it is here; empty at the end of the blob."""
        with self._changed:
            self._is_read = True
            while (found := self._pieces.pop(self._front, None)) is None:
                if self._front == self.desc.size:
                    return memoryview(b"")
                if self._failure is not None:
                    raise self._failure
                self._changed.wait(_PATIENCE)
                self._cancel.check()
            piece, shared = found
            self._room.give_back(shared)
            self._front += len(piece)
            self._changed.notify_all()
            return memoryview(piece)


class WindowReader:
    """Fills a window in a thread of its own while the block runs; a context manager.

    Args:
        origin: where the blob comes from.
        desc: the blob.
        start: where to begin.
        room: shared with other windows.
        run: told of breaks; its token is watched.
    """

    def __init__(self, origin: Origin, desc: Descriptor, start: int, room: Room, run: Run) -> None:
        self._origin = origin
        self._desc = desc
        self._room = room
        self._run = run
        self._position = start

    def __enter__(self) -> Self:
        self._filled = self._fill_from(self._position)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._filled.close()

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._filled.window.readinto(buffer)
        self._position += count
        return count

    def seek(self, offset: int, /) -> int:
        """Go on from there, as an upload does that an earlier attempt began."""
        if offset != self._position:
            self._filled.close()
            self._filled = self._fill_from(offset)
            self._position = offset
        return offset

    def _fill_from(self, offset: int) -> _Filled:
        return _Filled(self._origin, Window(self._desc, offset, self._room, self._run.cancel), self._run)


class _Filled:
    """A window and the thread that fills it from now on."""

    def __init__(self, origin: Origin, window: Window, run: Run) -> None:
        self.window = window
        self._origin = origin
        self._run = run
        self._token = CancelToken()
        self._thread = threading.Thread(target=self._fill, name="window", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.window.close()
        self._token.cancel()
        self._thread.join()

    def _fill(self) -> None:
        try:
            with self._run.cancel.closing(self._token.cancel):
                fetch_missing(
                    self._origin,
                    self.window,
                    lambda _: None,
                    replace(self._run, cancel=self._token),
                    let_go=self.window.let_go,
                )
        except BaseException as error:  # noqa: BLE001 - raised by who reads
            self.window.fail(error)
