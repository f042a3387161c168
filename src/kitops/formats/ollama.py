"""Models of Ollama: Docker manifests with layers of ``application/vnd.ollama.image.*`` types, each one file.

Source: ollama/ollama, ``server/images.go`` and ``manifest``; the layers have no names, but for the newest kinds, whose
descriptors carry a ``name`` of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kitops.formats.named import Known, Named, NamedLayer, kinds_by_name, make_kitfile, text_of, unique_path
from kitops.formats.parts import Kind
from kitops.formats.shape import OLLAMA_LAYER
from kitops.oci import gojson
from kitops.oci.descriptor import expect_map

if TYPE_CHECKING:
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.gojson import Json
    from kitops.oci.manifest import Manifest

_NAMES: Final = {
    "model": (Kind.MODEL, "model", ""),
    "projector": (Kind.MODEL_PART, "projector.gguf", "projector"),
    "adapter": (Kind.MODEL_PART, "adapter.gguf", "lora-adapter"),
    "template": (Kind.MODEL_PART, "template", "chat-template"),
    "params": (Kind.MODEL_PART, "params.json", "parameters"),
    "system": (Kind.PROMPT, "system.txt", ""),
    "prompt": (Kind.PROMPT, "prompt.txt", ""),
    "messages": (Kind.PROMPT, "messages.json", ""),
    "license": (Kind.DOCS, "LICENSE", ""),
}
_FACTS: Final = (("model_family", "family"), ("model_type", "parameters"), ("file_type", "quantization"))


def read_ollama(manifest: Manifest, config: bytes, what: str) -> Named:
    """The files of such a model, and a Kitfile for them.

    Raises:
        InvalidValueError: the config is not JSON.
    """
    table = expect_map(gojson.loads(config, what), what)
    form = text_of(table, "model_format") or "gguf"
    taken: set[str] = set()
    layers = tuple(
        _name(layer, told, form, taken) for layer, told in zip(manifest.layers, _told_names(manifest), strict=True)
    )
    parameters: dict[str, Json] = {name: value for key, name in _FACTS if (value := text_of(table, key))}
    return Named(make_kitfile(layers, Known(format=form, parameters=parameters)), layers)


def _told_names(manifest: Manifest) -> list[str]:
    """The field ``name`` of each layer, which no other format has."""
    raw = expect_map(gojson.loads(manifest.raw, "manifest"), "manifest").get("layers")
    return [text_of(layer, "name") for layer in raw] if isinstance(raw, list) else []


def _name(layer: Descriptor, told: str, form: str, taken: set[str]) -> NamedLayer:
    kind = layer.media_type.removeprefix(OLLAMA_LAYER).partition(";")[0].strip()
    if told:
        path = unique_path(f"{told}.safetensors" if kind == "tensor" else told, taken)
        return NamedLayer(layer, Kind.MODEL if kind == "tensor" else kinds_by_name((path, "m.gguf"))[path], path)
    part, name, word = _NAMES.get(kind, (Kind.MODEL_PART, kind.rpartition("/")[2] or layer.digest.encoded[:12], ""))
    return NamedLayer(layer, part, unique_path(f"{name}.{form}" if kind == "model" else name, taken), type=word)
