"""Artifacts of other tools are listed, understood, compared and unpacked; what nobody understands is told."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ops_places import open_network_place

from golden_trees import GOLDEN, LayoutSource, tree_of
from kitops.content.copy import BytesReader
from kitops.content.copy import copy as copy_graph
from kitops.content.events import Event, Message
from kitops.errors import InvalidValueError, PackError, TrustError
from kitops.formats.modelkit import is_model_artifact
from kitops.formats.select import Filter
from kitops.kitfile.dump import to_json
from kitops.layers.codec import Codec
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.ops.convert import ConvertOptions, convert
from kitops.ops.diff import diff
from kitops.ops.info import info
from kitops.ops.inspect import inspect
from kitops.ops.list import list_, list_catalog
from kitops.ops.place import Place
from kitops.ops.push import push
from kitops.ops.tensors import tensors
from kitops.ops.unpack import UnpackOptions, unpack
from kitops.ops.validate import validate
from kitops.testing import ThrowAwayRegistry
from weight_bytes import plain_safetensors

REF = Reference.parse("foreign:v1")
WEIGHTS = plain_safetensors(wte=(2, 2))
Layer = tuple[str, bytes, dict[str, Any]]


def put(place: Place, ref: Reference, config_type: str, config: Any, layers: list[Layer], **more: Any) -> Descriptor:
    """Keep an artifact; each layer is its media type, its bytes, and further fields of its descriptor."""
    raw_config = json.dumps(config).encode()
    rows = [{**Descriptor.of(content, kind).to_json(), **fields} for kind, content, fields in layers]
    table = {
        "schemaVersion": 2,
        "mediaType": mediatype.MANIFEST,
        "config": Descriptor.of(raw_config, config_type).to_json(),
        "layers": rows,
        **more,
    }
    raw = json.dumps(table).encode()
    desc = Descriptor.of(raw, str(table["mediaType"]))
    with place.store.lease("test") as lease:
        sink = place.store.repository(ref, lease)
        for content in (raw_config, *(content for _, content, _ in layers), raw):
            sink.put(Descriptor.of(content, "any"), BytesReader(content), lambda _: None)
        sink.tag(desc, ref.tag or "")
    return desc


def titled(title: str, **more: str) -> dict[str, Any]:
    return {"annotations": {"org.opencontainers.image.title": title, **more}}


def filed(path: str) -> dict[str, Any]:
    return {"annotations": {"org.cncf.model.filepath": path}}


def unpacked(place: Place, target: Path, *filters: str) -> dict[str, bytes]:
    unpack(place, REF, target, UnpackOptions(filters=[Filter.parse(text) for text in filters]))
    return {path: content for path, content in tree_of(target).items() if content is not None}


def table_of(place: Place) -> Any:
    return to_json(info(place, REF))


def is_told(events: list[Event], text: str) -> bool:
    return any(isinstance(event, Message) and text in event.text for event in events)


# --- plain artifacts, and ModelPack artifacts of tools that spell paths in their own way


def test_the_vector_of_oras(place: Place, events: list[Event], tmp_path: Path) -> None:
    source = LayoutSource(GOLDEN / "other/oras/layout")
    with place.store.lease("test") as lease:
        sink = place.store.repository(REF, lease)
        copy_graph(source, sink, source.root(), place.run)
        sink.tag(source.root(), "v1")
    assert table_of(place) == {
        "manifestVersion": "1.0.0",
        "package": {},
        "model": {"path": "model.safetensors"},
        "code": [{"path": "onnx"}],
        "docs": [{"path": "README.md"}],
    }
    assert is_told(events, "foreign:v1 is a plain artifact with titles without a Kitfile: one was made")
    found = inspect(place, REF).to_json()
    assert (found["format"], found["kitfileMade"]) == ("artifact", True)
    want = tree_of(GOLDEN / "other/oras/files")
    have = unpacked(place, tmp_path / "out")
    assert have.pop("Kitfile").startswith(b"manifestVersion")
    assert have == {path: want[path] for path in ("model.safetensors", "README.md", "onnx/a.onnx")}
    assert tensors(place, REF).files[0].path == "model.safetensors"
    assert [row.repo for row in list_(place)] == ["foreign"]


def test_titles_tell_kinds(place: Place, tmp_path: Path) -> None:
    names = ["w/b.gguf", "w/a.gguf", "config.json", "tok.model", "LICENSE", "train.csv", "AGENTS.md", "run.py"]
    layers = [("application/octet-stream", name.encode(), titled(name)) for name in names]
    layers.append(("application/octet-stream", b"no name", {}))
    layers.append(("application/vnd.cncf.model.doc.v1.raw", b"a kind of its own", titled("x.bin")))
    annotations = {"org.opencontainers.image.title": "The whole", "org.opencontainers.image.licenses": "MIT"}
    put(place, REF, mediatype.EMPTY, {}, layers, annotations=annotations)
    assert table_of(place) == {
        "manifestVersion": "1.0.0",
        "package": {"name": "The whole", "license": "MIT"},
        "model": {
            "path": "w/b.gguf",
            "parts": [{"path": "w/a.gguf"}, {"path": "config.json"}, {"path": "tok.model"}],
        },
        "code": [{"path": "run.py"}],
        "datasets": [{"name": "train.csv", "path": "train.csv"}],
        "docs": [{"path": "LICENSE"}, {"path": "x.bin"}],
        "prompts": [{"path": "AGENTS.md"}],
    }
    assert set(unpacked(place, tmp_path / "out", "model")) == {"w/a.gguf", "w/b.gguf", "config.json", "tok.model"}


def test_titles_of_any_spelling_are_parts(place: Place, tmp_path: Path) -> None:
    titles = ("./m.gguf", "a//b.json", "src/./x.py")
    put(place, REF, mediatype.EMPTY, {}, [("application/octet-stream", b"x", titled(title)) for title in titles])
    assert set(unpacked(place, tmp_path / "out")) == {"Kitfile", "m.gguf", "a/b.json", "src/x.py"}
    assert convert(place, REF, "modelkit").reused == 3


@pytest.mark.parametrize("to", ["modelkit", "modelpack", "image"])
@pytest.mark.parametrize("has_kitfile", [True, False])
def test_paths_of_any_spelling_are_parts(to: Any, has_kitfile: bool, place: Place, tmp_path: Path) -> None:
    layers = [
        ("application/vnd.cncf.model.weight.v1.raw", b"x", filed("./m.gguf")),
        ("application/vnd.cncf.model.doc.v1.raw", b"y", filed("docs//read.md")),
        ("application/vnd.cncf.model.code.v1.tar", archive(**{"src/x.py": b"z"}), filed("src/")),
    ]
    kitfile = {"model": {"path": "m.gguf"}, "code": [{"path": "src"}], "docs": [{"path": "docs/read.md"}]}
    annotations = {"ml.kitops.modelkit.kitfile": json.dumps(kitfile)} if has_kitfile else {}
    put(place, REF, "application/vnd.cncf.model.config.v1+json", {}, layers, annotations=annotations)
    convert(place, REF, to)
    unpack(place, REF.with_tag(f"v1-{to}"), tmp_path / "out")
    assert {path for path, content in tree_of(tmp_path / "out").items() if content is not None} == {
        "Kitfile", "m.gguf", "docs/read.md", "src/x.py",
    }  # fmt: skip
    assert table_of(place)["docs"] == [{"path": "docs/read.md"}]


@pytest.mark.parametrize("title", ["../out", "/etc/x", "a/../../x"])
def test_titles_that_lead_out(title: str, place: Place, tmp_path: Path) -> None:
    put(place, REF, mediatype.EMPTY, {}, [("application/octet-stream", b"x", titled(title))])
    with pytest.raises(TrustError):
        unpacked(place, tmp_path / "out")


def test_what_nobody_understands(place: Place, tmp_path: Path) -> None:
    put(place, REF, mediatype.EMPTY, {}, [("application/x", b"x", {})], artifactType="application/vnd.example")
    with pytest.raises(InvalidValueError, match=r"is not a ModelKit: it is 'application/vnd\.example'") as caught:
        unpacked(place, tmp_path / "out")
    assert caught.value.hint is not None
    assert "kit copy" in caught.value.hint
    with pytest.raises(InvalidValueError, match="is not a ModelKit"):
        info(place, REF)


# --- Docker

DOCKER = "application/vnd.docker.ai."


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_a_model_of_dockers_first_releases(place: Place, events: list[Event], tmp_path: Path) -> None:
    config = {
        "config": {"format": "gguf", "quantization": "Q4_K_M", "parameters": "8.03 B", "architecture": "llama",
                   "context_size": 4096, "gguf": {"general.name": "Llama"}},
        "descriptor": {"created": "2025-01-01T00:00:00Z"},
        "rootfs": {"type": "rootfs", "diff_ids": []},
    }  # fmt: skip
    layers: list[Layer] = [
        (f"{DOCKER}gguf.v3", b"one", {}),
        (f"{DOCKER}gguf.v3", b"two", {}),
        (f"{DOCKER}mmproj", b"eyes", {}),
        (f"{DOCKER}gguf.v3.lora", b"lora", {}),
        (f"{DOCKER}chat.template.jinja", b"{{ x }}", {}),
        (f"{DOCKER}license", b"MIT", {}),
        (f"{DOCKER}license", b"Apache", {}),
    ]
    put(place, REF, f"{DOCKER}model.config.v0.1+json", config, layers)
    table = table_of(place)
    assert table["package"] == {"name": "Llama"}
    assert table["model"] == {
        "path": "model-00001-of-00002.gguf",
        "format": "gguf",
        "parts": [
            {"path": "model-00002-of-00002.gguf"},
            {"path": "mmproj.gguf", "type": "projector"},
            {"path": "adapter.gguf", "type": "lora-adapter"},
            {"path": "template.jinja", "type": "chat-template"},
        ],
        "parameters": {"architecture": "llama", "contextSize": 4096, "parameters": "8.03 B", "quantization": "Q4_K_M"},
    }
    assert table["docs"] == [{"path": "LICENSE"}, {"path": "LICENSE-2"}]
    assert is_told(events, "a model of Docker Model Runner without a Kitfile")
    have = unpacked(place, tmp_path / "out")
    assert (have["model-00002-of-00002.gguf"], have["LICENSE-2"]) == (b"two", b"Apache")


def test_a_model_of_docker_with_archives_and_paths(place: Place, tmp_path: Path) -> None:
    layers: list[Layer] = [
        (f"{DOCKER}safetensors", WEIGHTS, filed("text_encoder/model.safetensors")),
        (f"{DOCKER}vllm.config.tar", archive(**{"config.json": b"{}", "merges.txt": b"m"}), {}),
        (f"{DOCKER}dir.tar", archive(sub__x=b"x"), {}),
        (f"{DOCKER}model.file", b"{}", filed("text_encoder/tokenizer.json")),
        (f"{DOCKER}something.new", b"?", {}),
    ]
    put(place, REF, f"{DOCKER}model.config.v0.2+json", {"config": {"format": "safetensors"}}, layers)
    have = unpacked(place, tmp_path / "out")
    have.pop("Kitfile")
    assert have == {
        "text_encoder/model.safetensors": WEIGHTS,
        "text_encoder/tokenizer.json": b"{}",
        "config.json": b"{}",
        "merges.txt": b"m",
        "sub/x": b"x",
        "something.new": b"?",
    }
    assert tensors(place, REF).totals.parameters == 4


# --- Ollama

OLLAMA = "application/vnd.ollama.image."


def test_a_model_of_ollama(place: Place, events: list[Event], tmp_path: Path) -> None:
    config = {"model_format": "gguf", "model_family": "llama", "model_type": "8.0B", "file_type": "Q4_0",
              "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}  # fmt: skip
    layers: list[Layer] = [
        (f"{OLLAMA}model", b"GGUF", {"from": "/somewhere"}),
        (f"{OLLAMA}projector", b"eyes", {}),
        (f"{OLLAMA}template", b"{{ .Prompt }}", {}),
        (f"{OLLAMA}system", b"be kind", {}),
        (f"{OLLAMA}params", b'{"stop": []}', {}),
        (f"{OLLAMA}messages", b"[]", {}),
        (f"{OLLAMA}license", b"MIT", {}),
        (f"{OLLAMA}license", b"Apache", {}),
        (f"{OLLAMA}tensor", b"t", {"name": "blk.0.weight"}),
        (f"{OLLAMA}json", b"{}", {"name": "config.json"}),
    ]
    put(place, REF, "application/vnd.docker.container.image.v1+json", config, layers,
        mediaType=mediatype.DOCKER_MANIFEST)  # fmt: skip
    table = table_of(place)
    assert table["model"]["parameters"] == {"family": "llama", "parameters": "8.0B", "quantization": "Q4_0"}
    assert (table["model"]["path"], table["model"]["format"]) == ("model.gguf", "gguf")
    assert table["prompts"] == [{"path": "system.txt"}, {"path": "messages.json"}]
    assert is_told(events, "a model of Ollama without a Kitfile")
    assert set(unpacked(place, tmp_path / "out")) == {
        "Kitfile", "model.gguf", "projector.gguf", "template", "system.txt", "params.json", "messages.json",
        "LICENSE", "LICENSE-2", "blk.0.weight.safetensors", "config.json",
    }  # fmt: skip


# --- images

IMAGE = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"


def image_layer(*members: tuple[str, bytes | str | None]) -> bytes:
    """An archive of files (bytes), directories (None) and symbolic links (text)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


