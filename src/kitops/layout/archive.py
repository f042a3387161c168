"""An OCI image layout in one tar file, for reading: as a file, or as a stream.

The tar is not trusted: names that lead out, links, devices, names that stand twice, and sizes that the file does not
have are refused before anything of it is used. What is in the blobs is verified by who reads them.
"""

from __future__ import annotations

import os
import select
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.errors import FileSystemError, IntegrityError, InvalidValueError, TrustError, printable
from kitops.layers.untar import PieceReader, read_members
from kitops.layout.contents import INDEX_FILE, LAYOUT_FILE, Contents
from kitops.layout.newfile import telling
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.manifest import MAX_MANIFEST_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kitops.content.protocols import Reader, Run
    from kitops.layers.untar import Member

_BUFFER: Final = 256 * 1024
_MAX_MEMBERS: Final = 1_000_000
_COMPRESSED: Final = {
    b"\x1f\x8b": "gunzip -c",
    b"\x28\xb5\x2f\xfd": "zstd -dc",
    b"BZh": "bunzip2 -c",
    b"\xfd7zXZ": "xz -dc",
}


@contextmanager
def open_archive(path: str, run: Run) -> Iterator[Contents]:
    """The layout in the tar file ``path``, readable while the block runs.

    Raises:
        InvalidValueError: it is not a tar with an OCI image layout.
        TrustError: it has members that no layout has.
        IntegrityError: it is damaged.
        FileSystemError: it cannot be read.
    """
    what = f"the archive {printable(path)}"
    with telling("reading", path):
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    try:
        reader = _FileReader(descriptor, path, what, run)
        check_uncompressed(reader.peek(), what, path)
        places: dict[str, tuple[int, int]] = {}
        for member in list_files(reader):
            places[member.path] = (reader.position, member.size)
            reader.skip(member.size)
        contents = Contents(_ArchiveFiles(descriptor, path, places), what)
        contents.check_layout()
        yield contents
    finally:
        os.close(descriptor)


def list_files(reader: PieceReader) -> Iterator[Member]:
    """The files of a tar. Whoever asks for the next one has read or skipped the content of the last.

    Raises:
        TrustError: a name leads out, stands twice, or is that of a link or device.
        IntegrityError: it is damaged.
    """
    seen: set[str] = set()
    for member in read_members(reader):
        if member.is_dir:
            continue
        if member.path in seen:
            raise TrustError(f"{reader.what}: {printable(member.path)} is in it twice", hint="do not trust this file")
        if len(seen) >= _MAX_MEMBERS:
            raise TrustError(f"{reader.what} has more than {_MAX_MEMBERS} files", hint="do not trust this file")
        seen.add(member.path)
        yield member


def check_uncompressed(start: bytes, what: str, name: str) -> None:
    """Raise InvalidValueError, with the way out, if these are the first bytes of a compressed file."""
    for magic, program in _COMPRESSED.items():
        if start.startswith(magic):
            raise InvalidValueError(f"{what} is compressed", hint=f"{program} {printable(name)} | kit load --input -")


def receive_stream(descriptor: int, what: str, put: Callable[[Descriptor, Reader], None], run: Run) -> dict[str, bytes]:
    """Read a layout from a pipe: every blob is handed to ``put`` as it comes.

    Args:
        descriptor: the pipe, open for reading.
        what: names it in errors.
        put: verifies and keeps a blob; it reads all of it, or nothing.
        run: its cancel token is watched.

    Returns:
        The files of the layout that are no blobs (``oci-layout``, ``index.json``), if they are there.

    Raises:
        IntegrityError, TrustError, InvalidValueError: as :func:`open_archive`.
    """
    pieces = _read_pipe(descriptor, what, run)
    first = next(pieces, memoryview(b""))
    check_uncompressed(bytes(first[:8]), what, "FILE")
    reader = PieceReader(_chain(first, pieces), what)
    found: dict[str, bytes] = {}
    for member in list_files(reader):
        digest = blob_digest(member.path)
        content = _MemberReader(reader, member.size)
        if digest is not None:
            put(Descriptor(mediatype.OCTET_STREAM, digest, member.size), content)
        elif member.path in (LAYOUT_FILE, INDEX_FILE):
            if member.size > MAX_MANIFEST_SIZE:
                raise IntegrityError(f"{member.path} of {what}", "a small file", f"{member.size} bytes")
            found[member.path] = reader.read(member.size)
            content.rest = 0
        reader.skip(content.rest)
    reader.drain()
    return found


class _FileReader(PieceReader):
    """Exact reads from a file that skips without reading."""

    def __init__(self, descriptor: int, path: str, what: str, run: Run) -> None:
        super().__init__(iter(()), what)
        self._descriptor = descriptor
        self._path = path
        self._run = run
        self.position = 0
        with telling("reading", path):
            self._size = os.fstat(descriptor).st_size

    def peek(self) -> bytes:
        with telling("reading", self._path):
            return os.pread(self._descriptor, 8, 0)

    def read(self, size: int) -> bytes:
        self._run.cancel.check()
        with telling("reading", self._path):
            found = os.pread(self._descriptor, size, self.position)
        if len(found) < size:
            raise IntegrityError(self.what, "a whole tar archive", "an early end")
        self.position += size
        return found

    def skip(self, size: int) -> None:
        self.position += size
        if self.position > self._size:
            raise IntegrityError(self.what, "a whole tar archive", "an early end")


@dataclass(frozen=True, slots=True)
class _ArchiveFiles:
    """Where each file is in the tar: offset and size in bytes."""

    descriptor: int
    path: str
    places: dict[str, tuple[int, int]]

    def size(self, name: str) -> int | None:
        place = self.places.get(name)
        return None if place is None else place[1]

    @contextmanager
    def open(self, name: str) -> Iterator[Reader]:
        offset, size = self.places[name]
        yield _SliceReader(self.descriptor, self.path, offset, offset + size)


@dataclass(slots=True)
class _SliceReader:
    """The bytes of an open file from ``position`` to ``end``; any number of these may read at once."""

    descriptor: int
    path: str
    position: int
    end: int

    def readinto(self, buffer: memoryview, /) -> int:
        with telling("reading", self.path):
            count = os.preadv(self.descriptor, [buffer[: self.end - self.position]], self.position)
        self.position += count
        return count


@dataclass(slots=True)
class _MemberReader:
    """The content of one member of a stream; ``rest`` is what was not read of it."""

    reader: PieceReader
    rest: int

    def readinto(self, buffer: memoryview, /) -> int:
        wanted = min(len(buffer), self.rest)
        done = 0
        for part in self.reader.parts(wanted):
            buffer[done : done + len(part)] = part
            done += len(part)
        self.rest -= done
        return done


def _read_pipe(descriptor: int, what: str, run: Run) -> Iterator[memoryview]:
    """The bytes of a pipe, watching the cancel token while nothing comes."""
    buffer = memoryview(bytearray(_BUFFER))
    while True:
        run.cancel.check()
        try:
            if not select.select([descriptor], [], [], 0.2)[0]:
                continue
            count = os.readv(descriptor, [buffer])
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", what) from error
        if not count:
            return
        yield buffer[:count]


def _chain(first: memoryview, rest: Iterator[memoryview]) -> Iterator[memoryview]:
    if first:
        yield first
    yield from rest


def blob_digest(name: str) -> Digest | None:
    """The digest of a blob by its file's name; None for other files."""
    parts = name.split("/")
    if len(parts) != 3 or parts[0] != "blobs":
        return None
    try:
        return Digest.parse(f"{parts[1]}:{parts[2]}")
    except InvalidValueError:
        return None
