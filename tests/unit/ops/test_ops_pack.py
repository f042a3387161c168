"""``kit pack`` as a function: what it refuses, what it tells, what is left in the store."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from ops_places import open_test_place

from kitops.content.events import Event, Finished, Message
from kitops.content.protocols import Run
from kitops.errors import Cancelled, InvalidValueError, KitfileError, NotFoundError, PackError
from kitops.formats.modelkit import read_modelkit
from kitops.kitfile.dump import to_json
from kitops.oci.annotations import FILE_METADATA, FILE_PATH, TITLE
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.ops.info import info, select_field
from kitops.ops.inspect import inspect
from kitops.ops.list import list_
from kitops.ops.locate import locate
from kitops.ops.pack import PackOptions, pack
from kitops.ops.pack_jobs import open_packing
from kitops.ops.remove import remove, remove_all
from kitops.ops.tag import tag
from kitops.ops.unpack import unpack
from kitops.store import refs as store_refs
from kitops.store.gc import collect


def make_project(context: Path, kitfile: str = "manifestVersion: 1.0.0\nmodel: {path: model.bin}\n") -> Path:
    context.mkdir()
    (context / "model.bin").write_bytes(b"weights")
    (context / "Kitfile").write_text(kitfile)
    return context


def refs(*texts: str) -> tuple[Reference, ...]:
    return tuple(Reference.parse(text) for text in texts)


def test_a_directory_without_kitfile_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        pack(open_test_place(tmp_path / "home"), tmp_path)
    assert "kit init" in (caught.value.hint or "")


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="not a directory"):
        pack(open_test_place(tmp_path / "home"), tmp_path / "missing")


def test_a_kitfile_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    context = make_project(tmp_path / "p")
    with pytest.raises(Exception, match="elsewhere"):
        pack(open_test_place(tmp_path / "home"), context, PackOptions(kitfile_path=tmp_path / "elsewhere"))


def test_every_missing_path_is_told_at_once(tmp_path: Path) -> None:
    context = make_project(tmp_path / "p", "model: {path: a}\ncode: [{path: b}]\ndocs: [{path: model.bin}]\n")
    with pytest.raises(PackError) as caught:
        pack(open_test_place(tmp_path / "home"), context)
    assert "2 parts cannot be packed" in str(caught.value)
    assert "path a" in str(caught.value)
    assert "path b" in str(caught.value)


def test_a_kitfile_with_problems_packs_nothing(tmp_path: Path) -> None:
    context = make_project(tmp_path / "p", "modle: {path: model.bin}\n")
    place = open_test_place(tmp_path / "home")
    with pytest.raises(KitfileError, match="model"):
        pack(place, context, PackOptions(references=refs("x:v1")))
    assert list_(place) == []


def test_another_manifest_version_is_a_warning(tmp_path: Path) -> None:
    events: list[Event] = []
    context = make_project(tmp_path / "p", "manifestVersion: 9.0.0\nmodel: {path: model.bin}\n")
    pack(open_test_place(tmp_path / "home", Run(events.append)), context)
    assert [event.level for event in events if isinstance(event, Message)] == ["warning"]


def test_a_kit_without_a_name_is_listed_by_its_digest(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    packed = pack(place, make_project(tmp_path / "p"))
    rows = list_(place)
    assert [(row.repo, row.tags, row.digest) for row in rows] == [("", (), str(packed.desc.digest))]
    assert info(place, Reference.parse(str(packed.desc.digest))) == packed.kitfile


def test_several_tags_are_one_row(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    kitfile = "package: {name: p, authors: [Ada]}\nmodel: {path: model.bin}\n"
    packed = pack(place, make_project(tmp_path / "p", kitfile), PackOptions(references=refs("team/x:a", "team/x:b")))
    (row,) = list_(place)
    assert row.to_json() == {
        "repo": "team/x",
        "digest": str(packed.desc.digest),
        "tags": ["a", "b"],
        "modelName": "p",
        "size": 2048,
        "author": "Ada",
    }
    assert packed.size == packed.new_size == 2048


def test_a_reference_without_tag_is_latest_and_that_is_told(tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(events.append))
    packed = pack(place, make_project(tmp_path / "p"), PackOptions(references=refs("x")))
    assert [str(ref) for ref in packed.references] == ["x:latest"]
    assert any(isinstance(event, Message) and "x:latest" in event.text for event in events)


def test_raw_layers_are_the_files_themselves(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    packed = pack(place, make_project(tmp_path / "p"), PackOptions(layer_format="raw"))
    (layer,) = Manifest.parse(place.store.blobs.fetch(packed.desc)).layers
    assert place.store.blobs.fetch(layer) == b"weights"
    assert layer.annotations[TITLE] == layer.annotations[FILE_PATH] == "model.bin"
    assert '"uid":1000' in layer.annotations[FILE_METADATA]
    assert "1970-01-01T00:00:00Z" in layer.annotations[FILE_METADATA]


def test_a_raw_layer_must_be_a_file(tmp_path: Path) -> None:
    context = make_project(tmp_path / "p", "code: [{path: .}]\n")
    with pytest.raises(PackError, match="raw"):
        pack(open_test_place(tmp_path / "home"), context, PackOptions(layer_format="raw"))


@pytest.mark.parametrize("compression", ["gzip", "gzip-fastest", "zstd"])
def test_compressed_layers_keep_the_diff_id(compression: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    context = make_project(tmp_path / "p")
    plain = inspect(place, Reference.parse(str(pack(place, context).desc.digest)))
    packed = pack(place, context, PackOptions(compression=compression))  # type: ignore[arg-type]
    found = inspect(place, Reference.parse(str(packed.desc.digest)))
    assert found.kit.layers[0].desc.digest != plain.kit.layers[0].desc.digest
    again = pack(open_test_place(tmp_path / "other"), context, PackOptions(compression=compression))  # type: ignore[arg-type]
    assert again.desc == packed.desc


def test_mcp_bundles_are_raw_and_checked(tmp_path: Path) -> None:
    context = make_project(tmp_path / "p", "mcpServers: [{name: s, path: s.mcpb}]\n")
    place = open_test_place(tmp_path / "home")
    (context / "s.mcpb").mkdir()
    (context / "s.mcpb/manifest.json").touch()
    with pytest.raises(PackError, match=r"mcpServers\[0\]: s.mcpb is a directory, and not an MCP bundle") as failure:
        pack(place, context)
    assert failure.value.hint == "name the server's .mcpb file, which `mcpb pack` makes of its directory"
    shutil.rmtree(context / "s.mcpb")
    (context / "s.mcpb").write_bytes(b"no zip")
    with pytest.raises(PackError, match="no zip"):
        pack(place, context)
    with zipfile.ZipFile(context / "s.mcpb", "w") as bundle:
        bundle.writestr("other.json", "{}")
    with pytest.raises(PackError, match=r"manifest\.json"):
        pack(place, context)
    with zipfile.ZipFile(context / "s.mcpb", "w") as bundle:
        bundle.writestr("manifest.json", "{}")
    packed = pack(place, context)
    (layer,) = Manifest.parse(place.store.blobs.fetch(packed.desc)).layers
    assert layer.media_type == "application/vnd.kitops.modelkit.mcpb.v1.raw"
    assert place.store.blobs.fetch(layer) == (context / "s.mcpb").read_bytes()


def test_followed_links_are_told_and_skipped_ones_too(tmp_path: Path) -> None:
    context = make_project(tmp_path / "p", "model: {path: m}\n")
    (context / "m").mkdir()
    (tmp_path / "outside").write_bytes(b"blob of a cache")
    os.symlink(tmp_path / "outside", context / "m" / "weights.bin")
    (context / "m" / "own.bin").write_bytes(b"x")
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(events.append))
    followed = pack(place, context, PackOptions(symlinks="follow"))
    skipped = pack(place, context, PackOptions(symlinks="skip"))
    assert followed.size > skipped.size
    texts = [event.text for event in events if isinstance(event, Message)]
    assert any("followed" in text and "outside" in text for text in texts)
    assert any("left out" in text and "weights.bin" in text for text in texts)


def test_packing_what_is_there_says_so(tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(events.append))
    context = make_project(tmp_path / "p")
    pack(place, context)
    packed = pack(place, context, PackOptions(cache=False))
    assert packed.new_size == 0
    assert [event.outcome for event in events if isinstance(event, Finished)] == ["done", "exists"]


def test_cancelled_before_it_starts(tmp_path: Path) -> None:
    run = Run()
    run.cancel.cancel()
    with pytest.raises(Cancelled):
        pack(open_test_place(tmp_path / "home", run), make_project(tmp_path / "p"))


def test_parents_layers_are_left_out_of_the_childs(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    pack(place, make_project(tmp_path / "parent"), PackOptions(references=refs("parent:v1")))
    child = make_project(tmp_path / "child", "model: {path: 'parent:v1'}\ncode: [{path: .}]\n")
    (child / "train.py").write_text("")
    packed = pack(place, child)
    (layer,) = Manifest.parse(place.store.blobs.fetch(packed.desc)).layers
    content = place.store.blobs.fetch(layer)
    assert b"train.py" in content
    assert b"weights" not in content


def test_a_missing_parent_is_told(tmp_path: Path) -> None:
    child = make_project(tmp_path / "child", "model: {path: 'parent:v1'}\n")
    with pytest.raises(NotFoundError, match="parent"):
        pack(open_test_place(tmp_path / "home"), child)


def test_a_chain_of_parents_ends_after_ten(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    pack(place, make_project(tmp_path / "p"), PackOptions(references=refs("kit0:v1")))
    for number in range(10):
        text = f"package: {{name: k{number}}}\nmodel: {{path: 'kit{number}:v1'}}\n".encode()
        pack(place, tmp_path / "p", PackOptions(kitfile_text=text, references=refs(f"kit{number + 1}:v1")))
    with pytest.raises(InvalidValueError, match="more than 10"):
        pack(place, tmp_path / "p", PackOptions(kitfile_text=b"model: {path: 'kit10:v1'}\n"))


def test_tags_are_added_and_removed(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    pack(place, make_project(tmp_path / "p"), PackOptions(references=refs("x:v1")))
    tagged = tag(place, Reference.parse("x:v1"), refs("x:v2", "reg.example.com/y:v1"))
    assert [row.tags for row in list_(place)] == [("v1",), ("v1", "v2")] or len(list_(place)) == 2
    removed = remove(place, refs("x:v1"))
    assert [str(ref) for ref in removed.untagged] == ["x:v1"]
    assert removed.deleted == ()
    removed = remove(place, refs("x:v2"))
    assert len(removed.deleted) == 1
    assert removed.freed == 0  # the other repository still holds every byte
    removed = remove(place, (Reference.parse("reg.example.com/y").with_digest(tagged.desc.digest),))
    assert [str(ref) for ref in removed.untagged] == ["reg.example.com/y:v1"]
    assert removed.freed > 2048
    assert list_(place) == []


def test_force_takes_every_tag_of_the_repository(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    pack(place, make_project(tmp_path / "p"), PackOptions(references=refs("x:v1", "x:v2")))
    removed = remove(place, refs("x:v1", "x:v2"), force=True)
    assert sorted(str(ref) for ref in removed.untagged) == ["x:v1", "x:v2"]
    assert list_(place) == []


def test_remove_all_takes_the_untagged_and_with_force_everything(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    context = make_project(tmp_path / "p")
    pack(place, context)
    pack(place, context, PackOptions(references=refs("x:v1"), modelpack=True))
    assert len(remove_all(place).deleted) == 1
    assert [row.repo for row in list_(place)] == ["x"]
    assert len(remove_all(place, force=True).deleted) == 1
    assert list_(place) == []


def test_a_bare_digest_removes_a_kit_without_tags(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    context = make_project(tmp_path / "p")
    digest = pack(place, context).desc.digest
    pack(place, context, PackOptions(references=refs("team/x:v1")))
    bare = refs(str(digest))
    assert remove(place, bare).deleted == bare  # the one without a name; the named one stays
    assert [row.tags for row in list_(place)] == [("v1",)]
    place.store.refs.untag(*refs("team/x:v1"), place.store.refs.resolve(*bare))
    assert [str(ref) for ref in remove(place, bare).deleted] == [f"team/x@{digest}"]
    assert list_(place) == []
    with pytest.raises(NotFoundError):
        remove(place, bare)


def test_a_bare_digest_takes_no_names_away_unless_forced(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    context = make_project(tmp_path / "p")
    digest = pack(place, context, PackOptions(references=refs("x:v1", "x:v2", "team/y:v1"))).desc.digest
    with pytest.raises(InvalidValueError, match="is the digest of team/y:v1, x:v1, x:v2") as failure:
        remove(place, refs(str(digest)))
    assert failure.value.hint == (
        f"`kit remove team/y:v1` takes a name away, `kit remove --force {digest}` all of them"
    )
    assert len(list_(place)) == 2
    removed = remove(place, refs(str(digest)), force=True)
    assert [str(ref) for ref in removed.untagged] == ["team/y:v1", "x:v1", "x:v2"]
    assert [str(ref) for ref in removed.deleted] == [f"team/y@{digest}", f"x@{digest}"]
    assert list_(place) == []


def test_what_was_removed_is_told_though_nothing_can_be_freed(tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(observer=events.append))
    context = make_project(tmp_path / "p")
    pack(place, context, PackOptions(references=refs("good:1")))
    other = pack(place, context, PackOptions(references=refs("bad:1"), modelpack=True)).desc
    place.store.blobs.path(other.digest).write_bytes(b"x" * other.size)
    removed = remove(place, refs("good:1"))
    assert removed.untagged == refs("good:1")
    assert [row.repo for row in list_(place)] == ["bad"]
    (warning,) = [event.text for event in events if isinstance(event, Message) and event.level == "warning"]
    assert warning.startswith(f"the space of what was removed is not free yet: the ModelKit {other.digest} is damaged")


def test_removing_what_is_read_frees_it_afterwards(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    context = make_project(tmp_path / "p")
    pack(place, context, PackOptions(references=refs("x:v1")))
    with locate(place, *refs("x:v1")) as located:
        kit = read_modelkit(located.source, located.desc)
        removed = remove(place, refs("x:v1"))
        assert (removed.freed, removed.in_use) == (0, place.store.usage().blobs_size)
        assert list_(place) == []
        with located.source.open(kit.layers[0].desc) as reader:
            assert reader.readinto(memoryview(bytearray(4096))) == kit.layers[0].desc.size
    assert remove_all(place).in_use == 0
    assert collect(place.store, grace_seconds=0).size == removed.in_use


def test_what_is_left_out_for_its_name_is_told_unless_an_unpack_left_it(tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(observer=events.append))
    context = make_project(tmp_path / "p", "manifestVersion: 1.0.0\ncode: [{path: src}]\n")
    (context / "src/sub").mkdir(parents=True)
    (context / "src/a.py").touch()
    pack(place, context, PackOptions(references=refs("x:v1")))
    unpack(place, *refs("x:v1"), context / "src/sub")
    (context / "src/.kitops-unpacked.json").write_text("mine")
    events.clear()
    pack(place, context, PackOptions(references=refs("x:v1")))
    assert [event.text for event in events if isinstance(event, Message)] == [
        "code[0]: left out src/.kitops-unpacked.json: `kit unpack` leaves files of that name, which are not packed"
    ]


def test_special_files_that_are_left_out_are_called_what_they_are(tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(observer=events.append))
    context = make_project(tmp_path / "p", "manifestVersion: 1.0.0\ncode: [{path: src}]\n")
    (context / "src").mkdir()
    (context / "src/link").symlink_to("x")
    os.mkfifo(context / "src/fi\nfo")
    pack(place, context, PackOptions(symlinks="skip"))
    assert [event.text for event in events if isinstance(event, Message)] == [
        "code[0]: left out src/fi\\nfo, a pipe",
        "code[0]: left out src/link, a symbolic link",
    ]


def test_what_is_seldom_meant_is_packed_and_said(tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_test_place(tmp_path / "home", Run(observer=events.append))
    context = make_project(tmp_path / "p", "manifestVersion: 1.0.0\ncode: [{path: .}]\n")
    (context / "lib/.git/objects").mkdir(parents=True)
    (context / "lib/a.git").mkdir()
    (context / "lib/.git/HEAD").write_text("ref: refs/heads/main\n")
    (context / "z/.git").mkdir(parents=True)
    (context / "z/.env").write_text("TOKEN=secret\n")

    def names() -> list[str]:
        (layer,) = Manifest.parse(place.store.blobs.fetch(pack(place, context).desc)).layers
        with tarfile.open(fileobj=io.BytesIO(place.store.blobs.fetch(layer))) as archive:
            return archive.getnames()

    def warnings() -> list[str]:
        return [event.text for event in events if isinstance(event, Message) and event.level == "warning"]

    assert {"lib/.git/HEAD", "z/.env"} <= set(names())
    assert warnings() == [
        "code[0]: packs lib/.git, z/.env, which is seldom meant: leave out by adding to .kitignore: **/.git, **/.env"
    ]
    (context / ".kitignore").write_text("**/.git\n**/.env\n")  # as it was told
    assert names() == ["lib", "lib/a.git", "model.bin", "z"]
    assert len(warnings()) == 1


@pytest.mark.parametrize("modelpack", [False, True])
def test_a_store_that_is_packed_is_told(modelpack: bool, tmp_path: Path) -> None:
    """Where only the project's directory is kept from one job to the next, the store is in it."""
    events: list[Event] = []
    context = make_project(tmp_path / "p", "manifestVersion: 1.0.0\ncode: [{path: .}]\n")
    place = open_test_place(context / ".kit", Run(observer=events.append))

    def warnings() -> list[str]:
        return [event.text for event in events if isinstance(event, Message) and event.level == "warning"]

    options = PackOptions(modelpack=modelpack, layer_format="raw" if modelpack else "tar")
    pack(place, context, options)
    with open_packing(place, context, options):  # packed, a blob might be touched while it is read
        pass
    what = "code[0]: packs .kit, where kit itself keeps ModelKits and credentials"
    assert f"{what}: leave it out by adding to .kitignore: .kit" in warnings()
    (context / ".kitignore").write_text(".kit\n")
    events.clear()
    assert pack(place, context, options).desc == pack(place, context, options).desc
    assert not warnings()
    (context / "credentials.json").write_text("{}")
    place = open_test_place(context, Run(observer=events.append))
    pack(place, context, options)
    assert [text.rpartition(" ")[2] for text in warnings()] == ["credentials.json"]
    with open_packing(place, context, options):
        pass
    told = [text.rpartition(" ")[2] for text in warnings()[1:] if "kit itself" in text]
    assert sorted(told) == ["credentials.json", "store"]


