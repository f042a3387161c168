"""The digests of a layer that is written nowhere."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from kitops.content.protocols import LayerRecord
from kitops.layers.codec import PIECE, Codec
from kitops.layers.write import read_layer
from kitops.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kitops.content.protocols import Run
    from kitops.layers.walk import Entry
    from kitops.layers.write import Format


def measure_layer(
    entries: Sequence[Entry],
    format: Format,  # noqa: A002 - the word of the media types
    codec: Codec,
    *,
    run: Run,
    moved: Callable[[int], None],
) -> LayerRecord:
    """What :func:`~kitops.layers.write.write_layer` would write, by reading every file once.

    Args:
        entries: of :func:`~kitops.layers.walk.scan`.
        format: tar or raw.
        codec: the compression.
        run: watched for the end.
        moved: told the uncompressed bytes of each step.

    Raises:
        PackError: a file changed since the scan, or cannot be read.
    """
    buffer = memoryview(bytearray(PIECE))
    plain = hashlib.sha256()
    packed = hashlib.sha256()
    compressor = None if codec is Codec.NONE else codec.open_compressor()
    size = 0
    for piece in read_layer(entries, format, lambda: buffer):
        run.cancel.check()
        plain.update(piece)
        moved(len(piece))
        if compressor is None:
            size += len(piece)
        else:
            out = compressor.compress(piece)
            packed.update(out)
            size += len(out)
    if compressor is None:
        digest = Digest.from_hasher(plain)
        return LayerRecord(digest, size, digest)
    out = compressor.flush()
    packed.update(out)
    return LayerRecord(Digest.from_hasher(packed), size + len(out), Digest.from_hasher(plain))
