"""Plain artifacts whose layers have titles, as ``oras push`` makes them.

A title is the path of the layer's file; a directory is one gzip archive, marked ``io.deis.oras.content.unpack``, whose
names begin with the title. Layers without a title are what ``oras pull`` leaves out, and so do we.
Source: oras-go, ``content/file`` (annotations); the golden vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kitops.formats.layertypes import LayerType
from kitops.formats.named import Known, Named, NamedLayer, kinds_by_name, make_kitfile
from kitops.kitfile.schema import Package
from kitops.layers.codec import Codec
from kitops.layers.write import Format
from kitops.oci.annotations import TITLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kitops.formats.parts import Kind
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.manifest import Manifest

UNPACK: Final = "io.deis.oras.content.unpack"
_PREFIX: Final = "org.opencontainers.image."


def read_artifact(manifest: Manifest) -> Named:
    """The files of a plain artifact, and a Kitfile for them."""
    titled = [layer for layer in manifest.layers if layer.annotations.get(TITLE)]
    kinds = kinds_by_name(layer.annotations[TITLE] for layer in titled)
    layers = tuple(_name(layer, kinds[layer.annotations[TITLE]]) for layer in titled)
    return Named(make_kitfile(layers, Known(package_of(manifest.annotations))), layers)


def package_of(table: Mapping[str, str]) -> Package:
    """What the image specification's annotations, or the labels of the same names, say of the whole."""
    authors = table.get(f"{_PREFIX}authors", "")
    return Package(
        name=table.get(f"{_PREFIX}title", ""),
        version=table.get(f"{_PREFIX}version", ""),
        description=table.get(f"{_PREFIX}description", ""),
        license=table.get(f"{_PREFIX}licenses", ""),
        authors=(authors,) if authors else (),
    )


def _name(layer: Descriptor, kind: Kind) -> NamedLayer:
    path = layer.annotations[TITLE]
    if layer.annotations.get(UNPACK) == "true":
        return NamedLayer(layer, kind, path, Format.TAR, Codec.GZIP)
    found = LayerType.parse(layer.media_type)
    if found is None:
        return NamedLayer(layer, kind, path)
    return NamedLayer(layer, found.kind or kind, path, found.format, found.codec)