BASE = image_layer(
    ("bin", None), ("bin/sh", b"#!"), ("bin/ls", "sh"), ("etc/.wh.old", b""), ("/absolute", b"x"), ("modelsx/no", b"x")
)


def pressed(content: bytes, codec: Codec) -> bytes:
    compressor = codec.open_compressor()
    return compressor.compress(content) + compressor.flush()


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.GZIP, Codec.ZSTD])
@pytest.mark.parametrize("docker", [False, True])
def test_a_modelcar(codec: Codec, docker: bool, place: Place, events: list[Event], tmp_path: Path) -> None:
    kind, config_type = f"{OCI_LAYER}{codec.suffix}", IMAGE
    if docker:
        kind = f"application/vnd.docker.image.rootfs.diff.tar{codec.suffix.replace('+', '.')}"
        config_type = "application/vnd.docker.container.image.v1+json"
    one = image_layer(("models", None), ("models/sub", None), ("models/sub/m.safetensors", WEIGHTS))
    two = image_layer(("./models/config.json", b"{}"), ("/models/README.md", b"read me"))
    layers: list[Layer] = [(kind, pressed(content, codec), {}) for content in (BASE, one, two)]
    labels = {"org.opencontainers.image.title": "car", "org.opencontainers.image.authors": "Ada"}
    put(place, REF, config_type, {"os": "linux", "config": {"Labels": labels}}, layers)
    assert table_of(place) == {
        "manifestVersion": "1.0.0",
        "package": {"name": "car", "authors": ["Ada"]},
        "model": {"path": "."},
    }
    assert is_told(events, "a container image without a Kitfile")
    have = unpacked(place, tmp_path / "out")
    have.pop("Kitfile")
    assert have == {"sub/m.safetensors": WEIGHTS, "config.json": b"{}", "README.md": b"read me"}
    assert tensors(place, REF).files[0].path == "sub/m.safetensors"


