"""From packed layers to the manifest and config of a ModelKit or a ModelPack artifact. Pure.

The digest is a function of content: no clock, tool version or host is in what is built here, unless asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.errors import PackError
from kitops.formats.config import Config, PartDigests
from kitops.formats.layertypes import (
    KITOPS_ARTIFACT,
    KITOPS_CONFIG,
    MODELPACK_ARTIFACTS,
    MODELPACK_CONFIGS,
    PROMPT_SUBTYPE,
    kitops_layer,
    modelpack_layer,
)
from kitops.formats.parts import Kind
from kitops.layers.codec import Codec
from kitops.layers.write import Format
from kitops.oci import gojson
from kitops.oci.annotations import FILE_METADATA, FILE_PATH, KITFILE, LAYER_SUBTYPE, TITLE
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kitops.content.protocols import LayerRecord
    from kitops.formats.modelpack_config import Told
    from kitops.formats.plan import PlannedLayer
    from kitops.kitfile.schema import Kitfile
    from kitops.weights.facts import Facts

_OF_MODEL: Final = (Kind.MODEL, Kind.MODEL_PART)
MAX_MANIFEST: Final = 4 << 20
"""Bytes of manifest that every registry takes (distribution-spec, "Pushing manifests")."""


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A planned layer and what packing it gave.

    Args:
        planned: what was asked for.
        record: digest and size in bytes of the blob, and diff ID.
        mode: permission bits of the file of a raw layer; 0 for tar.
        file_size: bytes of the file of a raw layer, uncompressed; 0 for tar.
        file: the path of the one file of a raw layer where it is not that of the part: a directory was spread out.
        family: what it is in a ModelPack artifact, where that is known better than by its part.
    """

    planned: PlannedLayer
    record: LayerRecord
    mode: int = 0
    file_size: int = 0
    file: str = ""
    family: Kind | None = None

    @property
    def path(self) -> str:
        """The path of its content."""
        return self.file or self.planned.part.path


@dataclass(frozen=True, slots=True)
class Built:
    """A manifest and the config blob that it points to."""

    manifest: Manifest
    config: bytes


def build_modelkit(kitfile: Kitfile, layers: Sequence[PackedLayer], extra: Mapping[str, str]) -> Built:
    """The ModelKit of ``kitfile`` with ``layers`` in order; ``extra`` are annotations that the user asked for."""
    config = _config_of(kitfile, layers).dump()
    manifest = Manifest.build(
        config=Descriptor.of(config, KITOPS_CONFIG),
        layers=[_describe(layer, layer.planned.part.kind, kitops_layer) for layer in layers],
        artifact_type=KITOPS_ARTIFACT,
        annotations=extra,
    )
    return Built(manifest, config)


def build_modelpack(
    kitfile: Kitfile,
    layers: Sequence[PackedLayer],
    extra: Mapping[str, str],
    facts: Facts | None = None,
    *,
    older: Told | None = None,
) -> Built:
    """The same layers as a ModelPack artifact; the Kitfile is kept in an annotation, as the Go tool does.

    Args:
        kitfile: what was packed.
        layers: in order.
        extra: annotations that the user asked for; some of them are fields of the config too.
        facts: what is known of the model; None is nothing.
        older: what the config of the ModelPack artifact says that these layers come from.

    Raises:
        PackError: there is no layer, a raw one is compressed, or there are too many layers for a manifest.
    """
    from kitops.formats.modelpack_config import build_config  # noqa: PLC0415 - costs the readers of weight files
    from kitops.weights.facts import Facts  # noqa: PLC0415 - as above

    _check_modelpack(layers)
    config = build_config(kitfile, [layer.record.diff_id for layer in layers], facts or Facts(), extra, older)
    kitfile_json = _config_of(kitfile, layers).dump().decode()
    manifest = Manifest.build(
        config=Descriptor.of(config, MODELPACK_CONFIGS[0]),
        layers=[_describe(layer, _family(layer), modelpack_layer) for layer in layers],
        artifact_type=MODELPACK_ARTIFACTS[0],
        annotations={**extra, KITFILE: kitfile_json},
    )
    if len(manifest.raw) > MAX_MANIFEST:
        raise PackError(
            f"{len(layers)} layers make a manifest of {len(manifest.raw)} bytes, registries take {MAX_MANIFEST}",
            hint="use --layer-format tar: one layer for each path of the Kitfile",
        )
    return Built(manifest, config)


def _check_modelpack(layers: Sequence[PackedLayer]) -> None:
    if not layers:
        raise PackError("a ModelPack artifact has at least one layer", hint="name a model, code, data or docs to pack")
    for layer in layers:
        if layer.planned.form is Format.RAW and layer.planned.codec is not Codec.NONE:
            raise PackError(
                f"{layer.planned.part.field}: ModelPack has no compressed raw layers",
                hint="leave --compression out, or use --layer-format tar",
            )


def _config_of(kitfile: Kitfile, layers: Sequence[PackedLayer]) -> Config:
    """The Kitfile with the digests of its parts; a part that was spread over several layers has no one digest."""
    return Config(
        kitfile,
        {
            layer.planned.part: PartDigests(layer.record.digest, layer.record.diff_id)
            for layer in layers
            if not layer.file
        },
    )


def _family(layer: PackedLayer) -> Kind:
    """The model is weights, a part what describes them, as in the Go tool, unless it is known better."""
    kind = layer.planned.part.kind
    return layer.family if layer.family in _OF_MODEL and kind in _OF_MODEL else kind


def _describe(layer: PackedLayer, kind: Kind, media_type: Callable[[Kind, Format, Codec], str]) -> Descriptor:
    planned, path = layer.planned, layer.path
    found = {FILE_PATH: path}
    if planned.form is Format.RAW:
        found[TITLE] = path
        found[FILE_METADATA] = _file_metadata(path, layer.mode, layer.file_size)
    if planned.part.kind is Kind.PROMPT:
        found[LAYER_SUBTYPE] = PROMPT_SUBTYPE
    return Descriptor(media_type(kind, planned.form, planned.codec), layer.record.digest, layer.record.size, found)


def _file_metadata(path: str, mode: int, size: int) -> str:
    """The file's metadata with constants for what is not content (model-spec, "Layer annotations")."""
    return gojson.dumps(
        {
            "name": path.rpartition("/")[2],
            "mode": mode,
            "uid": 1000,
            "gid": 0,
            "size": size,
            "mtime": "1970-01-01T00:00:00Z",
            "typeflag": 0,
        }
    ).decode()
