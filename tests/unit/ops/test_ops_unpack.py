"""``kit unpack`` as a function: what other tools packed comes out as it went in; what is in the way decides."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zlib
from pathlib import Path

import pytest
from ops_places import open_network_place, open_test_place
from test_ops_pack import make_project, refs

from golden_trees import GOLDEN, LayoutSource, content_of, list_cases, read_case
from kitops.content.copy import copy
from kitops.content.events import Event, Message
from kitops.content.protocols import Run
from kitops.errors import Cancelled, FileSystemError, IntegrityError, NotFoundError, TrustError
from kitops.formats.config import Config, PartDigests
from kitops.formats.layertypes import KITOPS_CONFIG
from kitops.formats.modelkit import read_modelkit
from kitops.formats.parts import list_parts
from kitops.formats.select import Filter
from kitops.kitfile.schema import Kitfile, Model
from kitops.layers.check import Checker
from kitops.layers.codec import Codec
from kitops.layers.extract import Existing, Extraction
from kitops.layers.layer_content import LayerContent
from kitops.layers.stamps import read_tree
from kitops.layers.write import Format
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.ops.diff import diff
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Place
from kitops.ops.push import push
from kitops.ops.remove import remove
from kitops.ops.status import status
from kitops.ops.unpack import UnpackOptions, unpack
from kitops.ops.unpack_record import NAME as RECORD
from kitops.ops.verify import verify
from kitops.server import RegistryServer

REF = Reference.parse("vector:v1")


def adopt_layout(layout: Path, place: Place, ref: Reference = REF) -> LayoutSource:
    """Put the only kit of an OCI layout into the store, under ``ref``."""
    source = LayoutSource(layout)
    with place.store.lease("test") as lease:
        sink = place.store.repository(ref, lease)
        copy(source, sink, source.root(), place.run)
        sink.tag(source.root(), ref.tag or "")
    return source


def list_members(source: LayoutSource) -> dict[str, tuple[bytes | None, int]]:
    """What Python's tarfile finds in all layers: content (None for a directory) and permission bits by path."""
    found: dict[str, tuple[bytes | None, int]] = {}
    for layer in read_modelkit(source, source.root()).layers:
        content = source.fetch(layer.desc)
        if layer.form is Format.RAW:
            found[layer.path] = (content, 0o644)
            continue
        if layer.codec is Codec.GZIP:
            content = zlib.decompress(content, 31)
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                file = archive.extractfile(member)
                found["/".join(filter(None, (layer.base, member.name.rstrip("/"))))] = (
                    file.read() if file else None,
                    member.mode & 0o755,
                )
    return found


def list_tree(root: Path) -> dict[str, tuple[bytes | None, int]]:
    return {
        str(path.relative_to(root)): (
            path.read_bytes() if path.is_file() else None,
            stat.S_IMODE(path.stat().st_mode),
        )
        for path in root.rglob("*")
        if path.name != RECORD
    }


