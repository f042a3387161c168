"""From a Kitfile to the layers that it asks for. Pure: no file is looked at."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.formats.parts import Kind, list_parts
from kitops.layers.codec import Codec
from kitops.layers.write import Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kitops.formats.parts import Part
    from kitops.kitfile.schema import Kitfile

_AFTER_SLASH: Final = chr(ord("/") + 1)


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """One layer to make.

    Args:
        part: the part of the Kitfile.
        form: tar, or raw (the file's own bytes).
        codec: its compression.
        deeper: cleaned paths of the layers below this one, of this ModelKit and of its parents; what is below one of
            them is left out here.
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
    taken = sorted({part.path for part in parts}.union(parent_paths))
    return tuple(
        PlannedLayer(part, Format.RAW, Codec.NONE, _below(part.path, taken))
        if part.kind is Kind.MCP_SERVER
        else PlannedLayer(part, form, codec, _below(part.path, taken))
        for part in parts
    )


def _below(path: str, taken: Sequence[str]) -> frozenset[str]:
    """Those of the sorted paths that lie below ``path``: found without a look at each, there may be thousands."""
    if path == ".":
        return frozenset(taken).difference({path})
    return frozenset(taken[bisect_left(taken, f"{path}/") : bisect_left(taken, f"{path}{_AFTER_SLASH}")])
