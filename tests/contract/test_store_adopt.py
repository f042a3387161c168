"""Design, section 3: the Go tool's storage is adopted, and stays what it was."""

import base64
import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from store_kits import files_below, ref, tag_kit

from kitops.content import reflink
from kitops.content.events import Message
from kitops.content.protocols import Run
from kitops.errors import FileSystemError, InvalidValueError, NotFoundError
from kitops.oci.digest import Digest
from kitops.oci.reference import UNNAMED
from kitops.store import adopt as adoption
from kitops.store import open_store
from kitops.store.adopt import adopt, parse_go_name
from kitops.store.gc import collect
from kitops.store.graph import walk

GOLDEN = Path(__file__).parents[1] / "golden" / "stores"
GENERATIONS = ["2024", "2025", "2026"]


class Recorder:
    def __init__(self):
        self.texts = []

    def __call__(self, event):
        assert isinstance(event, Message)
        self.texts.append(f"{event.level}: {event.text}")


@pytest.fixture
def told():
    return Recorder()


@pytest.fixture
def storage(tmp_path):
    return copy_storage(tmp_path, "2026")


def copy_storage(tmp_path, generation):
    shutil.copytree(GOLDEN / generation / "storage", tmp_path / "storage")
    return tmp_path / "storage"


def open_adopting(tmp_path, told):
    return open_store(tmp_path / "store", go_storage=tmp_path / "storage", run=Run(observer=told))


def listed(generation):
    """The rows of the Go tool's ``kit list``: repository, tag, author, name, size, digest."""
    rows = []
    for line in (GOLDEN / generation / "list.txt").read_text().splitlines()[1:]:
        repository, tag, *middle, digest = (
            line.split("  ")[0].strip(),
            *[field.strip() for field in line.split("  ")[1:] if field.strip()],
        )
        rows.append((repository, tag, *middle, digest))
    return rows


def shown(text):
    return text or "<none>"


@pytest.mark.parametrize("generation", GENERATIONS)
def test_every_row_is_there_afterwards(tmp_path, told, generation):
    copy_storage(tmp_path, generation)
    store = open_adopting(tmp_path, told)
    ours = {
        (
            shown(row.reference.locator),
            shown(row.reference.tag),
            shown(row.row.author),
            shown(row.row.name),
            f"{row.row.size / 1024:.1f} KiB",
            str(row.desc.digest),
        )
        for row in store.refs.list()
    }
    theirs = {(repository.removeprefix("localhost/"), *rest) for repository, *rest in listed(generation)}
    assert ours == theirs
    for row in store.refs.list():
        for item in walk(store.blobs, row.desc):
            store.blobs.fetch(item)
    assert told.texts == [
        f"info: Adopted {5 if generation == '2026' else 4} ModelKits with 5 tags from {tmp_path / 'storage'}"
    ]
    assert not os.path.exists(store.layout.adopting_file)


def snapshot(storage):
    return {
        name: ((storage / name).read_bytes(), (storage / name).stat().st_mtime_ns, (storage / name).stat().st_ino)
        for name in files_below(storage)
    }


def test_the_storage_is_not_changed(tmp_path, storage, told):
    before = snapshot(storage)
    store = open_adopting(tmp_path, told)
    assert snapshot(storage) == before
    for kit in {row.reference.with_digest(row.desc.digest) for row in store.refs.list()}:
        store.refs.remove_root(kit)
    collect(store, grace_seconds=0)
    assert store.usage().blobs == 0
    assert snapshot(storage) == before


def test_blobs_are_shared_not_copied(tmp_path, storage, told):
    store = open_adopting(tmp_path, told)
    for path in (storage / "blobs" / "sha256").iterdir():
        if store.blobs.exists(Digest("sha256", path.name)):
            assert store.blobs.path(Digest("sha256", path.name)).samefile(path)


def refuse_links(monkeypatch):
    def refuse(source, target, **options):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(adoption.os, "link", refuse)


def test_blobs_are_copied_where_they_cannot_be_linked(tmp_path, storage, told, monkeypatch):
    refuse_links(monkeypatch)
    monkeypatch.setattr(reflink, "_FICLONE", 0)  # as on a file system without reflinks
    store = open_store(tmp_path / "store")
    found = adopt(store, storage, Run(observer=told))
    assert found.linked == 0
    assert found.copied == store.usage().blobs > 10
    assert found.tags == 5
    for row in store.refs.list():
        for item in walk(store.blobs, row.desc):
            assert not store.blobs.path(item.digest).samefile(storage / "blobs" / "sha256" / item.digest.encoded)
            store.blobs.fetch(item)


