"""Headers of safetensors and GGUF: what the formats' own libraries write is read, and what lies is refused by name."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from kitops.errors import FileSystemError, HeaderError, InvalidValueError
from kitops.weights.gguf import FILE_TYPES, TYPES, read_gguf
from kitops.weights.header import has_header, read_header
from kitops.weights.ranges import Ahead, BytesRanges, StreamRanges, TooFarError, Window, open_file
from kitops.weights.safetensors import DTYPE_BITS, parse_index, read_safetensors
from kitops.weights.tensors import Tensor, sum_up
from weight_bytes import gguf_bytes, gguf_string, plain_safetensors, safetensors_bytes, write_gguf

A = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@dataclass
class Counting:
    """Ranges that remember how they were read; ``size`` may be None, as of a stream."""

    data: bytes
    size: int | None = None
    reads: list[tuple[int, int]] = field(default_factory=list)

    def read_at(self, offset: int, size: int) -> bytes:
        found = self.data[offset : offset + size]
        self.reads.append((offset, len(found)))
        return found


def test_what_the_safetensors_library_writes() -> None:
    arrays = {
        "a.weight": np.zeros((2, 3), np.float32),
        "b": np.zeros((4,), np.float16),
        "empty": np.zeros((0, 5), np.int8),
        "scalar": np.array(1.0),
        'odd "name" \\ é\n': np.zeros((1,), np.uint8),
    }
    data = safetensors.numpy.save(arrays, metadata={"format": "pt", "note": 'a "}" b'})
    header = read_safetensors(BytesRanges(data), "m")
    assert header.metadata == {"format": "pt", "note": 'a "}" b'}
    assert {tensor.name: (tensor.shape, tensor.size) for tensor in header.tensors} == {
        name: (array.shape, array.nbytes) for name, array in arrays.items()
    }
    assert header.size == 8 + struct.unpack("<Q", data[:8])[0]
    theirs = safetensors.deserialize(data)
    assert {(name, found["dtype"]) for name, found in theirs} == {(t.name, t.dtype) for t in header.tensors}


def test_offsets_lead_to_the_tensors() -> None:
    data = safetensors.numpy.save({"a": np.arange(6, dtype=np.int32), "b": np.arange(3, dtype=np.int64)})
    for tensor in read_safetensors(BytesRanges(data), "m").tensors:
        piece = data[tensor.offset : tensor.offset + tensor.size]
        assert np.frombuffer(piece, np.int32 if tensor.dtype == "I32" else np.int64).tolist() == list(
            range(*tensor.shape)
        )


def test_a_long_header_costs_itself_and_no_more() -> None:
    data = plain_safetensors(**{f"layer.{number}.weight": (1,) for number in range(3000)})
    content = Counting(data, len(data))
    header = read_safetensors(content, "m")
    assert len(header.tensors) == 3000
    assert sum(size for _, size in content.reads) <= header.size + 65536
    assert len(content.reads) == 2


def test_what_the_gguf_library_writes(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf")
    with open_file(tmp_path / "m.gguf") as content:
        header = read_header(content, "m.gguf")
    theirs = gguf.GGUFReader(str(tmp_path / "m.gguf"))
    assert [(t.name, list(t.shape), t.size, t.offset) for t in header.tensors] == [
        (t.name, t.shape.tolist(), int(t.n_bytes), int(t.data_offset)) for t in theirs.tensors
    ]
    assert [t.dtype for t in header.tensors] == ["F16", "Q4_0"]
    assert header.metadata == {
        "general.architecture": "llama",
        "llama.context_length": 4096,
        "general.file_type": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-05,
        "tokenizer.ggml.tokens": {"type": "string", "count": 3000},
        "tokenizer.ggml.scores": {"type": "float32", "count": 3000},
    }
    assert (header.format, header.version, header.size) == ("gguf", 3, theirs.data_offset)


@pytest.mark.parametrize(("version", "order"), [(1, "<"), (2, "<"), (3, "<"), (3, ">"), (2, ">")])
def test_versions_and_orders_of_bytes(version: int, order: str) -> None:
    width = "I" if version == 1 else "Q"
    strings = gguf_string(b"tok\xff", order, width) * 20
    pairs = [
        (b"general.alignment", 4, struct.pack(order + "I", 64)),
        (b"flag", 7, b"\1"),
        (b"f", 6, struct.pack(order + "f", 0.1)),
        (b"d", 12, struct.pack(order + "d", float("nan"))),
        (b"few", 9, struct.pack(order + "I" + width, 0, 3) + b"\1\2\3"),
        (b"many", 9, struct.pack(order + "I" + width, 8, 20) + strings),
        (b"nested", 9, struct.pack(order + "I" + width, 9, 1) + struct.pack(order + "I" + width + "h", 3, 1, -5)),
    ]
    tensors = [(b"a", [3, 2], 0, 0), (b"b", [1], 28, 64)]
    data = gguf_bytes(pairs, tensors, version=version, order=order)
    data += bytes(-len(data) % 64 + 72)
    header = read_gguf(BytesRanges(data), "m")
    assert header.metadata == {
        "general.alignment": 64,
        "flag": True,
        "f": 0.1,
        "d": "nan",
        "few": [1, 2, 3],
        "many": {"type": "string", "count": 20},
        "nested": [[-5]],
    }
    assert [(t.name, t.dtype, t.shape, t.size) for t in header.tensors] == [
        ("a", "F32", (3, 2), 24), ("b", "F64", (1,), 8)
    ]  # fmt: skip
    assert header.tensors[0].offset % 64 == 0
    assert header.version == version


def test_floats_of_32_bits_are_told_as_short_as_they_are() -> None:
    values = [0.1, 1e-05, 1e6, 3.4e38, 1 / 3, 16777217.0, -0.0, float("inf")]
    pairs = [(str(n).encode(), 6, struct.pack("<f", value)) for n, value in enumerate(values)]
    told = list(read_gguf(BytesRanges(gguf_bytes(pairs)), "m").metadata.values())
    assert told[:3] == [0.1, 1e-05, 1e6]
    assert told[7] == "inf"
    for value, found in zip(values[:7], told[:7], strict=True):
        assert struct.pack("<f", value) == struct.pack("<f", found)


def test_types_are_those_of_the_gguf_library() -> None:
    for kind, (elements, size) in gguf.GGML_QUANT_SIZES.items():
        if kind.name != "Q8_1":  # never in a file; the library's own two words for its size differ
            assert TYPES[int(kind)] == (kind.name, elements, size)
    known = {int(kind): kind.name.replace("MOSTLY_", "").replace("ALL_", "") for kind in gguf.LlamaFileType}
    known.pop(int(gguf.LlamaFileType.GUESSED))
    assert known.items() <= FILE_TYPES.items()


@pytest.mark.parametrize(
    ("kind", "name", "block"),
    [
        (31, "Q4_0_4_4", (32, 18)),
        (33, "Q4_0_8_8", (32, 18)),
        (36, "IQ4_NL_4_4", (32, 18)),
        (38, "IQ4_NL_8_8", (32, 18)),
        (42, "Q2_0", (64, 18)),
    ],
)
def test_types_that_the_gguf_library_does_not_know(kind: int, name: str, block: tuple[int, int]) -> None:
    elements, size = block
    data = gguf_bytes(tensors=[(b"a", [elements, 3], kind, 0)], data=3 * size)
    (tensor,) = read_gguf(BytesRanges(data), "m").tensors
    assert (tensor.dtype, tensor.size) == (name, 3 * size)


def hostile_safetensors() -> Iterator[tuple[str, bytes, str]]:
    one = json.dumps(A)
    yield "empty", b"", "ends within the length"
    yield "length only", struct.pack("<Q", 2), "a header of 2 bytes is announced, the file has 8"
    yield "absurd length", safetensors_bytes({}, length=1 << 63), "100000000 are the most"
    yield "not text", safetensors_bytes('{"\udcff":1}'), "not UTF-8"
    yield "a list", safetensors_bytes("[]"), "an object is wanted"
    yield "nested", safetensors_bytes('{"a":' + "[" * 100_000), "not described by an object"
    yield "nested objects", safetensors_bytes('{"a":' * 50_000), "not described by an object"
    yield "nested within", safetensors_bytes('{"a":{"shape":' + "[" * 3000 + "]" * 1000 + "}}"), "not valid JSON"
    yield "twice", safetensors_bytes(f'{{"a":{one},"a":{one}}}', bytes(8)), "'a' stands twice"
    yield "metadata twice", safetensors_bytes('{"__metadata__":{},"__metadata__":{}}'), "stands twice"
    yield "metadata key twice", safetensors_bytes('{"__metadata__":{"k":"1","k":"2"}}'), "'k' twice"
    yield "metadata number", safetensors_bytes('{"__metadata__":{"k":1}}'), "text in '__metadata__'"
    yield "open", safetensors_bytes(f'{{"a":{one}'), "a comma or a closing brace"
    yield "comma", safetensors_bytes(f'{{"a":{one},}}'), "a name is wanted"
    yield "no colon", safetensors_bytes(f'{{"a" {one}}}'), "a colon"
    yield "behind", safetensors_bytes("{} x"), "behind the header"
    yield "long name", safetensors_bytes({"n" * 5000: A}, bytes(8)), "more than 4096 letters"
    yield "half a letter", safetensors_bytes('{"\\ud800":' + one + "}", bytes(8)), "an escape that is none"
    yield "bad escape", safetensors_bytes('{"\\x":' + one + "}", bytes(8)), "an escape that is none"
    for name, change, message in (
        ("dtype", {"dtype": "F8"}, "dtype 'F8', which is not known"),
        ("dtype list", {"dtype": ["F32"]}, "which is not known"),
        ("more keys", {"x": 1}, "and nothing else"),
        ("negative", {"shape": [-1]}, "not a list of at most 64 sizes"),
        ("boolean", {"shape": [True]}, "not a list of at most 64 sizes"),
        ("fraction", {"shape": [2.0]}, "not a list of at most 64 sizes"),
        ("rank", {"shape": [1] * 65}, "not a list of at most 64 sizes"),
        ("overflow", {"shape": [1 << 62, 4]}, "its dtype and shape make"),
        ("backwards", {"data_offsets": [8, 0]}, "not a beginning and an end"),
        ("three", {"data_offsets": [0, 8, 8]}, "not a beginning and an end"),
        ("size", {"data_offsets": [0, 4]}, "given 4 bytes, its dtype and shape make 8"),
        (
            "size",
            {"dtype": "F4", "shape": [3], "data_offsets": [0, 2]},
            "given 2 bytes, its dtype and shape make 12 bits",
        ),
    ):
        yield name, safetensors_bytes({"a": {**A, **change}}, bytes(8)), message
    yield "pairs", safetensors_bytes({"__metadata__": {str(n): "" for n in range(65537)}}), "more than 65536 entries"
    yield "absent key", safetensors_bytes({"a": {"dtype": "F32"}}), "must have dtype, shape and data_offsets"
    yield "overlap", safetensors_bytes({"a": A, "b": {**A, "data_offsets": [4, 12]}}, bytes(12)), "overlaps"
    yield "hole", safetensors_bytes({"a": A, "b": {**A, "data_offsets": [12, 20]}}, bytes(20)), "a hole"
    yield "short", safetensors_bytes({"a": A}, bytes(7)), "the tensors end here, the file has"
    yield "long", safetensors_bytes({"a": A}, bytes(9)), "the tensors end here, the file has"


@pytest.mark.parametrize(("data", "message"), [pytest.param(*rest, id=name) for name, *rest in hostile_safetensors()])
def test_hostile_safetensors(data: bytes, message: str) -> None:
    with pytest.raises(HeaderError) as caught:
        read_safetensors(BytesRanges(data), "model.safetensors")
    assert message in caught.value.message
    assert caught.value.message.startswith(f"model.safetensors, byte {caught.value.offset}: ")
    assert "\n" not in caught.value.message
    assert caught.value.to_json()["file"] == "model.safetensors"


def text_array(count: int, kind: int = 8) -> bytes:
    return struct.pack("<IQ", kind, count)


def hostile_gguf() -> Iterator[tuple[str, bytes, str]]:
    yield "short", b"GGU", "ends within the header"
    yield "magic", b"GGML" + bytes(20), "begins with 'GGUF'"
    yield "version", b"GGUF" + struct.pack("<IQQ", 4, 0, 0), "version 4"
    yield "version 0", b"GGUF" + bytes(20), "version 0"
    yield "tensors", gguf_bytes(counts=(1 << 62, 0)), "tensors are announced"
    yield "keys", gguf_bytes(counts=(0, 1 << 40)), "keys are announced"
    yield "ends", gguf_bytes(counts=(1, 0)), "ends within the header"
    yield "key length", gguf_bytes(counts=(0, 1))[:24] + struct.pack("<Q", 1 << 60), "a metadata key has"
    yield "key text", gguf_bytes([(b"\xff", 4, bytes(4))]), "a metadata key is not UTF-8"
    yield "key twice", gguf_bytes([(b"k", 0, b"1"), (b"k", 0, b"1")]), "'k' stands twice"
    yield "type", gguf_bytes([(b"k", 13, b"")]), "metadata of type 13"
    yield "array type", gguf_bytes([(b"k", 9, text_array(1, 99))]), "an array holds type 99"
    yield "array length", gguf_bytes([(b"k", 9, text_array(1 << 63, 4))]), "after 100000000 bytes"
    yield "array beyond", gguf_bytes([(b"k", 9, text_array(1 << 20, 4))]), "the file ends within the header"
    yield "strings", gguf_bytes([(b"k", 9, text_array(1 << 40))]), "strings and arrays"
    yield "strings end", gguf_bytes([(b"k", 9, text_array(1000))]), "the file ends within the header"
    yield "string beyond", gguf_bytes([(b"k", 9, text_array(17) + struct.pack("<Q", 1 << 62))]), "100000000 bytes"
    yield "string length", gguf_bytes([(b"k", 8, struct.pack("<Q", 1 << 40))]), "a value has"
    yield "depth", gguf_bytes([(b"k", 9, text_array(1, 9) * 100)]), "nested more than 4"
    yield "arrays", gguf_bytes([(b"k", 9, text_array(1 << 22, 9) + text_array(0, 0) * 300_000)]), "values"
    arrays = text_array(17, 9) + (text_array(1, 0) + b"\7") * 17
    yield "arrays of arrays end", gguf_bytes([(b"k", 9, arrays)])[:200], "ends within the header"
    yield "boolean", gguf_bytes([(b"k", 7, b"\2")]), "neither true nor false"
    yield "alignment", gguf_bytes([(b"general.alignment", 4, struct.pack("<I", 3))]), "not a power of two"
    yield "alignment 0", gguf_bytes([(b"general.alignment", 4, bytes(4))]), "not a power of two"
    yield "alignment text", gguf_bytes([(b"general.alignment", 8, gguf_string(b"x"))]), "not a power of two"
    yield "name length", gguf_bytes(tensors=[(b"n" * 5000, [1], 0, 0)]), "the name of a tensor has"
    yield "tensor twice", gguf_bytes(tensors=[(b"a", [1], 0, 0), (b"a", [1], 0, 32)], data=64), "'a' stands twice"
    yield "rank", gguf_bytes(tensors=[(b"a", [1] * 9, 0, 0)]), "9 dimensions"
    yield "tensor type", gguf_bytes(tensors=[(b"a", [1], 5, 0)]), "type 5, which is not known"
    yield "blocks", gguf_bytes(tensors=[(b"a", [33], 2, 0)]), "does not fit blocks of 32"
    yield "overflow", gguf_bytes(tensors=[(b"a", [1 << 62, 1 << 62], 0, 0)]), "does not fit"
    yield "beyond", gguf_bytes(tensors=[(b"a", [8], 0, 0)], data=31), "would end at"
    yield "overlap", gguf_bytes(tensors=[(b"a", [8], 0, 0), (b"b", [8], 0, 0)], data=64), "overlaps"
    yield "hole", gguf_bytes(tensors=[(b"a", [8], 0, 0), (b"b", [8], 0, 96)], data=128), "a hole"


@pytest.mark.parametrize(("data", "message"), [pytest.param(*rest, id=name) for name, *rest in hostile_gguf()])
def test_hostile_gguf(data: bytes, message: str) -> None:
    with pytest.raises(HeaderError) as caught:
        read_gguf(BytesRanges(data), "m.gguf")
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_a_stream_of_unknown_length_is_read_as_far_as_it_goes() -> None:
    data = safetensors_bytes({"a": A})
    assert [t.name for t in read_safetensors(Counting(data), "m").tensors] == ["a"]
    with pytest.raises(HeaderError, match="ends within the header of"):
        read_safetensors(Counting(data[:-2]), "m")


def test_the_first_bytes_tell_the_format() -> None:
    assert read_header(BytesRanges(gguf_bytes()), "x.safetensors").format == "gguf"
    assert read_header(BytesRanges(plain_safetensors(a=(2,))), "x.gguf").format == "safetensors"
    assert has_header("a/B.SafeTensors")
    assert not has_header("model.safetensors.index.json")


def test_a_pointer_of_git_lfs_is_told() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"
    with pytest.raises(HeaderError, match=r"x\.gguf, byte 0: this is a pointer of git-lfs") as caught:
        read_header(BytesRanges(pointer), "x.gguf")
    assert caught.value.hint == "`git lfs pull` fetches it"


def test_sums() -> None:
    tensors = [Tensor("a", "F32", (2, 3), 24, 0), Tensor("b", "BF16", (10,), 20, 24), Tensor("c", "F32", (), 4, 44)]
    found = sum_up(tensors)
    assert (found.tensors, found.parameters, found.size) == (3, 17, 48)
    assert list(found.dtypes.items()) == [("BF16", 10), ("F32", 7)]
    assert all(bits % 2 == 0 for bits in DTYPE_BITS.values())


def test_indexes() -> None:
    index = parse_index(b'{"metadata":{"total_size":8},"weight_map":{"a":"x","b":"y","c":"x"}}', "i")
    assert index.files == {"x", "y"}
    for text in (b"[]", b"{}", b'{"weight_map":{"a":1}}', b'{"weight_map":{"a":""}}', b'{"weight_map":[]}', b"{"):
        with pytest.raises(InvalidValueError, match=r"^i, byte 0: the"):
            parse_index(text, "i")
    with pytest.raises(InvalidValueError, match="are the most"):
        parse_index(bytes((16 << 20) + 1), "i")


def test_reading_ahead_gives_the_same_bytes_in_fewer_reads() -> None:
    data = bytes(range(256)) * 4096
    content = Counting(data, len(data))
    ahead = Ahead(content)
    found = b"".join(ahead.read_at(at, 100) for at in range(0, len(data), 100))
    assert found == data
    assert len(content.reads) <= 8  # blocks grow
    assert ahead.read_at(7, 5) == data[7:12]  # back
    assert ahead.read_at(len(data) - 3, 50) == data[-3:]
    assert ahead.read_at(len(data) + 3, 5) == b""
    assert ahead.size == len(data)


def test_small_reads_far_apart_cost_small_blocks() -> None:
    content = Counting(bytes(1 << 20))
    ahead = Ahead(content, first=2048)
    for at in range(0, 1 << 20, 64 << 10):
        ahead.read_at(at, 512)
    assert [size for _, size in content.reads] == [2048] * 16


def test_small_reads_near_one_another_cost_few_blocks() -> None:
    content = Counting(bytes(1 << 20))
    ahead = Ahead(content, first=2048)
    for at in range(0, 1 << 20, 3500):
        ahead.read_at(at, 512)
    assert len(content.reads) <= 12


def test_windows_end_where_they_end() -> None:
    window = Window(BytesRanges(b"0123456789"), 2, 5)
    assert (window.read_at(0, 99), window.read_at(3, 1), window.read_at(5, 4), window.size) == (b"23456", b"5", b"", 5)


def test_streams_go_forward_as_far_as_they_may() -> None:
    stream = StreamRanges(iter([memoryview(b"0123"), memoryview(b"4567"), memoryview(b"89")]), None, 8)
    assert stream.read_at(1, 2) == b"12"
    assert stream.read_at(5, 4) == b"5678"
    with pytest.raises(AssertionError):
        stream.read_at(0, 1)
    with pytest.raises(TooFarError, match="first 8 bytes"):
        stream.read_at(9, 1)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileSystemError), open_file(tmp_path / "absent"):
        pass
    with open_file(tmp_path) as content, pytest.raises(FileSystemError, match="is a directory"):
        read_header(content, "x")
