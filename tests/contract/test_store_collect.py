"""Design, section 3: garbage collection, leases, removal, and the trash."""

import errno
import json
import os
import shutil
import threading
from pathlib import Path

import pytest
from store_kits import OCTETS, files_below, put_kit, ref, tag_kit

from kitops.content.cancel import CancelToken
from kitops.content.protocols import Run
from kitops.errors import Cancelled, FileSystemError, NotFoundError, StoreError
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.store import RefDetails, open_store
from kitops.store.gc import Collected, Freed, collect, free
from kitops.store.layout import SPARE
from kitops.store.lease import LIFE, Lease, LeaseRecord, live_leases, now, read_leases
from kitops.store.trash import rescue_blob


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def put_loose(store, content, *, age=7200):
    """A blob that nothing holds, ``age`` seconds old."""
    with store.lease("test") as lease:
        desc = store.blobs.put_bytes(content, OCTETS, lease)
    stamp = now(store.layout) / 1e9 - age
    os.utime(store.blobs.path(desc.digest), (stamp, stamp))
    return desc


def make_old(store):
    for path in (store.blobs.path(Digest.of(b"layer")).parent).iterdir():
        os.utime(path, (1, 1))


def move_to_trash(store, digest, sweep="1" * 16):
    """What a sweep leaves that is killed right after it moved a blob."""
    os.makedirs(f"{store.layout.trash}/{sweep}", exist_ok=True)
    path = f"{store.layout.trash}/{sweep}/sha256-{digest.encoded}"
    os.rename(store.layout.blob(digest), path)
    return path


def test_a_store_that_is_not_there_has_no_garbage(store, tmp_path):
    assert collect(store) == Collected((), ())
    assert free(store, []) == Freed()
    assert list(tmp_path.iterdir()) == []


def test_what_nothing_holds_is_freed_after_an_hour(store):
    kit = tag_kit(store, "x:v1", b"layer")
    make_old(store)
    old, young = put_loose(store, b"old", age=3700), put_loose(store, b"young", age=3500)
    found = collect(store)
    assert found.blobs == ((old.digest, 3),)
    assert found.size == 3
    assert not store.blobs.exists(old.digest)
    assert store.blobs.exists(young.digest)
    assert store.repository(ref("x"), Lease(store.layout, "test", optional=True)).exists(kit)
    assert collect(store, grace_seconds=0).blobs == ((young.digest, 5),)
    assert os.listdir(store.layout.trash) == [SPARE]


def test_a_dry_run_only_tells(store, tmp_path):
    tag_kit(store, "x:v1", b"layer")
    old, trashed = put_loose(store, b"old"), put_loose(store, b"trashed")
    move_to_trash(store, trashed.digest)
    before = files_below(tmp_path)
    found = collect(store, dry_run=True)
    assert set(found.blobs) == {(old.digest, 3), (trashed.digest, 7)}
    assert files_below(tmp_path) == before


def test_untagged_manifests_are_kept(store):
    old = tag_kit(store, "x:v1", b"old")
    tag_kit(store, "x:v1", b"new")
    assert collect(store, grace_seconds=0).blobs == ()
    assert store.refs.resolve(ref(f"x@{old.digest}")).digest == old.digest


def test_an_index_holds_what_is_below_its_manifests(store):
    with store.lease("test") as lease:
        index = Index.build([put_kit(store, lease, b"layer")])
        desc = store.blobs.put_bytes(index.raw, index.media_type, lease)
        store.refs.tag(ref("x:v1"), desc, RefDetails(), lease)
    assert collect(store, grace_seconds=0).blobs == ()
    store.refs.remove_root(ref("x:v1"))
    assert free(store, [desc.digest]).size > 0
    assert files_below(Path(store.layout.blobs)) == []


