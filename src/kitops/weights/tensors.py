"""What a header says: tensors, metadata, and sums over them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kitops.oci.gojson import Json

MAX_HEADER: Final = 100_000_000
"""Bytes of header that are read; the limit that the safetensors library has."""
MAX_TENSORS: Final = 1 << 18


class Tensor(NamedTuple):
    """One tensor.

    Args:
        name: as the file has it.
        dtype: in the format's own words: ``BF16``, ``Q4_K``.
        shape: elements along each axis, in the file's order (GGUF: the fastest axis first).
        size: bytes.
        offset: where its bytes begin, from the beginning of the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    offset: int

    @property
    def elements(self) -> int:
        """Its elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    """The header of one file.

    Args:
        format: of the file.
        tensors: in the file's order.
        metadata: what else it says; long arrays as ``{"type": …, "count": …}``.
        size: bytes before the tensors' data.
        version: of the format; 0 for safetensors, which has none.
    """

    format: Literal["safetensors", "gguf"]
    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, Json] = field(hash=False)
    size: int
    version: int = 0


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over tensors: their number, elements, bytes, and elements by dtype, most first."""

    tensors: int
    parameters: int
    size: int
    dtypes: Mapping[str, int] = field(hash=False)


def sum_up(tensors: Iterable[Tensor]) -> Totals:
    """The sums over ``tensors``."""
    counts: Counter[str] = Counter()
    number = size = 0
    for tensor in tensors:
        counts[tensor.dtype] += tensor.elements
        number += 1
        size += tensor.size
    ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return Totals(number, sum(counts.values()), size, ordered)
