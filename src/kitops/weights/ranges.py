"""Bytes at any place of a content: a file, a member of an archive, a stream, a blob in a registry."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from kitops.errors import FileSystemError, KitError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from kitops.oci.descriptor import Descriptor

BLOCK: Final = 64 << 10
"""Bytes of the first read: the whole header of most models."""
MAX_BLOCK: Final = 1 << 20


class Ranges(Protocol):
    """A content that can be read anywhere."""

    @property
    def size(self) -> int | None:
        """Its bytes; None where only the end of a stream tells."""
        ...

    def read_at(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` on; fewer where the content ends before, none behind its end."""
        ...


@runtime_checkable
class RangedSource(Protocol):
    """A source whose blobs can be read anywhere."""

    def ranges(self, desc: Descriptor, *, limit: int) -> AbstractContextManager[Ranges]:
        """The blob ``desc``, unverified; at most its first ``limit`` bytes where only a stream can be had."""
        ...


class TooFarError(KitError):
    """A stream would have to be read further than was allowed.

    Args:
        limit: the bytes that were.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"what is wanted lies behind the first {limit} bytes of a stream")
        self.limit = limit


@dataclass(frozen=True, slots=True)
class BytesRanges:
    """Bytes in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read_at(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]


@dataclass(frozen=True, slots=True)
class FileRanges:
    """An open file; ``name`` names it in errors."""

    fd: int
    size: int
    name: str

    def read_at(self, offset: int, size: int) -> bytes:
        size = max(0, min(size, self.size - offset))
        try:
            data = os.pread(self.fd, size, offset)
            while data and len(data) < size and (more := os.pread(self.fd, size - len(data), offset + len(data))):
                data += more
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", self.name) from error
        return data


@contextmanager
def open_file(path: str | os.PathLike[str]) -> Iterator[FileRanges]:
    """The file ``path``, while the block runs.

    Raises:
        FileSystemError: it cannot be opened.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe of that name must not block
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", path) from error
    try:
        yield FileRanges(fd, os.fstat(fd).st_size, os.fspath(path))
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class Window:
    """``size`` bytes of ``inner`` from ``start`` on."""

    inner: Ranges
    start: int
    size: int

    def read_at(self, offset: int, size: int) -> bytes:
        return self.inner.read_at(self.start + offset, max(0, min(size, self.size - offset)))


class Ahead:
    """Reads ``inner`` in blocks, so that small reads in a row cost few large ones.

    Blocks grow up to 1 MiB while reads go on where the last block ended, or less than a block behind that; a read
    anywhere else begins small again.

    Args:
        inner: what is read.
        first: bytes of the first block.
    """

    def __init__(self, inner: Ranges, *, first: int = BLOCK) -> None:
        self._inner = inner
        self._start = 0
        self._data = b""
        self._first = self._block = first

    @property
    def size(self) -> int | None:
        return self._inner.size

    def read_at(self, offset: int, size: int) -> bytes:
        at = offset - self._start
        if at >= 0 and at + size <= len(self._data):
            return self._data[at : at + size]
        have = self._data[at:] if 0 <= at <= len(self._data) else b""
        is_near = bool(self._data) and 0 <= at <= len(self._data) + self._block
        block = self._block if is_near else self._first
        more = self._inner.read_at(offset + len(have), max(size - len(have), block))
        self._block = min(2 * block, MAX_BLOCK) if is_near else block
        self._data, self._start = have + more, offset
        return self._data[:size]


class StreamRanges:
    """A stream whose bytes come once and in order: reads go forward only.

    Args:
        pieces: the bytes.
        size: how many there are; None where that is not known.
        limit: how far it is read.
    """

    def __init__(self, pieces: Iterator[memoryview], size: int | None, limit: int) -> None:
        self.size = size
        self._pieces = pieces
        self._limit = limit
        self._piece = memoryview(b"")
        self._position = 0

    def read_at(self, offset: int, size: int) -> bytes:
        """As :meth:`Ranges.read_at`; ``offset`` is not before the end of the last read.

        Raises:
            TooFarError: ``offset`` is beyond the limit.
        """
        if offset < self._position:
            raise AssertionError("a stream was read backwards")
        if offset >= self._limit and (self.size is None or offset < self.size):
            raise TooFarError(self._limit)
        self._take(offset - self._position, keep=False)
        return self._take(size, keep=True)

    def _take(self, size: int, *, keep: bool) -> bytes:
        found = []
        while size > 0:
            if not self._piece:
                self._piece = next(self._pieces, memoryview(b""))
                if not self._piece:
                    break
            part = self._piece[:size]
            if keep:
                found.append(bytes(part))
            self._piece = self._piece[len(part) :]
            self._position += len(part)
            size -= len(part)
        return b"".join(found)
