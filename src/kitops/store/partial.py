"""Unfinished downloads: one directory a download and owner, so that nobody ever writes where another does.

``partial/<digest>.<owner>.<unique>/`` belongs to the lease ``<owner>``; only its owner writes into it. It holds

- ``content``: a file of the blob's full length with the pieces that came so far, anywhere in it;
- ``pieces``: a line for each piece that is whole in ``content``: offset, length, SHA-256 of the piece. A line is
  appended after the piece is durable. Lines of one offset grow: each vouches for a longer piece, so that the hash that
  follows a download notes its progress for nothing. A line that is cut off, or a piece that is not what its line says,
  is ignored;
- ``owner``: the process that writes here, while it does; removed when it lets go in good order.

Who finds an orphan, a directory whose owner's lease is dead, takes it over by renaming it to a name of its own: of two
who try, one rename succeeds. Every piece is hashed again before it is believed. If the former owner let go, or is
certainly gone, its file is used as it is. Else it may only have been suspended, and still have its file open: then the
pieces are **copied into a fresh file** while they are hashed, and the former owner goes on writing into a file that
nobody reads any more, never into one that becomes a blob.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kitops.content.events import Waiting
from kitops.content.spans import Span, Spans
from kitops.content.write import flush_file, write_all, write_at
from kitops.store import names
from kitops.store.atomic import (
    FILE_MODE,
    NEW_FILE,
    READ_FILE,
    entries,
    read_small,
    remove_file,
    told,
    unique_name,
    write_new,
)
from kitops.store.process import is_alive, this_process

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from hashlib import _Hash

    from kitops.content.protocols import Run
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.store.layout import Layout
    from kitops.store.lease import Lease

_BUFFER: Final = 256 * 1024
_OPEN_AGAIN: Final = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """A part of a blob that is whole: offset and size in bytes, SHA-256 in hex."""

    offset: int
    size: int
    sha256: str

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class Partial:
    """A download in progress, owned by us.

    Args:
        directory: ours alone.
        fd: ``content``, open for reading and writing; closed by the block that gave it.
        pieces: what was taken over from orphans, verified, in the order of offsets.
        front: SHA-256 of the piece at offset 0, to go on with.
    """

    directory: str
    fd: int
    pieces: tuple[Piece, ...]
    front: _Hash

    @property
    def content_path(self) -> str:
        return f"{self.directory}/content"

    def record(self, *pieces: Piece) -> None:
        """Note that pieces are whole in the file, and durable.

        Raises:
            FileSystemError: it cannot be written.
        """
        path = f"{self.directory}/pieces"
        with told("writing", path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
            try:
                write_all(descriptor, "".join(f"{one.offset} {one.size} {one.sha256}\n" for one in pieces).encode())
            finally:
                os.close(descriptor)

    def forget(self) -> None:
        """Believe no piece any more.

        Raises:
            FileSystemError: it cannot be written.
        """
        path = f"{self.directory}/pieces"
        with told("removing", path):
            remove_file(path)

    def forget_spans(self, spans: Iterable[Span]) -> list[Piece]:
        """Believe no piece any more that has a byte of ``spans``; the rest of them.

        Raises:
            FileSystemError: it cannot be written.
        """
        doubtful = Spans(spans)
        believed = [piece for piece in read_pieces(self.directory) if _is_apart(piece, doubtful)]
        self.forget()
        if believed:
            self.record(*believed)
        return believed


@dataclass(frozen=True, slots=True)
class Orphan:
    """An unfinished download that may be continued.

    Args:
        path: its directory.
        size: bytes of the blob that its lines vouch for.
        allocated: bytes that it takes on the disk.
        is_free: whether its file can be used as it is, because nobody writes into it any more.
    """

    path: str
    size: int
    allocated: int
    is_free: bool


@contextmanager
def open_partial(layout: Layout, desc: Descriptor, lease: Lease, live: Collection[str], run: Run) -> Iterator[Partial]:
    """Begin or continue the download of ``desc``.

    The directory stays after the block, for the next try, unless nothing was recorded, :func:`drop` removes it, or the
    content was renamed to its blob.

    Args:
        layout: the store.
        desc: what is downloaded.
        lease: the owner; it must have been written (``lease.add``).
        live: the ids of leases that live: directories of others are orphans.
        run: its cancel token is watched while pieces are hashed again.

    Raises:
        FileSystemError: it cannot be written.
    """
    lease.add(desc.digest)
    claimed = [_look_at(path) for path in claim_orphans(layout, desc.digest, lease, live)]
    if any(one.size for one in claimed):
        run.observer(Waiting(f"the bytes of {desc.digest.short} that came before, which are hashed again"))
    base = max((one for one in claimed if one.is_free and one.size), key=lambda one: one.size, default=None)
    directory = base.path if base is not None else name_partial(layout, desc.digest, lease.id)
    with told("writing", directory):
        os.makedirs(directory, exist_ok=True)
        _mark_owner(directory)
        descriptor = os.open(f"{directory}/content", NEW_FILE if base is None else _OPEN_AGAIN, FILE_MODE)
    try:
        taken = _Taken(descriptor, desc, run)
        partial = Partial(directory, descriptor, (), taken.front)
        if base is not None:
            taken.verify(read_pieces(directory))
        for orphan in claimed:
            if orphan is not base:
                if pieces := taken.copy(orphan.path):
                    with told("writing", directory):
                        flush_file(descriptor)
                    partial.record(*pieces)
                _remove_tree(orphan.path)
        yield Partial(directory, descriptor, taken.sorted_pieces(), taken.front)
    finally:
        _let_go(directory, descriptor)


def drop(partial: Partial) -> None:
    """Remove a download that is finished or not wanted any more."""
    _remove_tree(partial.directory)


def find_stale(layout: Layout, live: Collection[str], before_ns: int) -> list[tuple[Path, int]]:
    """Path and bytes on disk of unfinished downloads without a live owner, last written before ``before_ns``."""
    found = []
    for entry in entries(layout.partial):
        if _owner(entry.name) in live:
            continue
        size, newest_ns = _measure(entry.path)
        if newest_ns <= before_ns:
            found.append((Path(entry.path), size))
    return found


def _measure(directory: str) -> tuple[int, int]:
    """Bytes on disk of what is below a directory, and when it was last written."""
    size = newest_ns = 0
    for above, _, files in os.walk(directory):
        for name in files:
            with suppress(FileNotFoundError):
                stamp = os.stat(os.path.join(above, name))
                size += min(stamp.st_size, getattr(stamp, "st_blocks", stamp.st_size) * 512)
                newest_ns = max(newest_ns, stamp.st_mtime_ns)
    return size, newest_ns


def read_pieces(directory: str) -> list[Piece]:
    """The pieces that a directory says are whole, not verified; lines that do not parse are left out."""
    found = []
    for line in (read_small(f"{directory}/pieces") or b"").splitlines(keepends=True):
        fields = line.decode("ascii", "replace").split()
        if line.endswith(b"\n") and len(fields) == 3 and fields[0].isdecimal() and fields[1].isdecimal():
            found.append(Piece(int(fields[0]), int(fields[1]), fields[2]))
    return found


def find_orphans(layout: Layout, digest: Digest, live: Collection[str]) -> list[Orphan]:
    """The unfinished downloads of ``digest`` that nobody works on; nothing is changed."""
    return [
        _look_at(entry.path)
        for entry in entries(layout.partial)
        if entry.name.startswith(f"{names.encode_digest(digest)}.") and _owner(entry.name) not in live
    ]


def claim_orphans(layout: Layout, digest: Digest, lease: Lease, live: Collection[str]) -> Iterator[str]:
    """Rename each orphan of this digest to a name of ours."""
    prefix = f"{names.encode_digest(digest)}."
    for entry in entries(layout.partial):
        owner = _owner(entry.name)
        if entry.name.startswith(prefix) and owner not in live and (owner != lease.id or _is_free(entry.path)):
            mine = name_partial(layout, digest, lease.id)
            try:
                os.rename(entry.path, mine)
            except OSError:  # another process was faster
                continue
            yield mine


def _look_at(path: str) -> Orphan:
    allocated = 0
    with suppress(OSError):
        stamp = os.stat(f"{path}/content")
        allocated = min(stamp.st_size, getattr(stamp, "st_blocks", stamp.st_size) * 512)
    is_free = allocated > 0 and _is_free(path)
    size = Spans(span_of(piece) for piece in read_pieces(path)).size if allocated else 0
    return Orphan(path, size, allocated, is_free)


def _is_apart(piece: Piece, spans: Spans) -> bool:
    return spans.missing(piece.offset, piece.end) == [span_of(piece)]


def span_of(piece: Piece) -> Span:
    """Where a piece is."""
    return Span(piece.offset, piece.end)


def _is_free(path: str) -> bool:
    """Whether the process that wrote here let go or is certainly gone."""
    with told("reading", path):
        owner = read_small(f"{path}/owner")
    return owner is None or is_alive(owner.decode("ascii", "replace")) is False


def _mark_owner(directory: str) -> None:
    remove_file(f"{directory}/owner")
    write_new(f"{directory}/owner", this_process().encode(), durable=False)


def _let_go(directory: str, descriptor: int) -> None:
    """Say that we write no more; what is not vouched for gives its space back. Never raises."""
    with suppress(OSError):
        end = max((piece.end for piece in read_pieces(directory)), default=0)
        if not end:
            _remove_tree(directory)
        elif os.fstat(descriptor).st_size > end:
            os.ftruncate(descriptor, end)
    os.close(descriptor)
    with suppress(OSError):
        remove_file(f"{directory}/owner")


class _Taken:
    """What is believed of a blob's bytes that were here, and the hash of their front.

    Args:
        fd: our file.
        desc: the blob.
        run: its cancel token is watched.
    """

    def __init__(self, fd: int, desc: Descriptor, run: Run) -> None:
        self.front: _Hash = hashlib.sha256()
        self._front_size = 0
        self._fd = fd
        self._desc = desc
        self._run = run
        self._spans = Spans()
        self._pieces: dict[int, Piece] = {}

    def sorted_pieces(self) -> tuple[Piece, ...]:
        return tuple(sorted(self._pieces.values()))

    def verify(self, pieces: Iterable[Piece]) -> None:
        """Hash pieces that are in our own file."""
        for _ in self._take(self._fd, pieces):
            pass

    def copy(self, orphan: str) -> list[Piece]:
        """Copy the pieces of an orphan into our file, hashing them; those that were what their lines said."""
        with told("reading", orphan):
            try:
                source = os.open(f"{orphan}/content", READ_FILE)
            except FileNotFoundError:
                return []
            try:
                return list(self._take(source, read_pieces(orphan)))
            finally:
                os.close(source)

    def _take(self, source: int, pieces: Iterable[Piece]) -> Iterator[Piece]:
        fitting = sorted(piece for piece in pieces if piece.size > 0 and piece.end <= self._desc.size)
        for offset, group in groupby(fitting, lambda piece: piece.offset):
            lines = list(group)
            if self._spans.missing(offset, lines[-1].end):
                found = self._take_one(source, lines)
                known = self._pieces.get(offset)
                if found is not None and (known is None or known.size < found.size):
                    self._spans.add(found.offset, found.end)
                    self._pieces[offset] = found
                    yield found

    def _take_one(self, source: int, lines: list[Piece]) -> Piece | None:
        """The longest of the pieces of one offset, shortest first, that is what its line says."""
        hasher = hashlib.sha256()
        position = lines[0].offset
        best = None
        for piece in lines:
            position = self._pass(source, position, piece.end, hasher)
            if position < piece.end or hasher.hexdigest() != piece.sha256:
                break
            best = piece
            if piece.offset == 0 and piece.size > self._front_size:
                self.front, self._front_size = hasher.copy(), piece.size
        return best

    def _pass(self, source: int, position: int, end: int, hasher: _Hash) -> int:
        """Hash, and write what is not believed yet to our file if that is another; where it ended."""
        while position < end:
            self._run.cancel.check()
            chunk = memoryview(os.pread(source, min(_BUFFER, end - position), position))
            if not chunk:
                break
            hasher.update(chunk)
            if source != self._fd:
                for gap in self._spans.missing(position, position + len(chunk)):
                    write_at(self._fd, chunk[gap.start - position : gap.end - position], gap.start)
            position += len(chunk)
        return position


def name_partial(layout: Layout, digest: Digest, owner: str) -> str:
    """A fresh name for a download of ``digest`` that belongs to the lease ``owner``."""
    return f"{layout.partial}/{names.encode_digest(digest)}.{owner}.{unique_name()}"


def _owner(name: str) -> str:
    fields = name.split(".")
    return fields[1] if len(fields) > 1 else ""


def _remove_tree(directory: str) -> None:
    import shutil  # noqa: PLC0415 - brings every archive format with it

    shutil.rmtree(directory, ignore_errors=True)
