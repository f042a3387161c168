"""The header of a file of weights, whatever its format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kitops.errors import HeaderError
from kitops.weights import gguf
from kitops.weights.ranges import Ahead
from kitops.weights.safetensors import read_safetensors

if TYPE_CHECKING:
    from kitops.weights.ranges import Ranges
    from kitops.weights.tensors import Header

SUFFIXES: Final = (".safetensors", ".gguf")
INDEX_SUFFIX: Final = ".safetensors.index.json"
_POINTER: Final = b"version https://git-lfs.github.com/spec/v1\n"


def has_header(path: str) -> bool:
    """Whether ``path`` is called like a file whose header can be read."""
    return path.lower().endswith(SUFFIXES)


def read_header(content: Ranges, what: str) -> Header:
    """Read the header of a safetensors or GGUF file; its first bytes tell which it is.

    Args:
        content: the file.
        what: names it in errors.

    Raises:
        HeaderError: it is malformed.
    """
    ahead = Ahead(content)
    if ahead.read_at(0, len(_POINTER)) == _POINTER:
        raise HeaderError(
            what, 0, "this is a pointer of git-lfs, not the file itself", hint="`git lfs pull` fetches it"
        )
    if ahead.read_at(0, 4) == gguf.MAGIC:
        return gguf.read_gguf(ahead, what)
    return read_safetensors(ahead, what)
