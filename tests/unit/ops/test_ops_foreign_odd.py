"""Odd artifacts of other tools: several weights, types and names that nobody expects, parts that share a path."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ops_places import open_network_place
from test_ops_foreign import (
    DOCKER,
    IMAGE,
    OCI_LAYER,
    OLLAMA,
    REF,
    Layer,
    archive,
    image_layer,
    is_told,
    put,
    table_of,
    titled,
)

from golden_trees import tree_of
from kitops.content.events import Event
from kitops.errors import TrustError
from kitops.formats.parts import Kind
from kitops.formats.shape import Shape
from kitops.oci import mediatype
from kitops.oci.reference import Reference
from kitops.ops.convert import ConvertOptions, convert
from kitops.ops.diff import diff
from kitops.ops.info import info
from kitops.ops.inspect import inspect
from kitops.ops.list import list_
from kitops.ops.list_filter import ListFilter
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Place
from kitops.ops.push import push
from kitops.ops.unpack import unpack
from kitops.ops.validate import validate
from kitops.testing import ThrowAwayRegistry

MODELPACK = "application/vnd.cncf.model.config.v1+json"
WEIGHT = "application/vnd.cncf.model.weight.v1"


def unpacked(place: Place, target: Path, ref: Reference = REF) -> dict[str, bytes]:
    unpack(place, ref, target)
    return {path: content for path, content in tree_of(target).items() if content is not None}


# --- several weights


@pytest.mark.parametrize("to", ["modelkit", "modelpack", "image"])
@pytest.mark.parametrize("tool", ["docker", "ollama", "oras", "modelpack"])
def test_shards_are_converted(tool: str, to: Any, place: Place, tmp_path: Path) -> None:
    names = [f"model-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    contents = [b"one", b"two", b"three"]
    pairs = list(zip(names, contents, strict=True))
    layers: list[Layer]
    if tool == "docker":
        config_type, layers = f"{DOCKER}model.config.v0.1+json", [(f"{DOCKER}gguf.v3", one, {}) for one in contents]
    elif tool == "ollama":
        config_type = "application/vnd.docker.container.image.v1+json"
        layers = [(f"{OLLAMA}tensor", one, {"name": name.removesuffix(".gguf")}) for name, one in pairs]
        names = [name.replace(".gguf", ".safetensors") for name in names]
    elif tool == "oras":
        config_type, layers = mediatype.EMPTY, [("application/octet-stream", one, titled(name)) for name, one in pairs]
    else:
        config_type, layers = MODELPACK, [(f"{WEIGHT}.raw", one, titled(name)) for name, one in pairs]
    put(place, REF, config_type, {}, layers)
    before = unpacked(place, tmp_path / "before")
    done = convert(place, REF, to)
    if to != "image":
        assert (done.reused, done.written) == (3, 0)
    assert unpacked(place, tmp_path / "after", done.reference) == before
    kit = inspect(place, done.reference).kit
    assert [(layer.part.kind, layer.path) for layer in kit.layers if layer.part] == [
        (Kind.MODEL, names[0]), (Kind.MODEL_PART, names[1]), (Kind.MODEL_PART, names[2])
    ]  # fmt: skip


@pytest.mark.parametrize("form", [None, "tar"])
@pytest.mark.parametrize("tool", ["docker", "modelpack"])
def test_weights_stay_weights(tool: str, form: Any, place: Place) -> None:
    if tool == "docker":
        layers: list[Layer] = [
            (f"{DOCKER}gguf.v3", b"one", {}), (f"{DOCKER}gguf.v3", b"two", {}), (f"{DOCKER}mmproj", b"eyes", {}),
        ]  # fmt: skip
        put(place, REF, f"{DOCKER}model.config.v0.1+json", {}, layers)
    else:
        names = {"a.gguf": "weight", "b.gguf": "weight", "config.json": "weight.config"}
        layers = [
            (f"application/vnd.cnai.model.{family}.v1.raw", name.encode(), titled(name))
            for name, family in names.items()
        ]
        put(place, REF, MODELPACK.replace("cncf", "cnai"), {"descriptor": {}}, layers)
    done = convert(place, REF, "modelpack", ConvertOptions(layer_format=form))
    types = [layer.media_type for layer in inspect(place, done.reference).kit.manifest.layers]
    encoding = form or "raw"
    assert types == [f"{WEIGHT}.{encoding}", f"{WEIGHT}.{encoding}", f"{WEIGHT[:-3]}.config.v1.{encoding}"]
    again = convert(place, done.reference, "modelpack", ConvertOptions(destination=Reference.parse("again:v1")))
    assert again.desc == done.desc


def test_layers_of_another_tool_are_paired_with_those_that_they_became(place: Place) -> None:
    layers: list[Layer] = [(f"{DOCKER}gguf.v3", one, {}) for one in (b"one", b"two")]
    put(place, REF, f"{DOCKER}model.config.v0.1+json", {}, layers)
    convert(place, REF, "modelkit")
    found = diff(place, "foreign:v1", "foreign:v1-modelkit")
    assert (found.layers, len(found.shared)) == ((), 2)


def test_archives_that_become_one_may_share_directories_but_no_file(place: Place, tmp_path: Path) -> None:
    one = image_layer(("sub", None), ("sub/z", b"z"), ("b", b"b"))
    for number, name in enumerate(("sub/a", "sub/z")):
        two = image_layer(("sub", None), (name, b"other"))
        layers: list[Layer] = [(f"{DOCKER}vllm.config.tar", one, {}), (f"{DOCKER}dir.tar", two, {})]
        put(place, REF, f"{DOCKER}model.config.v0.1+json", {}, layers)
        if number == 0:
            done = convert(place, REF, "modelkit")
            (layer,) = inspect(place, done.reference).kit.layers
            with tarfile.open(place.store.blobs.path(layer.desc.digest)) as tar:
                assert tar.getnames() == ["b", "sub", "sub/a", "sub/z"]
        else:
            with pytest.raises(TrustError, match="sub/z is there twice"):
                convert(place, REF, "modelkit")


# --- parts that share a path


@pytest.mark.parametrize("form", ["tar", "raw"])
def test_prompts_that_share_a_path_with_code(form: Any, place: Place, tmp_path: Path) -> None:
    (tmp_path / "p/src").mkdir(parents=True)
    (tmp_path / "p/src/a.md").write_text("a")
    (tmp_path / "p/src/b.md").write_text("b")
    kitfile = b"code: [{path: src}]\nprompts: [{path: src}, {path: src/b.md}]\n"
    modelpack = form == "raw"  # whose layers are one a file
    options = PackOptions(references=(REF,), kitfile_text=kitfile, modelpack=modelpack, layer_format=form)
    packed = pack(place, tmp_path / "p", options)
    kind = convert(place, REF, "image").reference
    image = inspect(place, kind).kit
    fields = ["code[0]", "prompts[0]", "prompts[1]"]
    assert [layer.part.field for layer in image.layers if layer.part] == fields
    back = convert(place, kind, "modelkit", ConvertOptions(destination=Reference.parse("back:v1")))
    assert unpacked(place, tmp_path / "a", back.reference) == unpacked(place, tmp_path / "b")
    if form == "tar":
        assert back.desc == packed.desc


# --- types and names that nobody expects


@pytest.mark.parametrize(
    ("kind", "name"), [("weird{x}", "weird{x}"), ("{}", "{}"), ("{0.__class__}", "{0.__class__}"), ("a/b", "b")]
)
def test_a_type_of_ollama_is_no_template(kind: str, name: str, place: Place, tmp_path: Path) -> None:
    layers: list[Layer] = [(f"{OLLAMA}model", b"GGUF", {}), (f"{OLLAMA}{kind}", b"x", {})]
    put(place, REF, "application/vnd.docker.container.image.v1+json", {"model_format": "{0}"}, layers)
    assert unpacked(place, tmp_path / "out").keys() == {"Kitfile", "model.{0}", name}
    assert len(list_(place)) == 1


def test_a_type_of_ollama_without_a_word_has_a_name_too(place: Place, tmp_path: Path) -> None:
    put(place, REF, "application/vnd.docker.container.image.v1+json", {}, [(OLLAMA, b"x", {})])
    assert len(unpacked(place, tmp_path / "out")) == 2


@pytest.mark.parametrize("config_type", [MODELPACK, f"{DOCKER}model.config.v0.1+json"])
@pytest.mark.parametrize("family", ["cncf", "cnai"])
def test_weights_as_early_model_runners_call_them(family: str, config_type: str, place: Place, tmp_path: Path) -> None:
    kind = f"application/vnd.{family}.model.weight.v1"
    put(place, REF, config_type, {}, [(f"{kind}.gguf", b"GGUF", {})])
    assert unpacked(place, tmp_path / "one")["model.gguf"] == b"GGUF"
    assert table_of(place)["model"]["path"] == "model.gguf"
    assert convert(place, REF, "modelkit").reused == 1
    shards: list[Layer] = [(f"{kind}.safetensors", text, {}) for text in (b"1", b"2")]
    put(place, REF, config_type, {}, [*shards, (f"{kind}.gguf", b"named", titled("other.gguf"))])
    found = unpacked(place, tmp_path / "two")
    assert found["other.gguf"] == b"named"
    assert {found[path] for path in found if path.endswith(".safetensors")} == {b"1", b"2"}


@pytest.mark.parametrize("to", ["modelkit", "modelpack"])
def test_archives_without_a_path_are_one_part(to: Any, place: Place, tmp_path: Path) -> None:
    layers: list[Layer] = [(f"{WEIGHT}.tar", archive(sub__m=b"m"), {})]
    put(place, REF, MODELPACK, {"descriptor": {}}, layers)
    assert table_of(place)["model"] == {"path": "."}
    done = convert(place, REF, to)
    assert (done.reused, done.written) == (1, 0)
    assert unpacked(place, tmp_path / "one", done.reference)["sub/m"] == b"m"
    layers += [
        ("application/vnd.cncf.model.doc.v1.tar", archive(**{"README.md": b"r"}), {}),
        ("application/vnd.cncf.model.code.v1.raw", b"c", titled("run.py")),
    ]
    put(place, REF, MODELPACK, {"descriptor": {}}, layers)
    assert (table_of(place)["model"], table_of(place)["code"]) == ({"path": "."}, [{"path": "run.py"}])
    done = convert(place, REF, to)
    found = unpacked(place, tmp_path / "two", done.reference)
    assert found | {"Kitfile": b""} == {"Kitfile": b"", "sub/m": b"m", "README.md": b"r", "run.py": b"c"}
    if to == "modelpack":
        put(place, REF, MODELPACK, {"descriptor": {}}, layers[1:2])
        assert table_of(place)["docs"] == [{"path": "."}]


# --- layers of a type that is not known


def test_a_layer_of_a_type_that_is_not_known_hides_no_other(place: Place, events: list[Event], tmp_path: Path) -> None:
    new = "application/vnd.cncf.model.hologram.v9.raw"
    layers: list[Layer] = [(f"{WEIGHT}.raw", b"m", titled("m.gguf")), (new, b"12345", titled("h"))]
    put(place, REF, MODELPACK, {"descriptor": {"name": "odd"}}, layers)
    kitops = "application/vnd.kitops.modelkit"
    kitfile = {"package": {"name": "odd"}, "model": {"path": "m.gguf"}}
    other = Reference.parse("other:v1")
    put(
        place, other, f"{kitops}.config.v1+json", kitfile,
        [(f"{kitops}.model.v1.raw", b"m", {"annotations": {"org.cncf.model.filepath": "m.gguf"}}),
         (f"{kitops}.hologram.v9.tar", b"12345", {})],
    )  # fmt: skip
    assert [(row.name, row.size) for row in list_(place)] == [("odd", 6), ("odd", 6)]
    for number, ref in enumerate((REF, other)):
        events.clear()
        assert unpacked(place, tmp_path / str(number), ref).keys() == {"Kitfile", "m.gguf"}
        assert is_told(events, "is left out: its type is not known, 'application/vnd.")
        kit = inspect(place, ref).kit
        assert ([layer.path for layer in kit.layers], len(kit.unknown), kit.size) == (["m.gguf"], 1, 6)
        done = convert(place, ref, "modelkit" if number == 0 else "modelpack")
        assert len(inspect(place, done.reference).kit.manifest.layers) == 1
    assert validate(place, done.reference) == ()
    with ThrowAwayRegistry() as registry:
        away = open_network_place(tmp_path / "home")
        there = Reference.parse(f"{registry.address}/team/odd:v1")
        push(away, REF, [there])
        assert [(row.name, row.size) for row in list_(away, there)] == [("odd", 6)]
        assert list_(away, wanted=ListFilter.parse(["model:m.gguf"]))


# --- artifacts and images


def test_files_with_titles_are_no_image(place: Place, tmp_path: Path) -> None:
    """As `oras push --config image.json:application/vnd.oci.image.config.v1+json` makes them."""
    layers: list[Layer] = [(OCI_LAYER, b"no archive", titled("m.gguf")), (OCI_LAYER, b"{}", titled("config.json"))]
    put(place, REF, IMAGE, {}, layers)
    assert inspect(place, REF).kit.shape is Shape.ARTIFACT
    assert unpacked(place, tmp_path / "out")["m.gguf"] == b"no archive"


@pytest.mark.parametrize(("text", "variant"), [("linux/arm64/v8", "v8"), ("linux/arm64", None)])
def test_platforms_have_variants(text: str, variant: str | None, place: Place) -> None:
    put(place, REF, mediatype.EMPTY, {}, [("application/octet-stream", b"m", titled("m.gguf"))])
    done = convert(place, REF, "image", ConvertOptions(platform=text))
    config = json.loads(place.store.blobs.fetch(inspect(place, done.reference).kit.manifest.config))
    assert (config["os"], config["architecture"], config.get("variant")) == ("linux", "arm64", variant)
    assert info(place, done.reference).model is not None
