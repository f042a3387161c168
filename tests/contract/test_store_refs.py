"""Design, section 3: the layout, refs, tags, and the index that is a view of them."""

import errno
import json
import os
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from store_kits import OCTETS, files_below, put_kit, ref, tag_kit

from kitops.errors import FileSystemError, InvalidValueError, NotFoundError, StoreError
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.oci.reference import UNNAMED
from kitops.store import RefDetails, open_store
from kitops.store.index import refresh_index
from kitops.store.refs import Refs
from kitops.store.shelf import Shelf, shelf_of


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def index_of(store):
    with open(store.layout.index_file, "rb") as file:
        return Index.parse(file.read())


def test_opening_and_looking_writes_nothing(store, tmp_path):
    assert store.refs.list() == []
    with pytest.raises(NotFoundError):
        store.refs.resolve(ref("x:1"))
    with store.lease("pack"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_layout_on_disk(store, tmp_path):
    desc = tag_kit(store, "registry.example.com:5000/team/X".lower() + ":V1-rc", b"layer")
    root = tmp_path / "store"
    assert (root / "oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'
    (repository,) = (root / "refs").iterdir()
    assert repository.name.startswith("registry-example-com-5000-team-x-")
    assert len(repository.name.rpartition("-")[2]) == 16
    assert (repository / "name").read_text() == "registry.example.com:5000/team/x"
    assert files_below(repository) == ["name", f"roots/sha256-{desc.digest.encoded}", "tags/v1-rc~1"]
    assert json.loads((repository / "tags" / "v1-rc~1").read_bytes())["kit"] == {
        "name": "kit",
        "author": "ada",
        "size": 5,
    }
    assert len(list((root / "blobs" / "sha256").iterdir())) == 3
    assert files_below(root / "ingest") == files_below(root / "leases") == []


def test_tags_that_differ_in_case_are_two(store):
    upper, lower = tag_kit(store, "x:V1", b"upper"), tag_kit(store, "x:v1", b"lower")
    assert store.refs.resolve(ref("x:V1")) == store.refs.resolve(ref("x:V1"))
    assert store.refs.resolve(ref("x:V1")).digest == upper.digest
    assert store.refs.resolve(ref("x:v1")).digest == lower.digest
    assert [row.reference.tag for row in store.refs.list()] == ["V1", "v1"]


def test_list_shows_tags_and_untagged_and_opens_no_blob(store, tmp_path):
    old = tag_kit(store, "x:v1", b"old", name="old")
    new = tag_kit(store, "x:v1", b"new!", name="new", author="")
    with store.lease("pack") as lease:
        loose = put_kit(store, lease, b"loose", name="loose")
        store.refs.add_root(UNNAMED, loose, RefDetails("loose", "", 5), lease)
    shutil.rmtree(tmp_path / "store" / "blobs")
    rows = store.refs.list()
    assert [(str(row.reference), row.desc.digest, row.row.name, row.row.size) for row in rows] == [
        (str(loose.digest), loose.digest, "loose", 5),
        ("x:v1", new.digest, "new", 4),
        (f"x@{old.digest}", old.digest, "old", 3),
    ]
    assert [str(row.reference) for row in store.refs.list(ref("x:anything"))] == ["x:v1", f"x@{old.digest}"]


def test_localhost_is_no_part_of_a_name(store):
    desc = tag_kit(store, "localhost/x:v1", b"layer")
    assert store.refs.resolve(ref("x:v1")).digest == desc.digest
    assert str(store.refs.list()[0].reference) == "x:v1"


def test_resolve_by_digest_and_by_default_tag(store):
    desc = tag_kit(store, "x:latest", b"layer")
    assert store.refs.resolve(ref("x")).digest == desc.digest
    assert store.refs.resolve(ref(f"x@{desc.digest}")).digest == desc.digest
    assert store.refs.resolve(ref(f"x:other@{desc.digest}")).digest == desc.digest
    assert store.refs.resolve(ref(str(desc.digest))).digest == desc.digest  # a bare digest: in any repository
    with pytest.raises(NotFoundError):
        store.refs.resolve(ref(f"y@{desc.digest}"))


def test_a_missing_ref_names_near_ones(store):
    tag_kit(store, "team/llama:v1", b"layer")
    with pytest.raises(NotFoundError) as caught:
        store.refs.resolve(ref("team/lama:v1"))
    assert caught.value.message == "team/lama:v1 is not in the local store"
    assert caught.value.hint == "did you mean team/llama:v1?"
    with pytest.raises(NotFoundError) as caught:
        store.refs.resolve(ref("quite.other/thing:9"))
    assert caught.value.hint == "`kit pull quite.other/thing:9`, or see `kit list` for what is there"
    with pytest.raises(NotFoundError) as caught:
        store.refs.resolve(ref("quite:9"))
    assert caught.value.hint == "`kit list` shows what is there"


@pytest.mark.parametrize("text", ["registry.example.com/group/llama:v1", "team/llama:latest", "llama:v1"])
def test_a_missing_ref_names_the_same_one_elsewhere_and_its_other_tags(store, text):
    tag_kit(store, "team/llama:v1", b"layer")
    with pytest.raises(NotFoundError) as caught:
        store.refs.resolve(ref(text))
    assert caught.value.hint == "did you mean team/llama:v1?"


def test_tagging_again_keeps_the_old_manifest_untagged(store):
    old, new = tag_kit(store, "x:v1", b"old"), tag_kit(store, "x:v1", b"new")
    assert store.refs.resolve(ref("x:v1")).digest == new.digest
    assert store.refs.resolve(ref(f"x@{old.digest}")).digest == old.digest


def test_tagging_checks_that_everything_below_is_there(store):
    missing = Descriptor.of(b"not put", OCTETS)
    before = tag_kit(store, "x:v1", b"layer")
    with store.lease("pack") as lease:
        desc = put_kit(store, lease, b"there", absent=[missing])
        with pytest.raises(NotFoundError, match=str(missing.digest)):
            store.refs.tag(ref("x:v1"), desc, RefDetails(), lease)
        with pytest.raises(NotFoundError):
            store.refs.add_root(ref("x"), desc, RefDetails(), lease)
    assert [row.desc.digest for row in store.refs.list()] == [before.digest]


def test_tagging_checks_indexes_to_the_leaves(store):
    missing = Descriptor.of(b"not put", OCTETS)
    with store.lease("pack") as lease:
        whole, torn = put_kit(store, lease, b"there"), put_kit(store, lease, b"there", absent=[missing], name="torn")
        good, bad = Index.build([whole]), Index.build([whole, torn])
        desc = store.blobs.put_bytes(good.raw, good.media_type, lease)
        store.refs.tag(ref("x:index"), desc, RefDetails(), lease)
        desc = store.blobs.put_bytes(bad.raw, bad.media_type, lease)
        with pytest.raises(NotFoundError, match=str(missing.digest)):
            store.refs.tag(ref("x:bad"), desc, RefDetails(), lease)
    assert [row.reference.tag for row in store.refs.list()] == ["index"]


def test_a_tag_is_wanted_where_a_tag_is_set(store):
    with store.lease("pack") as lease:
        desc = put_kit(store, lease, b"layer")
        for text in ("x", str(desc.digest)):
            with pytest.raises(InvalidValueError):
                store.refs.tag(ref(text), desc, RefDetails(), lease)


def test_a_ref_records_what_a_filtered_pull_left_out(store):
    left_out = Descriptor.of(b"left out", OCTETS)
    with store.lease("pull") as lease:
        desc = put_kit(store, lease, b"there", absent=[left_out])
        store.refs.tag(ref("x:v1"), desc, RefDetails("n", "a", 13, (left_out.digest,)), lease)
        assert store.refs.details(ref("x:v1")) == RefDetails("n", "a", 13, (left_out.digest,))
        assert store.refs.list()[0].row.absent == (left_out.digest,)
        store.blobs.put_bytes(b"left out", OCTETS, lease)
        assert store.refs.details(ref("x:v1")).absent == ()


def test_untag_removes_only_what_was_expected(store):
    old, new = tag_kit(store, "x:v1", b"old"), tag_kit(store, "x:v1", b"new")
    assert not store.refs.untag(ref("x:v1"), old)
    assert store.refs.resolve(ref("x:v1")).digest == new.digest
    assert store.refs.untag(ref("x:v1"), new)
    assert not store.refs.untag(ref("x:v1"), new)
    assert [row.reference.tag for row in store.refs.list()] == [None, None]


def set_aside(store, text, expected):
    """What a process leaves that is killed right after it moved a tag aside."""
    shelf = shelf_of(store.layout, ref(text))
    name = os.path.basename(shelf.tag_path(ref(text).tag))
    aside = f"{shelf.path}/aside/{name}~~{expected.encoded[:32]}~~{'0' * 16}"
    os.rename(shelf.tag_path(ref(text).tag), aside)
    return aside


def test_a_tag_set_aside_by_mistake_is_seen_and_put_back(store):
    old, new = tag_kit(store, "x:v1", b"old"), tag_kit(store, "x:v1", b"new")
    aside = set_aside(store, "x:v1", old.digest)
    assert store.refs.resolve(ref("x:v1")).digest == new.digest  # a reader looks aside
    assert "x:v1" in [str(row.reference) for row in store.refs.list()]
    assert {record.desc.digest for record, _ in store.refs.held()} == {old.digest, new.digest}
    store.refs.recover(os.stat(aside).st_ctime_ns)  # too young: who moved it may be at it
    assert os.path.exists(aside)
    store.refs.recover(os.stat(aside).st_ctime_ns + 61 * 10**9)
    assert not os.path.exists(aside)
    assert os.path.exists(shelf_of(store.layout, ref("x:v1")).tag_path("v1"))


def test_a_removal_that_was_killed_is_finished(store):
    desc = tag_kit(store, "x:v1", b"layer")
    aside = set_aside(store, "x:v1", desc.digest)
    with pytest.raises(NotFoundError):
        store.refs.resolve(ref("x:v1"))
    store.refs.recover(os.stat(aside).st_ctime_ns + 61 * 10**9)
    assert not os.path.exists(aside)
    assert [row.reference.tag for row in store.refs.list()] == [None]


def test_what_is_put_back_does_not_replace_what_is_newer(store):
    old, middle = tag_kit(store, "x:v1", b"old"), tag_kit(store, "x:v1", b"middle")
    aside = set_aside(store, "x:v1", old.digest)
    new = tag_kit(store, "x:v1", b"new")
    assert store.refs.resolve(ref("x:v1")).digest == new.digest
    shelf_of(store.layout, ref("x")).settle(aside)
    assert store.refs.resolve(ref("x:v1")).digest == new.digest
    assert not os.path.exists(aside)
    assert store.refs.resolve(ref(f"x@{middle.digest}")).digest == middle.digest


def test_release_keeps_what_a_tag_points_to(store):
    desc = tag_kit(store, "x:v1", b"layer")
    assert not store.refs.release(ref("x"), desc.digest)
    assert store.refs.untag(ref("x:v1"), desc)
    assert store.refs.release(ref("x"), desc.digest)
    assert not store.refs.release(ref("x"), desc.digest)
    assert store.refs.list() == []


def test_a_root_that_vanishes_under_a_tag_is_written_again(store):
    desc = tag_kit(store, "x:v1", b"layer")
    shelf = shelf_of(store.layout, ref("x"))
    assert not shelf.drop_root(desc.digest)
    assert os.path.exists(shelf.root_path(desc.digest))


def test_remove_root_takes_all_tags_of_that_repository(store):
    desc = tag_kit(store, "x:v1", b"layer")
    tag_kit(store, "x:v2", b"layer")
    tag_kit(store, "y:v1", b"layer")
    other = tag_kit(store, "x:v3", b"other")
    assert store.refs.remove_root(ref(f"x@{desc.digest}")) == ["v1", "v2"]
    assert {(str(row.reference), row.desc.digest) for row in store.refs.list()} == {
        ("x:v3", other.digest),
        ("y:v1", desc.digest),
    }
    with pytest.raises(NotFoundError):
        store.refs.remove_root(ref("x:v1"))


def test_repositories_whose_names_share_a_directory_are_told_apart(store):
    tag_kit(store, "x:v1", b"layer")
    shelf = shelf_of(store.layout, ref("x"))
    with open(f"{shelf.path}/name", "w") as file:
        file.write("localhost/another")
    with pytest.raises(StoreError, match="share a directory"):
        tag_kit(store, "x:v2", b"layer")


def test_a_damaged_ref_is_told_with_its_path(store):
    tag_kit(store, "x:v1", b"layer")
    path = shelf_of(store.layout, ref("x")).tag_path("v1")
    for content in (b"", b"{}", b'{"kit":{"size":"x"}}', b"[" * 100000):
        with open(path, "wb") as file:
            file.write(content)
        with pytest.raises(StoreError, match="tags/v1 is damaged"):
            store.refs.resolve(ref("x:v1"))


def damage_tag(store, text):
    path = shelf_of(store.layout, ref(text)).tag_path(ref(text).tag)
    with open(path, "wb") as file:
        file.write(b"{}")
    return path


def test_a_damaged_ref_hides_no_other(store):
    kept, hidden = tag_kit(store, "x:v1", b"layer"), tag_kit(store, "x:v2", b"other", name="other")
    path = damage_tag(store, "x:v2")
    with pytest.raises(StoreError, match="tags/v2 is damaged"):
        store.refs.list()
    told = []
    rows = [(row.reference.tag, row.desc.digest) for row in store.refs.list(damaged=told.append)]
    assert rows == [("v1", kept.digest), (None, hidden.digest)]
    assert [path in error.message for error in told] == [True]
    assert store.refs.resolve(ref("x:v1")) == kept
    with pytest.raises(NotFoundError):
        store.refs.resolve(ref("x:v3"))
    assert store.refs.tags_of(ref("x"), kept.digest) == ["v1"]


def test_a_damaged_tag_is_healed_by_setting_it(store):
    damage_tag(store, tag_kit(store, "x:v1", b"layer") and "x:v1")
    tag_kit(store, "x:v2", b"layer")  # another one in its repository
    desc = tag_kit(store, "x:v1", b"layer")
    assert store.refs.resolve(ref("x:v1")) == desc
    assert [row.reference.tag for row in store.refs.list()] == ["v1", "v2"]


def test_a_damaged_root_does_not_hide_what_the_tag_says(store):
    desc = tag_kit(store, "x:v1", b"layer")
    with open(shelf_of(store.layout, ref("x")).root_path(desc.digest), "wb") as file:
        file.write(b"{}")
    assert store.refs.details(ref("x:v1")).name == "kit"
    assert [row.reference.tag for row in store.refs.list()] == ["v1"]


def test_what_a_damaged_tag_may_point_to_is_not_released(store):
    desc = tag_kit(store, "x:v1", b"layer")
    tag_kit(store, "x:v2", b"layer")
    damage_tag(store, "x:v2")
    assert store.refs.untag(ref("x:v1"), desc)
    assert not store.refs.release(ref("x"), desc.digest)
    assert store.refs.resolve(ref(f"x@{desc.digest}")) == desc


def test_a_foreign_file_among_the_refs_is_left_out(store):
    tag_kit(store, "x:v1", b"layer")
    shelf = shelf_of(store.layout, ref("x"))
    for path in (shelf.tag_path(".DS_Store"), f"{shelf.path}/roots/.DS_Store"):
        with open(path, "wb") as file:
            file.write(b"\0\1Bud1")
    told = []
    assert [row.reference.tag for row in store.refs.list(damaged=told.append)] == ["v1"]
    assert len(told) == 2


def test_the_index_names_tags_in_full_and_the_rest_by_digest(store):
    old, new = tag_kit(store, "x:v1", b"old"), tag_kit(store, "x:v1", b"new")
    tag_kit(store, "registry.example.com:5000/team/x:1.0", b"new")
    with store.lease("pack") as lease:
        store.refs.add_root(UNNAMED, new, RefDetails(), lease)  # tagged elsewhere: no entry of its own
    entries = index_of(store).manifests
    assert [(entry.digest, entry.annotations.get("org.opencontainers.image.ref.name")) for entry in entries] == [
        (new.digest, "registry.example.com:5000/team/x:1.0"),
        (new.digest, "x:v1"),
        (old.digest, None),
    ]


def test_the_index_is_a_view(store):
    desc = tag_kit(store, "x:v1", b"layer")
    with open(store.layout.index_file, "wb") as file:
        file.write(b"garbage")
    assert store.refs.resolve(ref("x:v1")).digest == desc.digest
    tag_kit(store, "x:v2", b"layer")
    assert len(index_of(store).manifests) == 2


class Disturbed(Refs):
    """Refs that another process changes between the scan and the rename, twice."""

    __slots__ = ()

    def list(self, repository=None, **options):
        rows = super().list(repository, **options)
        if len(rows) < 3:
            tag_kit(open_store(Path(self.layout.root)), f"x:other{len(rows)}", b"layer")
        return rows


def test_the_index_is_written_until_it_is_stable(store):
    tag_kit(store, "x:v1", b"layer")
    refresh_index(Disturbed(store.layout, store.blobs), "test")
    names = [entry.annotations["org.opencontainers.image.ref.name"] for entry in index_of(store).manifests]
    assert names == ["x:other1", "x:other2", "x:v1"]


def test_a_batch_writes_the_index_once_at_its_end(store):
    desc = tag_kit(store, "x:v1", b"layer")
    with store.refs.batch() as refs:
        assert refs.untag(ref("x:v1"), desc)
        assert len(index_of(store).manifests) == 1
        refs.release(ref("x"), desc.digest)
    assert index_of(store).manifests == ()


def test_readers_always_find_a_whole_index_and_tag(store):
    descs = [tag_kit(store, "x:v1", b"layer", name=f"n{number}") for number in range(2)]
    ended = threading.Event()
    seen = []

    def read():
        while not ended.is_set() or not seen:
            seen.append((store.refs.resolve(ref("x:v1")).digest, len(index_of(store).manifests)))

    reader = threading.Thread(target=read)
    reader.start()
    with store.lease("tag") as lease:
        for number in range(40):
            store.refs.tag(ref("x:v1"), descs[number % 2], RefDetails(), lease)
    ended.set()
    reader.join()
    assert {digest for digest, _ in seen} <= {desc.digest for desc in descs}
    assert {count for _, count in seen} == {2}


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
@pytest.mark.parametrize("text", ["minimal:v1", "registry.example.com:5000/team/x:1.0"])
def test_skopeo_reads_the_store_by_full_reference(store, tmp_path, text):
    desc = tag_kit(store, text, b"layer")
    source = f"oci:{tmp_path / 'store'}:{text}"
    raw = subprocess.run(["skopeo", "inspect", "--raw", source], check=True, capture_output=True).stdout
    assert Digest.of(raw) == desc.digest
    subprocess.run(["skopeo", "copy", "-q", source, f"dir:{tmp_path / 'out'}"], check=True, capture_output=True)
    assert (tmp_path / "out" / "manifest.json").read_bytes() == raw
    assert (tmp_path / "out" / Digest.of(b"layer").encoded).read_bytes() == b"layer"


def lose_when_written(monkeypatch, store, digest, kind):
    """Another process removes a blob right after a ref of this kind was written: it took our lease for dead."""
    write = Shelf.write

    def write_and_lose(self, path, record, owner):
        write(self, path, record, owner)
        if f"/{kind}/" in path and os.path.exists(store.layout.blob(digest)):
            os.unlink(store.layout.blob(digest))

    monkeypatch.setattr(Shelf, "write", write_and_lose)


@pytest.mark.parametrize("before", [None, b"before"])
@pytest.mark.parametrize("kind", ["tags", "roots"])
def test_a_tag_whose_content_is_lost_meanwhile_is_taken_back(store, monkeypatch, before, kind):
    previous = tag_kit(store, "x:v1", before) if before else None
    lose_when_written(monkeypatch, store, Digest.of(b"layer"), kind)
    with pytest.raises(NotFoundError, match=str(Digest.of(b"layer"))):
        tag_kit(store, "x:v1", b"layer")
    rows = [(str(row.reference), row.desc.digest) for row in store.refs.list()]
    assert rows == ([("x:v1", previous.digest)] if previous else [])


def test_a_root_that_is_removed_while_its_tag_is_set_is_written_again(store, monkeypatch):
    write = Shelf.write

    def write_and_remove_root(self, path, record, owner):
        write(self, path, record, owner)
        if "/tags/" in path:
            os.unlink(self.root_path(record.desc.digest))

    monkeypatch.setattr(Shelf, "write", write_and_remove_root)
    desc = tag_kit(store, "x:v1", b"layer")
    assert store.refs.resolve(ref(f"x@{desc.digest}")) == store.refs.resolve(ref("x:v1"))


def test_when_a_tag_was_set(store):
    tag_kit(store, "x:v1", b"layer")
    assert store.refs.tagged_ns(ref("x:v1")) == os.stat(shelf_of(store.layout, ref("x")).tag_path("v1")).st_mtime_ns
    with pytest.raises(NotFoundError):
        store.refs.tagged_ns(ref("x:v2"))


def test_details_fall_back_to_the_tag(store):
    desc = tag_kit(store, "x:v1", b"layer")
    os.unlink(shelf_of(store.layout, ref("x")).root_path(desc.digest))
    assert store.refs.details(ref("x:v1")) == RefDetails("kit", "ada", 5)


def test_the_artifact_type_is_in_the_index(store):
    with store.lease("pack") as lease:
        desc = replace(put_kit(store, lease, b"layer"), artifact_type="application/x.kit")
        store.refs.tag(ref("x:v1"), desc, RefDetails(), lease)
    assert [entry.artifact_type for entry in index_of(store).manifests] == ["application/x.kit"]


def test_a_disk_too_full_for_an_index_stops_no_removal(store, monkeypatch):
    desc = tag_kit(store, "x:v1", b"layer")

    def fail(*values, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("kitops.store.index.replace_file", fail)
    assert store.refs.untag(ref("x:v1"), desc)
    with pytest.raises(FileSystemError, match="no space left"):
        tag_kit(store, "x:v2", b"layer")
    assert [row.reference.tag for row in store.refs.list()] == ["v2"]  # the truth is in the refs


def test_what_is_set_already_is_stamped_and_not_written(store):
    tag_kit(store, "x:v1", b"layer")
    shelf = shelf_of(store.layout, ref("x"))
    paths = [shelf.tag_path("v1"), shelf.root_path(store.refs.resolve(ref("x:v1")).digest), store.layout.index_file]
    for path in paths:
        os.utime(path, ns=(1, 1))
    before = [os.stat(path) for path in paths]
    tag_kit(store, "x:v1", b"layer")
    after = [os.stat(path) for path in paths]
    assert [found.st_ino for found in after] == [found.st_ino for found in before]
    assert [found.st_mtime_ns > 1 for found in after] == [True, True, False]


def test_what_is_removed_at_the_instant_of_setting_it_again_is_written(store, monkeypatch):
    tag_kit(store, "x:v1", b"layer")
    path = shelf_of(store.layout, ref("x")).tag_path("v1")
    real = os.utime

    def remove_first(touched, *args, **named):
        if touched == path and os.path.exists(path):
            os.unlink(path)
        real(touched, *args, **named)

    monkeypatch.setattr("kitops.store.shelf.os.utime", remove_first)
    desc = tag_kit(store, "x:v1", b"layer")
    assert store.refs.resolve(ref("x:v1")) == desc
