"""Which files of a tree are wanted: globs, and one format of weights where there are several. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from kitops.errors import InvalidValueError
from kitops.kitfile.classify import FileKind, classify, model_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kitops.importers.tree import RemoteFile

FORMATS: Final[dict[str, tuple[str, ...]]] = {
    "safetensors": (".safetensors",),
    "gguf": (".gguf",),
    "onnx": (".onnx", ".onnx_data"),
    "pytorch": (".bin", ".pt", ".pth", ".ckpt"),
    "tensorflow": (".h5", ".keras", ".pb", ".tflite"),
    "flax": (".msgpack",),
    "openvino": (".xml",),
}
"""Formats of weights that ``--prefer`` knows, with their suffixes."""


def pick(
    files: Sequence[RemoteFile], *, include: Sequence[str] = (), exclude: Sequence[str] = (), prefer: str = ""
) -> list[RemoteFile]:
    """The wanted files, in the order given.

    Args:
        files: of the tree.
        include: globs, one of which a path must match; none takes everything.
        exclude: globs of paths that are left out.
        prefer: a format of weights: in a directory that has weights in this format, those in another are left out.

    Raises:
        InvalidValueError: ``prefer`` is not known, or nothing is left.
    """
    found = [
        file for file in files if (not include or is_match(file.path, include)) and not is_match(file.path, exclude)
    ]
    if prefer:
        found = _prefer(found, prefer)
    if files and not found:
        raise InvalidValueError(
            f"none of the {len(files)} files is taken by the filters", hint="loosen --include and --exclude"
        )
    return found


def is_match(path: str, globs: Iterable[str]) -> bool:
    """Whether a path matches a glob as Hugging Face reads them: ``*`` crosses ``/``, ``dir/`` takes all below it."""
    return any(fnmatchcase(path, f"{glob}*" if glob.endswith("/") else glob) for glob in globs)


def _prefer(files: Iterable[RemoteFile], prefer: str) -> list[RemoteFile]:
    """Leave out weights that the preferred format has in the same directory too."""
    if prefer not in FORMATS:
        raise InvalidValueError(f"--prefer {prefer}: the format is not known", hint=f"formats are {', '.join(FORMATS)}")
    listed = list(files)
    has_preferred = {_directory(file.path) for file in listed if _format(file.path) == prefer}
    return [file for file in listed if _format(file.path) in ("", prefer) or _directory(file.path) not in has_preferred]


def _directory(path: str) -> str:
    return path.rpartition("/")[0]


def _format(path: str) -> str:
    """The format of a file of weights, or of the index of its shards; empty for any other file."""
    name = path.rpartition("/")[2].lower()
    name = name.removesuffix(".index.json")
    for known, suffixes in FORMATS.items():
        if name.endswith(suffixes) and (known != "pytorch" or _is_pytorch(name)):
            return known
    return ""


def _is_pytorch(name: str) -> bool:
    """Whether a name of PyTorch's suffixes is that of weights: tokenizers and training arguments end in .bin too."""
    if not name.endswith(".bin"):
        return True
    return classify(name) is FileKind.MODEL or model_name(name) in ("diffusion_pytorch_model", "adapter_model", "model")
