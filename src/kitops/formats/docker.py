"""Models of Docker Model Runner: artifacts of ``application/vnd.docker.ai.*`` types.

Every layer is one file, but archives of configuration and of directories. Names are in annotations since config 0.2;
before, a file has the name that the runner gives it when it lays a model out.
Source: docker/model-spec, ``spec.md`` and ``config.md``; docker/model-runner, ``pkg/distribution/types``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kitops.formats.layertypes import weight_suffix
from kitops.formats.modelpack import file_path, weight_names
from kitops.formats.named import Known, Named, NamedLayer, kinds_by_name, make_kitfile, text_of, unique_path
from kitops.formats.parts import Kind
from kitops.kitfile.schema import Package
from kitops.layers.write import Format
from kitops.oci import gojson
from kitops.oci.descriptor import expect_map

if TYPE_CHECKING:
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.gojson import Json
    from kitops.oci.manifest import Manifest

_TYPE: Final = "application/vnd.docker.ai."
_WEIGHTS: Final = re.compile(r"gguf(?:\.v[0-9]+)?|safetensors(?:\.v[0-9]+)?|dduf|model\.file\.v1\+gguf", re.ASCII)
_ARCHIVES: Final = frozenset(("vllm.config.tar", "dir.tar"))
_OTHERS: Final = {
    "gguf.v3.lora": (Kind.MODEL_PART, "adapter.gguf", "lora-adapter"),
    "gguf.v3.mmproj": (Kind.MODEL_PART, "mmproj.gguf", "projector"),
    "mmproj": (Kind.MODEL_PART, "mmproj.gguf", "projector"),
    "chat.template.jinja": (Kind.MODEL_PART, "template.jinja", "chat-template"),
    "vllm.config.tar": (Kind.MODEL_PART, ".", ""),
    "dir.tar": (Kind.MODEL_PART, ".", ""),
    "license": (Kind.DOCS, "LICENSE", ""),
}
_FACTS: Final = ("architecture", "quantization", "parameters")


def read_docker(manifest: Manifest, config: bytes, what: str) -> Named:
    """The files of such a model, and a Kitfile for them.

    Raises:
        InvalidValueError: the config is not JSON.
    """
    table = expect_map(gojson.loads(config, what), what)
    weights = [layer for layer in manifest.layers if _WEIGHTS.fullmatch(_kind(layer))]
    names = dict(zip(map(id, weights), weight_names([_suffix(layer) for layer in weights]), strict=True))
    taken: set[str] = set()
    layers = tuple(_name(layer, names.get(id(layer), ""), taken) for layer in manifest.layers)
    return Named(make_kitfile(layers, _known(table)), layers)


def _kind(layer: Descriptor) -> str:
    return weight_suffix(layer.media_type) or layer.media_type.removeprefix(_TYPE)


def _suffix(layer: Descriptor) -> str:
    kind = _kind(layer)
    return next((word for word in ("safetensors", "dduf") if kind.startswith(word)), "gguf")


def _name(layer: Descriptor, weight: str, taken: set[str]) -> NamedLayer:
    kind = _kind(layer)
    told = file_path(layer)
    form = Format.TAR if kind in _ARCHIVES else Format.RAW
    if weight:
        return NamedLayer(layer, Kind.MODEL, told or unique_path(weight, taken), form)
    if kind in _OTHERS:
        part, name, word = _OTHERS[kind]
        return NamedLayer(layer, part, told or (name if name == "." else unique_path(name, taken)), form, type=word)
    path = told or unique_path(kind.rpartition("/")[2], taken)
    return NamedLayer(layer, kinds_by_name((path, "model.gguf"))[path], path, form)


def _known(table: dict[str, Json]) -> Known:
    config = table.get("config")
    told = config if isinstance(config, dict) else {}
    found: dict[str, Json] = {key: value for key in _FACTS if (value := text_of(told, key))}
    if type(size := told.get("context_size")) is int:
        found["contextSize"] = size
    return Known(Package(name=text_of(told.get("gguf"), "general.name")), text_of(told, "format"), found)
