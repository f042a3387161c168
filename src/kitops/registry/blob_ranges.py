"""One blob that stays in its registry, read at any place.

A registry may ignore ``Range`` and send everything (distribution-spec, "Pulling blobs": SHOULD, not MUST), or refuse.
What then comes is read as a stream, forward and only as far as is allowed.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from kitops.errors import NetworkError
from kitops.registry.stretch import RangeRefusedError
from kitops.registry.transport import BLOCK
from kitops.registry.urls import safe_url
from kitops.weights.ranges import StreamRanges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kitops.registry.stretch import Stretch

_TRIES: Final = 3


class BlobRanges:
    """One blob of a registry. Nothing that it gives is verified: only a whole blob can be.

    Args:
        open_range: opens the bytes from an offset to before another, or the whole blob.
        open_whole: opens the whole blob.
        size: bytes that the blob has.
        limit: bytes that are read at most where the registry sends no ranges.
    """

    def __init__(
        self, open_range: Callable[[int, int], Stretch], open_whole: Callable[[], Stretch], size: int, limit: int
    ) -> None:
        self.size = size
        self._open_range = open_range
        self._open_whole = open_whole
        self._limit = limit
        self._stream: StreamRanges | None = None
        self._opened = ExitStack()

    def close(self) -> None:
        """Hang up on a stream that was not read to its end."""
        self._opened.close()

    def read_at(self, offset: int, size: int) -> bytes:
        """As :meth:`kitops.weights.ranges.Ranges.read_at`.

        Raises:
            TooFarError: the registry sends no ranges, and ``offset`` is beyond the limit.
            IntegrityError: the registry says that the blob has another size.
            NetworkError: the connection broke, again and again.
        """
        end = min(offset + size, self.size)
        if end <= offset:
            return b""
        for attempt in range(1, _TRIES + 1):
            if self._stream is not None:
                return self._stream.read_at(offset, end - offset)
            try:
                return self._fetch(offset, end)
            except NetworkError as error:
                if attempt == _TRIES or error.permanent or self._stream is not None:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _fetch(self, offset: int, end: int) -> bytes:
        found = bytearray()
        while (start := offset + len(found)) < end:
            try:
                stretch = self._open_range(start, end)
            except RangeRefusedError:
                stretch = self._open_whole()
            if not stretch.is_ranged:
                self._opened.push(stretch)
                self._stream = StreamRanges(_pieces(stretch), self.size, self._limit)
                return self._stream.read_at(offset, end - offset)
            with stretch:
                found += _read(stretch, stretch.end - start)
        return bytes(found)


def _read(stretch: Stretch, size: int) -> bytes:
    """What comes of a part of ``size`` bytes, and no more than that.

    Raises:
        NetworkError: nothing came, which an answer in chunks need not have announced.
    """
    found = bytearray()
    for piece in _pieces(stretch):
        found += piece[: size - len(found)]
        if len(found) == size:
            break
    if not found:
        raise NetworkError(f"reading {safe_url(stretch.answer.url)}: the connection ended after 0 of {size} bytes")
    return bytes(found)


def _pieces(stretch: Stretch) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(BLOCK))
    while count := stretch.readinto(buffer):
        yield buffer[:count]
