"""Which layers of one format become which layers of another, and which of them stay as they are. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.errors import InvalidValueError
from kitops.formats.modelkit import newest_first
from kitops.formats.parts import Kind, list_parts
from kitops.formats.shape import Shape
from kitops.layers.codec import Codec
from kitops.layers.raw import raw_member
from kitops.layers.write import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.formats.modelkit import KitLayer, ModelKit
    from kitops.formats.parts import Part

MAX_IMAGE_LAYERS: Final = 100
"""Layers of an image beyond which they are made one a part: runtimes stack at most about 127."""


@dataclass(frozen=True, slots=True)
class Target:
    """What layers of the source become.

    Args:
        part: the part of the Kitfile.
        sources: its layers.
        form: of the layer that is made.
        codec: its compression.
        is_reused: the only source is taken as it is.
        is_spread: every file becomes a layer of its own.
    """

    part: Part
    sources: tuple[KitLayer, ...]
    form: Format
    codec: Codec
    is_reused: bool = False
    is_spread: bool = False

    @property
    def size(self) -> int:
        """Bytes of the sources, as stored."""
        return sum(source.desc.size for source in self.sources)

    @property
    def family(self) -> Kind | None:
        """What the sources are by their own types, where those agree; None leaves it to the part."""
        found = {source.family for source in self.sources}
        return found.pop() if len(found) == 1 else None

    @property
    def newest_first(self) -> Sequence[KitLayer]:
        """The sources, so that the first one that has a path is right."""
        return newest_first(self.sources)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for; None keeps what the source has, where that can be."""

    form: Format | None = None
    codec: Codec | None = None


def plan_conversion(kit: ModelKit, to: Shape, wishes: Wishes) -> tuple[Target, ...]:
    """The layers to make, in their order.

    Args:
        kit: the source.
        to: a ModelKit, a ModelPack artifact, or an image.
        wishes: what was asked for.

    Raises:
        InvalidValueError: a layer belongs to no part, a part has no layer, or a wish cannot be fulfilled.
    """
    groups = _group(kit)
    if to is Shape.IMAGE:
        if wishes.form is Format.RAW or wishes.codec is Codec.ZSTD:
            hint = "leave out --layer-format raw" if wishes.form is Format.RAW else "--compression gzip"
            raise InvalidValueError("layers of an image are tar archives, plain or gzip", hint=hint)
        return _plan_image(groups, wishes)
    return tuple(target for part, sources in groups for target in _plan_part(part, sources, to, wishes))


def _group(kit: ModelKit) -> list[tuple[Part, tuple[KitLayer, ...]]]:
    found: dict[Part, list[KitLayer]] = {part: [] for part in list_parts(kit.kitfile)}
    for layer in kit.layers:
        if layer.part is None:
            raise InvalidValueError(f"layer {layer.label} belongs to no part of the Kitfile", hint="unpack and pack it")
        found[layer.part].append(layer)
    for part, layers in found.items():
        if not layers:
            raise InvalidValueError(f"{part.field} ({part.label}) has no layer of its own", hint="unpack and pack it")
    return [(part, tuple(layers)) for part, layers in found.items()]


def _plan_part(part: Part, sources: Sequence[KitLayer], to: Shape, wishes: Wishes) -> list[Target]:
    is_modelpack = to is Shape.MODELPACK
    files = [layer for layer in sources if not _is_directory(layer)]
    is_raw = bool(files) and all(layer.form is Format.RAW for layer in files)
    form = wishes.form or (Format.RAW if is_raw else Format.TAR)
    if part.kind is Kind.MCP_SERVER:
        form = Format.RAW
    elif wishes.form is None and not is_modelpack and [layer.path for layer in sources] != [part.path]:
        form = Format.TAR
    elif form is Format.RAW and is_modelpack and wishes.codec not in (None, Codec.NONE):
        raise InvalidValueError("ModelPack has no compressed raw layers", hint="use --layer-format tar")
    if form is Format.TAR:
        return [_plan_archive(part, tuple(sources), wishes.codec)]
    codec = Codec.NONE if is_modelpack or part.kind is Kind.MCP_SERVER else wishes.codec
    if sources[0].within:  # of an image: later layers hide what earlier ones have
        return [Target(part, tuple(sources), form, codec or Codec.NONE, is_spread=is_modelpack)]
    targets = []
    for layer in sources:
        if _is_directory(layer):  # only an archive can tell of one
            targets.append(Target(part, (layer,), Format.TAR, Codec.NONE, is_spread=is_modelpack))
            continue
        is_reused = _may_stay(layer, form, codec) and (is_modelpack or layer.path == part.path)
        kept = layer.codec if is_reused else codec or Codec.NONE
        targets.append(Target(part, (layer,), form, kept, is_reused=is_reused, is_spread=is_modelpack))
    return targets


def _plan_archive(part: Part, sources: tuple[KitLayer, ...], codec: Codec | None) -> Target:
    if len(sources) == 1 and _may_stay(sources[0], Format.TAR, codec):
        return Target(part, sources, Format.TAR, sources[0].codec, is_reused=True)
    return Target(part, sources, Format.TAR, codec or _codec_of(sources))


def _plan_image(groups: Sequence[tuple[Part, tuple[KitLayer, ...]]], wishes: Wishes) -> tuple[Target, ...]:
    """One layer for each of the source, unless they are too many, or those of an image that hide one another."""
    layers = [(part, layer) for part, sources in groups for layer in sources]
    if len(layers) <= MAX_IMAGE_LAYERS and not any(layer.within for _, layer in layers):
        groups = [(part, (layer,)) for part, layer in layers]
    targets = []
    for part, sources in groups:
        codec = wishes.codec or _codec_of(sources)
        targets.append(Target(part, sources, Format.TAR, Codec.NONE if codec is Codec.ZSTD else codec))
    return tuple(targets)


def _is_directory(layer: KitLayer) -> bool:
    """Whether a raw layer stands for a directory.

    Raises:
        TrustError: it stands for a link.
    """
    return layer.form is Format.RAW and bool(layer.path) and raw_member(layer.desc, layer.path, layer.label).is_dir


def _may_stay(layer: KitLayer, form: Format, codec: Codec | None) -> bool:
    """Whether its bytes are right as they are: form, compression, and names from the context on."""
    is_right = codec is None or layer.codec.suffix == codec.suffix
    return layer.form is form and is_right and not layer.base and not layer.within


def _codec_of(sources: Sequence[KitLayer]) -> Codec:
    """The compression of archives that are made again; raw files are not compressed by that."""
    return sources[0].codec if sources[0].form is Format.TAR else Codec.NONE


SUFFIXES: Final[dict[Shape, str]] = {
    shape: f"-{shape.value}" for shape in (Shape.MODELKIT, Shape.MODELPACK, Shape.IMAGE)
}


def suffixed_tag(tag: str, to: Shape) -> str:
    """The tag of what ``tag`` becomes: ``v1-modelpack``; a suffix of that kind is replaced."""
    for suffix in SUFFIXES.values():
        if tag.endswith(suffix) and tag != suffix:
            tag = tag.removesuffix(suffix)
            break
    return f"{tag}{SUFFIXES[to]}"
