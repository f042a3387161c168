"""What is known of a model from the headers of its weights and its ``config.json``. Nothing is guessed.

Numbers are given only where they mean one thing: a directory with the same weights in two formats has no one parameter
count, and eight weights packed into an int32 are not one parameter.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.weights.gguf import FILE_TYPES
from kitops.weights.model_config import ModelConfig, natural, word
from kitops.weights.tensors import sum_up

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kitops.oci.gojson import Json
    from kitops.weights.tensors import Header, Totals

PRECISIONS: Final[Mapping[str, str]] = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3",
    "F8_E5M2": "float8_e5m2", "C64": "complex64", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "BOOL": "bool",
}  # fmt: skip
"""The dtypes of headers in the words of model-spec, ``config.precision``. Those of quantised blocks have none."""
PRECISION_WORDS: Final = frozenset(PRECISIONS.values()) | {"complex32", "complex128"}
_WHOLE: Final = frozenset({"I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL"})
_SHARD: Final = re.compile(r"-[0-9]{5}-of-([0-9]{5})(?=\.[a-z]+$)", re.ASCII | re.IGNORECASE)
_WORTH_NAMING: Final = 0.01
"""A dtype with a smaller share of the elements (a mask, a table of positions) does not make the precision mixed."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model; "" or 0 for what is not.

    Args:
        architecture: class or name: ``LlamaForCausalLM``, ``llama``.
        family: ``llama``.
        format: of the weights: ``safetensors``, ``gguf``.
        precision: in the words of model-spec, the largest share first: ``bfloat16``, ``bfloat16,float32``.
        quantization: the method, or the mix of a GGUF file: ``awq``, ``Q4_K_M``.
        parameters: how many.
        context_length: tokens.
    """

    architecture: str = ""
    family: str = ""
    format: str = ""
    precision: str = ""
    quantization: str = ""
    parameters: int = 0
    context_length: int = 0

    def to_json(self) -> dict[str, Json]:
        """What is known, with its name."""
        table: dict[str, Json] = {
            "architecture": self.architecture,
            "family": self.family,
            "format": self.format,
            "precision": self.precision,
            "quantization": self.quantization,
            "parameters": self.parameters,
            "contextLength": self.context_length,
        }
        return {key: value for key, value in table.items() if value}


def gather_facts(
    files: Sequence[tuple[str, Header]], model_path: str, config: ModelConfig, lost: Sequence[str] = ()
) -> Facts:
    """What is known of a model. Where a header of its weights is not, nothing is said of all its tensors.

    Args:
        files: path and header of each file of weights of the model and its parts.
        model_path: the model's file or directory; a file's shards beside it belong to it.
        config: its ``config.json``.
        lost: paths of files of weights without a header that could be read.
    """
    chosen = _choose(files, model_path)
    headers = [header for _, header in chosen]
    is_whole = bool(headers) and _is_whole([path for path, _ in chosen], lost, model_path)
    totals = sum_up(tensor for header in headers for tensor in header.tensors)
    main = [dtype for dtype, count in totals.dtypes.items() if count >= _WORTH_NAMING * totals.parameters]
    gguf = next((header.metadata for header in headers if header.format == "gguf"), {})
    architecture = word(gguf.get("general.architecture"))
    return Facts(
        architecture=config.architecture or architecture,
        family=config.model_type or architecture,
        format=headers[0].format if headers else "",
        precision=_precision(main) if is_whole else config.dtype if config.dtype in PRECISION_WORDS else "",
        quantization=_file_type(gguf) or config.quantization,
        parameters=_parameters(totals, main) if is_whole else 0,
        context_length=natural(gguf.get(f"{architecture}.context_length")) or config.context_length,
    )


def format_parameters(count: int) -> str:
    """A number of parameters in the grammar of model-spec, ``config.paramSize``: ``6.7B``; "" below 50."""
    for power, unit in ((3, "K"), (6, "M"), (9, "B"), (12, "T"), (15, "Q")):
        tenths = (2 * count + 10 ** (power - 1)) // (2 * 10 ** (power - 1))  # halves up
        if tenths < 10_000 or unit == "Q":
            return f"{tenths // 10}.{tenths % 10}{unit}" if tenths else ""
    raise AssertionError("the last unit takes all")


def _choose(files: Sequence[tuple[str, Header]], model_path: str) -> list[tuple[str, Header]]:
    """The model's own weights; none where it is not clear which those are.

    Shards of one model are one set. The set with the model's file is the model; else it is all sets, unless one
    directory has two: the same weights twice, as likely as not.
    """
    sets: dict[tuple[str, str], list[tuple[str, Header]]] = defaultdict(list)
    for path, header in files:
        sets[_set_of(path)].append((path, header))
    if (own := sets.get(_set_of(model_path))) is not None:
        return own
    below = {key: found for key, found in sets.items() if _is_below(key[0], model_path)}
    if len({directory for directory, _ in below}) < len(below):
        return []
    chosen = [file for found in below.values() for file in found]
    return chosen if len({header.format for _, header in chosen}) == 1 else []


def _set_of(path: str) -> tuple[str, str]:
    """What the shards of one model have in common: their directory, and their name without its number."""
    directory, _, name = path.rpartition("/")
    return directory, _SHARD.sub("", name)


def _is_whole(chosen: Sequence[str], lost: Sequence[str], model_path: str) -> bool:
    """Whether ``chosen`` are all the weights of the model: none of its files is lost, and no shard is elsewhere."""
    own = _set_of(model_path)
    if any(_set_of(path) == own or _is_below(path.rpartition("/")[0], model_path) for path in lost):
        return False
    shards = Counter((_set_of(path), int(found[1])) for path in chosen if (found := _SHARD.search(path)))
    return all(count >= total for (_, total), count in shards.items())


def _is_below(directory: str, path: str) -> bool:
    return path in (".", directory) or directory.startswith(f"{path}/")


def _precision(dtypes: Sequence[str]) -> str:
    """The words for ``dtypes``; "" where one has none."""
    words = [PRECISIONS.get(dtype, "") for dtype in dtypes]
    return ",".join(words) if all(words) else ""


def _parameters(totals: Totals, main: Sequence[str]) -> int:
    """Elements, where each is a parameter: whole numbers may be several of them, packed."""
    return 0 if _WHOLE.intersection(main) else totals.parameters


def _file_type(metadata: Mapping[str, Json]) -> str:
    """The mix of a quantised GGUF file; "" for plain floats."""
    number = metadata.get("general.file_type")
    name = FILE_TYPES.get(number, "") if type(number) is int else ""
    return "" if name in PRECISIONS else name
