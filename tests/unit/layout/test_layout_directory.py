"""OCI image layouts in directories: the sentences of Source and Sink, names, referrers, two writers at once."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from any_artifacts import put_artifact, put_bytes, put_index, put_signature
from kitops.content import lock
from kitops.content.copy import BytesReader, copy
from kitops.content.protocols import Run
from kitops.errors import FileSystemError, IntegrityError, InvalidValueError, NotFoundError, StoreError
from kitops.layout import directory
from kitops.layout.directory import LayoutDirectory, open_directory
from kitops.layout.index import dump_entry
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest


@pytest.fixture
def layout(tmp_path: Path) -> LayoutDirectory:
    return open_directory(str(tmp_path / "layout"), Run(), create=True)


def index_of(layout: LayoutDirectory) -> list[dict[str, object]]:
    table = json.loads(layout.names().raw)
    found: list[dict[str, object]] = table["manifests"]
    return found


def test_an_empty_layout_is_made(layout: LayoutDirectory, tmp_path: Path) -> None:
    assert sorted(path.name for path in (tmp_path / "layout").iterdir()) == ["index.json", "oci-layout"]
    assert layout.names().descriptors == ()
    open_directory(str(tmp_path / "layout"), Run(), create=True)


def test_a_blob_that_was_put_exists_and_is_the_same(layout: LayoutDirectory, tmp_path: Path) -> None:
    data = os.urandom(700_000)
    desc = Descriptor.of(data, "a/b")
    moved: list[int] = []
    assert not layout.exists(desc)
    layout.put(desc, BytesReader(data), moved.append)
    assert sum(moved) == len(data)
    assert layout.exists(desc)
    assert layout.fetch(desc) == data
    assert (tmp_path / "layout" / "blobs" / "sha256" / desc.digest.encoded).read_bytes() == data
    with layout.open(desc) as reader:
        buffer = memoryview(bytearray(len(data) + 1))
        assert reader.readinto(buffer) == len(data)
        assert reader.readinto(buffer) == 0


@pytest.mark.parametrize(("data", "size"), [(b"wrong bytes", 11), (b"too few", 8), (b"too many", 7)])
def test_wrong_bytes_leave_nothing(layout: LayoutDirectory, tmp_path: Path, data: bytes, size: int) -> None:
    desc = Descriptor("a/b", Digest.of(b"right bytes"), size)
    with pytest.raises(IntegrityError):
        layout.put(desc, BytesReader(data), lambda size: None)
    assert not layout.exists(desc)
    assert list((tmp_path / "layout" / "blobs" / "sha256").iterdir()) == []


def test_names_point_to_manifests(layout: LayoutDirectory) -> None:
    one, two = put_artifact(layout, b"1"), put_artifact(layout, b"2")
    layout.keep(one)
    assert layout.find_only().digest == one.digest
    layout.tag(one, "reg.example.com/x:v1")
    layout.tag(two, "reg.example.com/x:v2")
    assert [entry["digest"] for entry in index_of(layout)] == [str(one.digest), str(two.digest)]
    assert layout.resolve("reg.example.com/x:v1").digest == one.digest
    assert layout.resolve("v2").digest == two.digest
    layout.tag(two, "reg.example.com/x:v1")
    assert layout.resolve("v1").digest == two.digest
    assert layout.names().texts == ["reg.example.com/x:v2", "reg.example.com/x:v1"]
    before = layout.names().raw
    layout.tag(two, "reg.example.com/x:v1")
    layout.keep(two)
    assert layout.names().raw == before


def test_digests_are_resolved_listed_or_not(layout: LayoutDirectory) -> None:
    one = put_artifact(layout, b"1")
    both = put_index(layout, one)
    layout.tag(both, "both")
    assert layout.resolve(str(both.digest)).media_type == mediatype.INDEX
    assert layout.resolve(str(one.digest)) == one
    with pytest.raises(NotFoundError):
        layout.resolve(str(Digest.of(b"nothing")))


def test_what_is_not_there(layout: LayoutDirectory) -> None:
    with pytest.raises(NotFoundError, match="has no 'v1'"):
        layout.resolve("v1")
    with pytest.raises(NotFoundError, match="holds 0 artifacts"):
        layout.find_only()
    with pytest.raises(NotFoundError):
        layout.fetch(Descriptor.of(b"x", "a/b"))
    one, two = put_artifact(layout, b"1"), put_artifact(layout, b"2")
    layout.tag(one, "a/x:v1")
    layout.tag(two, "b/x:v1")
    with pytest.raises(NotFoundError, match="several") as caught:
        layout.resolve("v1")
    assert caught.value.hint == "name one of a/x:v1, b/x:v1"
    with pytest.raises(NotFoundError, match="holds 2 artifacts") as caught:
        layout.find_only()
    assert caught.value.hint == "name one of a/x:v1, b/x:v1"


def test_referrers_are_found_by_their_subject(layout: LayoutDirectory) -> None:
    subject = put_artifact(layout, b"weights")
    layout.tag(subject, "v1")
    signature = put_signature(layout, subject, "one")
    assert layout.referrers(subject.digest) == []
    layout.keep(signature)
    (found,) = layout.referrers(subject.digest)
    assert dict(found.annotations) == {"org.example.text": "one"}
    assert layout.referrers(subject.digest, "other") == []
    assert layout.find_only().digest == subject.digest


def test_referrers_at_a_fallback_tag_are_found(layout: LayoutDirectory) -> None:
    subject = put_artifact(layout, b"weights")
    signature = put_signature(layout, subject)
    layout.tag(put_index(layout, signature), f"sha256-{subject.digest.encoded}")
    assert [desc.digest for desc in layout.referrers(subject.digest)] == [signature.digest]


def test_what_others_wrote_into_the_index_stays(layout: LayoutDirectory, tmp_path: Path) -> None:
    one, two = put_artifact(layout, b"1"), put_artifact(layout, b"2")
    entry = one.to_json() | {"platform": {"os": "linux"}, "annotations": {"x": "y"}}
    table = {"schemaVersion": 2, "manifests": [entry], "annotations": {"k": "v"}}
    (tmp_path / "layout" / "index.json").write_text(json.dumps(table))
    layout.tag(two, "v2")
    assert index_of(layout)[0] == entry
    assert json.loads(layout.names().raw)["annotations"] == {"k": "v"}


def test_a_damaged_blob_is_told_and_replaced(layout: LayoutDirectory, tmp_path: Path) -> None:
    desc = put_bytes(layout, b"right")
    path = tmp_path / "layout" / "blobs" / "sha256" / desc.digest.encoded
    path.write_bytes(b"wrong")
    with pytest.raises(IntegrityError, match="damaged"):
        layout.fetch(desc)
    path.write_bytes(b"short")
    path.write_bytes(b"no")
    assert not layout.exists(desc)
    with pytest.raises(IntegrityError, match="5 bytes"):
        layout.fetch(desc)
    put_bytes(layout, b"right")
    assert layout.fetch(desc) == b"right"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no oci-layout"),
        ({"oci-layout": '{"imageLayoutVersion":"1.0.0"}'}, "has no index.json"),
        ({"oci-layout": '{"imageLayoutVersion":"2.0.0"}', "index.json": "{}"}, "version 2.0.0"),
        ({"oci-layout": "[]", "index.json": "{}"}, "must be an object"),
        ({"something": "else"}, "has no oci-layout"),
    ],
)
def test_what_is_no_layout(files: dict[str, str], message: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InvalidValueError, match=message):
        open_directory(str(tmp_path), Run())


def test_the_store_is_not_written_as_a_layout(tmp_path: Path) -> None:
    for name in ("refs", "leases"):
        (tmp_path / name).mkdir()
    with pytest.raises(InvalidValueError, match="is a store of kit") as caught:
        open_directory(str(tmp_path), Run(), create=True)
    assert caught.value.hint is not None
    assert "store:" in caught.value.hint


def test_something_else_is_not_made_a_layout(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(InvalidValueError, match="is not an OCI image layout"):
        open_directory(str(tmp_path), Run(), create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    with pytest.raises(FileSystemError):
        open_directory(str(tmp_path / "precious"), Run(), create=True)


def tag_many(path: str, number: int) -> None:
    layout = open_directory(path, Run())
    for count in range(10):
        layout.tag(layout.resolve("v0"), f"tag-{number}-{count}")


def test_two_writers_lose_no_name(layout: LayoutDirectory, tmp_path: Path) -> None:
    """Each has opened the layout by itself: they share no more than two processes do."""
    layout.tag(put_artifact(layout, b"1"), "v0")
    threads = [threading.Thread(target=tag_many, args=(str(tmp_path / "layout"), number)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(layout.names().texts) == 21


def test_without_locks_names_are_written_again(layout: LayoutDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    layout.tag(put_artifact(layout, b"1"), "v0")
    assert layout.names().texts == ["v0"]


def test_a_layout_that_was_not_finished_is_finished(tmp_path: Path) -> None:
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    assert open_directory(str(tmp_path), Run(), create=True).names().descriptors == ()


def test_a_lock_that_is_never_given_back_is_not_waited_for(
    layout: LayoutDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_TRIES", 2)
    held = os.open(tmp_path / "layout", os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        layout.tag(put_artifact(layout, b"1"), "v0")
    finally:
        os.close(held)
    assert layout.names().texts == ["v0"]


def test_an_index_that_others_change_all_the_time(layout: LayoutDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "_WRITES", 3)
    monkeypatch.setattr(directory, "write_whole", lambda path, content: None)  # as if somebody undid it each time
    with pytest.raises(StoreError, match="changed by others"):
        layout.tag(put_artifact(layout, b"1"), "v0")


def test_a_graph_goes_from_one_layout_to_another(layout: LayoutDirectory, tmp_path: Path) -> None:
    both = put_index(layout, put_artifact(layout, b"1"), put_artifact(layout, b"2"))
    other = open_directory(str(tmp_path / "other"), Run(), create=True)
    assert copy(layout, other, both, Run()).moved == 6
    assert copy(layout, other, both, Run()).moved == 0
    assert other.fetch(both) == layout.fetch(both)


def test_a_list_of_referrers_that_is_listed_many_times_is_read_once(layout: LayoutDirectory, tmp_path: Path) -> None:
    desc = put_artifact(layout, b"weights")
    listed = put_index(layout, *(replace(desc, annotations={"copy": str(number)}) for number in range(300)))
    entries = [dump_entry(listed, f"sha256-{number:064x}") for number in range(300)]
    (tmp_path / "layout" / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    assert [found.digest for found in layout.artifacts()] == [desc.digest]