def test_layers_that_are_absent_do_not_stop_it(store):
    left_out = Descriptor.of(b"left out", OCTETS)
    with store.lease("pull") as lease:
        desc = put_kit(store, lease, b"there", absent=[left_out])
        store.refs.tag(ref("x:v1"), desc, RefDetails(absent=(left_out.digest,)), lease)
    assert collect(store, grace_seconds=0).blobs == ()
    completed = put_loose(store, b"left out")
    assert collect(store, grace_seconds=0).blobs == ()
    assert store.blobs.exists(completed.digest)


def test_a_manifest_that_is_damaged_stops_it(store):
    desc = tag_kit(store, "x:v1", b"layer")
    loose = put_loose(store, b"loose")
    store.blobs.path(desc.digest).write_bytes(b"x" * desc.size)
    with pytest.raises(StoreError, match="nobody can tell"):
        collect(store)
    assert store.blobs.exists(loose.digest)
    assert store.blobs.exists(Digest.of(b"layer"))


def test_what_was_moved_goes_back_when_the_second_mark_fails(store, tmp_path):
    kit = tag_kit(store, "x:v1", b"layer")
    loose = [put_loose(store, b"loose"), put_loose(store, b"loose too")]

    class CancelledOnceMoved(CancelToken):
        def check(self):
            if files_below(tmp_path / "store" / "trash"):
                self.cancel()
            super().check()

    with pytest.raises(Cancelled):
        collect(store, run=Run(cancel=CancelledOnceMoved()))
    assert files_below(tmp_path / "store" / "trash") == []
    assert all(os.path.exists(store.layout.blob(desc.digest)) for desc in (*loose, kit))


def test_a_lease_holds_what_it_names(store):
    with store.lease("pack") as lease:
        held = put_loose(store, b"held")
        lease.add(held.digest)
        assert collect(store, grace_seconds=0).blobs == ()
        assert free(store, [held.digest]).size == 0
    assert collect(store, grace_seconds=0).blobs == ((held.digest, 4),)


def test_a_lease_is_a_small_file_that_lists_digests(store, tmp_path):
    with store.lease("pack") as lease:
        assert not os.path.exists(lease.path)
        lease.add(Digest.of(b"a"))
        lease.add(Digest.of(b"a"), Digest.of(b"b"))
        table = json.loads((tmp_path / "store" / "leases" / lease.id).read_bytes())
        assert table["purpose"] == "pack"
        assert table["digests"] == [str(Digest.of(b"a")), str(Digest.of(b"b"))]
        (record,) = read_leases(store.layout)
        assert record.digests == tuple(table["digests"])
    assert read_leases(store.layout) == []


def test_a_lease_of_very_many_goes_on_in_further_files(store):
    digests = [Digest.of(b"%d" % number) for number in range(700)]
    with store.lease("pack") as lease:
        for digest in digests:
            lease.add(digest)
        records = read_leases(store.layout)
        assert len(records) == 3
        assert all(record.id.startswith(lease.id) for record in records)
        assert {text for record in records for text in record.digests} == set(map(str, digests))
        lease.drop(*digests[200:])
        lease.add(digests[200])
        for record in records:
            os.utime(f"{store.layout.leases}/{record.id}", (1, 1))
        os.unlink(f"{store.layout.leases}/{lease.id}.1")
        lease.touch()
        records = read_leases(store.layout)
        assert {text for record in records for text in record.digests} == set(map(str, digests[:201]))
        assert all(record.mtime_ns > 1_000_000_000 for record in records)
    assert read_leases(store.layout) == []


def test_a_lease_is_touched_and_written_again_when_it_was_removed(store):
    with store.lease("pack") as lease:
        lease.add(Digest.of(b"a"))
        os.utime(lease.path, (1, 1))
        lease.touch()
        assert os.stat(lease.path).st_mtime > 1_000_000_000
        os.unlink(lease.path)
        lease.touch()
        assert read_leases(store.layout)[0].digests == (str(Digest.of(b"a")),)


