"""What a ``config.json`` of the transformers library says of a model.

Source: huggingface/transformers, ``PretrainedConfig``. Files of that name are written by other programs too: what does
not fit is not known, never an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.errors import InvalidValueError
from kitops.oci import gojson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kitops.oci.gojson import Json

CONFIG_NAME: Final = "config.json"
MAX_CONFIG: Final = 1 << 20
_MAX_WORD: Final = 128


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Facts of a ``config.json``; "" or 0 where it does not say.

    Args:
        architecture: the first of ``architectures``: ``LlamaForCausalLM``.
        model_type: the family: ``llama``.
        dtype: ``torch_dtype``, or ``dtype`` as newer releases call it: ``bfloat16``.
        quantization: the method: ``awq``.
        context_length: tokens.
    """

    architecture: str = ""
    model_type: str = ""
    dtype: str = ""
    quantization: str = ""
    context_length: int = 0


def parse_model_config(data: bytes) -> ModelConfig:
    """Read a ``config.json``, of whatever program."""
    if len(data) > MAX_CONFIG:
        return ModelConfig()
    try:
        table = gojson.loads(data, CONFIG_NAME)
    except InvalidValueError:
        return ModelConfig()
    if not isinstance(table, dict):
        return ModelConfig()
    names, quantized = table.get("architectures"), table.get("quantization_config")
    return ModelConfig(
        architecture=word(names[0]) if isinstance(names, list) and names else "",
        model_type=word(table.get("model_type")),
        dtype=(word(table.get("torch_dtype")) or word(table.get("dtype"))).removeprefix("torch."),
        quantization=word(quantized.get("quant_method")) if isinstance(quantized, dict) else "",
        context_length=natural(table.get("max_position_embeddings")),
    )


def find_config(configs: Mapping[str, ModelConfig], model_path: str) -> ModelConfig:
    """The one of ``configs`` (by path) that stands in the model's directory, or beside its file or directory."""
    above = model_path.rpartition("/")[0]
    for directory in (model_path, above):
        path = CONFIG_NAME if directory in ("", ".") else f"{directory}/{CONFIG_NAME}"
        if path in configs:
            return configs[path]
    return ModelConfig()


def word(value: Json) -> str:
    """A short printable text as it is; "" for anything else."""
    return value if isinstance(value, str) and len(value) <= _MAX_WORD and value.isprintable() else ""


def natural(value: Json) -> int:
    """A whole number from 1 to 2^53; 0 for anything else."""
    return value if type(value) is int and 0 < value <= 1 << 53 else 0