def test_a_raw_layer_may_lie_in_a_directory(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    context = make_project(tmp_path / "p", "manifestVersion: 1.0.0\nmodel: {path: deep/er/model.bin}\n")
    (context / "deep/er").mkdir(parents=True)
    (context / "model.bin").rename(context / "deep/er/model.bin")
    (context / "deep/er/model.bin").chmod(0o640)
    packed = pack(place, context, PackOptions(references=refs("x:v1"), layer_format="raw"))
    (layer,) = Manifest.parse(place.store.blobs.fetch(packed.desc)).layers
    assert layer.annotations[FILE_PATH] == "deep/er/model.bin"
    assert '"mode":416' in layer.annotations[FILE_METADATA]
    assert place.store.blobs.fetch(layer) == b"weights"


def test_removing_many_writes_the_index_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = open_test_place(tmp_path / "home")
    pack(place, make_project(tmp_path / "p"), PackOptions(references=refs(*(f"x{number}:v1" for number in range(9)))))
    written: list[str] = []
    refresh = store_refs.refresh_index

    def count(all_refs: store_refs.Refs, owner: str, *, removal: bool = False) -> None:
        written.append(owner)
        refresh(all_refs, owner, removal=removal)

    monkeypatch.setattr(store_refs, "refresh_index", count)
    assert len(remove_all(place, force=True).deleted) == 9
    assert written == ["batch"]
    assert '"manifests":[]' in Path(place.store.layout.root, "index.json").read_text()


@pytest.mark.parametrize("text", ["x", "y:v1"])
def test_what_cannot_be_removed(text: str, tmp_path: Path) -> None:
    with pytest.raises((InvalidValueError, NotFoundError)):
        remove(open_test_place(tmp_path / "home"), refs(text))


@pytest.mark.parametrize(("source", "target"), [("x", "x:v2"), ("x:v1", "y"), ("nothing:v1", "y:v1")])
def test_what_cannot_be_tagged(source: str, target: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    pack(place, make_project(tmp_path / "p"), PackOptions(references=refs("x:v1")))
    with pytest.raises((InvalidValueError, NotFoundError)):
        tag(place, Reference.parse(source), refs(target))


def test_inspect_shows_manifest_and_kitfile(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    packed = pack(place, make_project(tmp_path / "p"), PackOptions(references=refs("x:v1")))
    table = inspect(place, Reference.parse("x:v1")).to_json()
    assert list(table) == ["digest", "cliVersion", "kitfile", "manifest"]
    assert table["digest"] == str(packed.desc.digest)
    assert table["cliVersion"] == "unknown"
    assert table["kitfile"] == to_json(packed.kitfile)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".model.name", "tiny"),
        ("model.parts[1].type", "tokenizer"),
        (".dataSets[0].path", "data/train.csv"),
        (".docs[2]", {"path": "LICENSE", "description": "License file"}),
        (".package.authors", ["Ada Lovelace", "Grace Hopper <grace@example.com>"]),
    ],
)
def test_fields_are_selected(path: str, value: object, everything: object) -> None:
    assert select_field(everything, path) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (".modle.name", "did you mean 'model'"),
        (".docs[9]", "has 3 entries"),
        (".docs.path", "no fields"),
        (".model[0]", "no list"),
        (".docs[x]", "column 6"),
        (".model..name", "column 7"),
    ],
)
def test_fields_that_are_not_there(path: str, message: str, everything: object) -> None:
    with pytest.raises((InvalidValueError, NotFoundError)) as caught:
        select_field(everything, path)  # type: ignore[arg-type]
    assert message in f"{caught.value} {caught.value.hint}"


def test_nothing_is_removed_when_one_of_several_is_not_there(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    pack(place, make_project(tmp_path / "p"), PackOptions(references=refs("x:v1")))
    with pytest.raises(NotFoundError):
        remove(place, refs("x:v1", "x:v2"))
    assert [row.tags for row in list_(place)] == [("v1",)]


@pytest.mark.parametrize("name", [f"x:1@sha256:{'0' * 64}", f"x@sha256:{'0' * 64}", f"sha256:{'0' * 64}"])
def test_a_digest_is_no_name_to_give(name: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    with pytest.raises(InvalidValueError, match="no name to give"):
        pack(place, make_project(tmp_path / "p"), PackOptions(references=refs(name)))
    assert not list_(place)
