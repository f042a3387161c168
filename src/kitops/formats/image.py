"""Container images that carry a model below ``/models`` (KServe calls them modelcars): read, and built.

What is elsewhere in an image, as the shell of a base image, is passed over. Our own images have the Kitfile as a label,
and the path of its part on each layer.
Source: image-spec, ``config.md`` and ``layer.md``; KServe, "Serve models with OCI images".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.formats.build import Built
from kitops.formats.config import Config
from kitops.formats.named import Named, NamedLayer
from kitops.formats.parts import Kind
from kitops.formats.plain import package_of
from kitops.formats.shape import IMAGE_CONFIG, IMAGE_LAYER, IMAGE_LAYERS
from kitops.kitfile.dump import to_json
from kitops.kitfile.schema import Kitfile, Model
from kitops.layers.write import Format
from kitops.oci import gojson
from kitops.oci.annotations import FILE_PATH, KITFILE
from kitops.oci.descriptor import Descriptor, expect_map
from kitops.oci.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kitops.content.protocols import LayerRecord
    from kitops.layers.codec import Codec
    from kitops.oci.gojson import Json

MODELS: Final = "models"
"""The directory of an image that runtimes look for a model in."""
_LABELS: Final = (("title", "name"), ("version", "version"), ("description", "description"), ("licenses", "license"))


def read_image(manifest: Manifest, config: bytes, what: str) -> Named:
    """The layers of an image, and its Kitfile: that of its label, else one whose model is all of ``/models``.

    Raises:
        InvalidValueError: the config is not JSON, or the label is no Kitfile.
    """
    labels = _labels(expect_map(gojson.loads(config, what), what))
    text = labels.get(KITFILE)
    layers = tuple(
        NamedLayer(
            layer,
            Kind.MODEL if text is None else None,
            layer.annotations.get(FILE_PATH, "") if text is not None else "",
            Format.TAR,
            IMAGE_LAYERS[layer.media_type],
            within=MODELS,
        )
        for layer in manifest.layers
    )
    if text is not None:
        return Named(Config.parse(text, f"label {KITFILE} of {what}").kitfile, layers, is_authored=True)
    return Named(Kitfile(package=package_of(labels), model=Model(path=".")), layers)


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image is for, in Go's words: ``linux``, ``arm64``, and where there are several of those, ``v8``."""

    system: str
    architecture: str
    variant: str = ""


def build_image(
    kitfile: Kitfile,
    layers: Sequence[tuple[str, Codec, LayerRecord]],
    extra: Mapping[str, str],
    platform: Platform,
) -> Built:
    """The manifest and config of an image whose layers have everything below ``/models``. Nothing runs in it.

    Args:
        kitfile: becomes a label.
        layers: of each, the path of its part, its compression, and digests.
        extra: annotations of the manifest.
        platform: files have none, but runtimes ask.
    """
    package = kitfile.package
    labels: dict[str, Json] = {KITFILE: gojson.dumps(to_json(kitfile)).decode()}
    for label, attribute in _LABELS:
        if value := getattr(package, attribute):
            labels[f"org.opencontainers.image.{label}"] = value
    if package.authors:
        labels["org.opencontainers.image.authors"] = ", ".join(package.authors)
    diff_ids: list[Json] = [str(record.diff_id) for _, _, record in layers]
    config = gojson.dumps(
        {
            "architecture": platform.architecture,
            **({"variant": platform.variant} if platform.variant else {}),
            "os": platform.system,
            "config": {"Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    )
    manifest = Manifest.build(
        config=Descriptor.of(config, IMAGE_CONFIG),
        layers=[
            Descriptor(f"{IMAGE_LAYER}{codec.suffix}", record.digest, record.size, {FILE_PATH: path})
            for path, codec, record in layers
        ],
        annotations=extra,
    )
    return Built(manifest, config)


def _labels(table: dict[str, Json]) -> dict[str, str]:
    config = table.get("config")
    labels = config.get("Labels") if isinstance(config, dict) else None
    return {key: value for key, value in labels.items() if isinstance(value, str)} if isinstance(labels, dict) else {}
