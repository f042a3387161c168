"""The files in a layer, with sizes and digests, without unpacking it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.layers.codec import PIECE, decompress
from kitops.layers.untar import PieceReader, read_members
from kitops.layers.write import Format
from kitops.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.content.protocols import Reader, Run
    from kitops.layers.codec import Codec


@dataclass(frozen=True, slots=True)
class FileMember:
    """One file of a layer: path, bytes, permission bits (None for a raw layer), SHA-256 of its content."""

    path: str
    size: int
    mode: int | None
    digest: Digest


def list_files(
    reader: Reader,
    form: Format,
    codec: Codec,
    *,
    layer_path: str,
    base: str = "",
    within: str = "",
    what: str,
    run: Run,
) -> Iterator[FileMember]:
    """The files of a layer, in its order.

    Args:
        reader: the blob's bytes.
        form: tar or raw.
        codec: its compression.
        layer_path: the path of a raw layer's file.
        base: the directory that a tar layer's names are relative to.
        within: only what is below this directory is told, relative to it.
        what: names the layer in errors.
        run: watched for the end.

    Raises:
        IntegrityError: the layer is damaged.
        TrustError: it holds something unsafe.
    """
    pieces = PieceReader(decompress(_read(reader, run), codec, what), what)
    if form is Format.RAW:
        yield _digest_rest(pieces, layer_path)
        return
    for member in read_members(pieces, base, within):
        if not member.is_dir:
            hasher = hashlib.sha256()
            for part in pieces.parts(member.size):
                hasher.update(part)
            yield FileMember(member.path, member.size, member.mode, Digest.from_hasher(hasher))
    pieces.drain()


def _digest_rest(pieces: PieceReader, path: str) -> FileMember:
    hasher = hashlib.sha256()
    size = 0
    for piece in pieces.rest():
        hasher.update(piece)
        size += len(piece)
    return FileMember(path, size, None, Digest.from_hasher(hasher))


def _read(reader: Reader, run: Run) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(PIECE))
    while count := reader.readinto(buffer):
        run.cancel.check()
        yield buffer[:count]