def test_what_another_adoption_links_meanwhile_leaves_no_second_name(tmp_path, storage, told, monkeypatch):
    store = open_store(tmp_path / "store")
    link = os.link

    def link_late(source, target, **options):
        link(source, target, **options)
        blob = store.layout.blob(Digest("sha256", Path(source).name))
        os.makedirs(os.path.dirname(blob), exist_ok=True)
        link(source, blob)

    monkeypatch.setattr(adoption.os, "link", link_late)
    assert adopt(store, storage, Run(observer=told)).linked > 10
    assert files_below(tmp_path / "store" / "ingest") == []


def test_a_store_that_is_there_adopts_only_when_asked(tmp_path, storage, told):
    tag_kit(open_store(tmp_path / "store"), "mine:v1", b"layer")
    store = open_adopting(tmp_path, told)
    assert [str(row.reference) for row in store.refs.list()] == ["mine:v1"]
    assert adopt(store, storage, Run(observer=told)).manifests == 5
    assert len(store.refs.list()) == 7
    again = adopt(store, storage, Run(observer=told))
    assert (again.manifests, again.tags, again.linked, again.copied) == (5, 0, 0, 0)


def test_an_adoption_that_was_killed_is_continued(tmp_path, storage, told):
    store = open_adopting(tmp_path, told)
    store.refs.remove_root(ref("minimal:v1"))
    Path(store.layout.adopting_file).write_bytes(b"")
    assert ref("minimal:v1") in [row.reference for row in open_adopting(tmp_path, told).refs.list()]


def test_nothing_to_adopt_makes_no_store(tmp_path, told):
    open_adopting(tmp_path, told)
    (tmp_path / "storage").mkdir()
    open_adopting(tmp_path, told)
    assert not (tmp_path / "store").exists()
    with pytest.raises(NotFoundError):
        adopt(open_store(tmp_path / "store"), tmp_path / "nowhere", Run(observer=told))


def go_file(storage, name, suffix):
    return storage / f"{base64.urlsafe_b64encode(name.encode()).decode()}{suffix}"


def rename_twice_to_minimal(storage):
    """As if ``localhost/minimal`` had been packed beside ``minimal``."""
    for suffix in ("-index.json", "-tags.json"):
        go_file(storage, "localhost/localhost/twice", suffix).rename(
            go_file(storage, "localhost/localhost/minimal", suffix)
        )


def blob_of(storage, name, tag):
    digest = json.loads(go_file(storage, name, "-tags.json").read_bytes())[tag]["digest"]
    return storage / "blobs" / digest.replace(":", "/")


@pytest.mark.parametrize("newer", ["localhost/minimal", "localhost/localhost/minimal"])
def test_where_two_tags_meet_the_newer_wins_and_it_is_said(tmp_path, storage, told, newer):
    rename_twice_to_minimal(storage)
    blobs = {name: blob_of(storage, name, "v1") for name in ("localhost/minimal", "localhost/localhost/minimal")}
    for name, path in blobs.items():
        stamp = 2_000_000_000 if name == newer else 1_000_000_000
        os.utime(path, (stamp, stamp))
    store = open_adopting(tmp_path, told)
    winner, loser = blobs.pop(newer), blobs.popitem()[1]
    assert store.refs.resolve(ref("minimal:v1")).digest.encoded == winner.name
    assert store.refs.resolve(ref(f"minimal@sha256:{loser.name}")).digest.encoded == loser.name
    assert told.texts[0] == (
        f"warning: minimal:v1 was there twice: the newer, sha256:{winner.name}, has the tag; "
        f"the other is minimal@sha256:{loser.name}"
    )


@pytest.mark.parametrize("ours_is_newer", [True, False])
def test_our_own_tags_meet_theirs_by_the_same_rule(tmp_path, storage, told, ours_is_newer):
    store = open_store(tmp_path / "store")
    ours = tag_kit(store, "minimal:v1", b"ours")
    stamp = 1_000_000_000 if ours_is_newer else 4_000_000_000
    theirs = blob_of(storage, "localhost/minimal", "v1")
    os.utime(theirs, (stamp, stamp))
    adopt(store, storage, Run(observer=told))
    expected = ours.digest.encoded if ours_is_newer else theirs.name
    assert store.refs.resolve(ref("minimal:v1")).digest.encoded == expected
    assert any("minimal:v1 was there twice" in text for text in told.texts)


