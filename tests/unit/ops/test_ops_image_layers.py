"""Of an image, the newest layer that has a path has the file: for every verb, in every order and compression."""

from __future__ import annotations

import io
import itertools
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ops_places import open_network_place
from test_ops_foreign import BASE, IMAGE, OCI_LAYER, REF, Layer, image_layer, pressed, put

from golden_trees import tree_of
from kitops.errors import IntegrityError, TrustError
from kitops.layers.codec import Codec
from kitops.layers.write import Format
from kitops.oci.reference import Reference
from kitops.ops.convert import ConvertOptions, convert
from kitops.ops.diff import diff
from kitops.ops.inspect import inspect
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Place
from kitops.ops.push import push
from kitops.ops.repair import repair
from kitops.ops.status import status
from kitops.ops.tensors import tensors
from kitops.ops.unpack import UnpackOptions, unpack
from kitops.ops.verify import verify
from kitops.testing import ThrowAwayRegistry
from weight_bytes import plain_safetensors

OLD = image_layer(
    ("models", None), ("models/z.bin", b"old z"), ("models/sub", None), ("models/sub/b.bin", b"old b, longer"),
    ("models/sub/a.bin", b"a"), ("models/was-dir", None), ("models/was-dir/x", b"x"), ("models/was-file", b"f"),
    ("models/keep", None), ("models/keep/k", b"k"),
)  # fmt: skip
MIDDLE = image_layer(("models/sub/b.bin", b"middle"), ("models/z.bin", b"middle z"))
NEW = image_layer(
    ("models/sub/b.bin", b"new b"), ("models/was-file", None), ("models/was-file/y", b"y"), ("models/was-dir", b"d"),
    ("models/a-first", b"1"), ("models/a", None), ("models/a/2", b"2"),
)  # fmt: skip
TREE = {
    "a": None, "a/2": b"2", "a-first": b"1", "keep": None, "keep/k": b"k", "sub": None, "sub/a.bin": b"a",
    "sub/b.bin": b"new b", "was-dir": b"d", "was-file": None, "was-file/y": b"y", "z.bin": b"middle z",
}  # fmt: skip
CODECS = [
    (Codec.NONE, Codec.NONE, Codec.NONE, Codec.NONE),
    (Codec.GZIP, Codec.GZIP, Codec.GZIP, Codec.GZIP),
    (Codec.NONE, Codec.GZIP, Codec.NONE, Codec.ZSTD),
    (Codec.ZSTD, Codec.NONE, Codec.GZIP, Codec.NONE),
]
any_codecs = pytest.mark.parametrize("codecs", CODECS, ids=lambda found: "-".join(one.value for one in found))


def put_image(place: Place, codecs: Any, *layers: bytes, ref: Reference = REF) -> None:
    contents = layers or (BASE, OLD, MIDDLE, NEW)
    rows: list[Layer] = [
        (f"{OCI_LAYER}{codec.suffix}", content if codec is Codec.NONE else pressed(content, codec), {})
        for content, codec in zip(contents, itertools.cycle(codecs), strict=False)
    ]
    put(place, ref, IMAGE, {}, rows)


def tree(root: Path) -> dict[str, bytes | None]:
    return {
        path: content for path, content in tree_of(root).items() if path not in ("Kitfile", ".kitops-unpacked.json")
    }


@any_codecs
def test_unpacked_verified_and_repaired(codecs: Any, place: Place, tmp_path: Path) -> None:
    put_image(place, codecs)
    target = tmp_path / "out"
    unpack(place, REF, target)
    assert tree(target) == TREE
    files = sum(content is not None for content in TREE.values()) + 1
    for found in (verify(place, target), status(place, target), verify(place, target, REF), status(place, target, REF)):
        assert (found.is_equal, found.files, found.uncertain, found.unknown) == (True, files, (), ())
    (target / "sub/b.bin").write_bytes(b"old b, longer")
    (target / "sub/a.bin").unlink()
    (target / "was-dir").write_bytes(b"D")
    found = verify(place, target)
    assert (found.changed, found.missing) == (("sub/b.bin", "was-dir"), ("sub/a.bin",))
    assert repair(place, REF, target).mended == ("sub/a.bin", "sub/b.bin", "was-dir")
    assert tree(target) == TREE
    assert verify(place, target).is_equal
    assert status(place, target).is_equal


