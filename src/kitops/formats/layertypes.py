"""Media types of layers: which kind of part, which format, which codec; of KitOps and of ModelPack.

KitOps: ``application/vnd.kitops.modelkit.<kind>.v1.<format>[+codec]``. ModelPack (model-spec 0.0.7):
``application/vnd.cncf.model.<family>.v1.<format>[+codec]``, before 0.0.7 with ``cnai`` for ``cncf``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from kitops.formats.parts import Kind
from kitops.layers.codec import Codec
from kitops.layers.write import Format

KITOPS_ARTIFACT: Final = "application/vnd.kitops.modelkit.manifest.v1+json"
KITOPS_CONFIG: Final = "application/vnd.kitops.modelkit.config.v1+json"
JOZU_CONFIG: Final = "application/vnd.jozu.model.config.v1+json"
JOZU_LAYER: Final = "application/vnd.jozu.model.content.v1.tar+gzip"
MODELPACK_ARTIFACTS: Final = (
    "application/vnd.cncf.model.manifest.v1+json",
    "application/vnd.cnai.model.manifest.v1+json",
)
MODELPACK_CONFIGS: Final = (
    "application/vnd.cncf.model.config.v1+json",
    "application/vnd.cnai.model.config.v1+json",
)

PROMPT_SUBTYPE: Final = "prompt"

_KITOPS_KINDS = {
    Kind.MODEL: "model",
    Kind.MODEL_PART: "modelpart",
    Kind.CODE: "code",
    Kind.DATASET: "dataset",
    Kind.DOCS: "docs",
    Kind.PROMPT: "code",
    Kind.MCP_SERVER: "mcpb",
}
_MODELPACK_FAMILIES = {
    Kind.MODEL: "weight",
    Kind.MODEL_PART: "weight.config",
    Kind.CODE: "code",
    Kind.DATASET: "dataset",
    Kind.DOCS: "doc",
    Kind.PROMPT: "code",
    Kind.MCP_SERVER: "code",
}
_ENCODING = r"\.v1\.(?P<format>tar|raw)(?:\+(?P<codec>gzip|zstd))?"
_KITOPS = re.compile(rf"application/vnd\.kitops\.modelkit\.(?P<kind>[a-z]+){_ENCODING}", re.ASCII)
_MODELPACK = re.compile(
    rf"application/vnd\.(?:cncf|cnai)\.model\.(?P<kind>weight\.config|weight|code|dataset|doc){_ENCODING}", re.ASCII
)
_ONE_FILE = re.compile(r"application/vnd\.(?:cncf|cnai)\.model\.weight\.v1\.(?P<suffix>gguf|safetensors)", re.ASCII)
_KINDS = {
    "model": Kind.MODEL,
    "modelpart": Kind.MODEL_PART,
    "code": Kind.CODE,
    "dataset": Kind.DATASET,
    "docs": Kind.DOCS,
    "mcpb": Kind.MCP_SERVER,
    "weight": Kind.MODEL,
    "weight.config": Kind.MODEL_PART,
    "doc": Kind.DOCS,
}


@dataclass(frozen=True, slots=True)
class LayerType:
    """What a layer's media type says. ``kind`` is None where it does not say (very old kits, plain artifacts)."""

    kind: Kind | None
    format: Format
    codec: Codec

    @classmethod
    def parse(cls, media_type: str, *, subtype: str = "") -> LayerType | None:
        """Read a media type and the layer-subtype annotation; None when it is no layer of a model artifact."""
        if media_type == JOZU_LAYER:
            return cls(None, Format.TAR, Codec.GZIP)
        if weight_suffix(media_type):
            return cls(Kind.MODEL, Format.RAW, Codec.NONE)
        match = _KITOPS.fullmatch(media_type) or _MODELPACK.fullmatch(media_type)
        if match is None or match["kind"] not in _KINDS:
            return None
        kind = _KINDS[match["kind"]]
        if kind is Kind.CODE and subtype == PROMPT_SUBTYPE:
            kind = Kind.PROMPT
        return cls(kind, Format(match["format"]), Codec(match["codec"] or "none"))


def weight_suffix(media_type: str) -> str:
    """``gguf`` or ``safetensors`` of a type of early Docker Model Runner, whose bytes are a raw layer's; else ""."""
    found = _ONE_FILE.fullmatch(media_type)
    return found["suffix"] if found else ""


def kitops_layer(kind: Kind, form: Format, codec: Codec) -> str:
    """The media type of a layer in a ModelKit."""
    return f"application/vnd.kitops.modelkit.{_KITOPS_KINDS[kind]}.v1.{form.value}{codec.suffix}"


def modelpack_layer(kind: Kind, form: Format, codec: Codec) -> str:
    """The media type of a layer in a ModelPack artifact."""
    return f"application/vnd.cncf.model.{_MODELPACK_FAMILIES[kind]}.v1.{form.value}{codec.suffix}"
