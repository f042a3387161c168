"""What a layer is and what it is called: all that reading its files needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kitops.layers.codec import Codec
    from kitops.layers.write import Format
    from kitops.oci.descriptor import Descriptor


@dataclass(frozen=True, slots=True)
class LayerContent:
    """What a layer is and what it is called.

    Args:
        desc: of the blob.
        form: tar or raw.
        codec: its compression.
        path: the path that it was packed from; a raw layer's file.
        base: the directory that a tar layer's names are relative to.
        what: names it in errors.
        within: the only directory of a tar layer that is unpacked, its names relative to it; "" for all.
    """

    desc: Descriptor
    form: Format
    codec: Codec
    path: str
    base: str
    what: str
    within: str = ""