def test_two_images_are_compared(place: Place) -> None:
    other = Reference.parse("foreign:v2")
    for ref, content in ((REF, b"old"), (other, b"new")):
        layers: list[Layer] = [(OCI_LAYER, BASE, {}), (OCI_LAYER, image_layer(("models/m.bin", content)), {})]
        put(place, ref, IMAGE, {"config": {}}, layers)
    found = diff(place, "foreign:v1", "foreign:v2")
    assert [(layer.change, [file.path for file in layer.files]) for layer in found.layers] == [
        ("removed", ["m.bin"]),
        ("added", ["m.bin"]),
    ]
    assert len(found.shared) == 1


@pytest.mark.parametrize("name", ["models/.wh.m.bin", "models/sub/.wh..wh..opq", ".wh.models", "./models/.wh.x"])
def test_an_image_that_deletes_is_refused(name: str, place: Place, tmp_path: Path) -> None:
    layers: list[Layer] = [
        (OCI_LAYER, image_layer(("models/m.bin", b"m")), {}),
        (OCI_LAYER, image_layer((name, b"")), {}),
    ]
    put(place, REF, IMAGE, {"config": None}, layers)
    with pytest.raises(TrustError, match="of an earlier layer, which is not followed"):
        unpacked(place, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (("models/../x", b"x"), "leads out"),
        (("models/ln", "m.bin"), "a symbolic link"),
        (("models//../../x", b""), "absolute path"),
    ],
)
def test_an_image_that_is_unsafe(member: tuple[str, Any], message: str, place: Place, tmp_path: Path) -> None:
    put(place, REF, IMAGE, {}, [(OCI_LAYER, image_layer(member), {})])
    with pytest.raises(TrustError, match=message):
        unpacked(place, tmp_path / "out")


