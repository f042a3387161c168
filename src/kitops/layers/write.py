"""Entries become the bytes of one layer, with their digests computed on the way.

Durability: a big layer goes to the disk while it is written (:class:`~kitops.content.body.BodyWriter`); the last bytes,
and small layers, are left to whoever publishes the file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Final, Self

from kitops.content.body import BodyWriter
from kitops.content.mounts import claim
from kitops.content.protocols import Fingerprint, LayerRecord
from kitops.content.reflink import share
from kitops.errors import FileSystemError, KitError, PackError, printable
from kitops.layers.codec import PIECE, Codec
from kitops.layers.ring import Ring
from kitops.layers.tar import END, header_size, member_header, padding
from kitops.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from kitops.content.cancel import CancelToken
    from kitops.content.protocols import Run
    from kitops.layers.walk import Entry

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY  # a pipe put in a file's place must not block


class Format(Enum):
    """How the files of a layer are laid out: a tar archive, or the bytes of one file."""

    TAR = "tar"
    RAW = "raw"


def layer_size(entries: Sequence[Entry], format: Format) -> int:  # noqa: A002 - the word of the media types
    """The uncompressed size in bytes.

    Raises:
        PackError: the format is raw and the entries are not one file.
    """
    if format is Format.RAW:
        return _only_file(entries).size
    total = len(END)
    for entry in entries:
        total += header_size(entry.name, entry.size)
        if not entry.is_dir:
            total += entry.size + padding(entry.size)
    return total


def fingerprint(entries: Sequence[Entry], format: Format, codec: Codec) -> Fingerprint:  # noqa: A002 - as above
    """What decides the layer's bytes, from the file system's stamps alone."""
    hasher = hashlib.sha256(f"{format.value}\n{codec.value}\n{codec.version}\n".encode())
    for entry in entries:
        stamps = (entry.is_dir, entry.mode, entry.device, entry.inode, entry.size, entry.mtime_ns, entry.ctime_ns)
        hasher.update(b"%b\0%d %o %d %d %d %d %d\n" % (entry.name, *stamps))
    newest = max((max(entry.mtime_ns, entry.ctime_ns) for entry in entries), default=0)
    return Fingerprint(hasher.digest(), newest, frozenset(entry.device for entry in entries))


def write_layer(
    entries: Sequence[Entry],
    format: Format,  # noqa: A002 - as above
    codec: Codec,
    out: int,
    *,
    size: int,
    overlap: bool,
    run: Run,
    moved: Callable[[int], None],
) -> LayerRecord:
    """Write a layer into an empty file and tell its digests.

    Args:
        entries: of :func:`~kitops.layers.walk.scan`.
        format: tar or raw.
        codec: the compression.
        out: a descriptor open for reading and writing, at the beginning of an empty file.
        size: what :func:`layer_size` says.
        overlap: hash (and compress) in a second thread: right for a layer on its own. False does all in this thread:
            right for several layers at once, one thread a core.
        run: watched for the end.
        moved: told the uncompressed bytes of each step; they sum up to ``size``.

    Raises:
        PackError: a file changed since the scan, or cannot be read.
        FileSystemError: the layer cannot be written.
    """
    if format is Format.RAW and codec is Codec.NONE and _share_blocks(_only_file(entries), out):
        return _digest_file(out, size, overlap=overlap, run=run, moved=moved)
    with LayerFile(out, size if codec is Codec.NONE else None, run.cancel) as writer:
        if codec is Codec.NONE:
            return _write_plain(entries, format, writer, overlap=overlap, run=run, moved=moved)
        return _write_compressed(entries, format, codec, writer, overlap=overlap, run=run, moved=moved)


def stream_layer(
    entries: Sequence[Entry],
    format: Format,  # noqa: A002 - as above
    codec: Codec,
) -> Iterator[memoryview | bytes]:
    """The bytes of a layer, in pieces that may be read until the next one is asked for.

    Raises:
        PackError: as :func:`write_layer`.
    """
    buffer = memoryview(bytearray(PIECE))
    pieces = read_layer(entries, format, lambda: buffer)
    if codec is Codec.NONE:
        yield from pieces
        return
    compressor = codec.open_compressor()
    for piece in pieces:
        if out := compressor.compress(piece):
            yield out
    yield compressor.flush()


def _share_blocks(entry: Entry, out: int) -> bool:
    """Make ``out`` a copy of the file that takes no time and no space; False, with ``out`` empty, where that fails."""
    try:
        file = os.open(entry.source, _FLAGS)
    except OSError as error:
        raise _unreadable(entry, error) from error
    try:
        if not share(file, out):
            return False
        _check_unchanged(entry, os.fstat(file))
    finally:
        os.close(file)
    return True


def _digest_file(out: int, size: int, *, overlap: bool, run: Run, moved: Callable[[int], None]) -> LayerRecord:
    """Hash what ``out`` holds by now, not the file that it came from: that one may change any time."""
    hasher = hashlib.sha256()
    offset = 0
    try:
        with Ring(hasher.update, run.cancel, beside=overlap) as ring:
            while offset < size:
                view = ring.lend()
                count = os.preadv(out, [view], offset)
                if not count:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                offset += count
                moved(count)
                ring.give(view[:count])
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", "the layer") from error
    digest = Digest.from_hasher(hasher)
    return LayerRecord(digest, size, digest)


def _write_plain(
    entries: Sequence[Entry],
    format: Format,  # noqa: A002 - as above
    writer: LayerFile,
    *,
    overlap: bool,
    run: Run,
    moved: Callable[[int], None],
) -> LayerRecord:
    hasher = hashlib.sha256()
    with Ring(hasher.update, run.cancel, beside=overlap) as ring:
        for piece in read_layer(entries, format, ring.lend):
            writer.write(piece)
            moved(len(piece))
            ring.give(piece)
    digest = Digest.from_hasher(hasher)
    return LayerRecord(digest, writer.written, digest)


def _write_compressed(
    entries: Sequence[Entry],
    format: Format,  # noqa: A002 - as above
    codec: Codec,
    writer: LayerFile,
    *,
    overlap: bool,
    run: Run,
    moved: Callable[[int], None],
) -> LayerRecord:
    """Read and hash the plain bytes here; compress, hash and write beside."""
    plain = hashlib.sha256()
    packed = hashlib.sha256()
    compressor = codec.open_compressor()

    def pass_on(out: bytes) -> None:
        packed.update(out)
        writer.write(memoryview(out))

    with Ring(lambda piece: pass_on(compressor.compress(piece)), run.cancel, beside=overlap) as ring:
        for piece in read_layer(entries, format, ring.lend):
            plain.update(piece)
            moved(len(piece))
            ring.give(piece)
    pass_on(compressor.flush())
    return LayerRecord(Digest.from_hasher(packed), writer.written, Digest.from_hasher(plain))


def read_layer(
    entries: Sequence[Entry],
    format: Format,  # noqa: A002 - as above
    lend: Callable[[], memoryview],
) -> Iterator[memoryview]:
    """The uncompressed bytes, filled into buffers that ``lend`` gives (of 256 KiB or more).

    Each piece is the filled beginning of the buffer lent last; it is not touched any more when the next one is lent.

    Raises:
        PackError: a file changed since the scan, or cannot be read.
    """
    view = lend()
    used = 0
    if format is Format.RAW:
        view, used = yield from _read_big(_only_file(entries), view, 0, lend)
        if used:
            yield view[:used]
        return
    room = len(view)
    for entry in entries:
        size = entry.size
        header = member_header(entry.name, entry.mode, size, is_dir=entry.is_dir)
        whole = len(header) + size + (-size & 511)
        if used + whole > room and used + len(header) > room - 512:
            yield view[:used]
            view, used = lend(), 0
        start = used + len(header)
        view[used:start] = header
        used += len(header)
        if not size:
            continue
        if start + size <= room:
            used = start + size
            _read_small(entry, view[start:used])
        else:
            view, used = yield from _read_big(entry, view, used, lend)
        if blank := -size & 511:  # it fits: members begin at whole blocks, and so does the end of the buffer
            view[used : used + blank] = bytes(blank)
            used += blank
    if used + len(END) > room:
        yield view[:used]
        view, used = lend(), 0
    view[used : used + len(END)] = END
    yield view[: used + len(END)]


def _read_small(entry: Entry, view: memoryview) -> None:
    """Fill ``view`` with a whole file."""
    source = entry.root + b"/" + entry.name
    try:
        file = os.open(source, _FLAGS)
        try:
            count = os.readv(file, [view])
            here = os.fstat(file)
        finally:
            os.close(file)
    except OSError as error:
        raise _unreadable(entry, error) from error
    if (
        count != entry.size
        or here.st_mtime_ns != entry.mtime_ns
        or here.st_size != entry.size
        or here.st_ino != entry.inode
        or here.st_dev != entry.device
    ):
        raise _changed(entry)


def _read_big(
    entry: Entry, view: memoryview, used: int, lend: Callable[[], memoryview]
) -> Generator[memoryview, None, tuple[memoryview, int]]:
    """Fill ``view`` from ``used`` on, and further buffers, with a file; the last buffer and how much of it is used."""
    room = len(view)
    left = entry.size
    try:
        file = os.open(entry.source, _FLAGS)
    except OSError as error:
        raise _unreadable(entry, error) from error
    try:
        while left:
            if used == room:
                yield view
                view, used = lend(), 0
            count = os.readv(file, [view[used : used + min(left, room - used)]])
            if not count:
                raise _changed(entry)
            used += count
            left -= count
        _check_unchanged(entry, os.fstat(file))
    except OSError as error:
        raise _unreadable(entry, error) from error
    finally:
        os.close(file)
    return view, used


def _check_unchanged(entry: Entry, here: os.stat_result) -> None:
    before = (entry.size, entry.mtime_ns, entry.inode, entry.device)
    if (here.st_size, here.st_mtime_ns, here.st_ino, here.st_dev) != before or not stat.S_ISREG(here.st_mode):
        raise _changed(entry)


def _changed(entry: Entry) -> PackError:
    return PackError(
        f"file {printable(entry.name)} changed while it was packed", hint="pack again when nothing writes to it"
    )


def _unreadable(entry: Entry, error: OSError) -> KitError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENXIO):
        return _changed(entry)
    return FileSystemError.wrap(error, "reading", entry.source)


def _only_file(entries: Sequence[Entry]) -> Entry:
    """The one file of a raw layer (its directories on the way are not part of it)."""
    files = [entry for entry in entries if not entry.is_dir]
    if len(files) != 1 or entries[-1].is_dir:
        where = printable(entries[-1].name) if entries else "."
        raise PackError(
            f"a raw layer is one file, {where} is a directory", hint="use `--layer-format tar` for directories"
        )
    return files[0]


class LayerFile:
    """Writes all of what it is given, and has the disk keep up; a context manager.

    Args:
        out: the descriptor.
        size: bytes that will come, where that is known: the space is claimed first, and a full disk told at once.
        cancel: watched while waiting for the disk.
    """

    def __init__(self, out: int, size: int | None, cancel: CancelToken) -> None:
        self._out = out
        self._size = size
        self._body = BodyWriter(out, size, cancel)
        self.written = 0
        if size:
            try:
                claim(out, size)
            except OSError as error:
                raise self._full(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self._body.__exit__(kind, error, trace)
        except OSError as failure:
            raise self._full(failure) from failure

    def write(self, piece: memoryview) -> None:
        try:
            self._body.write(piece)
        except OSError as error:
            raise self._full(error) from error
        self.written += len(piece)

    def _full(self, error: OSError) -> FileSystemError:
        free: int | None = None
        with suppress(OSError):
            room = os.fstatvfs(self._out)
            free = room.f_bavail * room.f_frsize
        return FileSystemError.wrap(error, "writing", "the layer", needed=self._size, free=free)
