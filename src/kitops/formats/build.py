"""From packed layers to the manifest and config of a ModelKit or a ModelPack artifact. Pure.

The digest is a function of content: no clock, tool version or host is in what is built here, unless asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.formats import modelpack
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
from kitops.layers.write import Format
from kitops.oci import gojson
from kitops.oci.annotations import FILE_METADATA, FILE_PATH, KITFILE, LAYER_SUBTYPE, TITLE
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kitops.content.protocols import LayerRecord
    from kitops.formats.plan import PlannedLayer
    from kitops.kitfile.schema import Kitfile
    from kitops.layers.codec import Codec


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A planned layer and what packing it gave.

    Args:
        planned: what was asked for.
        record: digest and size in bytes of the blob, and diff ID.
        mode: permission bits of the file of a raw layer; 0 for tar.
        file_size: bytes of the file of a raw layer, uncompressed; 0 for tar.
    """

    planned: PlannedLayer
    record: LayerRecord
    mode: int = 0
    file_size: int = 0


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
        layers=[_describe(layer, kitops_layer) for layer in layers],
        artifact_type=KITOPS_ARTIFACT,
        annotations=extra,
    )
    return Built(manifest, config)


def build_modelpack(kitfile: Kitfile, layers: Sequence[PackedLayer], extra: Mapping[str, str]) -> Built:
    """The same layers as a ModelPack artifact; the Kitfile is kept in an annotation, as the Go tool does."""
    config = modelpack.build_config(kitfile, [layer.record.diff_id for layer in layers])
    kitfile_json = _config_of(kitfile, layers).dump().decode()
    manifest = Manifest.build(
        config=Descriptor.of(config, MODELPACK_CONFIGS[0]),
        layers=[_describe(layer, modelpack_layer) for layer in layers],
        artifact_type=MODELPACK_ARTIFACTS[0],
        annotations={**extra, KITFILE: kitfile_json},
    )
    return Built(manifest, config)


def _config_of(kitfile: Kitfile, layers: Sequence[PackedLayer]) -> Config:
    return Config(
        kitfile,
        {layer.planned.part: PartDigests(layer.record.digest, layer.record.diff_id) for layer in layers},
    )


def _describe(layer: PackedLayer, media_type: Callable[[Kind, Format, Codec], str]) -> Descriptor:
    planned, path = layer.planned, layer.planned.part.path
    found = {FILE_PATH: path}
    if planned.form is Format.RAW:
        found[TITLE] = path
        found[FILE_METADATA] = _file_metadata(path, layer.mode, layer.file_size)
    if planned.part.kind is Kind.PROMPT:
        found[LAYER_SUBTYPE] = PROMPT_SUBTYPE
    return Descriptor(
        media_type(planned.part.kind, planned.form, planned.codec), layer.record.digest, layer.record.size, found
    )


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