def test_a_lease_is_touched_while_its_owner_runs(store, monkeypatch):
    monkeypatch.setattr("kitops.store.lease.HEARTBEAT", 0.01)
    with store.lease("pack") as lease:
        lease.add(Digest.of(b"a"))
        os.utime(lease.path, (1, 1))
        waiting = threading.Event()
        for _ in range(1000):
            if os.stat(lease.path).st_mtime > 1:
                break
            waiting.wait(0.01)
        assert os.stat(lease.path).st_mtime > 1_000_000_000


def test_a_lease_outlives_a_file_system_that_fails(store, monkeypatch):
    with store.lease("pack") as lease:
        lease.add(Digest.of(b"a"))
        with monkeypatch.context() as context:
            context.setattr("kitops.store.lease.os.utime", refuse)
            lease.touch()
            context.setattr("kitops.store.atomic.os.replace", refuse)
            with pytest.raises(FileSystemError):
                lease.add(Digest.of(b"b"))
        lease.add(Digest.of(b"b"))  # what failed is not taken for done
        assert read_leases(store.layout)[0].digests == (str(Digest.of(b"a")), str(Digest.of(b"b")))


def refuse(*values, **options):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_lease_lives_by_its_time_stamp(store):
    with store.lease("pack") as lease:
        lease.add(Digest.of(b"a"))
        (record,) = read_leases(store.layout)
        late = record.mtime_ns + int(LIFE * 1e9) + 1
        foreign = LeaseRecord("id", record.mtime_ns, "another-1-1", ())
        assert foreign.is_live(late - 2, local=True)
        assert not foreign.is_live(late, local=True)
        assert not record.is_live(late, local=False)
        assert record.is_live(late, local=True)  # its process is there: suspended, say


def test_a_lease_of_a_process_that_is_gone_is_dead_at_once(store):
    with store.lease("pack") as lease:
        lease.add(Digest.of(b"a"))
        (record,) = read_leases(store.layout)
    if not record.owner:
        pytest.skip("this system does not tell which processes there are")
    machine, pid, start = record.owner.split("-")
    gone = LeaseRecord("id", record.mtime_ns, f"{machine}-{pid}-{int(start) + 1}", ())
    assert not gone.is_live(record.mtime_ns, local=True)
    assert gone.is_live(record.mtime_ns, local=False)  # a process table says nothing about other machines


def test_a_lease_that_cannot_be_read_holds_nothing(store, tmp_path):
    tag_kit(store, "x:v1", b"layer")
    (tmp_path / "store" / "leases" / "torn").write_bytes(b'{"purp')
    (record,) = live_leases(store.layout, now(store.layout))
    assert record.digests == ()


def test_dead_leases_are_removed(store, tmp_path):
    tag_kit(store, "x:v1", b"layer")
    for name in ("one", "two"):
        (tmp_path / "store" / "leases" / name).write_bytes(b"{}")
    os.utime(tmp_path / "store" / "leases" / "one", (1, 1))
    collect(store)
    assert os.listdir(tmp_path / "store" / "leases") == ["two"]


def test_the_files_of_killed_writers_are_listed_and_freed(store, tmp_path):
    tag_kit(store, "x:v1", b"layer")
    ingest = tmp_path / "store" / "ingest"
    (ingest / "dead.0").write_bytes(b"half a layer")
    os.utime(ingest / "dead.0", (1, 1))
    (ingest / "young.0").write_bytes(b"")
    found = collect(store)
    assert found.partials == ((ingest / "dead.0", 12),)
    assert os.listdir(ingest) == ["young.0"]


def test_uploads_that_nobody_continued_for_a_day_are_freed(store, tmp_path):
    tag_kit(store, "x:v1", b"layer")
    incoming = tmp_path / "store" / "incoming"
    incoming.mkdir()
    for name, hours in (("old", 25), ("young", 23)):
        (incoming / name).write_bytes(name.encode())
        stamp = now(store.layout) / 1e9 - hours * 3600
        os.utime(incoming / name, (stamp, stamp))
    assert store.usage().incoming_size == 8
    assert collect(store, dry_run=True).partials == ((incoming / "old", 3),)
    assert collect(store).partials == ((incoming / "old", 3),)
    assert os.listdir(incoming) == ["young"]


