"""The same weights in several formats: which of them ``--prefer`` leaves out. Pure.

Weights are the same where they are called the same, but for the format, the number of a shard and the precision, in one
directory or in directories that are called after formats (``onnx/model_fp16.onnx`` beside ``model.safetensors``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

FORMATS: Final[dict[str, tuple[str, ...]]] = {
    "safetensors": (".safetensors",),
    "gguf": (".gguf",),
    "onnx": (".onnx",),
    "pytorch": (".bin", ".pt", ".pth", ".ckpt"),
    "tensorflow": (".h5", ".keras", ".pb", ".tflite"),
    "flax": (".msgpack",),
    "rust": (".ot",),
    "openvino": (".xml",),
    "coreml": (".mlmodel", ".mlpackage", ".mlmodelc"),
}
"""Formats of weights that ``--prefer`` knows, with their suffixes."""
_DIRECTORIES: Final = {
    **{name: name for name in FORMATS},
    **dict.fromkeys(("tf", "tflite", "saved_model"), "tensorflow"),
    **dict.fromkeys(("torch",), "pytorch"),
    **dict.fromkeys(("jax",), "flax"),
    "original": "",
}
"""Directories of a model's other formats; ``original`` has any."""
_MODEL: Final = "model"
"""What weights are called that are the whole model of their directory."""
_WELL_KNOWN: Final = frozenset(
    (
        *("pytorch_model", "tf_model", "flax_model", "rust_model", "openvino_model", "consolidated", "saved_model"),
        *("diffusion_pytorch_model", "diffusion_flax_model"),
    )
)
"""Names that libraries give to those."""
_PIPELINE: Final = "model_index.json"
"""Lies beside the components of a pipeline of diffusers, which a ``.ckpt`` holds all of."""
_INDEX: Final = re.compile(r"\.index(?:\.\w+)?\.json$", re.ASCII)
_SIDECAR: Final = re.compile(r"\.onnx[._]data(?:[._-]?\d+)?$", re.ASCII)
_SHARD: Final = re.compile(r"[-_.]\d{5}-of-\d{5}$|(?<=consolidated)\.\d{2}$", re.ASCII)
_PRECISION: Final = re.compile(
    r"[-_.](b?f(?:p|loat)?(?:16|32)|u?int(?:4|8)|i?q\d\w*|bnb4|quantized)$", re.ASCII | re.IGNORECASE
)
"""What a name has behind that of its model."""


@dataclass(frozen=True, slots=True)
class _Weights:
    """A file of weights, or one that goes with them (an index of shards, data outside of ``.onnx``).

    Args:
        path: of the file.
        format: of the weights.
        root: the directory whose model it is.
        stem: what that is called.
        precision: that the name tells; empty for all of it.
        is_all: whether it is all of the root's model, whatever it is called.
    """

    path: str
    format: str
    root: str
    stem: str
    precision: str
    is_all: bool

    @property
    def names(self) -> set[tuple[str, str, str]]:
        """What it is, for others of it."""
        return {(self.root, self.stem, self.precision), *([(self.root, _MODEL, "")] if self.is_all else [])}

    @property
    def wider_names(self) -> set[tuple[str, str, str]]:
        """What may stand for it: the same in full precision too."""
        return {*self.names, (self.root, self.stem, "")}


def find_others(paths: Collection[str], prefer: str) -> tuple[list[str], bool]:
    """The files of weights that the format ``prefer`` has too.

    Args:
        paths: of all files.
        prefer: the format.

    Returns:
        The paths of those in other formats; and whether there are any weights in ``prefer`` at all.

    Raises:
        InvalidValueError: the format is not known.
    """
    if prefer not in FORMATS:
        raise InvalidValueError(f"--prefer {prefer}: the format is not known", hint=f"formats are {', '.join(FORMATS)}")
    paths = dict.fromkeys(paths)
    weights = list(_find_weights(paths))
    there = {name for one in weights if one.format == prefer for name in one.names}
    components = {root.rpartition("/")[0] for root, stem, _ in there if root and stem == _MODEL}
    there |= {(above, _MODEL, "") for above in components if _join(above, _PIPELINE) in paths}
    others = {one.path for one in weights if one.format != prefer and not there.isdisjoint(one.wider_names)}
    kept = {one.path for one in weights} - others
    emptied = {above for path in others if (above := _format_directory(path))}
    emptied -= {above for path in kept if (above := _format_directory(path))}
    return [path for path in paths if path in others or _format_directory(path) in emptied], bool(there)


def _find_weights(paths: Collection[str]) -> Iterator[_Weights]:
    for path in paths:
        *above, name = _split(path)
        kind, stem, precision = _parse_name(name)
        if kind == "openvino" and not _has_pair(path, ".bin", paths):
            continue
        if kind == "pytorch" and _has_pair(path, ".xml", paths):
            kind = "openvino"
        if not kind:
            continue
        place = next((index for index, word in enumerate(above) if word.lower() in _DIRECTORIES), len(above))
        root = "/".join(above[:place])
        is_all = (
            _DIRECTORIES[above[place].lower()] == kind
            if place < len(above)
            else (kind == "gguf" and not stem.startswith("mmproj"))
            or (name.endswith(".ckpt") and _join(root, _PIPELINE) in paths)
        )
        yield _Weights(path, kind, root, stem, precision, is_all)


def _split(path: str) -> list[str]:
    """The words of a path, up to a directory that is one model (``x.mlpackage``)."""
    words = path.split("/")
    packages = (index for index, word in enumerate(words[:-1]) if word.lower().endswith((".mlpackage", ".mlmodelc")))
    return words[: next(packages, len(words)) + 1]


def _parse_name(name: str) -> tuple[str, str, str]:
    """Format, stem and precision of a file of weights; empty for any other."""
    folded = _SIDECAR.sub(".onnx", _INDEX.sub("", name.lower()))
    for kind, suffixes in FORMATS.items():
        for suffix in suffixes:
            if folded.endswith(suffix):
                stem = _SHARD.sub("", folded.removesuffix(suffix))
                precision = found[1] if (found := _PRECISION.search(stem)) else ""
                stem = _SHARD.sub("", _PRECISION.sub("", stem))
                return kind, _MODEL if stem in _WELL_KNOWN else stem, precision
    return "", "", ""


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


def _has_pair(path: str, suffix: str, paths: Collection[str]) -> bool:
    """Whether a file of the same name with another suffix lies beside."""
    return f"{path.rpartition('.')[0]}{suffix}" in paths


def _format_directory(path: str) -> str:
    """The directory above that is called after a format; empty where there is none."""
    words = path.split("/")[:-1]
    for index, word in enumerate(words):
        if _DIRECTORIES.get(word.lower()):
            return "/".join(words[: index + 1])
    return ""


def tell_paths(paths: Iterable[str], most: int = 10) -> str:
    """Some paths for people."""
    listed = list(paths)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f"{', '.join(listed[:most])}{more}"
