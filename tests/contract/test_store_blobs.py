"""Design, sections 2 and 3: blobs appear whole and verified or not at all, and are read verified."""

import errno
import hashlib
import os
import threading

import pytest
from store_kits import OCTETS, Pieces, files_below, put_kit, ref, tag_kit

from kitops.content.cancel import CancelToken
from kitops.content.protocols import Run
from kitops.errors import Cancelled, FileSystemError, IntegrityError, NetworkError, NotFoundError, StoreError
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.manifest import Manifest
from kitops.store import RefDetails, open_store, receive
from kitops.store.leftover import clear_dead

BIG = bytes(range(256)) * (receive.BIG // 256 + 3)


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


@pytest.fixture
def lease(store):
    with store.lease("test") as lease:
        yield lease


def read(store, desc):
    found = bytearray()
    buffer = memoryview(bytearray(100_000))
    with store.blobs.open(desc) as reader:
        while count := reader.readinto(buffer):
            found += buffer[:count]
    return bytes(found)


def split(content, size=100_000):
    return [content[start : start + size] for start in range(0, len(content), size)]


@pytest.mark.parametrize("content", [b"", b"small", BIG], ids=["empty", "small", "big"])
def test_what_was_put_is_read(store, lease, content):
    desc = Descriptor.of(content, OCTETS)
    steps = []
    store.blobs.put(desc, Pieces(*split(content)), steps.append, lease)
    assert sum(steps) == len(content)
    assert read(store, desc) == content == store.blobs.fetch(desc)
    assert store.blobs.exists(desc.digest)
    assert store.blobs.size(desc.digest) == len(content)
    assert store.blobs.path(desc.digest).read_bytes() == content
    assert files_below(store.blobs.path(desc.digest).parents[2] / "ingest") == []


def test_a_sha512_digest_has_a_directory_of_its_own(store, lease):
    digest = Digest("sha512", hashlib.sha512(b"layer").hexdigest())
    store.blobs.put(Descriptor(OCTETS, digest, 5), Pieces(b"layer"), lambda size: None, lease)
    assert store.blobs.path(digest).parent.name == "sha512"


@pytest.mark.parametrize("content", [b"good", BIG], ids=["small", "big"])
@pytest.mark.parametrize("wrong", ["changed", "longer", "shorter"])
def test_other_bytes_leave_nothing(store, lease, tmp_path, content, wrong):
    came = {"changed": content[:-1] + b"!", "longer": content + b"!", "shorter": content[:-1]}[wrong]
    desc = Descriptor.of(content, OCTETS)
    with pytest.raises(IntegrityError):
        store.blobs.put(desc, Pieces(*split(came)), lambda size: None, lease)
    assert not store.blobs.exists(desc.digest)
    assert files_below(tmp_path / "store" / "ingest") == files_below(tmp_path / "store" / "blobs") == []


@pytest.mark.parametrize("content", [b"small", BIG], ids=["small", "big"])
def test_a_reader_that_fails_leaves_nothing(store, lease, tmp_path, content):
    with pytest.raises(NetworkError):
        store.blobs.put(
            Descriptor.of(content, OCTETS), Pieces(content[:3], NetworkError("gone")), lambda size: None, lease
        )
    assert files_below(tmp_path / "store" / "ingest") == []


@pytest.mark.parametrize("content", [b"small", BIG], ids=["small", "big"])
def test_cancelling_ends_a_put(tmp_path, content):
    cancel = CancelToken()
    store = open_store(tmp_path / "store", run=Run(cancel=cancel))

    def moved(size):
        cancel.cancel()

    with store.lease("pull") as lease, pytest.raises(Cancelled):
        store.blobs.put(Descriptor.of(content, OCTETS), Pieces(*split(content, 3)), moved, lease)
    assert files_below(tmp_path / "store" / "ingest") == []


def test_cancelling_ends_the_thread_that_hashes(tmp_path):
    cancel = CancelToken()
    with open(tmp_path / "file", "w+b") as file:
        growing = receive.GrowingDigest(file.fileno(), hashlib.sha256(), cancel)
        cancel.cancel()
        growing.advance(1)
        with pytest.raises(Cancelled):
            growing.finish()


def test_a_file_that_shrinks_while_it_is_hashed_is_told(tmp_path):
    with open(tmp_path / "file", "w+b") as file:
        growing = receive.GrowingDigest(file.fileno(), hashlib.sha256(), CancelToken())
        growing.advance(1)
        with pytest.raises(OSError, match="shorter"):
            growing.finish()


def test_a_long_body_is_flushed_on_the_way(store, lease, monkeypatch):
    monkeypatch.setattr(receive, "FLUSH_EVERY", 4)
    desc = Descriptor.of(b"abcdefghij", OCTETS)
    store.blobs.put(desc, Pieces(*split(b"abcdefghij", 3)), lambda size: None, lease)
    assert read(store, desc) == b"abcdefghij"


def test_reading_is_verified(store, lease):
    desc = store.blobs.put_bytes(b"layer", OCTETS, lease)
    path = store.blobs.path(desc.digest)
    path.write_bytes(b"lexer")
    with pytest.raises(IntegrityError):
        read(store, desc)
    with pytest.raises(IntegrityError):
        store.blobs.fetch(desc)
    path.write_bytes(b"longer than it should be")
    with pytest.raises(IntegrityError):
        store.blobs.fetch(desc)


def test_a_damaged_blob_is_replaced(store, lease):
    desc = store.blobs.put_bytes(b"layer", OCTETS, lease)
    store.blobs.path(desc.digest).write_bytes(b"lexer")
    store.blobs.put_bytes(b"layer", OCTETS, lease)
    assert store.blobs.fetch(desc) == b"layer"
    store.blobs.path(desc.digest).write_bytes(b"lay")
    assert not store.blobs.hold(desc.digest, 5, lease)
    with store.blobs.create(lease) as new:
        os.write(new.fd, b"layer")
        new.commit(desc.digest, 5)
    assert store.blobs.fetch(desc) == b"layer"


def test_a_missing_blob_is_not_found(store):
    desc = Descriptor.of(b"never put", OCTETS)
    for look in (
        store.blobs.fetch,
        lambda desc: read(store, desc),
        lambda desc: store.blobs.path(desc.digest),
        lambda desc: store.blobs.size(desc.digest),
    ):
        with pytest.raises(NotFoundError, match=str(desc.digest)):
            look(desc)
    assert not store.blobs.exists(desc.digest)


def test_a_new_blob_is_written_in_place(store, lease):
    with store.blobs.create(lease) as new:
        new.reserve(2_000_000)
        os.ftruncate(new.fd, 0)
        os.write(new.fd, b"layer")
        new.commit(Digest.of(b"layer"), 5)
    assert store.blobs.fetch(Descriptor.of(b"layer", OCTETS)) == b"layer"


def test_leaving_without_commit_removes_the_file(store, lease, tmp_path):
    with store.blobs.create(lease) as new:
        os.write(new.fd, b"layer")
        assert len(files_below(tmp_path / "store" / "ingest")) == 1
    assert files_below(tmp_path / "store" / "ingest") == []
    with pytest.raises(IntegrityError), store.blobs.create(lease) as new:
        new.commit(Digest.of(b"layer"), 5)
    assert files_below(tmp_path / "store" / "ingest") == []


def test_a_file_that_was_taken_away_is_told(store, lease):
    with store.blobs.create(lease) as new:
        os.write(new.fd, b"layer")
        os.unlink(new.path)
        with pytest.raises(StoreError, match="taken away"):
            new.commit(Digest.of(b"layer"), 5)


def test_more_than_fits_is_refused_before_the_first_byte(store, lease):
    with pytest.raises(FileSystemError, match=f"{2**60} bytes needed, [0-9]+ bytes free"):
        store.blobs.put(Descriptor(OCTETS, Digest.of(b"x"), 2**60), Pieces(b"x"), lambda size: None, lease)


def test_reusing_a_blob_touches_it(store, lease):
    desc = store.blobs.put_bytes(b"layer", OCTETS, lease)
    path = store.blobs.path(desc.digest)
    for reuse in (
        lambda: store.blobs.put_bytes(b"layer", OCTETS, lease),
        lambda: store.blobs.hold(desc.digest, 5, lease),
        lambda: store.repository(ref("x"), lease).exists(desc),
    ):
        os.utime(path, (1, 1))
        reuse()
        assert path.stat().st_mtime > 1_000_000_000


def test_committing_what_is_there_drops_the_new_file_and_touches_the_old(store, lease):
    desc = store.blobs.put_bytes(b"layer", OCTETS, lease)
    path = store.blobs.path(desc.digest)
    os.utime(path, (1, 1))
    inode = path.stat().st_ino
    with store.blobs.create(lease) as new:
        os.write(new.fd, b"layer")
        new.commit(desc.digest, 5)
    assert path.stat().st_ino == inode
    assert path.stat().st_mtime > 1_000_000_000


def test_committing_may_replace_what_is_there(store, lease):
    desc = store.blobs.put_bytes(b"layer", OCTETS, lease)
    store.blobs.path(desc.digest).write_bytes(b"lexer")
    with store.blobs.create(lease) as new:
        os.write(new.fd, b"layer")
        new.commit(desc.digest, 5, replace=True)
    assert store.blobs.fetch(desc) == b"layer"


def test_what_is_damaged_is_dropped_and_put_again(store, lease):
    desc = store.blobs.put_bytes(BIG, OCTETS, lease)
    moved = []
    assert not store.blobs.drop_damaged(desc, moved.append)
    assert sum(moved) == len(BIG)
    assert not store.blobs.drop_damaged(Descriptor.of(b"never put", OCTETS))
    path = store.blobs.path(desc.digest)
    path.write_bytes(BIG[:-1] + b"x")
    assert store.blobs.drop_damaged(desc)
    assert not path.exists()
    store.blobs.put(desc, Pieces(*split(BIG)), lambda size: None, lease)
    assert not store.blobs.drop_damaged(desc)
    path.write_bytes(BIG + b"longer")
    assert store.blobs.drop_damaged(desc)


def test_what_was_put_again_while_it_was_read_stays(store, lease):
    desc = store.blobs.put_bytes(BIG, OCTETS, lease)
    path = store.blobs.path(desc.digest)
    path.write_bytes(BIG[:-1] + b"x")

    def put_again(size):
        with store.blobs.create(lease) as new:
            os.write(new.fd, BIG)
            new.commit(desc.digest, len(BIG), replace=True)

    assert not store.blobs.drop_damaged(desc, put_again)
    assert store.blobs.fetch(desc) == BIG


def test_a_damaged_manifest_is_put_again(store, lease):
    desc = put_kit(store, lease, b"layer")
    raw = store.blobs.fetch(desc)
    store.blobs.path(desc.digest).write_bytes(b"x" * desc.size)
    sink = store.repository(ref("x"), lease)
    assert not sink.exists(desc)
    sink.put(desc, Pieces(raw), lambda size: None)
    assert sink.exists(desc)


def test_many_writers_of_one_blob(tmp_path):
    desc = Descriptor.of(BIG, OCTETS)
    failures = []

    def write():
        store = open_store(tmp_path / "store")
        try:
            with store.lease("pull") as lease:
                store.blobs.put(desc, Pieces(*split(BIG)), lambda size: None, lease)
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert files_below(tmp_path / "store" / "blobs") == [f"sha256/{desc.digest.encoded}"]
    assert open_store(tmp_path / "store").blobs.fetch(desc) == BIG


def test_a_repository_is_source_and_sink(store, lease):
    layer, config = Descriptor.of(b"layer", OCTETS), Descriptor.of(b'{"package":{"name":"n"}}', "application/x+json")
    manifest = Manifest.build(config=config, layers=[layer])
    desc = manifest.descriptor
    sink = store.repository(ref("x"), lease)
    assert not sink.exists(layer)
    assert not sink.exists(desc)
    sink.put(layer, Pieces(b"layer"), lambda size: None)
    sink.put(desc, Pieces(manifest.raw), lambda size: None)
    assert sink.exists(layer)
    assert not sink.exists(desc)  # not without its config
    with pytest.raises(NotFoundError):
        sink.tag(desc, "v1")
    assert store.repository(ref("x"), lease, absent=(config.digest,)).exists(desc)
    sink.put(config, Pieces(b'{"package":{"name":"n"}}'), lambda size: None)
    assert sink.exists(desc)
    sink.tag(desc, "v1")
    assert store.refs.details(ref("x:v1")) == RefDetails("n", "", 5)
    assert sink.resolve("v1") == sink.resolve(str(desc.digest)) == desc
    assert sink.fetch(layer) == b"layer"
    with sink.open(layer) as reader:
        buffer = memoryview(bytearray(10))
        assert reader.readinto(buffer) == 5
    store.repository(ref("y"), lease).keep(desc)
    assert [str(row.reference) for row in store.refs.list()] == ["x:v1", f"y@{desc.digest}"]


def test_a_rerun_clears_what_a_killed_writer_left(store, tmp_path):
    tag_kit(store, "x:v1", b"layer")
    dead = tmp_path / "store" / "leases" / "dead"
    dead.write_bytes(b'{"purpose":"pack","owner":"","digests":[]}')
    os.utime(dead, (1, 1))
    (tmp_path / "store" / "ingest" / "dead.0").write_bytes(b"half a layer")
    (tmp_path / "store" / "ingest" / "unowned.0").write_bytes(b"young")
    (tmp_path / "store" / "ingest" / "doomed.0").mkdir()
    os.utime(tmp_path / "store" / "ingest" / "doomed.0", (1, 1))
    with store.lease("pack") as lease:
        put_kit(store, lease, b"layer")
    assert sorted(os.listdir(tmp_path / "store" / "ingest")) == ["unowned.0"]
    assert not dead.exists()
    (tmp_path / "store" / "ingest" / "unowned.0").unlink()
    clear_dead(store.layout)


def test_a_disk_error_is_told(store, lease, monkeypatch):
    def fail(*values):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    desc = store.blobs.put_bytes(b"layer", OCTETS, lease)
    monkeypatch.setattr("kitops.store.blobs.flush_file", fail)
    with pytest.raises(FileSystemError, match="input/output error"), store.blobs.create(lease) as new:
        new.commit(Digest.of(b""), 0)
    with pytest.raises(FileSystemError, match="input/output error"):
        store.blobs.put_bytes(b"another", OCTETS, lease)
    monkeypatch.setattr("kitops.store.blobs.os.open", fail)
    with pytest.raises(FileSystemError, match="input/output error"):
        store.blobs.fetch(desc)


def test_a_blob_that_moves_while_it_is_looked_for_is_found(store, lease, monkeypatch):
    desc = store.blobs.put_bytes(b"layer", OCTETS, lease)
    place, really_open, misses = str(store.blobs.path(desc.digest)), os.open, [1]

    def open_too_late(path, *rest):
        if path == place and misses:
            misses.pop()
            raise FileNotFoundError(errno.ENOENT, "moved to the trash and back")
        return really_open(path, *rest)

    monkeypatch.setattr("kitops.store.blobs.os.open", open_too_late)
    assert store.blobs.fetch(desc) == b"layer"
    misses += [1] * 9
    with pytest.raises(NotFoundError):
        store.blobs.fetch(desc)


def test_a_manifest_with_a_damaged_index_above_it_is_to_be_put_again(store, lease):
    desc = store.blobs.put_bytes(b"no index", "application/vnd.oci.image.index.v1+json", lease)
    assert not store.repository(ref("x"), lease).exists(desc)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_no_blob(store, lease, make):
    desc = store.blobs.put_bytes(b"content", OCTETS, lease)
    path = store.blobs.path(desc.digest)
    path.unlink()
    make(path)
    with pytest.raises(StoreError, match="is not a file"):
        store.blobs.fetch(desc)
    with pytest.raises(StoreError, match="is not a file"), store.blobs.open(desc):
        pass
