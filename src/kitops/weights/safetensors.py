"""The header of a safetensors file, and the index of a model in several of them.

A file is eight bytes of length (little endian), that many bytes of JSON, then the tensors without a gap. The JSON is
read entry by entry and never as a whole: a header of 100 MB of nested lists costs no more memory than its text.
Source: huggingface/safetensors, ``README.md``, "Format"; ``docs/source/metadata_parsing.mdx`` for the index.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn, cast

from kitops.errors import HeaderError, InvalidValueError
from kitops.oci import gojson
from kitops.weights.ranges import BLOCK
from kitops.weights.tensors import MAX_HEADER, MAX_TENSORS, Header, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kitops.oci.gojson import Json
    from kitops.weights.ranges import Ranges

DTYPE_BITS: Final[Mapping[str, int]] = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8,
    "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
MAX_INDEX: Final = 16 << 20
_MAX_NAME: Final = 4096
_MAX_RANK: Final = 64
_MAX_PAIRS: Final = 1 << 16
_TEXT = re.compile(r'[ \t\r\n]*+"([^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+)"', re.DOTALL)
_COLON = re.compile(r"[ \t\r\n]*+:[ \t\r\n]*+")
_NEXT = re.compile(r"[ \t\r\n]*+([,}])")
_OPEN = re.compile(r"\{[ \t\r\n]*+(\}?)")
_ENTRY = re.compile(r"\{[^{}]{0,4096}\}")


def read_safetensors(content: Ranges, what: str) -> Header:
    """Read the header of a safetensors file.

    Args:
        content: the file.
        what: names it in errors.

    Raises:
        HeaderError: it is malformed, or contradicts the file's size.
    """
    first = content.read_at(0, BLOCK)
    if len(first) < 8:
        raise HeaderError(what, len(first), "the file ends within the length of the header")
    length = int.from_bytes(first[:8], "little")
    if length > MAX_HEADER:
        raise HeaderError(what, 0, f"a header of {length} bytes is announced, {MAX_HEADER} are the most")
    if content.size is not None and 8 + length > content.size:
        raise HeaderError(what, 0, f"a header of {length} bytes is announced, the file has {content.size}")
    raw = first[8 : 8 + length]
    if len(raw) < length:
        raw += content.read_at(8 + len(raw), length - len(raw))
    if len(raw) < length:
        raise HeaderError(what, 8 + len(raw), f"the file ends within the header of {length} bytes")
    tensors, metadata = _Parser(raw, what).parse()
    _check_layout(tensors, 8 + length, content.size, what)
    return Header("safetensors", tuple(tensors), metadata, 8 + length)


class _Parser:
    """Reads the one shape that the JSON of a header has."""

    def __init__(self, raw: bytes, what: str) -> None:
        self._what = what
        self._data = 8 + len(raw)
        try:
            self._text = raw.decode()
        except UnicodeDecodeError as error:
            raise HeaderError(what, 8 + error.start, "the header is not UTF-8") from error

    def parse(self) -> tuple[list[Tensor], dict[str, Json]]:
        tensors: dict[str, Tensor] = {}
        metadata: dict[str, Json] | None = None
        at, is_empty = self._open(0)
        while not is_empty:
            start = at
            name, at = self._key(at)
            if name == "__metadata__":
                if metadata is not None:
                    self._fail(start, "'__metadata__' stands twice")
                metadata, at = self._metadata(at)
            else:
                if name in tensors:
                    self._fail(start, f"tensor {name!r} stands twice")
                if len(tensors) == MAX_TENSORS:
                    self._fail(start, f"there are more than {MAX_TENSORS} tensors")
                tensors[name], at = self._tensor(name, at)
            at, is_empty = self._next(at)
        if self._text[at:].strip(" \t\r\n"):
            self._fail(at, "something stands behind the header's closing brace")
        return list(tensors.values()), metadata or {}

    def _metadata(self, at: int) -> tuple[dict[str, Json], int]:
        found: dict[str, Json] = {}
        at, is_empty = self._open(at)
        while not is_empty:
            start = at
            key, at = self._key(at)
            if key in found:
                self._fail(start, f"'__metadata__' has {key!r} twice")
            if len(found) == _MAX_PAIRS:
                self._fail(start, f"'__metadata__' has more than {_MAX_PAIRS} entries")
            found[key], at = self._string(at, "text in '__metadata__'", len(self._text))
            at, is_empty = self._next(at)
        return found, at

    def _tensor(self, name: str, at: int) -> tuple[Tensor, int]:
        match = _ENTRY.match(self._text, at)
        if match is None:
            self._fail(at, f"tensor {name!r} is not described by an object of a few numbers")
        try:
            pairs = json.loads(match.group(), object_pairs_hook=lambda pairs: pairs)
        except (ValueError, RecursionError) as error:
            raise HeaderError(self._what, self._byte(at), f"tensor {name!r} is not valid JSON") from error
        found = dict(pairs)
        if len(found) != len(pairs) or found.keys() != {"dtype", "shape", "data_offsets"}:
            self._fail(at, f"tensor {name!r} must have dtype, shape and data_offsets, each once, and nothing else")
        dtype, shape, offsets = found["dtype"], found["shape"], found["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
            self._fail(at, f"tensor {name!r} has dtype {dtype!r}, which is not known")
        if not _is_naturals(shape) or len(shape) > _MAX_RANK:
            self._fail(at, f"the shape of tensor {name!r} is not a list of at most {_MAX_RANK} sizes")
        if not _is_naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
            self._fail(at, f"the data_offsets of tensor {name!r} are not a beginning and an end")
        bits = math.prod(shape) * DTYPE_BITS[dtype]
        size = offsets[1] - offsets[0]
        if bits != 8 * size:
            made = f"{bits // 8}" if bits % 8 == 0 else f"{bits} bits"
            self._fail(at, f"tensor {name!r} is given {size} bytes, its dtype and shape make {made}")
        return Tensor(name, dtype, tuple(shape), size, self._data + offsets[0]), match.end()

    def _open(self, at: int) -> tuple[int, bool]:
        match = _OPEN.match(self._text, at)
        if match is None:
            self._fail(at, "an object is wanted here")
        return match.end(), bool(match[1])

    def _next(self, at: int) -> tuple[int, bool]:
        match = _NEXT.match(self._text, at)
        if match is None:
            self._fail(at, "a comma or a closing brace is wanted here")
        return match.end(), match[1] == "}"

    def _key(self, at: int) -> tuple[str, int]:
        name, at = self._string(at, "a name", _MAX_NAME)
        match = _COLON.match(self._text, at)
        if match is None:
            self._fail(at, "a colon is wanted here")
        return name, match.end()

    def _string(self, at: int, wanted: str, limit: int) -> tuple[str, int]:
        match = _TEXT.match(self._text, at)
        if match is None:
            self._fail(at, f"{wanted} is wanted here")
        found = match[1]
        if len(found) > limit:
            self._fail(at, f"{wanted} has more than {limit} letters")
        if "\\" in found:
            try:
                found = cast("str", json.loads(f'"{found}"'))
                found.encode()
            except ValueError as error:
                raise HeaderError(self._what, self._byte(at), f"{wanted} has an escape that is none") from error
        return found, match.end()

    def _fail(self, at: int, problem: str) -> NoReturn:
        raise HeaderError(self._what, self._byte(at), problem)

    def _byte(self, at: int) -> int:
        return 8 + len(self._text[:at].encode())


def _is_naturals(value: object) -> bool:
    """Whether it is a list of whole numbers from 0 to 2^63."""
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 63 for item in value)


def _check_layout(tensors: list[Tensor], data: int, size: int | None, what: str) -> None:
    """Tensors fill the file from the header to the end: no overlap, no hole, nothing behind."""
    position = data
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size)):
        if tensor.offset != position:
            problem = "overlaps the one before" if tensor.offset < position else "leaves a hole before it"
            raise HeaderError(what, tensor.offset, f"tensor {tensor.name!r} {problem}, which ends at {position}")
        position += tensor.size
    if size is not None and position != size:
        raise HeaderError(what, position, f"the tensors end here, the file has {size} bytes")


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """``model.safetensors.index.json``: which file has which tensor."""

    weight_map: Mapping[str, str] = field(hash=False)

    @property
    def files(self) -> frozenset[str]:
        return frozenset(self.weight_map.values())


def parse_index(data: bytes, what: str) -> ShardIndex:
    """Read an index.

    Raises:
        HeaderError: it is none.
    """
    if len(data) > MAX_INDEX:
        raise HeaderError(what, MAX_INDEX, f"the index goes on after {MAX_INDEX} bytes, which are the most")
    try:
        table = gojson.loads(data, "the index")
    except InvalidValueError as error:
        raise HeaderError(what, 0, error.message) from error
    found = table.get("weight_map") if isinstance(table, dict) else None
    if not isinstance(found, dict) or not all(isinstance(file, str) and file for file in found.values()):
        raise HeaderError(what, 0, "the index has no 'weight_map' from tensors to files")
    return ShardIndex(cast("Mapping[str, str]", found))
