"""Laws of headers: whatever the bytes, there is a header that holds together or one clear error."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kitops.errors import HeaderError
from kitops.weights.gguf import read_gguf
from kitops.weights.header import read_header
from kitops.weights.ranges import BytesRanges
from kitops.weights.safetensors import DTYPE_BITS, read_safetensors
from kitops.weights.tensors import Header
from weight_bytes import gguf_bytes, gguf_string, plain_safetensors, safetensors_bytes, write_gguf

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared
_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_JSON = st.recursive(
    st.sampled_from([None, True, 0, -1, 1 << 70, 0.5, "", "F32", "shape"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["dtype", "shape", "x"]), inner),
    max_leaves=6,
)
_NUMBERS = st.integers(min_value=0, max_value=(1 << 64) - 1) | st.integers(min_value=0, max_value=64)
_SHAPES = st.lists(_NUMBERS, max_size=4)


def check(data: bytes) -> None:
    """A header whose tensors lie within the file without an overlap, or a HeaderError of one line."""
    try:
        header = read_header(BytesRanges(data), "it")
    except HeaderError as error:
        assert "\n" not in error.message
        return
    check_header(header, len(data))


def check_header(header: Header, size: int) -> None:
    end = header.size
    for tensor in sorted(header.tensors, key=lambda tensor: (tensor.offset, tensor.size)):
        assert tensor.offset >= end
        end = tensor.offset + tensor.size
    assert end <= size or not header.tensors
    json.dumps(dict(header.metadata), allow_nan=False)


@CALM
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    check(data)
    check(b"GGUF" + data)
    check(b"GGUF\3\0\0\0" + data)


@CALM
@given(st.dictionaries(_NAMES, _JSON, max_size=4), st.binary(max_size=20))
def test_any_json(entries: dict, data: bytes) -> None:
    check(safetensors_bytes(entries, data))


@CALM
@given(
    st.lists(
        st.tuples(
            _NAMES,
            st.sampled_from(sorted(DTYPE_BITS)),
            st.lists(st.integers(0, 1 << 40) | st.integers(0, 4), max_size=4),
            st.lists(_NUMBERS, min_size=2, max_size=2),
        ),
        max_size=4,
    ),
    st.binary(max_size=64),
)
def test_entries_that_almost_hold_together(rows: list, data: bytes) -> None:
    entries = {name: {"dtype": dtype, "shape": shape, "data_offsets": at} for name, dtype, shape, at in rows}
    check(safetensors_bytes(entries, data))


@CALM
@given(
    st.lists(st.tuples(st.binary(max_size=8), st.integers(0, 14), st.binary(max_size=40)), max_size=4),
    st.lists(
        st.tuples(st.binary(max_size=8), st.lists(_NUMBERS, max_size=4), st.integers(0, 42), _NUMBERS), max_size=4
    ),
    st.sampled_from([1, 2, 3]),
    st.sampled_from("<>"),
    st.integers(0, 200),
)
def test_gguf_that_almost_holds_together(pairs: list, tensors: list, version: int, order: str, data: int) -> None:
    if version == 1:
        tensors = [(name, [number & 0xFFFFFFFF for number in shape], kind, at) for name, shape, kind, at in tensors]
    check(gguf_bytes(pairs, tensors, version=version, order=order, data=data))


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    path: Path = tmp_path_factory.mktemp("weights") / "m.gguf"
    write_gguf(path)
    small = gguf_bytes([(b"k", 8, gguf_string(b"v"))], [(b"a", [8], 0, 0), (b"b", [32], 2, 32)], data=64)
    return [path.read_bytes()[:3000] + path.read_bytes()[-1000:], small, plain_safetensors(a=(2, 3), b=(4,), c=(0,))]


@CALM
@given(st.integers(0, 2), st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=6), st.integers(0, 9))
def test_damaged_files(whole_files: list[bytes], which: int, changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(whole_files[which])
    for at, value in changes:
        data[at % len(data)] = value
    check(bytes(data[: len(data) - cut]))


@CALM
@given(st.dictionaries(_NAMES.filter(lambda name: name != "__metadata__"), st.lists(st.integers(0, 5), max_size=3)))
def test_what_is_well_formed_is_read_back(shapes: dict[str, list[int]]) -> None:
    data = plain_safetensors(**shapes)
    header = read_safetensors(BytesRanges(data), "it")
    assert {tensor.name: list(tensor.shape) for tensor in header.tensors} == shapes
    check_header(header, len(data))


@CALM
@given(st.lists(st.binary(max_size=300), max_size=60), st.integers(1, 3))
def test_strings_are_passed_over_to_the_byte(texts: list[bytes], version: int) -> None:
    width = "I" if version == 1 else "Q"
    value = struct.pack("<I" + width, 8, len(texts)) + b"".join(gguf_string(text, "<", width) for text in texts)
    data = gguf_bytes([(b"k", 9, value), (b"after", 0, b"\7")], version=version)
    assert read_gguf(BytesRanges(data), "it").metadata["after"] == 7