@pytest.mark.parametrize("damage", ["missing", "short", "garbage"])
def test_what_is_damaged_there_is_left_out_and_told(tmp_path, storage, told, damage):
    path = blob_of(storage, "localhost/minimal", "v1")
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"x" if damage == "short" else b"x" * path.stat().st_size)
    store = open_store(tmp_path / "store")
    found = adopt(store, storage, Run(observer=told))
    assert len(found.skipped) == 1
    assert f"left out minimal@sha256:{path.name}" in told.texts[0]
    assert found.tags == 3
    assert "minimal" not in {row.reference.locator for row in store.refs.list()}


def test_what_cannot_be_parsed_is_left_out_and_told(tmp_path, storage, told):
    (storage / "!!-index.json").write_bytes(b"{}")
    go_file(storage, "localhost/torn", "-index.json").write_bytes(b"{")
    go_file(storage, "localhost/tagged", "-index.json").write_bytes(b'{"manifests":null}')
    go_file(storage, "localhost/tagged", "-tags.json").write_bytes(b'{"no tag!":{}}')
    store = open_adopting(tmp_path, told)
    assert len([text for text in told.texts if text.startswith("warning: left out")]) == 3
    assert len(store.refs.list()) == 6


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("localhost/x", "x"),
        ("localhost/localhost/x", "x"),
        ("localhost/team/x", "team/x"),
        ("registry.example.com:5000/team/x", "registry.example.com:5000/team/x"),
    ],
)
def test_names_of_the_go_tool(name, expected):
    assert parse_go_name(base64.urlsafe_b64encode(name.encode()).decode()).locator == expected


def test_the_unnamed_repository_of_the_go_tool():
    assert parse_go_name("bG9jYWxob3N0L18=") == UNNAMED
    for name in (b"localhost/x:v1", b"localhost/X Y", b"\xff\xff\xff", b""):
        with pytest.raises(InvalidValueError):
            parse_go_name(base64.urlsafe_b64encode(name).decode())


def test_a_place_that_can_be_no_store_is_an_error(tmp_path, storage, told):
    (tmp_path / "parent").write_bytes(b"")  # a file where a directory should be
    with pytest.raises(FileSystemError, match="not a directory"):
        open_store(tmp_path / "parent" / "store", go_storage=storage, run=Run(observer=told))


def test_what_is_no_storage_is_refused_and_nothing_is_made(tmp_path, told):
    other = tmp_path / "other"
    (other / "blobs").mkdir(parents=True)
    (other / "notes.txt").write_text("x")
    store = open_store(tmp_path / "store")
    for directory, hint in (
        (other, "one file *-index.json for each repository"),
        (tmp_path / "none", "one file *-index.json for each repository"),
        (other / "notes.txt", "one file *-index.json for each repository"),
    ):
        with pytest.raises(NotFoundError) as caught:
            adopt(store, directory, Run(observer=told))
        assert hint in caught.value.hint
    assert not store.layout.is_there
    assert not os.path.exists(store.layout.adopting_file)


@pytest.mark.parametrize("index", ['{"manifests": [{"digest": "sha256:x"}]}', "[]", "{", '{"manifests": 1}'])
def test_an_image_layout_of_another_tool_is_no_storage(tmp_path, told, index):
    other = tmp_path / "other"
    other.mkdir()
    (other / "oci-layout").write_text("{}")
    (other / "index.json").write_text(index)
    with pytest.raises(NotFoundError, match="is no storage of the Go tool"):
        adopt(open_store(tmp_path / "store"), other, Run(observer=told))


def test_a_storage_of_nothing_is_adopted(tmp_path, told):
    storage = tmp_path / "storage"
    (storage / "blobs").mkdir(parents=True)
    (storage / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (storage / "index.json").write_text('{"schemaVersion":2,"manifests":[]}')
    assert adopt(open_store(tmp_path / "store"), storage, Run(observer=told)).manifests == 0


def test_a_store_of_this_kit_is_told_from_a_storage(tmp_path, storage, told):
    first = open_store(tmp_path / "store")
    adopt(first, storage, Run(observer=told))
    with pytest.raises(NotFoundError) as caught:
        adopt(open_store(tmp_path / "second"), tmp_path / "store", Run(observer=told))
    assert "KITOPS_HOME" in caught.value.hint
