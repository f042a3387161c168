"""Unfinished downloads: one directory a download and owner, so that nobody ever writes where another does.

``partial/<digest>.<owner>.<unique>/`` belongs to the lease ``<owner>``; only its owner writes into it. It holds

- ``content``: a file of the blob's full length with the pieces that came so far, anywhere in it;
- ``pieces``: a line for each piece that is whole in ``content``: offset, length, SHA-256 of the piece. A line is
  appended after the piece was written; a line that is cut off, or a piece that is not what its line says, is ignored.

Who finds an orphan, a directory whose owner's lease is dead, takes it over by renaming it to a name of its own: of two
who try, one rename succeeds. The pieces are then **copied into a fresh file** while they are hashed again. The former
owner may only have been suspended, and still have its file open: it then goes on writing into a file that nobody reads
any more, never into one that becomes a blob.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kitops.store import names
from kitops.store.atomic import FILE_MODE, NEW_FILE, READ_FILE, entries, read_small, told, unique_name, write_all

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from kitops.content.protocols import Run
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.store.layout import Layout
    from kitops.store.lease import Lease

_BUFFER: Final = 256 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """A part of a blob that is whole: offset and size in bytes, SHA-256 in hex."""

    offset: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Partial:
    """A download in progress, owned by us.

    Args:
        directory: ours alone.
        fd: ``content``, open for reading and writing; closed by the block that gave it.
        pieces: what was taken over from orphans, verified, in the order of offsets.
    """

    directory: str
    fd: int
    pieces: tuple[Piece, ...]

    @property
    def content_path(self) -> str:
        return f"{self.directory}/content"

    def record(self, piece: Piece) -> None:
        """Note that a piece is whole in the file.

        Raises:
            FileSystemError: it cannot be written.
        """
        path = f"{self.directory}/pieces"
        with told("writing", path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
            try:
                write_all(descriptor, f"{piece.offset} {piece.size} {piece.sha256}\n".encode())
            finally:
                os.close(descriptor)


@contextmanager
def open_partial(layout: Layout, desc: Descriptor, lease: Lease, live: Collection[str], run: Run) -> Iterator[Partial]:
    """Begin or continue the download of ``desc``.

    The directory stays after the block, for the next try, unless :func:`drop` removes it or the content was renamed
    to its blob.

    Args:
        layout: the store.
        desc: what is downloaded.
        lease: the owner; it must have been written (``lease.add``).
        live: the ids of leases that live: directories of others are orphans.
        run: its cancel token is watched while pieces are copied.

    Raises:
        FileSystemError: it cannot be written.
    """
    lease.add(desc.digest)
    directory = _name(layout, desc.digest, lease.id)
    with told("writing", directory):
        os.makedirs(directory)
        descriptor = os.open(f"{directory}/content", NEW_FILE, FILE_MODE)
    try:
        partial = Partial(directory, descriptor, ())
        pieces: dict[int, Piece] = {}
        for orphan in _claim(layout, desc.digest, lease, live):
            for piece in _take_over(partial, orphan, desc, run):
                pieces[piece.offset] = piece
            _remove_tree(orphan)
        yield Partial(directory, descriptor, tuple(sorted(pieces.values())))
    finally:
        os.close(descriptor)


def drop(partial: Partial) -> None:
    """Remove a download that is finished or not wanted any more."""
    _remove_tree(partial.directory)


def find_stale(layout: Layout, live: Collection[str], before_ns: int) -> list[tuple[Path, int]]:
    """Path and bytes on disk of unfinished downloads without a live owner, last written before ``before_ns``."""
    found = []
    for entry in entries(layout.partial):
        if _owner(entry.name) in live:
            continue
        size = newest_ns = 0
        for file in entries(entry.path):
            with suppress(FileNotFoundError):
                stamp = file.stat()
                size += min(stamp.st_size, getattr(stamp, "st_blocks", stamp.st_size) * 512)
                newest_ns = max(newest_ns, stamp.st_mtime_ns)
        if newest_ns <= before_ns:
            found.append((Path(entry.path), size))
    return found


def read_pieces(directory: str) -> list[Piece]:
    """The pieces that a directory says are whole, not verified; lines that do not parse are left out."""
    found = []
    for line in (read_small(f"{directory}/pieces") or b"").splitlines(keepends=True):
        fields = line.decode("ascii", "replace").split()
        if line.endswith(b"\n") and len(fields) == 3 and fields[0].isdecimal() and fields[1].isdecimal():
            found.append(Piece(int(fields[0]), int(fields[1]), fields[2]))
    return found


def _claim(layout: Layout, digest: Digest, lease: Lease, live: Collection[str]) -> Iterator[str]:
    """Rename each orphan of this digest to a name of ours."""
    prefix = f"{names.encode_digest(digest)}."
    for entry in entries(layout.partial):
        owner = _owner(entry.name)
        if entry.name.startswith(prefix) and owner != lease.id and owner not in live:
            mine = _name(layout, digest, lease.id)
            try:
                os.rename(entry.path, mine)
            except OSError:  # another process was faster
                continue
            yield mine


def _take_over(partial: Partial, orphan: str, desc: Descriptor, run: Run) -> Iterator[Piece]:
    """Copy the whole pieces of an orphan into our file, hashing them again."""
    with told("reading", orphan):
        try:
            source = os.open(f"{orphan}/content", READ_FILE)
        except FileNotFoundError:
            return
        try:
            for piece in read_pieces(orphan):
                if piece.offset + piece.size <= desc.size and _copy(source, partial.fd, piece, run):
                    partial.record(piece)
                    yield piece
        finally:
            os.close(source)


def _copy(source: int, target: int, piece: Piece, run: Run) -> bool:
    """Copy one piece; whether it was what its line said (else whoever downloads writes over it)."""
    hasher = hashlib.sha256()
    done = 0
    while done < piece.size:
        run.cancel.check()
        chunk = os.pread(source, min(_BUFFER, piece.size - done), piece.offset + done)
        if not chunk:
            return False
        hasher.update(chunk)
        written = 0
        while written < len(chunk):
            written += os.pwrite(target, chunk[written:], piece.offset + done + written)
        done += len(chunk)
    return hasher.hexdigest() == piece.sha256


def _name(layout: Layout, digest: Digest, owner: str) -> str:
    return f"{layout.partial}/{names.encode_digest(digest)}.{owner}.{unique_name()}"


def _owner(name: str) -> str:
    fields = name.split(".")
    return fields[1] if len(fields) > 1 else ""


def _remove_tree(directory: str) -> None:
    import shutil  # noqa: PLC0415 - brings every archive format with it

    shutil.rmtree(directory, ignore_errors=True)
