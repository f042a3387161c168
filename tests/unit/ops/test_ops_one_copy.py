"""``kit status``, ``verify``, ``unpack --repair`` and ``du`` as functions, over real files and stores."""

from __future__ import annotations

import gzip
import os
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops_places import open_network_place, open_test_place
from test_ops_foreign import IMAGE, OCI_LAYER, archive, filed, put, titled

from kitops.errors import FileSystemError, IntegrityError, NotFoundError
from kitops.formats.select import Filter
from kitops.oci import mediatype
from kitops.oci.reference import Reference
from kitops.ops.du import du
from kitops.ops.init import init
from kitops.ops.inspect import inspect
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Place
from kitops.ops.push import push
from kitops.ops.remove import remove
from kitops.ops.repair import repair
from kitops.ops.status import status
from kitops.ops.unpack import UnpackOptions, unpack
from kitops.ops.unpack_record import NAME, read_record
from kitops.ops.verify import verify
from kitops.server import RegistryServer

REF = Reference.parse("team/model:v1")
FILES = {"model.bin": bytes(range(256)) * 40, "data/a.csv": b"1,2\n", "data/deep/b.csv": b"", "README.md": b"# hello\n"}
KITFILE = "manifestVersion: 1.0.0\nmodel: {path: model.bin}\ndatasets: [{path: data}]\ndocs: [{path: README.md}]\n"
SHAPES = [("tar", "none"), ("tar", "gzip"), ("tar", "zstd"), ("raw", "none")]


def make_project(root: Path) -> Path:
    for path, content in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    (root / "Kitfile").write_text(KITFILE)
    return root


def unpacked(tmp_path: Path, form: str = "tar", codec: str = "none") -> tuple[Place, Path]:
    place = open_test_place(tmp_path / "home")
    is_pack = form == "raw"  # a ModelPack spreads directories over a raw layer a file
    options = PackOptions(references=(REF,), layer_format=form, compression=codec, modelpack=is_pack)  # type: ignore[arg-type]
    pack(place, make_project(tmp_path / "project"), options)
    unpack(place, REF, tmp_path / "out")
    return place, tmp_path / "out"


@pytest.mark.parametrize(("form", "codec"), SHAPES)
def test_what_differs_is_named_and_mended(form: str, codec: str, tmp_path: Path) -> None:
    place, out = unpacked(tmp_path, form, codec)
    for look in (status, verify):
        found = look(place, out)
        assert found.is_equal, found
        assert found.files == len(FILES) + 1
    (out / "model.bin").write_bytes(FILES["model.bin"][:-1] + b"!")
    (out / "data/a.csv").unlink()
    (out / "README.md").write_text("longer than it was")
    (out / "mine").write_text("x")
    seen = status(place, out)
    assert (seen.changed, seen.missing, seen.extra) == (("README.md",), ("data/a.csv",), ("mine",))
    assert seen.touched == ("model.bin",)
    found = verify(place, out)
    assert (found.changed, found.missing, found.extra) == (("README.md", "model.bin"), ("data/a.csv",), ("mine",))
    assert not found.is_equal
    before = (out / "data/deep/b.csv").stat()
    done = repair(place, REF, out)
    assert done.mended == ("README.md", "data/a.csv", "model.bin")
    assert (done.kept, done.extra) == (2, ("mine",))
    assert (out / "data/deep/b.csv").stat() == before
    assert {path: (out / path).read_bytes() for path in FILES} == FILES
    for look in (status, verify):
        assert look(place, out).without_extra().is_equal
    assert repair(place, REF, out).mended == ()


def put_with_kitfile(place: Place, shape: str, kitfile: bytes) -> None:
    """An artifact without a Kitfile that anybody knows of, whose files have one among them."""
    if shape.startswith("image"):
        layer = archive(models__Kitfile=kitfile, **{"models/m.bin": b"weights"})
        is_packed = shape.endswith("gzip")
        kind = f"{OCI_LAYER}+gzip" if is_packed else OCI_LAYER
        put(place, REF, IMAGE, {}, [(kind, gzip.compress(layer) if is_packed else layer, {})])
    elif shape == "modelpack":
        kind = "application/vnd.cncf.model.weight.v1.raw"
        layers = [(kind, b"weights", filed("m.bin")), (kind.replace("weight", "doc"), kitfile, filed("Kitfile"))]
        put(place, REF, "application/vnd.cncf.model.config.v1+json", {}, layers)
    else:
        kind = "application/octet-stream"
        put(place, REF, mediatype.EMPTY, {}, [(kind, b"w", titled("m.bin")), (kind, kitfile, titled("Kitfile"))])


