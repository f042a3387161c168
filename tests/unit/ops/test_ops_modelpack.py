"""ModelPack artifacts that we write: valid, true, complete when unpacked, and cheap to write again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ops_places import open_test_place
from test_ops_pack_golden import pack_case

from golden_trees import list_cases, tree_of
from kitops.content.events import Event, Finished, Message
from kitops.content.protocols import Run
from kitops.errors import InvalidValueError, PackError
from kitops.formats import build
from kitops.formats.modelkit import read_modelkit
from kitops.formats.select import Filter, select_layers
from kitops.layers.write import Format
from kitops.oci.annotations import FILE_METADATA, FILE_PATH, KITFILE, TITLE
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Place
from kitops.ops.unpack import unpack
from kitops.ops.validate import validate
from kitops.store import digest_cache
from weight_bytes import plain_safetensors

KITFILE_TEXT = b"""\
package: {name: tiny, version: 1.2.3, description: A model, authors: [Ada, Grace], license: Apache 2.0}
model:
  path: model
  license: MIT
  parts: [{path: extra/vocab.json, name: vocab}]
code: [{path: src, license: BSD-3-Clause}]
datasets: [{name: train, path: data, license: MIT}]
docs: [{path: README.md}]
prompts: [{path: prompts}]
"""
REF = Reference.parse("tiny:v1")


def make_project(root: Path) -> Path:
    shard = "model/model-0000{}-of-00002.safetensors".format
    files = {
        shard(1): plain_safetensors(wte=(100, 100)),
        shard(2): plain_safetensors(head=(100, 50)),
        "model/config.json": b'{"architectures": ["TinyForCausalLM"], "model_type": "tiny"}',
        "model/empty.txt": b"",
        "extra/vocab.json": b"{}",
        "src/run.sh": b"#!/bin/sh\n",
        "src/lib/a.py": b"a = 1\n",
        "src/lib/deep/b.py": b"b = 1\n",
        "data/train.csv": b"x,y\n",
        "data/val.csv": b"x,y\n",
        "README.md": b"read me",
        "prompts/system.md": b"be kind",
        "prompts/copy.md": b"be kind",
    }
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    for path in root.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path.suffix == ".sh" else 0o644)
    return root


def pack_tiny(place: Place, root: Path, **options: Any) -> Manifest:
    packed = pack(place, root, PackOptions(references=(REF,), kitfile_text=KITFILE_TEXT, modelpack=True, **options))
    return Manifest.parse(place.store.blobs.fetch(packed.desc))


def read_config(place: Place, manifest: Manifest) -> Any:
    return json.loads(place.store.blobs.fetch(manifest.config))


@pytest.mark.parametrize("form", ["tar", "raw"])
def test_it_is_valid_and_says_what_is_known(form: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    manifest = pack_tiny(place, make_project(tmp_path / "p"), layer_format=form)
    assert validate(place, REF) == ()
    config = read_config(place, manifest)
    assert config["descriptor"] == {
        "authors": ["Ada", "Grace"],
        "family": "tiny",
        "name": "tiny",
        "version": "1.2.3",
        "title": "tiny",
        "description": "A model",
        "licenses": ["BSD-3-Clause", "LicenseRef-Apache-2.0", "MIT"],
    }
    assert config["config"] == {
        "architecture": "TinyForCausalLM",
        "format": "safetensors",
        "paramSize": "15.0K",
        "precision": "float32",
    }


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_archives_have_true_diff_ids(compression: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    manifest = pack_tiny(place, make_project(tmp_path / "p"), compression=compression)
    assert validate(place, REF) == ()
    diff_ids = read_config(place, manifest)["modelfs"]["diffIds"]
    assert not {str(layer.digest) for layer in manifest.layers} & set(diff_ids)


@pytest.mark.parametrize(
    ("form", "digest"),
    [
        ("tar", "sha256:538a3495979ddd25f6dad6ef5d97514f25ce62ffdffaddbafa899e3d8de50461"),
        ("raw", "sha256:8ee6b9e673cfb8210db3e10acb5fdb8a6043e1da29d446a993b216f98c6dd30b"),
    ],
)
def test_the_digest_depends_on_content_alone(form: str, digest: str, tmp_path: Path) -> None:
    """Guards the digests across releases: change them only with a reason that users are told."""
    manifest = pack_tiny(open_test_place(tmp_path / "home"), make_project(tmp_path / "p"), layer_format=form)
    assert str(manifest.descriptor.digest) == digest


def test_raw_layers_are_one_file_each_with_constants(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    manifest = pack_tiny(place, make_project(tmp_path / "p"), layer_format="raw")
    by_path = {layer.annotations[FILE_PATH]: layer for layer in manifest.layers}
    assert list(by_path) == [
        "model/config.json", "model/empty.txt", "model/model-00001-of-00002.safetensors",
        "model/model-00002-of-00002.safetensors", "extra/vocab.json", "src/lib/a.py", "src/lib/deep/b.py",
        "src/run.sh", "data/train.csv", "data/val.csv", "README.md", "prompts/copy.md", "prompts/system.md",
    ]  # fmt: skip
    assert all(layer.annotations[TITLE] == path for path, layer in by_path.items())
    assert all(layer.media_type.endswith(".v1.raw") for layer in manifest.layers)
    script = by_path["src/run.sh"]
    assert script.media_type == "application/vnd.cncf.model.code.v1.raw"
    assert json.loads(script.annotations[FILE_METADATA]) == {
        "name": "run.sh", "mode": 0o755, "uid": 1000, "gid": 0, "size": 10, "mtime": "1970-01-01T00:00:00Z",
        "typeflag": 0,
    }  # fmt: skip
    kitfile = json.loads(manifest.annotations[KITFILE])
    assert "digest" not in kitfile["model"]
    assert kitfile["docs"][0]["digest"] == str(by_path["README.md"].digest)


def test_what_was_spread_is_understood_again(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    pack_tiny(place, make_project(tmp_path / "p"), layer_format="raw")
    kit = read_modelkit(place.store.blobs, place.store.refs.resolve(REF))
    assert {layer.form for layer in kit.layers} == {Format.RAW}
    assert [layer.part.field for layer in kit.layers if layer.part] == [
        *["model"] * 4, "model.parts[0]", *["code[0]"] * 3, *["datasets[0]"] * 2, "docs[0]", *["prompts[0]"] * 2
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "count"),
    [("model", 5), ("model:vocab", 1), ("code:src", 3), ("code:src/lib/*", 1), ("datasets:train", 2), ("prompts", 2)],
)
def test_filters_know_the_part_and_the_file(wanted: str, count: int, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    pack_tiny(place, make_project(tmp_path / "p"), layer_format="raw")
    kit = read_modelkit(place.store.blobs, place.store.refs.resolve(REF))
    assert len(select_layers(kit, [Filter.parse(wanted)])) == count


@pytest.mark.parametrize("form", ["tar", "raw"])
def test_the_tree_comes_out_as_it_went_in(form: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    root = make_project(tmp_path / "p")
    pack_tiny(place, root, layer_format=form)
    unpack(place, REF, tmp_path / "out")
    found = tree_of(tmp_path / "out")
    assert found.pop("Kitfile")
    assert found == tree_of(root)
    assert (tmp_path / "out/src/run.sh").stat().st_mode & 0o111
    assert not (tmp_path / "out/src/lib/a.py").stat().st_mode & 0o111


def test_packing_again_reads_no_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_cache, "MARGIN_NS", 0)  # else the files are too young to be believed
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(events.append))
    root = make_project(tmp_path / "p")
    first = pack_tiny(place, root, layer_format="raw")
    events.clear()
    assert pack_tiny(place, root, layer_format="raw").raw == first.raw
    assert [event.outcome for event in events if isinstance(event, Finished)] == ["cached"] * 13


def test_the_user_s_annotations_are_fields_too(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    image = "org.opencontainers.image."
    annotations = {
        f"{image}source": "https://example.com/tiny",
        f"{image}revision": "abc123",
        f"{image}documentation": "not an address",
        f"{image}vendor": "Example",
        f"{image}created": "2026-01-02T03:04:05Z",
    }
    manifest = pack_tiny(place, make_project(tmp_path / "p"), annotations=annotations)
    assert validate(place, REF) == ()
    descriptor = read_config(place, manifest)["descriptor"]
    assert descriptor["createdAt"] == "2026-01-02T03:04:05Z"
    assert descriptor["sourceURL"] == "https://example.com/tiny"
    assert (descriptor["revision"], descriptor["vendor"]) == ("abc123", "Example")
    assert "docURL" not in descriptor


def test_the_author_s_word_on_the_format_is_believed_and_a_lying_file_is_told(tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(events.append))
    (tmp_path / "m.safetensors").write_bytes(b"a pickle, in truth")
    text = b"model: {path: m.safetensors, format: pickle, name: m, version: '2', description: d}\n"
    packed = pack(place, tmp_path, PackOptions(references=(REF,), kitfile_text=text, modelpack=True))
    config = read_config(place, Manifest.parse(place.store.blobs.fetch(packed.desc)))
    assert config["config"] == {"format": "pickle"}
    assert config["descriptor"] == {"name": "m", "version": "2", "title": "m", "description": "d"}
    told = [event.text for event in events if isinstance(event, Message) and event.level == "warning"]
    assert any("m.safetensors, byte 0" in text for text in told)


def test_directories_without_files_are_told(tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(events.append))
    (tmp_path / "p/code/empty/deeper").mkdir(parents=True)
    (tmp_path / "p/code/full").mkdir()
    (tmp_path / "p/code/full/x").write_text("x")
    options = PackOptions(kitfile_text=b"code: [{path: code}]\n", modelpack=True, layer_format="raw")
    pack(place, tmp_path / "p", options)
    told = [event.text for event in events if isinstance(event, Message) and "left out" in event.text]
    assert told == [f"code[0]: left out code/{name}, a directory without files" for name in ("empty", "empty/deeper")]


@pytest.mark.parametrize(
    ("kitfile", "options", "message"),
    [
        (b"package: {name: x}\n", {}, "at least one layer"),
        (b"code: [{path: empty}]\n", {"layer_format": "raw"}, "has no file, as raw layers are"),
        (b"code: [{path: x}]\n", {"layer_format": "raw", "compression": "gzip"}, "no compressed raw layers"),
    ],
)
def test_what_modelpack_cannot_hold(kitfile: bytes, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "p/empty").mkdir(parents=True)
    (tmp_path / "p/x").write_text("x")
    with pytest.raises(PackError, match=message):
        pack(
            open_test_place(tmp_path / "home"),
            tmp_path / "p",
            PackOptions(kitfile_text=kitfile, modelpack=True, **options),
        )


def test_a_manifest_that_no_registry_takes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "MAX_MANIFEST", 5000)
    with pytest.raises(PackError, match="13 layers make a manifest of") as caught:
        pack_tiny(open_test_place(tmp_path / "home"), make_project(tmp_path / "p"), layer_format="raw")
    assert "--layer-format tar" in caught.value.hint


@pytest.mark.parametrize("name", [name for name in list_cases("2026") if "+modelpack" in name])
def test_the_golden_cases_are_valid(name: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    pack_case(name, tmp_path, place)
    ref = Reference.parse(f"{name.rpartition('/')[2].replace('+', '-')}:v1")
    assert validate(place, ref) == ()


def test_only_modelpack_is_judged(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    pack_case("2026/minimal", tmp_path, place)
    with pytest.raises(InvalidValueError, match="is no ModelPack artifact"):
        validate(place, Reference.parse("minimal:v1"))