@any_codecs
def test_without_a_record(codecs: Any, place: Place, tmp_path: Path) -> None:
    put_image(place, codecs)
    target = tmp_path / "out"
    unpack(place, REF, target, UnpackOptions(record=False))
    assert verify(place, target, REF).is_equal
    found = status(place, target, REF)
    assert (found.is_equal, found.changed, found.missing) == (True, (), ())
    (target / "z.bin").unlink()
    (target / "sub/b.bin").write_bytes(b"old b, longer")
    assert verify(place, target, REF).changed == ("sub/b.bin",)
    repair(place, REF, target)
    assert tree(target) == TREE


@any_codecs
def test_straight_from_a_registry(codecs: Any, tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "home")
    put_image(place, codecs)
    away = open_network_place(tmp_path / "away")
    with ThrowAwayRegistry() as registry:
        there = Reference.parse(f"{registry.address}/cars/one:v1")
        push(place, REF, [there])
        unpack(away, there, tmp_path / "out")
        assert tree(tmp_path / "out") == TREE
        (tmp_path / "out/z.bin").write_bytes(b"old z")
        assert verify(away, tmp_path / "out").changed == ("z.bin",)
        repair(away, there, tmp_path / "out")
    assert tree(tmp_path / "out") == TREE
    found = verify(away, tmp_path / "out")  # the registry is gone, and the record knows what is whose
    assert found.changed == ()


def test_a_layer_that_is_nowhere_hides_what_nobody_knows(place: Place, tmp_path: Path) -> None:
    put_image(place, CODECS[0])
    unpack(place, REF, tmp_path / "out", UnpackOptions(record=False))
    newest = inspect(place, REF).kit.layers[-1]
    place.store.blobs.path(newest.desc.digest).unlink()
    found = verify(place, tmp_path / "out", REF)
    assert (found.changed, found.missing, len(found.uncertain)) == ((), (), 4)
    assert any("a newer layer, which may hide its files, is not here" in text for text in found.unknown)
    seen = status(place, tmp_path / "out", REF)
    assert (seen.changed, seen.missing, len(seen.unknown)) == ((), (), 5)