@pytest.mark.parametrize("has_record", [True, False])
@pytest.mark.parametrize("shape", ["artifact", "modelpack", "image", "image+gzip"])
def test_a_kitfile_that_a_layer_brought_is_right(shape: str, has_record: bool, tmp_path: Path) -> None:
    place, out = open_test_place(tmp_path / "home"), tmp_path / "out"
    kitfile = b"manifestVersion: 1.0.0\nmodel: {path: m.bin}\n"
    put_with_kitfile(place, shape, kitfile)
    unpack(place, REF, out, UnpackOptions(record=has_record))
    assert (out / "Kitfile").read_bytes() == kitfile
    for look in (status, verify):
        assert look(place, out, None if has_record else REF).is_equal, look
        assert look(place, out, REF).is_equal, look
    (out / "Kitfile").write_bytes(b"other")
    assert verify(place, out, REF).changed == ("Kitfile",)
    assert repair(place, REF, out).mended == ("Kitfile",)
    assert (out / "Kitfile").read_bytes() == kitfile
    (out / "Kitfile").unlink()
    assert verify(place, out, REF).missing == ("Kitfile",)
    assert repair(place, REF, out).mended == ("Kitfile",)
    assert verify(place, out).is_equal
    assert status(place, out).is_equal


def pack_text(place: Place, root: Path, kitfile: str, name: str) -> Reference:
    ref = Reference.parse(name)
    pack(place, root, PackOptions(kitfile_text=kitfile.encode(), references=(ref,)))
    return ref


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_parent_whose_tag_moved_is_what_was_unpacked(is_gone: bool, tmp_path: Path) -> None:
    place, out, project = open_test_place(tmp_path / "home"), tmp_path / "out", make_project(tmp_path / "project")
    base = pack_text(place, project, "model: {path: model.bin, parts: [{path: data}]}", "base:v1")
    child = pack_text(place, project, "model: {path: 'base:v1'}\ndocs: [{path: README.md}]", "child:v1")
    unpack(place, child, out)
    if is_gone:
        remove(place, (base,))
    else:
        (project / "model.bin").write_bytes(b"another")
        pack_text(place, project, "model: {path: model.bin}", "base:v1")
    for look in (status, verify):
        found = look(place, out)
        assert (found.is_equal, found.files) == (True, len(FILES) + 1)
    if not is_gone:
        assert verify(place, out, child).changed == ("model.bin",), "what is named is as it is now"
    (out / "data/a.csv").write_bytes(b"9,9\n")
    assert verify(place, out).is_equal is False


def test_a_kitfile_that_an_unknown_layer_may_have_brought_is_not_judged(tmp_path: Path) -> None:
    place, out = open_test_place(tmp_path / "home"), tmp_path / "out"
    kitfile = b"manifestVersion: 1.0.0\nmodel: {path: m.bin}\n"
    put_with_kitfile(place, "image+gzip", kitfile)
    unpack(place, REF, out, UnpackOptions(record=False))
    (layer,) = inspect(place, REF).kit.manifest.layers
    place.store.blobs.path(layer.digest).unlink()
    for look in (status, verify):
        assert look(place, out, REF).changed == (), look
    with pytest.raises(IntegrityError):
        repair(place, REF, out)
    assert (out / "Kitfile").read_bytes() == kitfile


