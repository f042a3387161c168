"""Files of layers that are here become other layers: taken out of archives, put into archives.

What is read is verified while it is used, in a thread of its own; memory does not grow with the files.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Self, TypeAlias

from kitops.content.protocols import LayerRecord
from kitops.errors import FileSystemError, IntegrityError
from kitops.layers.codec import PIECE, Codec, decompress
from kitops.layers.raw import raw_member
from kitops.layers.ring import Ring
from kitops.layers.tar import END, member_header, padding
from kitops.layers.untar import PieceReader, read_members
from kitops.layers.write import Format, LayerFile
from kitops.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from kitops.content.cancel import CancelToken
    from kitops.content.protocols import Reader, Run
    from kitops.layers.layer_content import LayerContent
    from kitops.layers.untar import Member

Take: TypeAlias = "Callable[[Member, Iterator[memoryview]], None]"


def read_files(reader: Reader, layer: LayerContent, run: Run, take: Take, moved: Callable[[int], None]) -> None:
    """Let ``take`` have the files and directories of a layer, in its order; the whole layer is verified at the end.

    Args:
        reader: the blob, unverified.
        layer: what it is.
        run: watched for the end.
        take: told each member, and its content, which it reads to the end before it comes back. The size of the file
            of a compressed raw layer is not known: -1.
        moved: told the bytes of the blob.

    Raises:
        IntegrityError: the layer is damaged.
        TrustError: it holds something unsafe.
    """

    def use(content: PieceReader) -> None:
        if layer.form is Format.RAW:
            member = raw_member(layer.desc, layer.path, layer.what)
            if not member.is_dir and layer.codec is not Codec.NONE:
                member.size = -1
            take(member, iter(()) if member.is_dir else content.rest())
        else:
            for member in read_members(content, layer.base, layer.within):
                take(member, content.parts(member.size))
        content.drain()

    read_content(reader, layer, run, use, moved)


def read_content(
    reader: Reader, layer: LayerContent, run: Run, use: Callable[[PieceReader], None], moved: Callable[[int], None]
) -> None:
    """Let ``use`` have the uncompressed bytes of a layer, all of which it reads; the layer is verified at the end.

    Raises:
        IntegrityError: the layer is damaged.
    """
    hasher = layer.desc.digest.new_hasher()
    size = 0
    with Ring(hasher.update, run.cancel, beside=layer.desc.size > PIECE) as ring:

        def pieces() -> Iterator[memoryview]:
            nonlocal size
            while True:
                view = ring.lend()
                count = _read_into(reader, view, layer.what)
                if not count:
                    return
                size += count
                yield view[:count]
                ring.give(view[:count])
                moved(count)

        use(PieceReader(decompress(pieces(), layer.codec, layer.what), layer.what))
    if size != layer.desc.size:
        raise IntegrityError(layer.what, f"{layer.desc.size} bytes", f"{size} bytes")
    if hasher.hexdigest() != layer.desc.digest.encoded:
        raise IntegrityError(layer.what, layer.desc.digest, f"{layer.desc.digest.algorithm}:{hasher.hexdigest()}")


class LayerOut:
    """A layer that is written piece by piece into an empty file; a context manager.

    Args:
        out: a descriptor open for writing.
        codec: its compression.
        size: its bytes where they are known; the space is claimed first.
        cancel: watched while waiting for the disk.
        beside: compress and write in a thread of its own.

    Attributes:
        size: bytes that were written, uncompressed.
    """

    def __init__(self, out: int, codec: Codec, size: int | None, cancel: CancelToken, *, beside: bool) -> None:
        self._file = LayerFile(out, size, cancel)
        self._compressor = None if codec is Codec.NONE else codec.open_compressor()
        self._plain = hashlib.sha256()
        self._packed = hashlib.sha256()
        self._ring = Ring(self._store, cancel, beside=beside)
        self._is_open = False
        self._view = memoryview(b"")
        self._used = 0
        self.size = 0

    def __enter__(self) -> Self:
        self._file.__enter__()
        self._ring.__enter__()
        self._is_open = True
        self._view = self._ring.lend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._is_open:
                self._ring.__exit__(kind, error, trace)
        finally:
            self._file.__exit__(kind, error, trace)

    def add_member(self, name: bytes, mode: int, size: int, parts: Iterable[memoryview], *, is_dir: bool) -> None:
        """Append a member of an archive."""
        self.write(member_header(name, mode, size, is_dir=is_dir))
        for part in parts:
            self.write(part)
        if blank := padding(size):
            self.write(bytes(blank))

    def write(self, piece: memoryview | bytes) -> None:
        """Append bytes; they may change afterwards."""
        start = 0
        self.size += len(piece)
        while start < len(piece):
            if self._used == len(self._view):
                self._pass_on()
            count = min(len(piece) - start, len(self._view) - self._used)
            self._view[self._used : self._used + count] = piece[start : start + count]
            self._used += count
            start += count

    def finish(self, *, is_archive: bool) -> LayerRecord:
        """Its digests, now that it is whole.

        Raises:
            FileSystemError: something could not be written.
        """
        if is_archive:
            self.write(END)
        self._pass_on()
        self._is_open = False
        self._ring.__exit__(None, None, None)
        digest = Digest.from_hasher(self._plain)
        if self._compressor is None:
            return LayerRecord(digest, self._file.written, digest)
        self._write_packed(self._compressor.flush())
        return LayerRecord(Digest.from_hasher(self._packed), self._file.written, digest)

    def _pass_on(self) -> None:
        filled = self._view[: self._used]
        self._plain.update(filled)
        self._ring.give(filled)
        self._view, self._used = self._ring.lend(), 0

    def _store(self, filled: memoryview) -> None:
        if self._compressor is None:
            self._file.write(filled)
        else:
            self._write_packed(self._compressor.compress(filled))

    def _write_packed(self, out: bytes) -> None:
        self._packed.update(out)
        self._file.write(memoryview(out))


def _read_into(reader: Reader, view: memoryview, what: str) -> int:
    try:
        return reader.readinto(view)
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", what) from error