@pytest.mark.parametrize("name", [f"pack/{name}" for name in list_cases("2024", "2025", "2026")])
def test_what_the_go_tool_packed_comes_out_as_it_went_in(name: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    case = read_case(name.removeprefix("pack/"))
    if needed := case.get("needs"):
        adopt_layout(GOLDEN / "pack/2026" / needed / "layout", place, Reference.parse("minimal:v1"))
    source = adopt_layout(GOLDEN / name / "layout", place)
    unpacked = unpack(place, REF, tmp_path / "out")
    tree = list_tree(tmp_path / "out")
    assert tree.pop("Kitfile")[0]
    if not needed:
        expected = list_members(source)
        for path in list(expected):  # directories that no member names are made for what is in them
            while path := path.rpartition("/")[0]:
                expected.setdefault(path, (None, 0o755))
        assert tree == expected
    files = {entry["path"]: content_of(entry) for entry in case["tree"] if entry["type"] == "file"}
    assert {path: files.get(path) for path, (content, _) in tree.items() if content is not None} == {
        path: content for path, (content, _) in tree.items() if content is not None
    } or needed
    assert unpacked.written == sum(content is not None for content, _ in tree.values()) + 1


@pytest.mark.parametrize("name", ["modctl-raw", "modctl-tar"])
def test_what_modctl_packed_comes_out_as_it_went_in(name: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    adopt_layout(GOLDEN / "other" / name / "layout", place)
    unpack(place, REF, tmp_path / "out")
    tree = {path: content for path, (content, _) in list_tree(tmp_path / "out").items()}
    tree.pop("Kitfile")
    files = {path: content for path, (content, _) in list_tree(GOLDEN / "other" / name / "files").items()}
    files.pop("Modelfile")  # modctl's own description, which it does not pack
    assert tree == files


def packed_place(tmp_path: Path, run: Run | None = None) -> Place:
    place = open_test_place(tmp_path / "home", run)
    context = make_project(tmp_path / "p", "model: {path: model.bin}\ncode: [{path: src}]\ndocs: [{path: README.md}]\n")
    (context / "src").mkdir()
    (context / "src/train.py").write_text("train")
    (context / "README.md").write_text("read me")
    pack(place, context, PackOptions(references=(REF,)))
    return place


def test_files_that_are_there_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    place = packed_place(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (out / "README.md").write_text("mine")
    with pytest.raises(FileSystemError) as caught:
        unpack(place, REF, out)
    assert "README.md" in str(caught.value)
    assert "--overwrite" in (caught.value.hint or "")
    assert os.listdir(out) == ["README.md"]


@pytest.mark.parametrize("form", ["tar", "raw"])
def test_bytes_that_were_left_are_not_said_to_be_copied(form: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    project = tmp_path / "p"
    project.mkdir()
    for name, size in (("a.bin", 5000), ("b.bin", 300)):
        (project / name).write_bytes(bytes(size))
    kitfile = b"model: {path: a.bin}\ncode: [{path: b.bin}]\n"
    pack(place, project, PackOptions(references=(REF,), kitfile_text=kitfile, layer_format=form))
    out = tmp_path / "out"
    done = unpack(place, REF, out)
    written = done.size
    assert (done.written, done.kept, done.kept_size) == (3, 0, 0)
    assert written == sum(path.stat().st_size for path in out.iterdir() if path.name != ".kitops-unpacked.json")
    (out / "a.bin").write_bytes(b"mine")
    (out / "b.bin").unlink()
    done = unpack(place, REF, out, UnpackOptions(existing="keep"))
    assert (done.written, done.kept, done.kept_size) == (1, 1, 4)
    assert (done.size, done.reflinked + done.copied) == (300, 300)


def test_a_file_that_two_layers_bring_is_counted_once(tmp_path: Path) -> None:
    place = packed_place(tmp_path)
    kitfile = b"docs: [{path: README.md}]\nprompts: [{path: README.md}]\n"
    pack(place, tmp_path / "p", PackOptions(references=(REF,), kitfile_text=kitfile))
    done = unpack(place, REF, tmp_path / "out")
    assert (done.written, done.size) == (2, 7 + (tmp_path / "out/Kitfile").stat().st_size)


def test_files_that_are_there_are_overwritten_or_kept_as_told(tmp_path: Path) -> None:
    place = packed_place(tmp_path)
    out = tmp_path / "out"
    (out / "src").mkdir(parents=True)
    (out / "README.md").write_text("mine")
    (out / "src/other.py").write_text("mine")
    kept = unpack(place, REF, out, UnpackOptions(existing="keep"))
    assert (kept.written, kept.kept) == (3, 1)
    assert (out / "README.md").read_text() == "mine"
    assert (out / "src/train.py").read_text() == "train"
    done = unpack(place, REF, out, UnpackOptions(existing="overwrite"))
    assert (done.written, done.kept) == (4, 0)
    assert (out / "README.md").read_text() == "read me"
    assert (out / "src/other.py").read_text() == "mine"


def test_what_is_known_of_files_stays_known_when_they_are_kept(tmp_path: Path) -> None:
    place = packed_place(tmp_path)
    out = tmp_path / "out"
    unpack(place, REF, out)
    (out / "src/train.py").unlink()
    assert unpack(place, REF, out, UnpackOptions(existing="keep")).kept
    assert status(place, out).is_equal
    (out / "README.md").write_text("mine, and longer")
    unpack(place, REF, out, UnpackOptions(existing="keep"))
    found = status(place, out)
    assert (found.changed, found.touched) == (("README.md",), ())


def test_a_kitfile_with_the_same_bytes_is_fine_and_another_needs_overwrite(tmp_path: Path) -> None:
    place = packed_place(tmp_path)
    out = tmp_path / "out"
    unpack(place, REF, out, UnpackOptions(filters=(Filter.parse("kitfile"),)))
    unpack(place, REF, out)
    (out / "Kitfile").write_text("model: {path: other}\n")
    with pytest.raises(FileSystemError, match="Kitfile"):
        unpack(place, REF, out, UnpackOptions(existing="keep"))
    unpack(place, REF, out, UnpackOptions(existing="overwrite"))
    assert "model.bin" in (out / "Kitfile").read_text()


@pytest.mark.parametrize("existing", ["refuse", "overwrite", "keep"])
def test_something_of_another_type_is_always_in_the_way(existing: str, tmp_path: Path) -> None:
    place = packed_place(tmp_path)
    for number, make in enumerate(
        [
            lambda out: (out / "README.md").mkdir(),
            lambda out: (out / "src").write_text("a file"),
            lambda out: (out / "src").symlink_to(tmp_path),
            lambda out: (out / "README.md").symlink_to(tmp_path / "victim"),
        ]
    ):
        out = tmp_path / f"out{number}"
        out.mkdir()
        make(out)
        with pytest.raises(FileSystemError, match="another type"):
            unpack(place, REF, out, UnpackOptions(existing=existing))  # type: ignore[arg-type]
        assert len(os.listdir(out)) == 1
    assert not (tmp_path / "train.py").exists()
    assert not (tmp_path / "victim").exists()


def test_filters_unpack_only_what_they_name(tmp_path: Path) -> None:
    place = packed_place(tmp_path)
    unpack(place, REF, tmp_path / "out", UnpackOptions(filters=(Filter.parse("docs"), Filter.parse("code:src"))))
    assert sorted(list_tree(tmp_path / "out")) == ["README.md", "src", "src/train.py"]
    with pytest.raises(NotFoundError, match="no part"):
        unpack(place, REF, tmp_path / "none", UnpackOptions(filters=(Filter.parse("datasets"),)))
    assert not (tmp_path / "none").exists()


def test_a_damaged_layer_leaves_nothing(tmp_path: Path) -> None:
    place = packed_place(tmp_path)
    kit = read_modelkit(place.store.blobs, place.store.refs.resolve(REF))
    blob = place.store.blobs.path(kit.layers[-1].desc.digest)
    content = bytearray(blob.read_bytes())
    content[600] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"README\.md"):
        unpack(place, REF, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_target_that_cannot_be(tmp_path: Path) -> None:
    place = packed_place(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileSystemError):
        unpack(place, REF, tmp_path / "file" / "below")


def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    run = Run()
    place = packed_place(tmp_path, run)
    run.cancel.cancel()
    with pytest.raises(Cancelled):
        unpack(place, REF, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_killed_unpack_left_is_removed_by_the_next(tmp_path: Path) -> None:
    place = packed_place(tmp_path)
    out = tmp_path / "out"
    pid = os.fork()
    if not pid:  # pragma: no cover - the child is killed before it could tell
        Extraction(out, existing=Existing.REFUSE, run=Run())
        os._exit(0)
    os.waitpid(pid, 0)
    assert [name.startswith(".kitops-unpack-") for name in os.listdir(out)] == [True]
    unpack(place, REF, out)
    assert sorted(os.listdir(out)) == [RECORD, "Kitfile", "README.md", "model.bin", "src"]


def test_unpacking_straight_from_a_registry(tmp_path: Path) -> None:
    with RegistryServer(tmp_path / "registry") as server:
        place = open_network_place(tmp_path / "net")
        context = make_project(tmp_path / "p")
        remote = Reference.parse(f"{server.address}/x:v1")
        pack(place, context, PackOptions(references=(remote,), compression="zstd"))
        push(place, remote)
        away = open_network_place(tmp_path / "away")
        unpack(away, remote, tmp_path / "out")
        assert (tmp_path / "out/model.bin").read_bytes() == b"weights"
        assert not (tmp_path / "away/store").exists()
        (context / "model.bin").write_bytes(b"other weights")
        other = Reference.parse("x:v2")
        pack(place, context, PackOptions(references=(other,)))
        found = diff(place, f"remote://{remote}", "local://x:v2")
        assert [(file.path, file.change, file.before_size, file.after_size) for file in found.layers[0].files] == [
            ("model.bin", "changed", 7, 13)
        ]


def test_diff_explains(tmp_path: Path) -> None:
    place = packed_place(tmp_path)
    context = tmp_path / "p"
    (context / "src/new.py").write_text("new")
    (context / "src/train.py").chmod(0o755)
    (context / "README.md").unlink()
    text = b"package: {name: n}\nmodel: {path: model.bin}\ncode: [{path: src}]\n"
    pack(place, context, PackOptions(references=refs("vector:v2"), kitfile_text=text))
    found = diff(place, "vector:v1", "vector:v2")
    assert not found.is_equal
    assert [(change.field, change.change) for change in found.fields] == [
        (".package.name", "added"),
        (".docs", "removed"),
    ]
    assert [(layer.path, layer.change) for layer in found.layers] == [("src", "changed"), ("README.md", "removed")]
    assert [(file.path, file.change, file.is_mode_only) for file in found.layers[0].files] == [
        ("src/new.py", "added", False),
        ("src/train.py", "changed", True),
    ]
    assert [layer.path for layer in found.shared] == ["model.bin"]
    table = found.to_json()
    assert table["equal"] is False
    assert table["layers"][1]["files"][0]["beforeSize"] == 7
    assert diff(place, "vector:v1", "vector:v1").is_equal


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        ("parameters: {a: 1}", "parameters: {a: true}", [(".model.parameters.a", 1, True)]),
        ("parameters: {a: 1}", "parameters: {a: 1.0}", []),
        ("parameters: {b: 1}", "parameters: {b: 1, a: null}", [(".model.parameters", {"b": 1}, {"a": None, "b": 1})]),
        (
            "parameters: {steps: [{name: a}, {name: b}]}",
            "parameters: {steps: [{name: b}, {name: c}, {name: a}]}",
            [
                (".model.parameters.steps[1]", None, {"name": "c"}),
                (".model.parameters.steps", ["a", "b"], ["b", "a"]),
            ],
        ),
    ],
)
def test_diff_tells_types_nulls_and_order(before: str, after: str, fields: list[object], tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    context = make_project(tmp_path / "p")
    for tag, parameters in (("x:v1", before), ("x:v2", after)):
        text = f"model:\n  path: model.bin\n  {parameters}\n".encode()
        pack(place, context, PackOptions(references=refs(tag), kitfile_text=text))
    found = diff(place, "x:v1", "x:v2")
    assert [(change.field, change.before, change.after) for change in found.fields] == fields
    assert found.is_equal == found.is_config_equal == (not fields)


def hostile_place(tmp_path: Path, *members: tarfile.TarInfo) -> Place:
    """A store with a kit whose model layer is a tar of ``members``, each of them empty."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    layer = Descriptor.of(buffer.getvalue(), "application/vnd.kitops.modelkit.model.v1.tar")
    kitfile = Kitfile(model=Model(path="m"))
    config = Config(kitfile, {part: PartDigests(layer.digest, layer.digest) for part in list_parts(kitfile)}).dump()
    manifest = Manifest.build(config=Descriptor.of(config, KITOPS_CONFIG), layers=[layer])
    place = open_test_place(tmp_path / "home")
    with place.store.lease("test") as lease:
        for data in (buffer.getvalue(), config, manifest.raw):
            place.store.blobs.put_bytes(data, "application/x", lease)
        place.store.repository(REF, lease).tag(manifest.descriptor, "v1")
    return place


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = kind, link, size
    return found


@pytest.mark.parametrize(
    "members",
    [
        [member("../escape")],
        [member("m/../../escape")],
        [member("/tmp/escape")],
        [member("m", tarfile.SYMTYPE, "/etc"), member("m/escape")],
        [member("m", tarfile.SYMTYPE, "..")],
        [member("m", tarfile.LNKTYPE, "../outside")],
        [member("m", tarfile.CHRTYPE)],
        [member("m", tarfile.FIFOTYPE)],
        [member("m/a"), member("m/a")],
        [member("m/a"), member("m/./a")],
        [member("m"), member("m/a")],
        [member("m/a"), member("m")],
        [member("m/a", tarfile.DIRTYPE), member("m/a")],
        [member("m/a"), member("m/a/b/c")],
        [member("a/" * 3000 + "f")],
        [member("a/" * 256 + "f")],
        [member("m/" + "f" * 5000)],
    ],
)
def test_hostile_archives_write_nothing(members: list[tarfile.TarInfo], tmp_path: Path) -> None:
    place = hostile_place(tmp_path, *members)
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(TrustError):
        unpack(place, REF, inside / "out")
    assert os.listdir(inside) == []
    assert not (tmp_path / "escape").exists()


@pytest.mark.parametrize("size", [0, 700])
@pytest.mark.parametrize("name", [RECORD, f"m/{RECORD}", ".kitops-unpack-0-0-0-0/journal/x"])
def test_what_an_unpack_left_and_another_tool_packed_is_left_out(name: str, size: int, tmp_path: Path) -> None:
    events: list[Event] = []
    place = hostile_place(tmp_path, member("m/a", size=5), member(name, size=size), member("m/b", size=700))
    place = open_test_place(place.home, Run(observer=events.append))
    done = unpack(place, REF, tmp_path / "out")
    assert done.written == 3
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == [RECORD, "Kitfile", "a", "b", "m"]
    left_out = f"left out {name}: unpacking leaves files of its own under that name"
    assert [event.text for event in events if isinstance(event, Message)] == [left_out]
    assert verify(place, tmp_path / "out").is_equal
    assert status(place, tmp_path / "out").is_equal
    assert verify(place, tmp_path / "out", REF).is_equal
    (tmp_path / "out/m/b").write_bytes(b"x" * 700)
    assert verify(place, tmp_path / "out").changed == ("m/b",)


def test_a_raw_layer_with_a_name_of_ours_is_left_out(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    with Extraction(tmp_path / "out", existing=Existing.REFUSE, run=place.run) as extraction:
        layers = []
        for name in (RECORD, "a"):
            blob = tmp_path / f"blob {name}"
            blob.write_bytes(name.encode())
            desc = Descriptor.of(name.encode(), "application/x")
            layers.append(LayerContent(desc, Format.RAW, Codec.NONE, name, "", f"layer {name}"))
            extraction.judge(blob, layers[-1])
            extraction.add_blob(blob, layers[-1], lambda _: None)
        done = extraction.commit()
    assert [[member.path for member in members] for members in done.members] == [[], ["a"]]
    assert os.listdir(tmp_path / "out") == ["a"]
    checker = Checker(tmp_path / "out", read_tree(tmp_path / "out", place.run), place.run, False, lambda _: None)
    assert all(checker.check_raw(layer).is_clean for layer in layers)


@pytest.mark.parametrize("name", ["m/a\nHint: b", "m/a\nHint: b/c"])
def test_a_name_cannot_forge_the_lines_of_an_error(name: str, tmp_path: Path) -> None:
    place = hostile_place(tmp_path, member("m/a\nHint: b"), member(name))
    with pytest.raises(TrustError, match=r"m/a\\nHint: b") as failure:
        unpack(place, REF, tmp_path / "out")
    assert "\n" not in failure.value.message
    fine = hostile_place(tmp_path / "fine", member("m/a\nHint: b"))
    (tmp_path / "out/m").mkdir(parents=True)
    (tmp_path / "out/m/a\nHint: b").touch()
    with pytest.raises(FileSystemError, match=r"unpacking m/a\\nHint: b: it is there already"):
        unpack(fine, REF, tmp_path / "out")


def test_a_path_as_deep_as_may_be(tmp_path: Path) -> None:
    deep = "a/" * 255 + "f"
    place = hostile_place(tmp_path, member(deep))
    unpack(place, REF, tmp_path / "out")
    assert (tmp_path / "out" / deep).is_file()
    unpack(place, REF, tmp_path / "out", UnpackOptions(existing="overwrite"))


def test_a_path_too_deep_is_told_in_short(tmp_path: Path) -> None:
    place = hostile_place(tmp_path, member("a/" * 3000 + "f"))
    with pytest.raises(TrustError, match="is a path of 6001 bytes and 3000 directories") as failure:
        unpack(place, REF, tmp_path / "out")
    assert len(failure.value.message) < 400


@pytest.mark.parametrize("path", ["../../../escape/m", "/tmp/escape/m", "a/" * 300 + "m"])
def test_a_hostile_path_of_a_layer_whose_names_are_relative_to_it(path: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(member("f"), io.BytesIO(b""))
    with place.store.lease("test") as lease:  # a config without digests, as in kits of 2024
        config = place.store.blobs.put_bytes(
            b'{"manifestVersion":"1.0.0","package":{},"model":{"path":"%b"}}' % path.encode(), KITOPS_CONFIG, lease
        )
        layer = place.store.blobs.put_bytes(buffer.getvalue(), "application/vnd.kitops.modelkit.model.v1.tar", lease)
        manifest = Manifest.build(config=config, layers=[layer])
        desc = place.store.blobs.put_bytes(manifest.raw, manifest.media_type, lease)
        place.store.repository(REF, lease).tag(desc, "v1")
    (tmp_path / "inside").mkdir()
    with pytest.raises(TrustError):
        unpack(place, REF, tmp_path / "inside" / "out")
    assert os.listdir(tmp_path / "inside") == []


def test_unpacking_where_the_current_directory_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = hostile_place(tmp_path, member("m/a"))
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileSystemError, match=r"unpacking into \.: no such file or directory"):
        unpack(place, REF, Path())


def test_long_names_of_any_tar_dialect_are_read(tmp_path: Path) -> None:
    name = "m/" + "d" * 90 + "/" + "e" * 120 + "/é" + "f" * 40
    place = hostile_place(tmp_path, member(name, size=700), member("m/a..b"))
    unpack(place, REF, tmp_path / "out")
    assert (tmp_path / "out" / name).stat().st_size == 700
    assert (tmp_path / "out/m/a..b").is_file()


def test_names_too_long_for_the_file_system_are_told(tmp_path: Path) -> None:
    place = hostile_place(tmp_path, member("m/" + "x" * 300))
    with pytest.raises(FileSystemError, match="name too long"):
        unpack(place, REF, tmp_path / "out")


def test_what_is_above_a_link_is_above_where_it_leads(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    (tmp_path / "far").mkdir()
    make_project(tmp_path / "far" / "project")
    wrong = make_project(tmp_path / "project")
    (wrong / "model.bin").write_bytes(b"of another project")
    (tmp_path / "far" / "inner").mkdir()
    (tmp_path / "link").symlink_to("far/inner")
    packed = pack(place, tmp_path / "link" / ".." / "project", PackOptions(references=refs("x:v1")))
    assert packed.desc == pack(place, tmp_path / "far" / "project").desc
    unpack(place, Reference.parse("x:v1"), tmp_path / "link" / ".." / "out")
    assert {path.name for path in (tmp_path / "far" / "out").iterdir()} >= {"Kitfile", RECORD}
    assert not (tmp_path / "out").exists()


def test_a_record_is_left_where_nothing_was_before(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    pack(place, make_project(tmp_path / "p"), PackOptions(references=refs("x:v1")))
    unpack(place, Reference.parse("x:v1"), tmp_path / "nowhere" / ".." / "out")
    assert (tmp_path / "out" / RECORD).is_file()


@pytest.mark.parametrize("name", ["file", "link"])
def test_a_target_that_is_no_directory_is_told(name: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    pack(place, make_project(tmp_path / "p"), PackOptions(references=refs("x:v1")))
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(FileSystemError, match="it is no directory, or a link that leads nowhere"):
        unpack(place, Reference.parse("x:v1"), tmp_path / name)


def test_who_wants_nothing_of_a_model_needs_no_parent(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    context = make_project(tmp_path / "p")
    pack(place, context, PackOptions(references=refs("parent:v1")))
    text = b"model: {path: 'parent:v1', parts: [{path: model.bin}]}\ndatasets: [{path: train.csv}]\n"
    (context / "train.csv").write_text("1,2\n")
    pack(place, context, PackOptions(references=refs("child:v1"), kitfile_text=text))
    remove(place, refs("parent:v1"))
    child = Reference.parse("child:v1")
    for part in ("datasets", "kitfile"):
        assert unpack(place, child, tmp_path / part, UnpackOptions(filters=(Filter.parse(part),))).written == 1
    for filters in ((), (Filter.parse("datasets"), Filter.parse("model"))):
        with pytest.raises(NotFoundError, match=r"model\.path: parent:v1 is not in the local store"):
            unpack(place, child, tmp_path / "all", UnpackOptions(filters=filters))