def test_an_image_without_a_model(place: Place, events: list[Event], tmp_path: Path) -> None:
    put(place, REF, IMAGE, {}, [(OCI_LAYER, BASE, {})])
    assert set(unpacked(place, tmp_path / "out")) == {"Kitfile"}
    assert is_told(events, "has no file below /models")
    with pytest.raises(PackError, match="has no file"):
        convert(place, REF, "modelkit")


@pytest.mark.parametrize("name", ["docker", "ollama"])
@pytest.mark.parametrize("to", ["modelkit", "modelpack"])
def test_files_of_others_stay_when_converted(name: str, to: Any, place: Place, tmp_path: Path) -> None:
    if name == "docker":
        layers: list[Layer] = [
            (f"{DOCKER}gguf.v3", b"GGUF", {}),
            (f"{DOCKER}vllm.config.tar", archive(**{"config.json": b"{}"}), {}),
            (f"{DOCKER}dir.tar", archive(sub__x=b"x"), {}),
            (f"{DOCKER}license", b"MIT", {}),
        ]
        put(place, REF, f"{DOCKER}model.config.v0.1+json", {"config": {"architecture": "llama"}}, layers)
        expected = (2, 1)  # both archives are of one part
    else:
        layers = [(f"{OLLAMA}model", b"GGUF", {}), (f"{OLLAMA}system", b"be kind", {})]
        put(place, REF, "application/vnd.docker.container.image.v1+json", {"file_type": "Q4_0"}, layers)
        expected = (2, 0)
    before = unpacked(place, tmp_path / "before")
    done = convert(place, REF, to)
    assert (done.reused, done.written, done.kitfile_made) == (*expected, True)
    unpack(place, done.reference, tmp_path / "after")
    assert {path: data for path, data in tree_of(tmp_path / "after").items() if data is not None} == before
    if to == "modelpack":
        assert validate(place, done.reference) == ()
        config = json.loads(place.store.blobs.fetch(inspect(place, done.reference).kit.manifest.config))["config"]
        assert config.get("architecture", config.get("quantization")) in ("llama", "Q4_0")


