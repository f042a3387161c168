"""ModelPack artifacts of every age and habit are listed, understood and unpacked."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ops_places import open_test_place

from golden_trees import tree_of
from kitops.errors import TrustError
from kitops.formats.modelkit import read_modelkit
from kitops.layers.codec import Codec
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.ops.info import info
from kitops.ops.list import list_
from kitops.ops.place import Place
from kitops.ops.tensors import tensors
from kitops.ops.unpack import unpack
from kitops.store import RefDetails
from weight_bytes import plain_safetensors

REF = Reference.parse("old:v1")
FILES = {
    "model.safetensors": ("weight", plain_safetensors(wte=(2, 2))),
    "config.json": ("weight.config", b"{}"),
    "src/run.sh": ("code", b"#!/bin/sh\n"),
    "data/train.csv": ("dataset", b"x\n"),
    "README.md": ("doc", b"read me\n"),
}


def archive(path: str, content: bytes, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(path)
        member.size, member.mode = len(content), mode
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def encode(encoding: str, path: str, content: bytes, mode: int) -> bytes:
    if encoding == "raw":
        return content
    tar = archive(path, content, mode)
    compressor = Codec.of_suffix(encoding.removeprefix("tar")).open_compressor()
    return compressor.compress(tar) + compressor.flush()


Layers = list[tuple[Descriptor, bytes]]


def put(place: Place, config: Any, config_type: str, artifact: str | None, layers: Layers) -> None:
    raw = json.dumps(config).encode()
    manifest = Manifest.build(
        config=Descriptor.of(raw, config_type), layers=[desc for desc, _ in layers], artifact_type=artifact
    )
    with place.store.lease("test") as lease:
        for content in (raw, manifest.raw, *(content for _, content in layers)):
            place.store.blobs.put_bytes(content, "any", lease)
        place.store.refs.tag(REF, manifest.descriptor, RefDetails(name="", author="", size=0), lease)


@pytest.mark.parametrize("encoding", ["raw", "tar", "tar+gzip", "tar+zstd"])
@pytest.mark.parametrize(
    ("family", "path_key", "metadata_key", "typeflag"),
    [
        ("cnai", "org.cnai.model.filepath", "org.cnai.model.file.metadata", 0),
        ("cnai", "org.cnai.model.filepath", "org.cnai.model.file.metadata+json", 0),
        ("cnai", "org.cncf.model.filepath", "org.cncf.model.file.metadata+json", 48),
        ("cncf", "org.cncf.model.filepath", "org.cncf.model.file.metadata+json", 0),
        ("cncf", "org.cncf.model.filepath", "org.cncf.model.file.metadata+json", 48),
        ("cncf", "org.opencontainers.image.title", None, 0),
    ],
)
def test_ages(
    encoding: str, family: str, path_key: str, metadata_key: str | None, typeflag: int, tmp_path: Path
) -> None:
    place = open_test_place(tmp_path / "home")
    layers = []
    for path, (kind, content) in FILES.items():
        mode = 0o755 if path.endswith(".sh") else 0o644
        blob = encode(encoding, path, content, mode)
        annotations = {path_key: path}
        if metadata_key:
            table = {"name": path.rpartition("/")[2], "mode": mode, "uid": 0, "gid": 0, "size": len(content)}
            annotations[metadata_key] = json.dumps({**table, "mtime": "2025-01-01T00:00:00Z", "typeflag": typeflag})
        media_type = f"application/vnd.{family}.model.{kind}.v1.{encoding}"
        layers.append((Descriptor(media_type, Digest.of(blob), len(blob), annotations), blob))
    config = {
        "descriptor": {"name": "old", "authors": ["Ada"], "licenses": ["MIT"]},
        "config": {"format": "safetensors", "capabilities": {"embedding": True}},
        "modelfs": {"type": "layers", "diff_ids": []},
    }
    put(place, config, f"application/vnd.{family}.model.config.v1+json", None if family == "cnai" else "", layers)
    kitfile = info(place, REF)
    assert (kitfile.package.name, kitfile.package.license, kitfile.package.authors) == ("old", "MIT", ("Ada",))
    assert kitfile.model is not None
    assert (kitfile.model.path, [part.path for part in kitfile.model.parts]) == ("model.safetensors", ["config.json"])
    assert [row.repo for row in list_(place)] == ["old"]
    assert tensors(place, REF).totals.parameters == 4
    unpack(place, REF, tmp_path / "out")
    found = tree_of(tmp_path / "out")
    assert {path: content for path, content in found.items() if content is not None and path != "Kitfile"} == {
        path: content for path, (_, content) in FILES.items()
    }
    is_script = bool((tmp_path / "out/src/run.sh").stat().st_mode & 0o111)
    assert is_script == (encoding != "raw" or metadata_key is not None)


@pytest.mark.parametrize("suffix", ["gguf", "safetensors"])
def test_weights_as_early_model_runners_call_them(suffix: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    content = plain_safetensors(a=(2,))
    kind = f"application/vnd.cncf.model.weight.v1.{suffix}"
    desc = Descriptor(kind, Digest.of(content), len(content), {"org.cncf.model.filepath": f"m.{suffix}"})
    put(place, {"descriptor": {}}, "application/vnd.cncf.model.config.v1+json", None, [(desc, content)])
    unpack(place, REF, tmp_path / "out")
    assert (tmp_path / f"out/m.{suffix}").read_bytes() == content


def test_a_raw_file_without_a_name_is_refused_by_unpack_and_shown_by_the_rest(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    desc = Descriptor("application/vnd.cncf.model.weight.v1.raw", Digest.of(b"x"), 1)
    put(place, {"descriptor": {}}, "application/vnd.cncf.model.config.v1+json", None, [(desc, b"x")])
    (layer,) = read_modelkit(place.store.blobs, place.store.refs.resolve(REF)).layers
    assert layer.label == desc.digest.short
    with pytest.raises(TrustError, match="does not say what its file is called"):
        unpack(place, REF, tmp_path / "out")
