"""A disk that is full, a store that cannot be written, processes that are killed: nothing is lost, and it is said."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kitops.content.protocols import Run
from kitops.errors import FileSystemError
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.store import RefDetails, open_store
from kitops.store.gc import collect, free
from kitops.store.graph import walk
from small_disks import read_only, small_disk

pytestmark = pytest.mark.chaos
OCTETS = "application/octet-stream"
GOLDEN = Path(__file__).parents[1] / "golden" / "stores" / "2026" / "storage"
REF = Reference.parse("team/x:v1")


@pytest.fixture
def small(tmp_path):
    """A file system of 1 MiB."""
    with small_disk(tmp_path / "small", "size=1m") as path:
        yield path


def pack(store, content, text="team/x:v1", name="kit"):
    with store.lease("pack") as lease:
        config = store.blobs.put_bytes(f'{{"package":{{"name":"{name}"}}}}'.encode(), "application/x+json", lease)
        layer = store.blobs.put_bytes(content, OCTETS, lease)
        manifest = Manifest.build(config=config, layers=[layer])
        desc = store.blobs.put_bytes(manifest.raw, manifest.media_type, lease)
        store.refs.tag(Reference.parse(text), desc, RefDetails(name, "", len(content)), lease)
    return desc


def check_whole(store):
    for row in store.refs.list():
        for item in walk(store.blobs, row.desc):
            store.blobs.fetch(item)


class Endless:
    def readinto(self, buffer):
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def fill(path):
    """Leave no page free."""
    with contextlib.suppress(OSError), open(path / "ballast", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_is_told_with_both_numbers_and_loses_nothing(small):
    store = open_store(small / "store")
    pack(store, b"kept")
    with store.lease("pull") as lease, pytest.raises(FileSystemError) as caught:
        store.blobs.put(Descriptor(OCTETS, Digest.of(b"big"), 2 << 20), Endless(), lambda size: None, lease)
    assert caught.value.exit_code == 14
    assert "no space left on device (2097152 bytes needed, " in caught.value.message
    assert "kit prune" in caught.value.hint
    check_whole(store)
    assert os.listdir(small / "store" / "ingest") == []


def test_a_disk_that_fills_up_while_packing(small):
    store = open_store(small / "store")
    pack(store, b"kept")
    with store.lease("pack") as lease, store.blobs.create(lease) as new:
        fill(small)
        with pytest.raises(FileSystemError, match="4194304 bytes needed, 0 bytes free"):
            new.reserve(4 << 20)
    with pytest.raises(FileSystemError, match="no space left"):
        pack(store, b"x" * 5000, "team/x:v2", name="other")
    check_whole(store)
    assert [str(row.reference) for row in store.refs.list()] == ["team/x:v1"]


def test_a_batch_on_a_full_disk(small):
    store = open_store(small / "store")
    desc = pack(store, b"layer")
    fill(small)
    with store.refs.batch() as refs:
        assert refs.untag(REF, desc)
    assert [row.reference.tag for row in store.refs.list()] == [None]
    with store.lease("tag") as lease, pytest.raises(FileSystemError):
        store.refs.tag(REF, desc, RefDetails(), lease)


def test_removing_works_on_a_full_disk(small):
    store = open_store(small / "store")
    desc = pack(store, b"x" * 20000)
    fill(small)
    assert store.refs.untag(REF, desc)
    assert store.refs.release(REF, desc.digest)
    assert free(store, [desc.digest]).size > 20000
    assert collect(store).blobs == ()
    assert store.refs.list() == []


LIMITED = """
import resource, signal, sys
from pathlib import Path
from kitops.errors import FileSystemError
from kitops.store import open_store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = open_store(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with store.lease("pack") as lease:
        store.blobs.put_bytes(b"x" * 200_000, "application/octet-stream", lease)
except FileSystemError as error:
    print(error.exit_code, error.message)
"""


def test_a_file_that_may_not_grow(tmp_path):
    store = open_store(tmp_path / "store")
    pack(store, b"kept")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "store")], check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("14 writing to ")
    assert os.strerror(errno.EFBIG).lower() in done.stdout
    assert os.listdir(tmp_path / "store" / "ingest") == []
    check_whole(store)


def test_a_read_only_store_lists_and_reads(tmp_path):
    store = open_store(tmp_path / "store")
    desc = pack(store, b"layer")
    with read_only(tmp_path / "store"):
        assert [str(row.reference) for row in store.refs.list()] == ["team/x:v1"]
        with store.lease("unpack", optional=True) as lease:
            lease.add(desc.digest)
            lease.touch()
            source = store.repository(REF, lease)
            assert source.resolve("v1").digest == desc.digest
            assert source.exists(desc)
            check_whole(store)
        assert collect(store, dry_run=True).blobs == ()
        for write in (
            lambda: pack(store, b"another", "team/x:v2"),
            lambda: store.refs.untag(REF, desc),
            lambda: store.refs.remove_root(REF),
            lambda: collect(store),
        ):
            with pytest.raises(FileSystemError) as caught:
                write()
            assert caught.value.exit_code == 14
    assert [str(row.reference) for row in store.refs.list()] == ["team/x:v1"]
    check_whole(store)


def test_a_place_that_cannot_be_written_cannot_adopt_which_is_a_warning(tmp_path):
    home = tmp_path / "home"
    shutil.copytree(GOLDEN, home / "storage")
    told = []
    with read_only(home):
        store = open_store(home / "store", go_storage=home / "storage", run=Run(observer=told.append))
        assert store.refs.list() == []
    (message,) = told
    assert message.level == "warning"
    assert "could not be adopted" in message.text


KILLED = """
import sys
from pathlib import Path
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.store import RefDetails, open_store
from kitops.store.gc import collect
store = open_store(Path(sys.argv[1]))
print("begun", flush=True)
for number in range(10**6):
    with store.lease("pack") as lease:
        config = store.blobs.put_bytes(b"{}", "application/x+json", lease)
        layer = store.blobs.put_bytes(b"%d" % number * 50_000, "application/octet-stream", lease)
        manifest = Manifest.build(config=config, layers=[layer])
        desc = store.blobs.put_bytes(manifest.raw, manifest.media_type, lease)
        store.refs.tag(Reference.parse("team/x:v1"), desc, RefDetails(), lease)
    store.refs.untag(Reference.parse("team/x:v1"), desc)
    store.refs.release(Reference.parse("team/x"), desc.digest)
    collect(store, grace_seconds=0)
"""


@pytest.mark.parametrize("seconds", [number * 0.031 for number in range(8)])
def test_a_process_that_is_killed_leaves_a_valid_store(tmp_path, seconds):
    kept = pack(open_store(tmp_path / "store"), b"kept", "team/kept:v1")
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "store")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"begun\n"
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    store = open_store(tmp_path / "store")
    check_whole(store)
    assert store.refs.resolve(Reference.parse("team/kept:v1")).digest == kept.digest
    pack(store, b"again")
    assert os.listdir(tmp_path / "store" / "ingest") == []
    collect(store, grace_seconds=0)
    check_whole(store)
    names = {item.digest.encoded for row in store.refs.list() for item in walk(store.blobs, row.desc)}
    assert {path.name for path in (tmp_path / "store" / "blobs" / "sha256").iterdir()} == names
    assert os.listdir(tmp_path / "store" / "trash") == ["spare"]
    assert os.listdir(tmp_path / "store" / "leases") == []
    assert os.listdir(tmp_path / "store" / "ingest") == []