def test_remove_frees_at_once_what_only_it_held(store):
    doomed, kept = tag_kit(store, "x:v1", b"mine", b"shared"), tag_kit(store, "y:v1", b"shared", name="other")
    assert store.refs.untag(ref("x:v1"), doomed)
    assert free(store, [doomed.digest]).size == 0  # the root still holds it
    assert store.refs.release(ref("x"), doomed.digest)
    config = len('{"package":{"name":"kit"}}')
    assert free(store, [doomed.digest]).size == 4 + config + doomed.size
    assert not store.blobs.exists(Digest.of(b"mine"))
    assert store.blobs.fetch(Descriptor.of(b"shared", OCTETS)) == b"shared"
    assert store.repository(ref("y"), Lease(store.layout, "t", optional=True)).exists(kept)


def test_what_is_read_outlives_its_removal(store):
    doomed = tag_kit(store, "x:v1", b"layer")
    size = doomed.size + len(b"layer") + len('{"package":{"name":"kit"}}')
    with store.lease("read") as lease:
        assert store.refs.hold(ref("x:v1"), lease) == doomed
        store.refs.remove_root(ref("x:v1"))
        assert free(store, [doomed.digest]) == Freed(0, size)
        assert collect(store, grace_seconds=0).blobs == ()
        assert store.blobs.fetch(Descriptor.of(b"layer", OCTETS)) == b"layer"
        with pytest.raises(NotFoundError):
            store.refs.hold(ref("x:v1"), lease)
    assert collect(store, grace_seconds=0).size == size


def test_holding_a_damaged_kit_is_left_to_its_reader(store):
    desc = tag_kit(store, "x:v1", b"layer")
    store.blobs.path(desc.digest).write_bytes(b"x" * desc.size)
    with store.lease("read") as lease:
        assert store.refs.hold(ref("x:v1"), lease) == desc
        assert read_leases(store.layout)[0].digests == (str(desc.digest),)


def test_a_tag_that_moves_while_it_is_taken_hold_of(store):
    old, new = tag_kit(store, "x:v1", b"old"), tag_kit(store, "y:v1", b"new", name="other")

    class MovingLease(Lease):
        def add(self, *digests):
            super().add(*digests)
            if old.digest in digests:
                with store.lease("test") as other:
                    store.refs.tag(ref("x:v1"), new, RefDetails(), other)

    lease = MovingLease(store.layout, "read")
    try:
        assert store.refs.hold(ref("x:v1"), lease) == new
        assert str(Digest.of(b"new")) in read_leases(store.layout)[0].digests
    finally:
        lease.end()