def test_an_image_built_by_others_becomes_one_part(place: Place, tmp_path: Path) -> None:
    one = image_layer(("models", None), ("models/sub", None), ("models/sub/m.bin", b"old"), ("models/keep", b"k"))
    two = image_layer(("models/sub/m.bin", b"new"), ("models/more", b"more"))
    put(place, REF, IMAGE, {}, [(f"{OCI_LAYER}+gzip", pressed(layer, Codec.GZIP), {}) for layer in (BASE, one, two)])
    done = convert(place, REF, "modelkit")
    assert (done.reused, done.written, str(done.reference)) == (0, 1, "foreign:v1-modelkit")
    unpack(place, done.reference, tmp_path / "out")
    found = {path: data for path, data in tree_of(tmp_path / "out").items() if data is not None}
    found.pop("Kitfile")
    assert found == {"sub/m.bin": b"new", "keep": b"k", "more": b"more"}
    spread = convert(place, REF, "modelpack", ConvertOptions(layer_format="raw"))
    assert validate(place, spread.reference) == ()
    image = convert(place, REF, "image")
    assert len(inspect(place, image.reference).kit.layers) == 1
    unpack(place, image.reference, tmp_path / "image")
    assert (tmp_path / "image/sub/m.bin").read_bytes() == b"new"


def test_an_unpacked_modelkit_that_was_copied_into_an_image(place: Place, tmp_path: Path) -> None:
    written = b"model: {path: m.bin}\n"
    put(place, REF, IMAGE, {}, [(OCI_LAYER, image_layer(("models/Kitfile", written), ("models/m.bin", b"m")), {})])
    assert unpacked(place, tmp_path / "out") == {"Kitfile": written, "m.bin": b"m"}
    kit = convert(place, REF, "modelkit").reference
    unpack(place, kit, tmp_path / "again")
    assert (tmp_path / "again/m.bin").read_bytes() == b"m"
    assert b"path: ." in (tmp_path / "again/Kitfile").read_bytes()