def with_mode(mode: int, *names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.mode = mode
            tar.addfile(member)
    return buffer.getvalue()


@any_codecs
def test_directories_have_the_mode_that_was_told_last(codecs: Any, place: Place, tmp_path: Path) -> None:
    old = with_mode(0o750, "models/told/", "models/told/a", "models/kept/", "models/kept/b", "models/shut/")
    new = with_mode(0o700, "models/told/", "models/kept/c", "models/new/d")
    put_image(place, codecs, old, new)
    unpack(place, REF, tmp_path / "out")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert modes == {"told": 0o700, "kept": 0o750, "shut": 0o750, "new": 0o755}
    assert verify(place, tmp_path / "out").is_equal
    (tmp_path / "out/.kitops-unpacked.json").unlink()
    assert verify(place, tmp_path / "out", REF).is_equal
    assert status(place, tmp_path / "out", REF).is_equal
    (layer,) = inspect(place, convert(place, REF, "modelkit", ConvertOptions(compression="none")).reference).kit.layers
    with tarfile.open(place.store.blobs.path(layer.desc.digest)) as tar:
        assert {member.name: member.mode for member in tar if member.isdir()} == modes


@pytest.mark.parametrize("to", ["modelkit", "modelpack"])
@any_codecs
def test_an_archive_of_many_layers_is_what_pack_makes(codecs: Any, to: Any, place: Place, tmp_path: Path) -> None:
    put_image(place, codecs)
    unpack(place, REF, tmp_path / "out", UnpackOptions(record=False))
    for path in (tmp_path / "out").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    kitfile = b"model: {path: .}\n"
    packed = Reference.parse("packed:v1")
    for form in ("tar", "raw") if to == "modelpack" else ("tar",):
        wanted: dict[str, Any] = {"layer_format": form, "modelpack": to == "modelpack"}
        pack(place, tmp_path / "out", PackOptions(references=(packed,), kitfile_text=kitfile, **wanted))
        done = convert(place, REF, to, ConvertOptions(layer_format=wanted["layer_format"], compression="none"))
        one, other = inspect(place, done.reference).kit, inspect(place, packed).kit
        assert [layer.desc for layer in one.layers] == [layer.desc for layer in other.layers]
        assert {layer.form for layer in one.layers} == {Format(form)}


def test_the_order_of_layers_is_no_content(place: Place) -> None:
    one, two = (
        image_layer(("models/b", b"b"), ("models/d/x", b"x")),
        image_layer(("models/a", b"a"), ("models/c", b"c")),
    )
    digests = set()
    for number, layers in enumerate(((one, two), (two, one), (BASE, one, two))):
        ref = Reference.parse(f"order:{number}")
        put_image(place, (Codec.NONE,), *layers, ref=ref)
        for to in ("modelkit", "image"):
            kit = inspect(place, convert(place, ref, to).reference).kit
            digests.add((to, *(layer.desc.digest for layer in kit.layers)))
    assert len(digests) == 2


@any_codecs
@pytest.mark.parametrize("damaged", [1, 2, 3])
def test_a_damaged_layer_gives_nothing(damaged: int, codecs: Any, place: Place, tmp_path: Path) -> None:
    put_image(place, codecs)
    desc = inspect(place, REF).kit.layers[damaged].desc
    path = place.store.blobs.path(desc.digest)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    for to in ("modelkit", "modelpack"):
        with pytest.raises((IntegrityError, TrustError)):
            convert(place, REF, to)
    with pytest.raises((IntegrityError, TrustError)):
        unpack(place, REF, tmp_path / "out")
    assert len(place.store.refs.list()) == 1


def test_a_longer_layer_is_damaged_too(place: Place) -> None:
    put_image(place, CODECS[0])
    path = place.store.blobs.path(inspect(place, REF).kit.layers[1].desc.digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(IntegrityError):
        convert(place, REF, "modelkit")


def test_one_layer_with_a_file_twice_is_refused(place: Place, tmp_path: Path) -> None:
    put_image(place, CODECS[0], image_layer(("models/m", b"one"), ("models/m", b"two")))
    with pytest.raises(TrustError, match="m stands twice"):
        unpack(place, REF, tmp_path / "out")
    with pytest.raises(TrustError, match="m is there twice"):
        convert(place, REF, "modelkit")
    with pytest.raises(TrustError, match="m is there twice"):
        convert(place, REF, "modelpack", ConvertOptions(layer_format="raw"))


def test_compared_are_the_files_that_are_there(place: Place) -> None:
    put_image(place, CODECS[0])
    other = Reference.parse("foreign:v2")
    put_image(place, CODECS[0], BASE, image_layer(("models/z.bin", b"else")), MIDDLE, NEW, ref=other)
    found = diff(place, "foreign:v1", "foreign:v2")
    assert [(layer.change, [file.path for file in layer.files]) for layer in found.layers] == [
        ("removed", ["keep/k", "sub/a.bin"]),  # what newer layers have in their place is the same on both sides
        ("added", []),
    ]


@any_codecs
def test_tensors_are_those_of_the_newest_file(codecs: Any, place: Place) -> None:
    old = image_layer(("models/m.safetensors", plain_safetensors(a=(5,))))
    new = image_layer(("models/m.safetensors", plain_safetensors(b=(3,))))
    put_image(place, codecs, old, new)
    assert [tensor.name for file in tensors(place, REF).files for tensor in file.header.tensors] == ["b"]