@pytest.mark.parametrize("form", ["tar", "raw"])
def test_without_the_store_the_record_and_digests_do(form: str, tmp_path: Path) -> None:
    place, out = unpacked(tmp_path, form)
    remove(place, (REF,))
    shutil.rmtree(tmp_path / "home/store")
    assert verify(place, out).is_equal
    assert status(place, out).is_equal
    stamp = (out / "model.bin").stat()
    (out / "model.bin").write_bytes(FILES["model.bin"][::-1])
    os.utime(out / "model.bin", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert status(place, out).changed == ("model.bin",), "the time of its content was set back, that of the file not"
    found = verify(place, out)
    assert not found.is_equal
    assert found.uncertain == (("model.bin",) if form == "tar" else ())
    assert found.changed == (() if form == "tar" else ("model.bin",))


def test_a_registry_tells_what_the_store_lacks(tmp_path: Path) -> None:
    with RegistryServer(tmp_path / "registry") as server:
        place = open_network_place(tmp_path / "net")
        ref = Reference.parse(f"{server.address}/team/model:v1")
        pack(place, make_project(tmp_path / "project"), PackOptions(references=(ref,)))
        push(place, ref)
        server_place, out = open_network_place(tmp_path / "server"), tmp_path / "out"
        unpack(server_place, ref, out, UnpackOptions(filters=(Filter.parse("datasets"), Filter.parse("docs"))))
        assert verify(server_place, out, ref).is_equal
        (out / "data/a.csv").write_bytes(b"2,1\n")
        assert verify(server_place, out).changed == ("data/a.csv",)
        assert repair(server_place, ref, out).mended == ("data/a.csv",)
        assert not (out / "model.bin").exists(), "a filter left it out"
        (out / NAME).unlink()
        found = verify(server_place, out, ref)
        assert found.missing == ("Kitfile", "model.bin")
        assert not list((tmp_path / "server").rglob("blobs/*/*"))


def test_a_record_that_cannot_be_read_is_not_called_missing(tmp_path: Path) -> None:
    place, out = unpacked(tmp_path)
    (out / NAME).unlink()
    (out / NAME).symlink_to(NAME)
    for look in (status, verify):
        with pytest.raises(FileSystemError, match=r"reading .*: too many levels"):
            look(place, out)
    (out / NAME).unlink()
    (out / NAME).mkdir()
    with pytest.raises(NotFoundError, match="no record"):
        status(place, out)


def test_without_a_record_names_and_sizes_are_compared(tmp_path: Path) -> None:
    place, out = unpacked(tmp_path)
    (out / NAME).unlink()
    with pytest.raises(NotFoundError, match="no record"):
        status(place, out)
    (out / "README.md").write_text("longer than it was")
    found = status(place, out, REF)
    assert found.changed == ("README.md",)
    assert found.unknown
    assert verify(place, out, REF).changed == ("README.md",)


def test_a_record_of_nonsense_is_none(tmp_path: Path) -> None:
    place, out = unpacked(tmp_path)
    for text in ("", "{", "[]", '{"version": 1}', '{"version": 2}', "null"):
        (out / NAME).write_text(text)
        assert read_record(out) is None
        assert verify(place, out, REF).is_equal


def test_a_forged_record_does_not_hide_a_change(tmp_path: Path) -> None:
    place, out = unpacked(tmp_path)
    (out / "README.md").write_bytes(b"# hullo\n")
    record = read_record(out)
    assert record is not None
    found = (out / "README.md").stat()
    text = (out / NAME).read_text()
    old = next(m.stamp for layer in record.layers for m in layer.members or () if m.path == "README.md")
    assert old is not None
    (out / NAME).write_text(text.replace(str(old.mtime_ns), str(found.st_mtime_ns)))
    assert verify(place, out, REF).changed == ("README.md",)


def test_links_and_directories_in_the_place_of_files(tmp_path: Path) -> None:
    place, out = unpacked(tmp_path)
    (out / "model.bin").rename(tmp_path / "elsewhere")
    (out / "model.bin").symlink_to(tmp_path / "elsewhere")
    assert status(place, out).changed == ("model.bin",)
    assert verify(place, out).changed == ("model.bin",)
    assert repair(place, REF, out).mended == ("model.bin",)
    assert not (out / "model.bin").is_symlink()
    assert (tmp_path / "elsewhere").read_bytes() == FILES["model.bin"]


def test_the_record_is_neither_packed_nor_listed(tmp_path: Path) -> None:
    place, out = unpacked(tmp_path)
    before = place.store.refs.resolve(REF).digest
    (out / ".kitops-unpack-1-2-3-4/files").mkdir(parents=True)
    assert pack(place, out, PackOptions()).desc.digest == before
    (out / "Kitfile").unlink()
    init(out)
    assert ".kitops" not in (out / "Kitfile").read_text()


def test_a_second_filter_adds_to_the_record(tmp_path: Path) -> None:
    place, _ = unpacked(tmp_path)
    parts = tmp_path / "parts"
    unpack(place, REF, parts, UnpackOptions(filters=(Filter.parse("docs"),)))
    assert status(place, parts).files == 1
    unpack(place, REF, parts, UnpackOptions(filters=(Filter.parse("model"),)))
    assert (status(place, parts).files, status(place, parts).is_equal) == (2, True)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SHAPES), st.randoms(use_true_random=False))
def test_any_damage_is_found_and_mended(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[str, str], chance: random.Random
) -> None:
    base = tmp_path_factory.mktemp("damage")
    place, out = unpacked(base, *shape)
    path = out / chance.choice([name for name in FILES if FILES[name]])
    content = bytearray(path.read_bytes())
    stamp = path.stat()
    kind = chance.choice(["flip", "cut", "grow", "remove"])
    if kind == "flip":
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del content[chance.randrange(len(content)) :]
    else:
        content += b"\0"
    path.unlink()
    if kind != "remove":
        path.write_bytes(content)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    found = verify(place, out)
    assert (*found.changed, *found.missing) == (str(path.relative_to(out)),)
    repair(place, REF, out)
    assert verify(place, out).is_equal
    shutil.rmtree(base)


def test_what_is_shared_is_counted_once(tmp_path: Path) -> None:
    place, _ = unpacked(tmp_path)
    project = tmp_path / "project"
    (project / "README.md").write_text("# another\n")
    other = Reference.parse("team/model:v2")
    pack(place, project, PackOptions(references=(other, Reference.parse("team/model:v3"))))
    found = du(place)
    assert {kit.references for kit in found.kits} == {("team/model:v1",), ("team/model:v2", "team/model:v3")}
    one, two = found.kits
    assert one.shared == two.shared > len(FILES["model.bin"])
    assert found.size == one.own + two.own + one.shared == found.store_size
    only = du(place, [other])
    assert [kit.size for kit in only.kits] == [only.size]
    with pytest.raises(NotFoundError):
        du(place, [Reference.parse("nobody/nothing:v1")])
