"""Conversions: what can stay stays, what comes back is equal, and what cannot be is said."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from ops_places import open_test_place
from test_ops_modelpack import KITFILE_TEXT, make_project

from golden_trees import GOLDEN, LayoutSource, list_cases, tree_of
from kitops.content.copy import copy as copy_graph
from kitops.content.events import Event, Message
from kitops.content.protocols import Run
from kitops.errors import Cancelled, IntegrityError, InvalidValueError, NotFoundError, PackError
from kitops.formats.modelkit import ModelKit, read_modelkit
from kitops.formats.shape import Shape
from kitops.layers.codec import Codec
from kitops.layers.write import Format
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.ops import model_facts
from kitops.ops.convert import Converted, ConvertOptions, convert
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Place
from kitops.ops.unpack import unpack
from kitops.ops.validate import validate
from weight_bytes import plain_safetensors

REF = Reference.parse("tiny:v1")
IO = Path("/proc/self/io")
GO_CASES = {"everything", "everything+gzip", "everything+modelpack", "modes", "parent-with-parts", "minimal+modelpack"}


def pack_tiny(place: Place, root: Path, kitfile: bytes = KITFILE_TEXT, **options: Any) -> str:
    packed = pack(place, root, PackOptions(references=(REF,), kitfile_text=kitfile, **options))
    return str(packed.desc.digest)


def go(place: Place, ref: str, to: Any, destination: str | None = None, **options: Any) -> Converted:
    target = Reference.parse(destination) if destination else None
    return convert(place, Reference.parse(ref), to, ConvertOptions(destination=target, **options))


def read(place: Place, ref: str) -> ModelKit:
    return read_modelkit(place.store.blobs, place.store.refs.resolve(Reference.parse(ref)))


def files(place: Place, ref: str, target: Path) -> dict[str, bytes]:
    unpack(place, Reference.parse(ref), target)
    return {path: content for path, content in tree_of(target).items() if content is not None}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "p")


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_archives_stay_and_come_back(compression: Any, place: Place, project: Path) -> None:
    digest = pack_tiny(place, project, compression=compression, annotations={"org.example.key": "value"})
    there = go(place, "tiny:v1", "modelpack")
    assert str(there.reference) == "tiny:v1-modelpack"
    assert (there.reused, there.written, there.new_size) == (6, 0, 0)
    assert [layer.desc.digest for layer in read(place, "tiny:v1-modelpack").layers] == [
        layer.desc.digest for layer in read(place, "tiny:v1").layers
    ]
    assert validate(place, there.reference) == ()
    back = go(place, "tiny:v1-modelpack", "modelkit")
    assert str(back.reference) == "tiny:v1-modelkit"
    assert str(back.desc.digest) == digest


@pytest.mark.parametrize("form", ["tar", "raw"])
@pytest.mark.parametrize("headers", [True, None])
def test_with_headers_it_is_what_pack_would_have_made(headers: Any, form: Any, place: Place, project: Path) -> None:
    expected = pack_tiny(place, project, modelpack=True, layer_format=form)
    pack_tiny(place, project)
    assert str(go(place, "tiny:v1", "modelpack", layer_format=form, headers=headers).desc.digest) == expected
    silent = go(place, "tiny:v1", "modelpack", "tiny:silent", layer_format=form, headers=False)
    assert str(silent.desc.digest) != expected


@pytest.mark.parametrize("form", ["tar", "raw"])
def test_what_we_packed_comes_back_from_a_modelkit(form: Any, place: Place, project: Path) -> None:
    expected = pack_tiny(place, project, modelpack=True, layer_format=form)
    assert (go(place, "tiny:v1", "modelkit").written > 0) is (form == "raw")
    assert str(go(place, "tiny:v1-modelkit", "modelpack", layer_format=form).desc.digest) == expected


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_headers_of_compressed_layers_are_read_when_asked_for(compression: Any, project: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(observer=events.append))
    expected = pack_tiny(place, project, modelpack=True, compression=compression)
    go(place, "tiny:v1", "modelkit")
    assert str(go(place, "tiny:v1-modelkit", "modelpack").desc.digest) != expected
    assert any(isinstance(event, Message) and "(--headers does)" in event.text for event in events)
    assert str(go(place, "tiny:v1-modelkit", "modelpack", headers=True).desc.digest) == expected


def test_a_file_that_is_no_weights_is_told_and_passed_over(project: Path, tmp_path: Path) -> None:
    (project / "model/broken.safetensors").write_bytes(b"a pickle, in truth")
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(observer=events.append))
    expected = pack_tiny(place, project, modelpack=True)
    go(place, "tiny:v1", "modelkit")
    events.clear()
    assert str(go(place, "tiny:v1-modelkit", "modelpack").desc.digest) == expected
    told = [event.text for event in events if isinstance(event, Message) and event.level == "warning"]
    assert len(told) == 1
    assert "broken.safetensors in layer" in told[0]


def test_nothing_is_told_of_weights_that_were_read_in_part(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_facts, "LOCAL_LIMIT", 4096)  # else the layer would have to be huge
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(observer=events.append))
    pack_tiny(place, project, compression="gzip")
    digest = go(place, "tiny:v1", "modelpack", headers=False).desc.digest
    assert go(place, "tiny:v1", "modelpack", headers=True).desc.digest == digest
    assert any(isinstance(event, Message) and "only the first 4096 bytes" in event.text for event in events)


def test_files_spread_and_gathered_again(place: Place, project: Path, tmp_path: Path) -> None:
    digest = pack_tiny(place, project)
    spread = go(place, "tiny:v1", "modelpack", layer_format="raw")
    assert (spread.reused, spread.written) == (0, 13)
    assert {layer.form for layer in read(place, "tiny:v1-modelpack").layers} == {Format.RAW}
    assert validate(place, spread.reference) == ()
    again = go(place, "tiny:v1-modelpack", "modelpack", "tiny:tar", layer_format="tar")
    assert (again.reused, again.written) == (0, 6)
    back = go(place, "tiny:v1-modelpack", "modelkit", layer_format="tar")
    assert str(back.desc.digest) == digest
    assert files(place, "tiny:tar", tmp_path / "a") == files(place, "tiny:v1", tmp_path / "b")


def test_raw_files_stay(place: Place, project: Path) -> None:
    kitfile = b"model: {path: extra/vocab.json}\ncode: [{path: src/run.sh}]\n"
    digest = pack_tiny(place, project, kitfile, layer_format="raw")
    there = go(place, "tiny:v1", "modelpack")
    assert (there.reused, there.written, there.new_size) == (2, 0, 0)
    assert str(go(place, "tiny:v1-modelpack", "modelkit").desc.digest) == digest
    tar = go(place, "tiny:v1", "modelkit", "tiny:tar", layer_format="tar")
    expected = pack_tiny(place, project, kitfile)
    assert str(tar.desc.digest) == expected
    assert str(go(place, "tiny:tar", "modelkit", "tiny:raw", layer_format="raw").desc.digest) == digest


def test_compressed_raw_files(place: Place, project: Path) -> None:
    kitfile = b"model: {path: extra/vocab.json}\ncode: [{path: src/run.sh}]\n"
    plain = pack_tiny(place, project, kitfile)
    digest = pack_tiny(place, project, kitfile, layer_format="raw", compression="gzip")
    there = go(place, "tiny:v1", "modelpack")
    assert (there.reused, there.written) == (0, 2)
    assert validate(place, there.reference) == ()
    assert str(go(place, "tiny:v1", "modelkit", "tiny:tar", layer_format="tar").desc.digest) == plain
    assert str(go(place, "tiny:tar", "modelkit", layer_format="raw", compression="gzip").desc.digest) == digest


def test_what_is_right_already_keeps_its_manifest(place: Place, project: Path) -> None:
    digest = pack_tiny(place, project)
    same = go(place, "tiny:v1", "modelkit", "other:v2")
    assert (str(same.desc.digest), str(same.reference), same.reused) == (digest, "other:v2", 6)
    assert place.store.refs.resolve(Reference.parse("other:v2")) == same.desc


def image_members(place: Place, layer: Any) -> list[tarfile.TarInfo]:
    mode: Any = {Codec.NONE: "r:", Codec.GZIP: "r:gz"}[layer.codec]
    with tarfile.open(place.store.blobs.path(layer.desc.digest), mode) as tar:
        return tar.getmembers()


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_an_image_and_back(compression: Any, place: Place, project: Path, tmp_path: Path) -> None:
    digest = pack_tiny(place, project, compression=compression)
    image = go(place, "tiny:v1", "image")
    manifest = Manifest.parse(place.store.blobs.fetch(image.desc))
    config = json.loads(place.store.blobs.fetch(manifest.config))
    assert manifest.config.media_type == "application/vnd.oci.image.config.v1+json"
    suffix = "" if compression == "none" else "+gzip"
    assert {layer.media_type for layer in manifest.layers} == {f"application/vnd.oci.image.layer.v1.tar{suffix}"}
    assert (config["os"], config["architecture"], config["rootfs"]["type"]) == ("linux", "amd64", "layers")
    assert config["config"]["Labels"]["org.opencontainers.image.title"] == "tiny"
    kit = read(place, "tiny:v1-image")
    assert (kit.shape, kit.is_authored, kit.kitfile) == (Shape.IMAGE, True, read(place, "tiny:v1").kitfile)
    for layer, diff_id in zip(kit.layers, config["rootfs"]["diff_ids"], strict=True):
        blob = place.store.blobs.path(layer.desc.digest).read_bytes()
        plain = blob if compression == "none" else zlib.decompress(blob, 31)
        assert f"sha256:{hashlib.sha256(plain).hexdigest()}" == diff_id
        names = [member.name for member in image_members(place, layer)]
        assert names[0] == "models"
        assert all(name.startswith("models/") for name in names[1:])
    assert files(place, "tiny:v1-image", tmp_path / "a") == files(place, "tiny:v1", tmp_path / "b")
    assert go(place, "tiny:v1", "image", "tiny:again").desc == image.desc
    assert str(go(place, "tiny:v1-image", "modelkit").desc.digest) == digest


def test_a_part_without_files_comes_back_from_an_image(place: Place, tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"m")
    text = b"model: {path: m.bin}\ncode: [{path: .}]\n"
    desc = pack(place, tmp_path, PackOptions(kitfile_text=text, references=(REF,))).desc
    convert(place, REF, "image")
    assert convert(place, REF.with_tag("v1-image"), "modelkit").desc == desc


def test_an_image_of_spread_files_and_for_another_machine(place: Place, project: Path, tmp_path: Path) -> None:
    digest = pack_tiny(place, project)
    go(place, "tiny:v1", "modelpack", layer_format="raw")
    image = go(place, "tiny:v1-modelpack", "image", platform="linux/arm64")
    assert image.written == 13
    kit = read(place, "tiny:v1-image")
    assert json.loads(place.store.blobs.fetch(kit.manifest.config))["architecture"] == "arm64"
    assert len({layer.path for layer in kit.layers}) == 13
    assert all(layer.part is not None for layer in kit.layers)
    assert files(place, "tiny:v1-image", tmp_path / "a") == files(place, "tiny:v1", tmp_path / "b")
    back = go(place, "tiny:v1-image", "modelkit")
    assert files(place, str(back.reference), tmp_path / "c") == files(place, "tiny:v1", tmp_path / "d")
    assert digest != str(image.desc.digest)


def test_many_layers_are_gathered_for_an_image(place: Place, tmp_path: Path) -> None:
    (tmp_path / "p/many").mkdir(parents=True)
    for number in range(101):
        (tmp_path / f"p/many/{number}").write_text(str(number))
    pack_tiny(place, tmp_path / "p", b"model: {path: many}\n", modelpack=True, layer_format="raw")
    assert go(place, "tiny:v1", "image").written == 1
    assert len(files(place, "tiny:v1-image", tmp_path / "out")) == 102


def test_the_oras_vector_becomes_a_modelkit(tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(observer=events.append))
    source = LayoutSource(GOLDEN / "other/oras/layout")
    with place.store.lease("test") as lease:
        sink = place.store.repository(Reference.parse("oras:v1"), lease)
        copy_graph(source, sink, source.root(), place.run)
        sink.tag(source.root(), "v1")
    done = go(place, "oras:v1", "modelkit")
    assert (done.kitfile_made, done.reused, done.written) == (True, 3, 0)
    assert any(isinstance(event, Message) and "one was made" in event.text for event in events)
    want = tree_of(GOLDEN / "other/oras/files")
    held = {"model.safetensors", "README.md", "onnx/a.onnx"}
    found = files(place, "oras:v1-modelkit", tmp_path / "out")
    assert {path: found[path] for path in found if path != "Kitfile"} == {path: want[path] for path in held}
    go(place, "oras:v1", "image")
    assert files(place, "oras:v1-image", tmp_path / "image") == found
    go(place, "oras:v1", "modelpack", layer_format="raw")
    assert validate(place, Reference.parse("oras:v1-modelpack")) == ()


def test_a_parent_is_kept_or_refused(place: Place, project: Path) -> None:
    pack_tiny(place, project)
    kitfile = b"model: {path: 'tiny:v1'}\ncode: [{path: src}]\n"
    pack(place, project, PackOptions(references=(Reference.parse("child:v1"),), kitfile_text=kitfile))
    there = go(place, "child:v1", "modelpack")
    assert there.reused == 1
    with pytest.raises(InvalidValueError, match="an image would have no model"):
        go(place, "child:v1", "image")


@pytest.mark.parametrize(
    ("ref", "to", "options", "error", "message"),
    [
        ("tiny:v1", "modelkit", {"layer_format": "raw"}, PackError, "is not one file"),
        ("tiny:v1", "image", {"layer_format": "raw"}, InvalidValueError, "are tar archives"),
        ("tiny:v1", "image", {"compression": "zstd"}, InvalidValueError, "plain or gzip"),
        ("tiny:v1", "image", {"platform": "linux"}, InvalidValueError, "is not a platform"),
        ("tiny:none", "image", {}, NotFoundError, "tiny:none"),
    ],
)
def test_what_cannot_be(
    ref: str, to: str, options: dict[str, Any], error: type[Exception], message: str, place: Place, project: Path
) -> None:
    pack_tiny(place, project)
    with pytest.raises(error, match=message):
        go(place, ref, to, **options)
    assert len(place.store.refs.list()) == 1


def test_the_hint_names_the_option_that_was_wrong(place: Place, project: Path) -> None:
    pack_tiny(place, project)
    for options in ({"layer_format": "raw"}, {"compression": "zstd"}):
        with pytest.raises(InvalidValueError) as caught:
            go(place, "tiny:v1", "image", **options)
        assert f"--{next(iter(options)).replace('_', '-')}" in str(caught.value.hint)


def test_names_of_results(place: Place, project: Path) -> None:
    digest = pack_tiny(place, project)
    with pytest.raises(InvalidValueError, match="has no tag"):
        go(place, f"tiny@{digest}", "modelpack")
    assert str(go(place, f"tiny@{digest}", "modelpack", "x/y:z").reference) == "x/y:z"
    assert str(go(place, "tiny:v1", "modelpack", "x/y").reference) == "x/y:v1-modelpack"
    with pytest.raises(InvalidValueError, match="no name to give"):
        go(place, "tiny:v1", "modelpack", f"x@{digest}")


def test_a_damaged_layer_gives_nothing(place: Place, project: Path) -> None:
    pack_tiny(place, project)
    largest = max(read(place, "tiny:v1").layers, key=lambda layer: layer.desc.size)
    path = place.store.blobs.path(largest.desc.digest)
    content = bytearray(path.read_bytes())
    content[-5000] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    for to, options in (("image", {}), ("modelpack", {"layer_format": "raw"})):
        with pytest.raises(IntegrityError, match=str(largest.desc.digest)):
            go(place, "tiny:v1", to, **options)
    assert len(place.store.refs.list()) == 1


def test_what_a_filtered_pull_left_out_is_told(place: Place, project: Path) -> None:
    pack_tiny(place, project)
    place.store.blobs.path(read(place, "tiny:v1").layers[0].desc.digest).unlink()
    with pytest.raises(NotFoundError, match="is lost from the store"):
        go(place, "tiny:v1", "modelpack")


def test_an_end_is_heeded(project: Path, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    pack_tiny(place, project)
    run = Run()
    run.cancel.cancel("test")
    with pytest.raises(Cancelled):
        go(open_test_place(tmp_path / "home", run), "tiny:v1", "image")


def test_the_vectors_of_modctl(place: Place, tmp_path: Path) -> None:
    for name in ("modctl-tar", "modctl-raw"):
        source = LayoutSource(GOLDEN / f"other/{name}/layout")
        with place.store.lease("test") as lease:
            sink = place.store.repository(Reference.parse(name), lease)
            copy_graph(source, sink, source.root(), place.run)
            sink.tag(source.root(), "v1")
        assert go(place, f"{name}:v1", "modelpack", "same:v1").desc.digest == source.root().digest
        kit = go(place, f"{name}:v1", "modelkit")
        assert (kit.written, kit.kitfile_made) == (0, True)
        assert files(place, f"{name}:v1-modelkit", tmp_path / name) == files(
            place, f"{name}:v1", tmp_path / f"{name}-x"
        )
    config = json.loads(place.store.blobs.fetch(read(place, "modctl-tar:v1").manifest.config))
    go(place, "modctl-tar:v1", "modelpack", "spread:v1", layer_format="raw")
    spread = json.loads(place.store.blobs.fetch(read(place, "spread:v1").manifest.config))
    assert (spread["descriptor"], spread["config"]) == (config["descriptor"] | {"title": "mc"}, config["config"])
    assert {str(layer.desc.digest) for layer in read(place, "spread:v1").layers} == {
        str(layer.desc.digest) for layer in read(place, "modctl-raw:v1").layers
    }


@pytest.mark.parametrize("to", ["modelkit", "modelpack"])
def test_compressed_raw_layers_are_a_wish_of_modelkits(to: Any, place: Place, project: Path) -> None:
    pack_tiny(place, project, b"model: {path: extra/vocab.json}\n")
    if to == "modelkit":
        go(place, "tiny:v1", to, layer_format="raw", compression="zstd")
        assert read(place, "tiny:v1-modelkit").layers[0].codec is Codec.ZSTD
    else:
        with pytest.raises(InvalidValueError, match="no compressed raw layers"):
            go(place, "tiny:v1", to, layer_format="raw", compression="zstd")


@pytest.mark.parametrize(
    "name", [name for name in list_cases("2024", "2025", "2026") if name.rpartition("/")[2] in GO_CASES]
)
def test_what_the_go_tool_packed_there_and_back(name: str, place: Place, tmp_path: Path) -> None:
    source = LayoutSource(GOLDEN / "pack" / name / "layout")
    with place.store.lease("test") as lease:
        sink = place.store.repository(Reference.parse("go"), lease)
        copy_graph(source, sink, source.root(), place.run)
        sink.tag(source.root(), "v1")
    there, back = ("modelkit", "modelpack") if "+modelpack" in name else ("modelpack", "modelkit")
    if not read(place, "go:v1").layers:
        with pytest.raises(PackError, match="at least one layer"):
            go(place, "go:v1", there)
        return
    go(place, "go:v1", there)
    done = go(place, f"go:v1-{there}", back)
    assert validate(place, Reference.parse("go:v1-modelpack")) == ()
    before, after = read(place, "go:v1"), read(place, str(done.reference))
    assert after.kitfile == before.kitfile
    if not name.startswith("2024"):
        assert [layer.desc.digest for layer in after.layers] == [layer.desc.digest for layer in before.layers]
        if back == "modelkit":
            assert after.manifest.config == before.manifest.config
    if name.endswith("parent-with-parts"):
        return
    image = go(place, "go:v1", "image")
    assert files(place, str(image.reference), tmp_path / "a") == files(place, "go:v1", tmp_path / "b")


def io_counters() -> dict[str, int]:
    return {key: int(value) for key, _, value in (line.partition(": ") for line in IO.read_text().splitlines())}


@pytest.mark.skipif(not IO.exists(), reason="the system does not tell what a process read")
@pytest.mark.parametrize("form", ["tar", "raw"])
@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_no_byte_of_a_layer_that_stays_is_read_or_written(suffix: str, form: Any, place: Place, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    with (tmp_path / f"p/m.{suffix}").open("wb") as file:
        file.write(plain_safetensors(wte=(1 << 23,))) if suffix == "safetensors" else file.truncate(32 << 20)
    pack_tiny(place, tmp_path / "p", f"model: {{path: m.{suffix}}}\n".encode(), layer_format=form)
    go(place, "tiny:v1", "modelpack", "warm:v1")  # what is imported is read too
    before = io_counters()
    go(place, "tiny:v1", "modelpack")
    after = io_counters()
    assert after["rchar"] - before["rchar"] < 1 << 20
    assert after["wchar"] - before["wchar"] < 1 << 20
    config = json.loads(place.store.blobs.fetch(read(place, "tiny:v1-modelpack").manifest.config))
    assert config["config"].get("paramSize") == ("8.4M" if suffix == "safetensors" else None)
