"""Directories whose store is damaged too, whose files stand where they should not, or have other permission bits."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ops_places import open_network_place, open_test_place

from kitops.content.events import Event, Message
from kitops.content.protocols import Run
from kitops.errors import IntegrityError, NotFoundError
from kitops.layers.stamps import read_tree
from kitops.oci.digest import Digest
from kitops.oci.reference import Reference
from kitops.ops import status as status_module
from kitops.ops.inspect import inspect
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Place
from kitops.ops.pull import pull
from kitops.ops.push import push
from kitops.ops.repair import repair
from kitops.ops.status import status
from kitops.ops.tracked import open_tracked
from kitops.ops.unpack import UnpackOptions, unpack
from kitops.ops.unpack_record import NAME
from kitops.ops.verify import check_content, verify
from kitops.server import RegistryServer

REF = Reference.parse("team/model:v1")
FILES = {"model.bin": bytes(range(256)) * 40, "data/a.csv": b"1,2\n", "data/deep/b.csv": b"3", "run.sh": b"#!/bin/sh\n"}
KITFILE = "manifestVersion: 1.0.0\nmodel: {path: model.bin}\ndatasets: [{path: data}]\ncode: [{path: run.sh}]\n"
SHAPES = [("tar", "none"), ("tar", "gzip"), ("raw", "none")]


def make_project(root: Path) -> Path:
    for path, content in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    (root / "run.sh").chmod(0o755)
    (root / "Kitfile").write_text(KITFILE)
    return root


def unpacked(place: Place, tmp_path: Path, form: str = "tar", codec: str = "none", ref: Reference = REF) -> Path:
    options = PackOptions(references=(ref,), layer_format=form, compression=codec, modelpack=form == "raw")  # type: ignore[arg-type]
    pack(place, make_project(tmp_path / "project"), options)
    unpack(place, ref, tmp_path / "out")
    return tmp_path / "out"


def contents(out: Path) -> dict[str, bytes]:
    return {path: (out / path).read_bytes() for path in FILES}


def damage(place: Place, ref: Reference = REF, *, at: int = 0) -> list[Digest]:
    """Turn a byte of every layer in the store."""
    layers = [layer.desc for layer in inspect(place, ref).kit.layers]
    for desc in layers:
        path = place.store.blobs.path(desc.digest)
        path.chmod(0o644)
        content = bytearray(path.read_bytes())
        content[at % len(content)] ^= 0xFF
        path.write_bytes(content)
    return [desc.digest for desc in layers]


def warnings(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Message) and event.level == "warning"]


# --- a damaged store


@pytest.mark.parametrize("at", [0, 30, 130, -1])
@pytest.mark.parametrize(("form", "codec"), [("tar", "none"), ("raw", "none")])
def test_a_damaged_store_does_not_fail_an_intact_directory(form: str, codec: str, at: int, tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(events.append))
    out = unpacked(place, tmp_path, form, codec)
    damage(place, at=at)
    assert verify(place, out).is_equal
    assert all("the store's own copy of layer" in text for text in warnings(events))


@pytest.mark.parametrize(("form", "codec"), SHAPES)
def test_the_registry_helps_where_the_store_is_damaged(form: str, codec: str, tmp_path: Path) -> None:
    with RegistryServer(tmp_path / "registry") as server:
        events: list[Event] = []
        place = open_network_place(tmp_path / "home", Run(events.append))
        ref = Reference.parse(f"{server.address}/team/model:v1")
        out = unpacked(place, tmp_path, form, codec, ref)
        push(place, ref)
        digests = damage(place, ref)
        assert verify(place, out).is_equal
        assert verify(place, out, ref).is_equal
        (out / NAME).unlink()
        (out / "data/a.csv").write_bytes(b"9,9\n")
        (out / "model.bin").unlink()
        found = verify(place, out, ref)
        assert (found.changed, found.missing, found.uncertain) == (("data/a.csv",), ("model.bin",), ())
        assert repair(place, ref, out).mended == ("data/a.csv", "model.bin")
        assert contents(out) == FILES
        (told, *_) = warnings(events)
        assert "is damaged (the directory is judged without it): remove " in told
        assert f", then `kit pull {ref}" in told
        for digest in digests:  # what is said to mend it does
            place.store.blobs.path(digest).unlink()
        pull(place, (ref,))
        unpack(place, ref, tmp_path / "again", UnpackOptions(where="local"))


def test_a_damaged_store_alone_is_told_and_nothing_else_is_blamed(tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(events.append))
    out = unpacked(place, tmp_path, "tar", "gzip")
    damage(place, at=30)
    found = verify(place, out)
    assert (found.changed, sorted(found.uncertain)) == ((), ["data", "model.bin", "run.sh"])
    assert all("is damaged in the store" in text for text in found.unknown)
    assert len(warnings(events)) == 3
    assert all(text.endswith("then pack the ModelKit again") for text in warnings(events))
    with pytest.raises(IntegrityError, match=r"model\.bin is damaged: expected the files of the ModelKit"):
        repair(place, REF, out)
    assert contents(out) == FILES


@pytest.mark.parametrize("how", ["damaged", "lost"])
def test_files_of_a_layer_that_cannot_be_read_are_not_extra(how: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    out = unpacked(place, tmp_path, "tar", "gzip")
    for digest in damage(place, at=30):
        if how == "lost":
            place.store.blobs.path(digest).unlink()
    (out / "mine").write_bytes(b"")
    found = verify(place, out)
    assert (found.extra, found.files) == (("mine",), len(FILES) + 1)
    (out / "data/a.csv").unlink()
    (out / "data/deep/b.csv").write_bytes(b"longer")
    found = verify(place, out)
    assert (found.changed, found.missing, found.extra) == (("data/deep/b.csv",), ("data/a.csv",), ("mine",))
    (out / NAME).unlink()
    assert verify(place, out, REF).extra == ("mine",), "what is below its path may be its own"


def test_a_damaged_manifest_comes_from_the_registry(tmp_path: Path) -> None:
    with RegistryServer(tmp_path / "registry") as server:
        events: list[Event] = []
        place = open_network_place(tmp_path / "home", Run(events.append))
        ref = Reference.parse(f"{server.address}/team/model:v1")
        out = unpacked(place, tmp_path, ref=ref)
        push(place, ref)
        path = place.store.blobs.path(inspect(place, ref).kit.manifest.config.digest)
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b"model", b"madel"))
        assert verify(place, out).is_equal
        assert f"asking {server.address} instead" in warnings(events)[0]


def test_status_without_a_record_over_a_damaged_store(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    out = unpacked(place, tmp_path)
    (out / NAME).unlink()
    damage(place)
    found = status(place, out, REF)
    assert found.is_equal
    assert len(found.unknown) == 4


def test_a_file_of_two_layers_is_mended_once(tmp_path: Path) -> None:
    place, project = open_test_place(tmp_path / "home"), make_project(tmp_path / "project")
    text = b"code: [{path: data}]\nprompts: [{path: data}]\n"
    pack(place, project, PackOptions(references=(REF,), kitfile_text=text))
    unpack(place, REF, tmp_path / "out")
    (tmp_path / "out/data/a.csv").write_bytes(b"other")
    (tmp_path / "out/data/deep/b.csv").unlink()
    done = repair(place, REF, tmp_path / "out")
    size = len(FILES["data/a.csv"]) + len(FILES["data/deep/b.csv"])
    assert (done.mended, done.size, done.kept) == (("data/a.csv", "data/deep/b.csv"), size, 1)
    assert verify(place, tmp_path / "out").is_equal


# --- files that change while they are read


@pytest.mark.parametrize("how", ["removed", "a directory", "a link", "no directory above"])
@pytest.mark.parametrize(
    ("form", "codec", "has_store"),
    [*((*shape, True) for shape in SHAPES), ("tar", "none", False), ("raw", "none", False)],
)
def test_what_is_gone_since_the_directory_was_listed_differs(
    form: str, codec: str, how: str, has_store: bool, tmp_path: Path
) -> None:
    place = open_test_place(tmp_path / "home")
    out = unpacked(place, tmp_path, form, codec)
    if not has_store:
        for layer in inspect(place, REF).kit.layers:
            place.store.blobs.path(layer.desc.digest).unlink()
    with open_tracked(place, out, None) as tracked:
        tree = read_tree(out, place.run)
        (out / "data/a.csv").unlink()
        if how == "a directory":
            (out / "data/a.csv").mkdir()
        elif how == "a link":
            (out / "data/a.csv").symlink_to(out / "run.sh")
        elif how == "no directory above":
            (out / "data").rename(out / "dota")
            (out / "data").write_bytes(b"")
        found = check_content(place, tracked, out, tree).compared
    assert "data/a.csv" in found.changed


# --- what cannot be mended


def test_what_can_be_mended_is_before_the_rest_is_told(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    out = unpacked(place, tmp_path, "tar", "gzip")
    (model, *_) = inspect(place, REF).kit.layers
    place.store.blobs.path(model.desc.digest).unlink()
    for path in ("model.bin", "run.sh"):
        (out / path).write_bytes(b"other")
    with pytest.raises(IntegrityError, match=r"model\.bin is damaged"):
        repair(place, REF, out)
    assert (out / "run.sh").read_bytes() == FILES["run.sh"]
    assert status(place, out).changed == ("model.bin",), "what is wrong is not noted as right"


def test_a_raw_layer_that_is_nowhere(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    out = unpacked(place, tmp_path, "raw")
    (model, *_) = inspect(place, REF).kit.layers
    place.store.blobs.path(model.desc.digest).unlink()
    (out / "model.bin").write_bytes(FILES["model.bin"][::-1])
    (out / "run.sh").unlink()
    with pytest.raises(NotFoundError, match="is not in the store"):
        repair(place, REF, out)
    assert (out / "run.sh").read_bytes() == FILES["run.sh"]
    assert status(place, out).touched == ("model.bin",)


# --- what stands in the way


@pytest.mark.parametrize(("form", "codec"), SHAPES)
def test_a_directory_in_the_place_of_a_file_is_moved_aside(form: str, codec: str, tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(events.append))
    out = unpacked(place, tmp_path, form, codec)
    (out / "model.bin").unlink()
    (out / "model.bin").mkdir()
    (out / "model.bin/mine").write_text("mine")
    (out / "model.bin.before-repair").write_text("from before")
    (out / "data/a.csv").unlink()
    (out / "data/a.csv").mkdir()  # empty: it goes
    assert verify(place, out).changed == ("data/a.csv", "model.bin")
    assert repair(place, REF, out).mended == ("data/a.csv", "model.bin")
    assert contents(out) == FILES
    assert (out / "model.bin.before-repair-2/mine").read_text() == "mine"
    assert (out / "model.bin.before-repair").read_text() == "from before"
    assert warnings(events) == ["model.bin was in the way: it is model.bin.before-repair-2 now"]
    assert verify(place, out).extra == ("model.bin.before-repair", "model.bin.before-repair-2/mine")


@pytest.mark.parametrize(("form", "codec"), SHAPES)
@pytest.mark.parametrize("where", ["data", "data/deep"])
def test_a_file_in_the_place_of_a_directory_is_moved_aside(form: str, codec: str, where: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    out = unpacked(place, tmp_path, form, codec)
    (out / where).rename(tmp_path / "taken")
    (out / where).write_text("mine")
    repair(place, REF, out)
    assert contents(out) == FILES
    assert (out / f"{where}.before-repair").read_text() == "mine"
    assert verify(place, out).without_extra().is_equal


@pytest.mark.parametrize(("form", "codec"), SHAPES)
@pytest.mark.parametrize("where", ["data", "data/deep"])
def test_a_link_in_the_place_of_a_directory_is_replaced(form: str, codec: str, where: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    out = unpacked(place, tmp_path, form, codec)
    (out / where).rename(tmp_path / "elsewhere")
    (out / where).symlink_to(tmp_path / "elsewhere")
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "elsewhere").rglob("*"))
    assert not verify(place, out).is_equal
    repair(place, REF, out)
    assert contents(out) == FILES
    assert not (out / where).is_symlink()
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "elsewhere").rglob("*")) == before
    assert verify(place, out).is_equal


# --- permission bits


@pytest.mark.parametrize(("form", "codec"), SHAPES)
@pytest.mark.parametrize("has_record", [True, False])
def test_permission_bits_are_shown_and_mended(form: str, codec: str, has_record: bool, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    out = unpacked(place, tmp_path, form, codec)
    if not has_record:
        (out / NAME).unlink()
    ref = None if has_record else REF
    assert verify(place, out, ref).is_equal
    (out / "run.sh").chmod(0o644)
    (out / "model.bin").chmod(0o4666)
    (out / "data/deep").chmod(0o700 if has_record else 0o777)
    wanted = ("data/deep", "model.bin", "run.sh") if form == "tar" else ("model.bin", "run.sh")  # raw: only files
    found = verify(place, out, ref)
    assert (found.changed, found.modes, found.is_equal) == ((), wanted, False)
    assert found.without_modes().is_equal
    if has_record or codec == "none":
        assert status(place, out, ref).modes == wanted
    done = repair(place, REF, out)
    assert (done.mended, done.modes) == ((), wanted)
    assert stat.S_IMODE((out / "run.sh").stat().st_mode) & 0o700 == 0o700
    assert stat.S_IMODE((out / "model.bin").stat().st_mode) & 0o7133 == 0
    assert verify(place, out).is_equal
    assert status(place, out).is_equal


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="root may read everything, and nothing takes that away")
@pytest.mark.parametrize(("form", "codec"), SHAPES)
def test_what_nobody_may_read_is_mended(form: str, codec: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    out = unpacked(place, tmp_path, form, codec)
    (out / "model.bin").write_bytes(b"other")
    for path in ("data/a.csv", "run.sh", *(("data/deep", "data") if form == "tar" else ())):  # raw: only files
        (out / path).chmod(0)
    home = f"pathlib.Path({str(place.home)!r})"
    code = f"import kitops, pathlib; kitops.repair('{REF}', {str(out)!r}, settings=kitops.Settings(home={home}))"
    without = "--bounding-set=-dac_override,-dac_read_search"
    prefix = ["setpriv", without, "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = subprocess.run([*prefix, sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert contents(out) == FILES
    assert verify(place, out).is_equal


def test_a_forged_record_makes_no_file_set_user_id(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    out = unpacked(place, tmp_path)
    made = (out / "run.sh").stat().st_mode & 0o7777
    record = (out / NAME).read_text()
    forged = record.replace(f'["run.sh",{0o755},{made},', f'["run.sh",{0o755},{0o4755},')
    assert forged != record
    (out / NAME).write_text(forged)
    repair(place, None, out)
    assert (out / "run.sh").stat().st_mode & 0o7000 == 0


def test_bits_that_a_umask_takes_are_no_difference(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    before = os.umask(0o077)
    try:
        out = unpacked(place, tmp_path)
        assert verify(place, out).is_equal
        assert stat.S_IMODE((out / "run.sh").stat().st_mode) == 0o700
    finally:
        os.umask(before)
    (out / NAME).unlink()
    assert verify(place, out, REF).is_equal
    assert status(place, out, REF).is_equal


# --- stamps that do not tell


def set_back(path: Path, content: bytes) -> None:
    """Write a file and give its content the time that it had, as `touch -r` does."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(("form", "codec"), SHAPES)
