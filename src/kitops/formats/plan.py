"""From a Kitfile to the layers that it asks for. Pure: no file is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.formats.parts import Kind, list_parts
from kitops.layers.codec import Codec
from kitops.layers.write import Format

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kitops.formats.parts import Part
    from kitops.kitfile.schema import Kitfile


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """One layer to make.

    Args:
        part: the part of the Kitfile.
        form: tar, or raw (the file's own bytes).
        codec: its compression.
        deeper: cleaned paths of the other layers, of this ModelKit and of its parents; what is below one of them is
            left out here.
    """

    part: Part
    form: Format
    codec: Codec
    deeper: frozenset[str]


def plan_layers(
    kitfile: Kitfile, *, form: Format, codec: Codec, parent_paths: Iterable[str] = ()
) -> tuple[PlannedLayer, ...]:
    """The layers of ``kitfile`` in their order.

    MCP bundles are always raw and uncompressed: they are archives already.
    """
    parts = list_parts(kitfile)
    taken = {part.path for part in parts}.union(parent_paths)
    return tuple(
        PlannedLayer(part, Format.RAW, Codec.NONE, frozenset(taken - {part.path}))
        if part.kind is Kind.MCP_SERVER
        else PlannedLayer(part, form, codec, frozenset(taken - {part.path}))
        for part in parts
    )
