"""Tensors of ModelKits, from the store and from registries, without the weights being read."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ops_places import open_network_place, open_test_place

from kitops.content.events import Advanced, Event, Planned
from kitops.content.protocols import Run
from kitops.errors import HeaderError, IntegrityError, NetworkError, NotFoundError
from kitops.formats.layertypes import KITOPS_ARTIFACT, KITOPS_CONFIG
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.ops import tensors as tensors_module
from kitops.ops.inspect import inspect
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Place
from kitops.ops.push import push
from kitops.ops.tensor_diff import tensor_diff
from kitops.ops.tensor_values import digest_tensors
from kitops.ops.tensors import file_tensors, tensors
from kitops.server import RegistryServer
from kitops.weights.tensors import Tensor
from scripted_server import Said, Script, Seen, scripted_server
from weight_bytes import gguf_bytes, plain_safetensors, safetensors_bytes

KITFILE = b"""\
model: {path: weights, parts: [{path: adapter.safetensors}, {path: config.json}]}
code: [{path: code}]
"""
GIB = 1 << 30


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    with RegistryServer(tmp_path / "registry") as server:
        yield server.address


def make_project(root: Path, **changes: bytes) -> Path:
    """Two shards with their index, a GGUF file, an adapter; and a file of that name where nobody looks for weights."""
    index = {"weight_map": {"wte": "model-00001-of-00002.safetensors", "head": "model-00002-of-00002.safetensors"}}
    files = {
        "weights/model-00001-of-00002.safetensors": plain_safetensors(wte=(4, 2)),
        "weights/model-00002-of-00002.safetensors": plain_safetensors(head=(2, 4), bias=(4,)),
        "weights/model.safetensors.index.json": json.dumps(index).encode(),
        "weights/notes.txt": b"read me",
        "weights/q/model.gguf": gguf_bytes(tensors=[(b"wte", [32], 2, 0)], data=18),
        "adapter.safetensors": plain_safetensors(lora=(2, 1)),
        "config.json": b"{}",
        "code/test.safetensors": b"no weights",
        **changes,
    }
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def pack_as(place: Place, root: Path, ref: str, kitfile: bytes = KITFILE, **options: str) -> Reference:
    parsed = Reference.parse(ref)
    pack(place, root, PackOptions(references=(parsed,), kitfile_text=kitfile, **options))
    return parsed


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("remote", [False, True])
def test_tensors_of_a_kit(compression: str, remote: bool, registry: str, tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "home")
    ref = pack_as(place, make_project(tmp_path / "p"), f"{registry}/x:v1", compression=compression)
    if remote:
        push(place, ref)
        place = open_network_place(tmp_path / "away")
    found = tensors(place, ref, remote=remote)
    assert [(file.path, [t.name for t in file.header.tensors]) for file in found.files] == [
        ("weights/model-00001-of-00002.safetensors", ["wte"]),
        ("weights/model-00002-of-00002.safetensors", ["head", "bias"]),
        ("weights/q/model.gguf", ["wte"]),
        ("adapter.safetensors", ["lora"]),
    ]
    assert found.notes == ()
    assert found.is_remote == remote
    assert (found.totals.tensors, found.totals.parameters) == (5, 8 + 8 + 4 + 32 + 2)
    table = found.to_json()
    assert table["dtypes"] == {"Q4_0": 32, "F32": 22}
    assert table["files"][0]["tensors"] == [
        {"name": "wte", "dtype": "F32", "shape": [4, 2], "bytes": 32, "offset": found.files[0].header.size}
    ]


def test_raw_layers_and_a_file(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    root = make_project(tmp_path / "p")
    ref = pack_as(place, root, "x:v1", b"model: {path: adapter.safetensors}", layer_format="raw")
    (file,) = tensors(place, ref).files
    (alone,) = file_tensors(root / "adapter.safetensors").files
    assert file.header == alone.header
    assert alone.to_json()["layer"] is None
    assert file.to_json()["layer"] == str(file.layer.desc.digest)


def test_a_kit_without_weights_says_so(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    ref = pack_as(place, make_project(tmp_path / "p"), "x:v1", b"model: {path: config.json}")
    with pytest.raises(NotFoundError) as caught:
        tensors(place, ref)
    assert "*.gguf" in caught.value.hint


def test_a_malformed_header_is_one_clear_error(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    root = make_project(tmp_path / "p", **{"adapter.safetensors": b"pickle, in truth"})
    ref = pack_as(place, root, "x:v1")
    with pytest.raises(HeaderError, match=r"adapter\.safetensors in layer [0-9a-f]+ of .*x:v1, byte 0: a header of"):
        tensors(place, ref)


def test_what_an_index_says_that_is_not_so_is_told(tmp_path: Path) -> None:
    shard = "model-0000{}-of-00002.safetensors".format
    index = {"weight_map": {"wte": shard(2), "x": shard(9), "y": shard(8)}}
    place = open_test_place(tmp_path / "home")
    root = make_project(tmp_path / "p", **{"weights/model.safetensors.index.json": json.dumps(index).encode()})
    notes = tensors(place, pack_as(place, root, "x:v1")).notes
    assert notes == (
        "weights/model.safetensors.index.json: not here is 'model-00008-of-00002.safetensors', and 1 more",
        "weights/model.safetensors.index.json: not in its file is 'wte'",
    )


def test_a_compressed_layer_is_read_as_far_as_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors_module, "LOCAL_LIMIT", 3000)
    place = open_test_place(tmp_path / "home")
    root = make_project(tmp_path / "p", **{"weights/n.bin": bytes(9000)})
    found = tensors(place, pack_as(place, root, "x:v1", compression="zstd"))
    assert [file.path for file in found.files][-1] == "adapter.safetensors"
    assert "weights/q/model.gguf" not in [file.path for file in found.files]
    assert found.notes == ("layer weights: only the first 3000 bytes were read, as it is compressed",)


def test_a_stream_that_gives_nothing_is_not_read_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors_module, "LOCAL_LIMIT", 1 << 20)
    place = open_test_place(tmp_path / "home")
    ref = pack_as(place, make_project(tmp_path / "p"), "x:v1", b"model: {path: weights}", compression="gzip")
    (layer,) = inspect(place, ref).kit.layers
    path = place.store.blobs.path(layer.desc.digest)
    path.chmod(0o644)
    path.write_bytes(gzip.compress(b"") * 100_000)
    (note,) = tensors(place, ref).notes
    assert "only the first 1048576 bytes" in note


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    ref = pack_as(place, make_project(tmp_path / "p"), "x:v1", b"model: {path: weights}")
    (layer,) = inspect(place, ref).kit.layers
    path = place.store.blobs.path(layer.desc.digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(IntegrityError, match="a whole tar archive"):
        tensors(place, ref)


# --- a registry that counts


def sparse_layer(form: str) -> tuple[bytes, int]:
    """The beginning of a layer of 4 GiB that holds one safetensors file, and the layer's size."""
    count = 300
    each = 4 * GIB // count // 2 * 2
    entries = {
        f"model.layers.{number}.weight": {
            "dtype": "BF16",
            "shape": [each // 2],
            "data_offsets": [number * each, (number + 1) * each],
        }
        for number in range(count)
    }
    header = safetensors_bytes({"__metadata__": {"format": "pt"}, **entries})
    size = len(header) + count * each
    if form == "raw":
        return header, size
    member = tarfile.TarInfo("model.safetensors")
    member.size = size
    head = member.tobuf(tarfile.PAX_FORMAT)
    return head + header, len(head) + size + -size % 512 + 1024


def serve_kit(form: str, beginning: bytes, size: int, *, ranges: bool = True) -> tuple[Script, list[int]]:
    """A script for a registry with one kit, whose only layer begins like this and goes on with zeros."""
    config = json.dumps({"package": {}, "model": {"path": "model.safetensors"}}).encode()
    layer = Descriptor(f"application/vnd.kitops.modelkit.model.v1.{form}", Digest.of(b"zeros"), size)
    manifest = Manifest.build(
        config=Descriptor.of(config, KITOPS_CONFIG), layers=[layer], artifact_type=KITOPS_ARTIFACT
    )
    sent: list[int] = []

    def script(seen: Seen) -> Said:
        if "/manifests/" in seen.target:
            headers = {"Content-Type": manifest.media_type, "Docker-Content-Digest": str(manifest.descriptor.digest)}
            return Said(headers=headers, body=manifest.raw)
        if str(layer.digest) not in seen.target:
            return Said(body=config)
        if not ranges:
            return Said(body=beginning + bytes(100_000), length=size)
        first, _, last = seen.headers["Range"].removeprefix("bytes=").partition("-")
        start, end = int(first), int(last) + 1
        body = beginning[start:end] + bytes(max(0, end - max(start, len(beginning))))
        sent.append(len(body))
        return Said(206, {"Content-Range": f"bytes {start}-{end - 1}/{size}"}, body)

    return script, sent


@pytest.mark.parametrize("form", ["raw", "tar"])
def test_four_gibibytes_cost_a_header(form: str, tmp_path: Path) -> None:
    beginning, size = sparse_layer(form)
    script, sent = serve_kit(form, beginning, size)
    with scripted_server(script) as server:
        found = tensors(open_network_place(tmp_path / "home"), Reference.parse(f"{server.address}/x:v1"), remote=True)
    assert found.totals.tensors == 300
    assert 4 * GIB - 600 <= found.totals.size <= 4 * GIB
    assert sum(sent) < 300_000
    assert len(sent) <= 3


def test_files_beside_the_weights_cost_their_headers(tmp_path: Path) -> None:
    """As of a tokenizer's directory: hundreds of files that are no weights, in one archive with them."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(300):
            member = tarfile.TarInfo(f"model/{'n' * 120}/tokens-{number:03}.json")
            member.size = 70_000
            archive.addfile(member, io.BytesIO(bytes(70_000)))
        weights = plain_safetensors(wte=(4, 2))
        member = tarfile.TarInfo("model/model.safetensors")
        member.size = len(weights)
        archive.addfile(member, io.BytesIO(weights))
    script, sent = serve_kit("tar", content.getvalue(), len(content.getvalue()))
    with scripted_server(script) as server:
        found = tensors(open_network_place(tmp_path / "home"), Reference.parse(f"{server.address}/x:v1"), remote=True)
    assert found.totals.tensors == 1
    assert sum(sent) < 1 << 20


def test_a_registry_without_ranges_is_read_from_the_beginning(tmp_path: Path) -> None:
    beginning, size = sparse_layer("raw")
    script, _ = serve_kit("raw", beginning, size, ranges=False)
    with scripted_server(script) as server:
        found = tensors(open_network_place(tmp_path / "home"), Reference.parse(f"{server.address}/x:v1"), remote=True)
    assert found.totals.tensors == 300
    assert len([seen for seen in server.seen if "Range" in seen.headers]) == 1


def test_what_lies_far_behind_in_a_registry_without_ranges_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors_module, "REMOTE_LIMIT", 100_000)
    beginning, size = sparse_layer("tar")
    script, _ = serve_kit("tar", beginning, size, ranges=False)
    with scripted_server(script) as server:
        found = tensors(open_network_place(tmp_path / "home"), Reference.parse(f"{server.address}/x:v1"), remote=True)
    assert len(found.files) == 1
    (note,) = found.notes
    assert "only the first 100000 bytes were read, as its registry has no ranges; `kit pull` shows all" in note


@pytest.mark.parametrize("answer", ["bytes 5-9/{size}", "bytes 0-65535/7", "", "416"])
def test_registries_whose_ranges_are_none_are_read_from_the_beginning(answer: str, tmp_path: Path) -> None:
    beginning, size = sparse_layer("raw")
    ranged, whole = serve_kit("raw", beginning, size)[0], serve_kit("raw", beginning, size, ranges=False)[0]

    def lie(seen: Seen) -> Said:
        if "Range" not in seen.headers:
            return whole(seen)
        if answer == "416":
            return Said(416)
        return Said(206, {"Content-Range": answer.format(size=size)}, ranged(seen).body)

    with scripted_server(lie) as server:
        found = tensors(open_network_place(tmp_path / "home"), Reference.parse(f"{server.address}/x:v1"), remote=True)
    assert found.totals.tensors == 300


def test_a_registry_with_another_size_is_not_believed(tmp_path: Path) -> None:
    beginning, size = sparse_layer("raw")
    script, _ = serve_kit("raw", beginning, size)

    def lie(seen: Seen) -> Said:
        return Said(body=beginning) if "Range" in seen.headers else script(seen)

    with scripted_server(lie) as server, pytest.raises(IntegrityError, match=f"expected {size} bytes"):
        tensors(open_network_place(tmp_path / "home"), Reference.parse(f"{server.address}/x:v1"), remote=True)


def test_a_connection_that_breaks_is_tried_again(tmp_path: Path) -> None:
    beginning, size = sparse_layer("raw")
    script, sent = serve_kit("raw", beginning, size)

    def hang_up(seen: Seen) -> Said:
        said = script(seen)
        return Said(206, said.headers, said.body[:1000], len(said.body)) if len(sent) == 1 else said

    with scripted_server(hang_up) as server:
        found = tensors(open_network_place(tmp_path / "home"), Reference.parse(f"{server.address}/x:v1"), remote=True)
    assert found.totals.tensors == 300
    assert len(sent) == 2


def test_a_connection_that_always_breaks_is_an_error(tmp_path: Path) -> None:
    beginning, size = sparse_layer("raw")
    script, sent = serve_kit("raw", beginning, size)

    def hang_up(seen: Seen) -> Said:
        said = script(seen)
        return Said(206, said.headers, said.body[:1000], len(said.body)) if said.status == 206 else said

    with scripted_server(hang_up) as server, pytest.raises(NetworkError):
        tensors(open_network_place(tmp_path / "home"), Reference.parse(f"{server.address}/x:v1"), remote=True)
    assert len(sent) == 3


# --- two kits


def test_tensors_that_differ(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    a = make_project(tmp_path / "a")
    b = make_project(
        tmp_path / "b",
        **{
            "weights/model-00001-of-00002.safetensors": plain_safetensors(wte=(4, 2), bias=(4,)),
            "weights/model-00002-of-00002.safetensors": plain_safetensors(head=(2, 8), extra=(1,)),
            "adapter.safetensors": plain_safetensors(lora=(2, 1)),
        },
    )
    pack_as(place, a, "a:v1")
    pack_as(place, b, "b:v1")
    found = tensor_diff(place, "a:v1", "local://b:v1", values=False)
    assert [(change.change, change.name) for change in found.changes] == [
        ("changed", "head"),
        ("moved", "bias"),
        ("added", "extra"),
    ]
    assert (found.same, found.undecided) == (1, 2)  # the adapter's layer is the same; both wte are in one that is not
    assert not found.is_equal
    head = found.to_json()["changes"][0]
    assert (head["before"]["shape"], head["after"]["shape"]) == ([2, 4], [2, 8])
    back = tensor_diff(place, "b:v1", "a:v1")
    assert [(change.change, change.name) for change in back.changes if change.change == "removed"] == [
        ("removed", "extra")
    ]


def test_values_of_equal_headers_are_not_claimed_to_be_equal(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    zeros = plain_safetensors(w=(4,))
    kitfile = b"model: {path: m.safetensors}"
    for name, content in (("a", zeros), ("b", zeros[:-1] + b"\1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.safetensors").write_bytes(content)
        pack_as(place, tmp_path / name, f"{name}:v1", kitfile)
    found = tensor_diff(place, "a:v1", "b:v1", values=False)
    assert (found.changes, found.same, found.undecided, found.is_equal) == ((), 0, 1, False)
    assert found.to_json()["undecidedTensors"][0]["name"] == "w"
    assert tensor_diff(place, "a:v1", "a:v1", values=False).is_equal


# --- and the values in them

SHAPES = [("tar", "none"), ("raw", "none"), ("tar", "gzip"), ("tar", "zstd")]
TWO = {"a": (4,), "b": (300_000,), "none": (0,)}


def pack_weights(place: Place, root: Path, ref: str, content: bytes, shape: tuple[str, str] = ("tar", "none")) -> None:
    form, codec = shape
    root.mkdir(exist_ok=True)
    (root / "m.safetensors").write_bytes(content)
    pack_as(place, root, ref, b"model: {path: m.safetensors}", layer_format=form, compression=codec)


@pytest.mark.parametrize("one", SHAPES)
@pytest.mark.parametrize("other", SHAPES)
def test_changed_values_are_found_whatever_the_layers(
    one: tuple[str, str], other: tuple[str, str], tmp_path: Path
) -> None:
    place = open_test_place(tmp_path / "home")
    zeros = plain_safetensors(**TWO)
    pack_weights(place, tmp_path / "p", "x:v1", zeros, one)
    pack_weights(place, tmp_path / "p", "x:same", zeros, other)
    pack_weights(place, tmp_path / "p", "x:v2", zeros[:-5] + b"\1" + zeros[-4:], other)
    same = tensor_diff(place, "x:v1", "x:same")
    assert (same.is_equal, same.same, same.undecided) == (True, 3, 0)
    assert same.compared == (0 if one == other else 3)
    found = tensor_diff(place, "x:v1", "x:v2")
    assert [(change.name, change.change, change.is_value_equal) for change in found.changes] == [
        ("b", "changed", False)
    ]
    assert (found.same, found.compared, found.undecided, found.is_equal) == (2, 2, 0, False)
    (row,) = found.to_json()["changes"]
    assert (row["name"], row["valuesEqual"], row["before"]["dtype"]) == ("b", False, "F32")


def test_tensors_that_moved_with_other_values(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    zeros = plain_safetensors(w=(4,))
    for ref, files in (
        ("x:v1", {"one": zeros, "two": zeros.replace(b"w", b"v")}),
        ("x:v2", {"three": zeros, "four": zeros.replace(b"w", b"v")[:-1] + b"\1"}),
    ):
        root = tmp_path / ref
        (root / "m").mkdir(parents=True)
        for name, content in files.items():
            (root / f"m/{name}.safetensors").write_bytes(content)
        pack_as(place, root, ref, b"model: {path: m}")
    seen = {
        change.name: (change.change, change.is_value_equal) for change in tensor_diff(place, "x:v1", "x:v2").changes
    }
    assert seen == {"w": ("moved", True), "v": ("changed", False)}
    headers = tensor_diff(place, "x:v1", "x:v2", values=False)
    assert [(change.change, change.is_value_equal) for change in headers.changes] == [("moved", None)] * 2


def test_files_of_one_digest_are_not_read(tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(events.append))
    zeros = plain_safetensors(**TWO)
    pack_weights(place, tmp_path / "p", "x:v1", zeros, ("raw", "none"))
    (tmp_path / "p/m.safetensors").rename(tmp_path / "p/n.safetensors")
    pack_as(place, tmp_path / "p", "x:v2", b"model: {path: n.safetensors}", layer_format="raw")
    found = tensor_diff(place, "x:v1", "x:v2")
    assert [(change.change, change.is_value_equal) for change in found.changes] == [("moved", True)] * 3
    assert Planned("compare", 0, 0) in events
    pack_weights(place, tmp_path / "p", "x:v3", zeros, ("tar", "none"))
    tensor_diff(place, "x:v1", "x:v3")
    sizes = [event.size for event in events if isinstance(event, Planned) and event.verb == "compare"]
    assert sizes[-1] > 2 * len(zeros)
    assert sum(event.size for event in events if isinstance(event, Advanced)) >= sizes[-1]


def test_values_in_a_registry_are_read_where_that_is_asked_for(registry: str, tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "home")
    zeros = plain_safetensors(**TWO)
    for tag, content in (("v1", zeros), ("v2", zeros[:-1] + b"\1")):
        pack_weights(place, tmp_path / "p", f"{registry}/x:{tag}", content)
        push(place, Reference.parse(f"{registry}/x:{tag}"))
    away = open_network_place(tmp_path / "away")
    a, b = f"{registry}/x:v1", f"remote://{registry}/x:v2"
    found = tensor_diff(away, a, b)
    assert [before[1].name for before, _ in found.unsettled] == ["a", "b", "none"]
    assert (found.changes, found.is_equal) == ((), False)
    found = tensor_diff(away, a, b, values=True)
    assert [change.name for change in found.changes] == ["b"]
    assert not list((tmp_path / "away").rglob("blobs/*/*"))


def test_values_of_a_damaged_layer_are_not_compared(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    zeros = plain_safetensors(**TWO)
    pack_weights(place, tmp_path / "p", "x:v1", zeros)
    pack_weights(place, tmp_path / "p", "x:v2", zeros[:-1] + b"\1")
    (layer,) = inspect(place, Reference.parse("x:v2")).kit.layers
    path = place.store.blobs.path(layer.desc.digest)
    path.chmod(0o644)
    with path.open("r+b") as blob:
        blob.seek(100_000)
        blob.write(b"\1")
    with pytest.raises(IntegrityError, match=r"layer sha256:\w+ \(m.safetensors\) of .*x:v2 is damaged"):
        tensor_diff(place, "x:v1", "x:v2")


def test_tensors_are_digested_wherever_the_parts_end() -> None:
    data = bytes(range(200))
    spans = [Tensor("c", "U8", (0,), 0, 60), Tensor("b", "U8", (50,), 50, 60), Tensor("a", "U8", (20,), 20, 10)]
    wanted = {span.name: hashlib.sha256(data[span.offset : span.offset + span.size]).digest() for span in spans}
    for step in (1, 7, 50, 200):
        parts = [memoryview(data[at : at + step]) for at in range(0, 200, step)]
        assert dict(digest_tensors(parts, spans, "it")) == wanted
    with pytest.raises(IntegrityError, match="it is damaged: expected at least 110 bytes, got 109"):
        dict(digest_tensors([memoryview(data[:109])], spans, "it"))
