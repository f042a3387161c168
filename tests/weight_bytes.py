"""Files of weights for tests: small whole ones, and headers that lie."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np


def safetensors_bytes(entries: Mapping[str, Any] | str, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A file with this header (an object, or text that is none) and these bytes of data."""
    text = entries if isinstance(entries, str) else json.dumps(entries)
    raw = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def plain_safetensors(**shapes: Sequence[int]) -> bytes:
    """A file of float32 tensors of these shapes, all zeros, one after the other."""
    entries: dict[str, Any] = {}
    position = 0
    for name, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        entries[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    return safetensors_bytes(entries, bytes(position))


def gguf_string(text: bytes, order: str = "<", width: str = "Q") -> bytes:
    return struct.pack(order + width, len(text)) + text


def gguf_bytes(
    pairs: Sequence[tuple[bytes, int, bytes]] = (),
    tensors: Sequence[tuple[bytes, Sequence[int], int, int]] = (),
    *,
    version: int = 3,
    order: str = "<",
    data: int = 0,
    counts: tuple[int, int] | None = None,
) -> bytes:
    """A GGUF file: keys with type and encoded value; tensors with shape, type and offset; ``data`` bytes behind."""
    width = "I" if version == 1 else "Q"
    said = counts or (len(tensors), len(pairs))
    found = b"GGUF" + struct.pack(order + "I" + 2 * width, version, *said)
    for key, kind, value in pairs:
        found += gguf_string(key, order, width) + struct.pack(order + "I", kind) + value
    for name, shape, kind, offset in tensors:
        found += gguf_string(name, order, width) + struct.pack(order + "I", len(shape))
        found += struct.pack(order + len(shape) * width, *shape) + struct.pack(order + "IQ", kind, offset)
    return found + bytes(-len(found) % 32) + bytes(data)


def write_gguf(path: Path) -> None:
    """A small file by the gguf library: two tensors, one of them quantised, and the metadata of a model."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(4096)
    writer.add_file_type(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_token_list([f"token{number}" for number in range(3000)])
    writer.add_token_scores([0.5] * 3000)
    writer.add_tensor("plain", np.zeros((4, 8), np.float16))
    writer.add_tensor("packed", np.zeros((2, 36), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