def test_a_rewrite_whose_time_was_set_back_is_seen(form: str, codec: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    out = unpacked(place, tmp_path, form, codec)
    set_back(out / "model.bin", FILES["model.bin"][::-1])
    found = status(place, out)
    assert (found.changed, found.touched) == ((), ("model.bin",)) if codec == "gzip" else (("model.bin",), ())


def test_names_and_bits_change_no_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = open_test_place(tmp_path / "home")
    out = unpacked(place, tmp_path)
    os.link(out / "model.bin", tmp_path / "linked")
    (out / "data/a.csv").rename(tmp_path / "away")
    (tmp_path / "away").rename(out / "data/a.csv")
    (out / "run.sh").chmod(0o700)
    found = status(place, out)
    assert (found.changed, found.touched, found.modes) == ((), (), ("run.sh",))
    (out / "run.sh").chmod(0o755)
    assert status(place, out).is_equal
    monkeypatch.setattr(status_module, "CHEAP", 0)  # the look above was noted
    assert status(place, out).is_equal
    os.link(out / "model.bin", tmp_path / "linked twice")
    assert status(place, out).touched == ("model.bin",), "it would cost too much to look"
    assert verify(place, out).is_equal
    assert status(place, out).is_equal


def test_of_several_files_of_an_archive_none_is_blamed_unseen(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    out = unpacked(place, tmp_path)
    os.link(out / "data/deep/b.csv", tmp_path / "linked")
    set_back(out / "data/a.csv", b"2,1\n")
    found = status(place, out)
    assert (found.changed, found.touched) == ((), ("data/a.csv", "data/deep/b.csv"))
    assert verify(place, out).changed == ("data/a.csv",)


# --- the directory that was packed


def test_the_directory_that_was_packed_is_its_modelkit(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    project = make_project(tmp_path / "project")
    (project / "Kitfile").write_text(f"# ours\n{KITFILE}")
    for form in ("tar", "raw"):
        pack(place, project, PackOptions(references=(REF,), layer_format=form, modelpack=form == "raw"))
        assert verify(place, project, REF).is_equal
        assert status(place, project, REF).is_equal
    (project / "Kitfile").write_text(KITFILE.replace("run.sh", "other.sh"))
    assert verify(place, project, REF).changed == ("Kitfile",)
    assert status(place, project, REF).changed == ("Kitfile",)
    (project / "Kitfile").write_text("no Kitfile")
    assert verify(place, project, REF).changed == ("Kitfile",)


def test_a_directory_that_is_not_there_is_mended_whole(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    out = unpacked(place, tmp_path)
    shutil.rmtree(out)
    with pytest.raises(NotFoundError):
        repair(place, None, out)
    assert not out.exists()
    with pytest.raises(NotFoundError):
        repair(place, Reference.parse("team/other:v1"), out)
    assert not out.exists()
    assert repair(place, REF, out / "deeper").kept == 0
    assert contents(out / "deeper") == FILES
    assert repair(place, REF, out / "deeper").mended == ()
