"""The header of a GGUF file: versions 1 to 3, little and big endian.

Magic, version, counts, metadata (typed keys and values), tensors (name, shape, type, offset), then the tensors' data at
the next multiple of ``general.alignment``. Version 1 counts in 32 bits, later ones in 64.
Source: ggml-org/ggml, ``docs/gguf.md``; types from ``enum ggml_type``, their block sizes from ``ggml-common.h``.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from kitops.errors import HeaderError
from kitops.weights.ranges import BLOCK, Ahead
from kitops.weights.tensors import MAX_HEADER, MAX_TENSORS, Header, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kitops.oci.gojson import Json
    from kitops.weights.ranges import Ranges

MAGIC: Final = b"GGUF"


class _Type(NamedTuple):
    """A type of tensors: blocks of so many elements take so many bytes."""

    name: str
    elements: int
    size: int


TYPES: Final[Mapping[int, _Type]] = {
    0: _Type("F32", 1, 4), 1: _Type("F16", 1, 2), 2: _Type("Q4_0", 32, 18), 3: _Type("Q4_1", 32, 20),
    6: _Type("Q5_0", 32, 22), 7: _Type("Q5_1", 32, 24), 8: _Type("Q8_0", 32, 34), 9: _Type("Q8_1", 32, 36),
    10: _Type("Q2_K", 256, 84), 11: _Type("Q3_K", 256, 110),
    12: _Type("Q4_K", 256, 144), 13: _Type("Q5_K", 256, 176), 14: _Type("Q6_K", 256, 210), 15: _Type("Q8_K", 256, 292),
    16: _Type("IQ2_XXS", 256, 66), 17: _Type("IQ2_XS", 256, 74), 18: _Type("IQ3_XXS", 256, 98),
    19: _Type("IQ1_S", 256, 50), 20: _Type("IQ4_NL", 32, 18), 21: _Type("IQ3_S", 256, 110),
    22: _Type("IQ2_S", 256, 82), 23: _Type("IQ4_XS", 256, 136), 24: _Type("I8", 1, 1), 25: _Type("I16", 1, 2),
    26: _Type("I32", 1, 4), 27: _Type("I64", 1, 8), 28: _Type("F64", 1, 8), 29: _Type("IQ1_M", 256, 56),
    30: _Type("BF16", 1, 2), 31: _Type("Q4_0_4_4", 32, 18), 32: _Type("Q4_0_4_8", 32, 18),
    33: _Type("Q4_0_8_8", 32, 18), 34: _Type("TQ1_0", 256, 54), 35: _Type("TQ2_0", 256, 66),
    36: _Type("IQ4_NL_4_4", 32, 18), 37: _Type("IQ4_NL_4_8", 32, 18), 38: _Type("IQ4_NL_8_8", 32, 18),
    39: _Type("MXFP4", 32, 17), 40: _Type("NVFP4", 64, 36), 41: _Type("Q1_0", 128, 18), 42: _Type("Q2_0", 64, 18),
}  # fmt: skip
"""By their numbers, under ggml's names. What ggml itself reads no more (31 to 33, 36 to 38: blocks of Q4_0 and IQ4_NL,
interleaved) stands in files all the same; 4 and 5 were gone before there was GGUF."""

FILE_TYPES: Final[Mapping[int, str]] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 4: "Q4_1_SOME_F16", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S",
    27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 33: "Q4_0_4_4",
    34: "Q4_0_4_8", 35: "Q4_0_8_8", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}  # fmt: skip
"""What ``general.file_type`` says of most of the tensors."""

_STRING: Final = 8
_ARRAY: Final = 9
_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_NAMES: Final = {
    0: "uint8", 1: "int8", 2: "uint16", 3: "int16", 4: "uint32", 5: "int32", 6: "float32", 7: "bool", 8: "string",
    9: "array", 10: "uint64", 11: "int64", 12: "float64",
}  # fmt: skip
_MAX_KEY: Final = 65535
_MAX_NAME: Final = 4096
_MAX_TEXT: Final = 4 << 20
_MAX_KEYS: Final = 1 << 16
_MAX_STRINGS: Final = 1 << 22
"""Strings in one file: vocabularies have up to half a million, merges as many."""
_MAX_VALUES: Final = 1 << 18
_MAX_RANK: Final = 8
_MAX_DEPTH: Final = 4
_SHOWN: Final = 16
"""An array of at most so many values is told, a longer one counted."""


def read_gguf(content: Ranges, what: str) -> Header:
    """Read the header of a GGUF file.

    Args:
        content: the file.
        what: names it in errors.

    Raises:
        HeaderError: it is malformed, or contradicts the file's size.
    """
    cursor = _Cursor(content, what)
    if cursor.take(4) != MAGIC:
        raise HeaderError(what, 0, "a GGUF file begins with 'GGUF', this one does not")
    version = cursor.version()
    tensor_count, key_count = cursor.length(), cursor.length()
    if tensor_count > MAX_TENSORS:
        raise HeaderError(what, 8, f"{tensor_count} tensors are announced, {MAX_TENSORS} are the most")
    if key_count > _MAX_KEYS:
        raise HeaderError(what, 8, f"{key_count} metadata keys are announced, {_MAX_KEYS} are the most")
    metadata = _read_metadata(cursor, key_count)
    infos = _read_infos(cursor, tensor_count)
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= 1 << 20 or alignment & (alignment - 1):
        raise HeaderError(what, cursor.position, f"general.alignment is {alignment!r}, not a power of two")
    data = -(-cursor.position // alignment) * alignment
    tensors = _place(infos, data, alignment, content.size, what)
    return Header("gguf", tensors, metadata, data, version)


class _Cursor:
    """Reads the fields of a header one after the other."""

    def __init__(self, content: Ranges, what: str) -> None:
        self._content = Ahead(content)
        self.what = what
        self.position = 0
        self._order = "<"
        self._wide = True
        self._strings = 0
        self._values = 0

    def version(self) -> int:
        """The version; from here on numbers have its order of bytes and its width."""
        raw = self.take(4)
        found = int.from_bytes(raw, "little")
        if found & 0xFFFF == 0 and found:
            self._order = ">"
            found = int.from_bytes(raw, "big")
        if found not in (1, 2, 3):
            self.fail(4, f"version {found} of GGUF is not known, 1 to 3 are")
        self._wide = found > 1
        return found

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        if self.position + size > MAX_HEADER:
            self.fail(self.position, f"the header goes on after {MAX_HEADER} bytes, which are the most")
        data = self._content.read_at(self.position, size)
        if len(data) < size:
            self.fail(self.position + len(data), "the file ends within the header")
        self.position += size
        return data

    def skip(self, size: int) -> None:
        """Pass over ``size`` bytes that the file must have."""
        if size > MAX_HEADER - self.position:
            self.fail(self.position, f"the header goes on after {MAX_HEADER} bytes, which are the most")
        if size:
            self.position += size - 1
            self.take(1)

    def scalar(self, letter: str) -> int | float | bool:
        """A number; ``letter`` is its code in :mod:`struct`."""
        raw = self.take(struct.calcsize(letter))
        found: int | float | bool = struct.unpack(self._order + letter, raw)[0]
        if letter == "?" and raw[0] > 1:
            self.fail(self.position - 1, f"{raw[0]} is neither true nor false")
        return _shortest(found) if letter == "f" else found

    def number(self) -> int:
        """A number of 32 bits."""
        return int(self.scalar("I"))

    def length(self) -> int:
        """A count: 32 bits in version 1, else 64."""
        return int(self.scalar("Q" if self._wide else "I"))

    def text(self, limit: int, wanted: str) -> str:
        """A string of at most ``limit`` bytes."""
        start = self.position
        length = self.length()
        if length > limit:
            self.fail(start, f"{wanted} has {length} bytes, {limit} are the most")
        raw = self.take(length)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            if wanted == "a value":  # vocabularies hold pieces of letters
                return raw.decode("utf-8", "replace")
            return self.fail(start, f"{wanted} is not UTF-8")

    def value(self, kind: int, depth: int = 0) -> Json:
        """A value of metadata; long arrays become their type and count."""
        self._values += 1
        if self._values > _MAX_VALUES:
            self.fail(self.position, f"there are more than {_MAX_VALUES} values")
        if (letter := _SCALARS.get(kind)) is not None:
            found = self.scalar(letter)
            return found if not isinstance(found, float) or math.isfinite(found) else str(found)
        if kind == _STRING:
            return self.text(_MAX_TEXT, "a value")
        if kind != _ARRAY:
            self.fail(self.position - 4, f"metadata of type {kind} is not known")
        if depth == _MAX_DEPTH:
            self.fail(self.position, f"arrays are nested more than {_MAX_DEPTH} deep")
        inner, count = self.number(), self.length()
        if inner not in _NAMES:
            self.fail(self.position, f"an array holds type {inner}, which is not known")
        if count <= _SHOWN:
            return [self.value(inner, depth + 1) for _ in range(count)]
        if inner in _SCALARS:
            self.skip(count * struct.calcsize(_SCALARS[inner]))
        else:
            self._skip_long(inner, count, depth + 1)
        return {"type": _NAMES[inner], "count": count}

    def _skip_long(self, kind: int, count: int, depth: int) -> None:
        """Pass over strings or arrays, whose lengths have to be read one by one."""
        self._strings += count
        if self._strings > _MAX_STRINGS:
            self.fail(self.position, f"there are more than {_MAX_STRINGS} strings and arrays in arrays")
        if kind == _ARRAY:
            for _ in range(count):
                self.value(_ARRAY, depth)
            return
        self._skip_strings(count)

    def _skip_strings(self, count: int) -> None:
        """Pass over strings, a block of them at a time: a vocabulary has a hundred thousand."""
        length = struct.Struct(self._order + ("Q" if self._wide else "I"))
        read, width = length.unpack_from, length.size
        while count:
            data = self._content.read_at(self.position, BLOCK)
            at, last = 0, len(data) - width
            while count and at <= last:
                at += width + read(data, at)[0]
                count -= 1
            if not at:
                self.fail(self.position + len(data), "the file ends within the header")
            self.skip(at)

    def fail(self, at: int, problem: str) -> NoReturn:
        """Raise the error."""
        raise HeaderError(self.what, at, problem)


def _shortest(value: float | bool) -> float:  # noqa: FBT001 - what struct gives
    """A float of 32 bits with the fewest digits that mean the same: 1e-05, not 9.999999747378752e-06."""
    number = float(value)
    for digits in (6, 7, 8):
        short = float(f"{number:.{digits}g}")
        if math.isfinite(short) and abs(short) < 3e38 and struct.pack("f", short) == struct.pack("f", number):
            return short
    return number


def _read_metadata(cursor: _Cursor, count: int) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for _ in range(count):
        start = cursor.position
        key = cursor.text(_MAX_KEY, "a metadata key")
        if key in found:
            cursor.fail(start, f"metadata key {key!r} stands twice")
        found[key] = cursor.value(cursor.number())
    return found


class _Info(NamedTuple):
    """What the header says of a tensor, and where it says so."""

    tensor: Tensor
    at: int


def _read_infos(cursor: _Cursor, count: int) -> list[_Info]:
    """The tensors in the file's order; their offsets are counted from the beginning of the data yet."""
    found: dict[str, _Info] = {}
    for _ in range(count):
        start = cursor.position
        name = cursor.text(_MAX_NAME, "the name of a tensor")
        if name in found:
            cursor.fail(start, f"tensor {name!r} stands twice")
        rank = cursor.number()
        if rank > _MAX_RANK:
            cursor.fail(start, f"tensor {name!r} has {rank} dimensions, {_MAX_RANK} are the most")
        shape = tuple(cursor.length() for _ in range(rank))
        kind = cursor.number()
        offset = int(cursor.scalar("Q"))
        if kind not in TYPES:
            cursor.fail(start, f"tensor {name!r} is of type {kind}, which is not known")
        dtype, elements, size = TYPES[kind]
        count_of = math.prod(shape)
        if (shape[0] if shape else 1) % elements or count_of >= 1 << 63:
            cursor.fail(start, f"the shape of tensor {name!r} does not fit blocks of {elements} elements")
        found[name] = _Info(Tensor(name, dtype, shape, count_of // elements * size, offset), start)
    return list(found.values())


def _place(infos: list[_Info], data: int, alignment: int, size: int | None, what: str) -> tuple[Tensor, ...]:
    """The tensors with offsets from the beginning of the file.

    They stand one after the other, each at the next multiple of the alignment.
    """
    position = 0
    for tensor, at in sorted(infos, key=lambda info: (info.tensor.offset, info.tensor.size)):
        wanted = -(-position // alignment) * alignment
        if tensor.offset != wanted:
            problem = "overlaps the one before" if tensor.offset < wanted else "leaves a hole before it"
            raise HeaderError(what, at, f"tensor {tensor.name!r} at {tensor.offset} of the data {problem}")
        position = tensor.offset + tensor.size
        if size is not None and data + position > size:
            end = data + position
            raise HeaderError(what, at, f"tensor {tensor.name!r} would end at {end}, the file has {size} bytes")
    return tuple(tensor._replace(offset=data + tensor.offset) for tensor, _ in infos)