@pytest.mark.parametrize("options", [ConvertOptions(layer_format="raw"), ConvertOptions(compression="gzip")])
def test_a_file_that_is_there_twice(options: ConvertOptions, place: Place) -> None:
    kind, config_type = "application/vnd.cncf.model.weight.v1.tar", "application/vnd.cncf.model.config.v1+json"
    twice = image_layer(("m.bin", b"one"), ("m.bin", b"two"))
    put(place, REF, config_type, {"descriptor": {}}, [(kind, twice, filed("m.bin"))])
    with pytest.raises(TrustError, match=r"m\.bin is there twice"):
        convert(place, REF, "modelpack", options)


def test_a_catalog_tells_only_images_of_models(tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "home")
    put(place, REF, IMAGE, {}, [(OCI_LAYER, image_layer(("models/m.bin", b"m")), {})])
    convert(place, REF, "modelkit")
    ours = convert(place, Reference.parse("foreign:v1-modelkit"), "image").reference
    with ThrowAwayRegistry() as registry:
        there = Reference.parse(f"{registry.address}/cars/any")
        push(place, REF, [there.with_tag("theirs")])
        push(place, ours, [there.with_tag("ours")])
        assert [row.tags for row in list_catalog(place, registry.address)] == [("ours",)]
        assert {row.tags for row in list_(place, there)} == {("ours",), ("theirs",)}


def test_an_image_is_listed_by_the_name_in_its_label(place: Place) -> None:
    label = json.dumps({"package": {"name": "car", "authors": ["Ada"]}})
    put(place, REF, IMAGE, {"config": {"Labels": {"ml.kitops.modelkit.kitfile": label}}}, [(OCI_LAYER, BASE, {})])
    assert [(row.name, row.author) for row in list_(place)] == [("car", "Ada")]


def put_index(place: Place, table: list[dict[str, Any]]) -> None:
    raw = json.dumps({"schemaVersion": 2, "mediaType": mediatype.INDEX, "manifests": table}).encode()
    desc = Descriptor.of(raw, mediatype.INDEX)
    with place.store.lease("test") as lease:
        sink = place.store.repository(REF, lease)
        sink.put(desc, BytesReader(raw), lambda _: None)
        sink.tag(desc, "v1")


def test_an_index_of_platforms(place: Place, events: list[Event], tmp_path: Path) -> None:
    rows = []
    for number, (system, machine) in enumerate([("unknown", "unknown"), ("linux", "arm64"), ("linux", "amd64")]):
        layers: list[Layer] = [(OCI_LAYER, image_layer(("models/m.bin", machine.encode())), {})]
        desc = put(place, Reference.parse(f"one:{number}"), IMAGE, {}, layers)
        rows.append({**desc.to_json(), "platform": {"os": system, "architecture": machine}})
    put_index(place, rows)
    assert unpacked(place, tmp_path / "amd64")["m.bin"] == b"amd64"
    assert is_told(events, "is an index of platforms")
    put_index(place, rows[:2])
    assert unpacked(place, tmp_path / "arm64")["m.bin"] == b"arm64"
    put_index(place, [{key: row[key] for key in row if key != "platform"} for row in rows])
    with pytest.raises(InvalidValueError, match="index of several artifacts"):
        info(place, REF)


def test_an_image_whose_label_is_no_kitfile(place: Place) -> None:
    config = {"config": {"Labels": {"ml.kitops.modelkit.kitfile": "{"}}}
    put(place, REF, IMAGE, config, [(OCI_LAYER, BASE, {})])
    with pytest.raises(InvalidValueError, match=r"label ml\.kitops\.modelkit\.kitfile"):
        info(place, REF)


@pytest.mark.parametrize("config_type", [IMAGE, f"{DOCKER}model.config.v0.1+json"])
def test_a_config_that_is_none(config_type: str, place: Place) -> None:
    put(place, REF, config_type, [], [(OCI_LAYER, BASE, {})])
    with pytest.raises(InvalidValueError, match="must be an object"):
        info(place, REF)


def test_a_signature_is_no_model() -> None:
    subject = Descriptor.of(b"x", mediatype.MANIFEST)
    layer = Descriptor.of(b"y", "application/x", {"org.opencontainers.image.title": "sbom.json"})
    config = Descriptor.of(b"{}", mediatype.EMPTY)
    assert is_model_artifact(Manifest.build(config=config, layers=[layer]))
    assert not is_model_artifact(Manifest.build(config=config, layers=[layer], subject=subject))