def test_a_lease_that_cannot_be_kept_alive_says_so_and_leaves_nothing(store, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with pytest.raises(RuntimeError, match="start new thread"), store.lease("test") as lease:  # noqa: PT012 - the end too
        monkeypatch.setattr(threading.Thread, "start", refuse)
        lease.add(Digest.of(b"layer"))
    assert read_leases(store.layout) == []


def test_freeing_leaves_alone_what_is_unfinished_elsewhere(store):
    doomed = tag_kit(store, "x:v1", b"mine")
    loose = put_loose(store, b"loose")
    store.refs.remove_root(ref("x:v1"))
    free(store, [doomed.digest])
    assert store.blobs.exists(loose.digest)


def test_freeing_looks_below_nothing_but_manifests(store):
    for content in (b"not json", b"{}", b'{"schemaVersion":2}'):
        loose = put_loose(store, content)
        assert free(store, [loose.digest]).size == len(content)
    assert free(store, [Digest.of(b"never put")]).size == 0


def test_a_reader_finds_a_blob_in_the_trash(store, tmp_path):
    desc = put_loose(store, b"layer")
    path = move_to_trash(store, desc.digest)
    assert store.blobs.exists(desc.digest)
    assert store.blobs.fetch(desc) == b"layer"
    assert str(store.blobs.path(desc.digest)) == path
    assert not os.path.exists(store.layout.blob(desc.digest))  # reading writes nothing


def test_who_relies_on_a_blob_takes_it_back_from_the_trash(store):
    kit = tag_kit(store, "x:v1", b"layer")
    for digest in (kit.digest, Digest.of(b"layer")):
        move_to_trash(store, digest)
    with store.lease("tag") as lease:
        store.refs.tag(ref("x:v2"), kit, RefDetails(), lease)
    assert os.path.exists(store.layout.blob(kit.digest))
    assert os.path.exists(store.layout.blob(Digest.of(b"layer")))


def test_a_sweep_that_was_killed_is_finished_by_the_next(store):
    kit = tag_kit(store, "x:v1", b"layer")
    loose = put_loose(store, b"loose")
    for digest in (kit.digest, Digest.of(b"layer"), loose.digest):
        move_to_trash(store, digest)
    with open(f"{store.layout.trash}/{'1' * 16}/not-a-digest", "w"):
        pass
    assert collect(store).blobs == ((loose.digest, 5),)
    assert os.path.exists(store.layout.blob(kit.digest))
    assert os.path.exists(store.layout.blob(Digest.of(b"layer")))
    assert not store.blobs.exists(loose.digest)
    assert store.usage().trash_size == 0


def test_a_blob_that_is_in_both_places_stays_in_one(store):
    desc = put_loose(store, b"layer")
    path = move_to_trash(store, desc.digest)
    os.link(path, store.layout.blob(desc.digest))  # one file with two names: a rename would do nothing
    with store.lease("tag") as lease:
        lease.add(desc.digest)
        assert collect(store, grace_seconds=0).blobs == ()
    assert os.path.exists(store.layout.blob(desc.digest))
    assert not os.path.exists(path)


def test_rescuing_what_is_gone(store):
    tag_kit(store, "x:v1", b"layer")
    assert not rescue_blob(store.layout, Digest.of(b"never put"))
    with pytest.raises(NotFoundError), store.lease("tag") as lease:
        store.refs.tag(ref("x:v2"), Descriptor.of(b"{}", OCTETS), RefDetails(), lease)


def test_files_that_are_no_blobs_are_left_alone(store, tmp_path):
    tag_kit(store, "x:v1", b"layer")
    (tmp_path / "store" / "blobs" / "sha256" / "README").write_text("mine")
    os.utime(tmp_path / "store" / "blobs" / "sha256" / "README", (1, 1))
    assert collect(store, grace_seconds=0).blobs == ()
    assert (tmp_path / "store" / "blobs" / "sha256" / "README").exists()


def test_collecting_mends_the_index(store, tmp_path):
    tag_kit(store, "x:v1", b"layer")
    good = (tmp_path / "store" / "index.json").read_bytes()
    (tmp_path / "store" / "index.json").unlink()
    collect(store)
    assert (tmp_path / "store" / "index.json").read_bytes() == good


def test_usage_adds_up(store, tmp_path):
    assert store.usage().blobs == 0
    put_loose(store, b"layer")
    (tmp_path / "store" / "partial" / "x").mkdir()
    (tmp_path / "store" / "partial" / "x" / "content").write_bytes(b"123")
    found = store.usage()
    assert (found.blobs, found.blobs_size, found.partial_size, found.packed) == (1, 5, 3, 0)


def test_a_lost_spare_is_made_again(store):
    tag_kit(store, "x:v1", b"layer")
    shutil.rmtree(store.layout.trash)
    put_loose(store, b"loose")
    assert len(collect(store).blobs) == 1
    assert os.listdir(store.layout.trash) == [SPARE]


def test_directories_of_killed_sweeps_are_removed(store, tmp_path):
    tag_kit(store, "x:1", b"layer")
    collect(store, grace_seconds=0)
    trash = tmp_path / "store" / "trash"
    (trash / "0123456789abcdef").mkdir()
    collect(store, grace_seconds=0)
    assert [path.name for path in trash.iterdir()] == ["spare"]
