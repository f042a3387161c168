"""Design, section 3: unfinished downloads belong to one writer; an orphan is taken over into a fresh file."""

import hashlib
import os

import pytest
from store_kits import OCTETS, files_below

from kitops.content.protocols import Run
from kitops.errors import FileSystemError
from kitops.oci.descriptor import Descriptor
from kitops.store import open_store, partial
from kitops.store.gc import collect
from kitops.store.layout import Layout
from kitops.store.lease import Lease
from kitops.store.partial import Piece, drop, find_stale, open_partial, read_pieces

CONTENT = bytes(range(256)) * 4
DESC = Descriptor.of(CONTENT, OCTETS)


def piece(offset, size):
    return Piece(offset, size, hashlib.sha256(CONTENT[offset : offset + size]).hexdigest())


@pytest.fixture
def layout(tmp_path):
    return Layout(str(tmp_path / "store"))


@pytest.fixture
def make_lease(layout):
    made = []

    def make():
        made.append(Lease(layout, "pull"))
        return made[-1]

    yield make
    for lease in made:
        lease.end()


def start(layout, lease, *, live=(), pieces=()):
    """Begin a download and write these pieces."""
    with open_partial(layout, DESC, lease, live, Run()) as found:
        for one in pieces:
            os.pwrite(found.fd, CONTENT[one.offset : one.offset + one.size], one.offset)
            found.record(one)
    return found


def test_a_download_begins_empty(layout, make_lease):
    lease = make_lease()
    found = start(layout, lease)
    assert found.pieces == ()
    assert os.path.basename(found.directory).split(".")[:2] == [f"sha256-{DESC.digest.encoded}", lease.id]
    assert os.stat(found.content_path).st_size == 0
    drop(found)
    assert os.listdir(layout.partial) == []


def test_an_orphan_is_taken_over_piece_by_piece(layout, make_lease, tmp_path):
    old = start(layout, make_lease(), pieces=[piece(512, 256), piece(0, 100)])
    suspended = os.open(old.content_path, os.O_RDWR)
    inode = os.fstat(suspended).st_ino
    with open_partial(layout, DESC, make_lease(), (), Run()) as found:
        assert found.pieces == (piece(0, 100), piece(512, 256))
        os.pwrite(suspended, b"x" * 1024, 0)  # the former owner wakes up
        assert os.pread(found.fd, 100, 0) == CONTENT[:100]
        assert os.pread(found.fd, 256, 512) == CONTENT[512:768]
        assert os.fstat(found.fd).st_ino != inode
        assert read_pieces(found.directory) == [piece(512, 256), piece(0, 100)]
    os.close(suspended)
    assert len(os.listdir(layout.partial)) == 1
    assert files_below(tmp_path / "store" / "ingest") == []


def test_pieces_are_hashed_again(layout, make_lease):
    old = start(layout, make_lease(), pieces=[piece(0, 100), piece(100, 100)])
    with open(old.content_path, "r+b") as file:
        file.write(b"!")
    with open(f"{old.directory}/pieces", "ab") as file:
        file.write(f"900 900 {'0' * 64}\n".encode())  # beyond the end
        file.write(f"300 10 {'0' * 64}\n".encode())  # not in the file
        file.write(b"nonsense\n200 100 cut-off")
    assert start(layout, make_lease()).pieces == (piece(100, 100),)


def test_a_directory_without_content_gives_nothing(layout, make_lease):
    old = start(layout, make_lease())
    os.unlink(old.content_path)
    assert start(layout, make_lease()).pieces == ()
    assert len(os.listdir(layout.partial)) == 1


def test_what_a_live_owner_has_is_left_alone(layout, make_lease):
    lease = make_lease()
    old = start(layout, lease, pieces=[piece(0, 100)])
    found = start(layout, make_lease(), live={lease.id})
    assert found.pieces == ()
    assert os.path.exists(old.content_path)


def test_of_two_who_claim_one_gets_it(layout, make_lease, monkeypatch):
    old = start(layout, make_lease(), pieces=[piece(0, 100)])
    entries = partial.entries(layout.partial)
    first = start(layout, make_lease())
    monkeypatch.setattr(partial, "entries", lambda path: entries)  # the second looked before the first renamed
    second = start(layout, make_lease())
    assert (first.pieces, second.pieces) == ((piece(0, 100),), ())
    assert not os.path.exists(old.directory)


def test_a_place_that_cannot_be_written_is_told(layout, make_lease):
    found = start(layout, make_lease())
    os.mkdir(f"{found.directory}/pieces")
    with pytest.raises(FileSystemError):
        found.record(piece(0, 1))


def test_prune_lists_stale_partials_and_frees_them(layout, make_lease, tmp_path):
    store = open_store(tmp_path / "store")
    lease = make_lease()
    live, stale = start(layout, lease, pieces=[piece(0, 100)]), start(layout, make_lease(), live={lease.id})
    os.truncate(stale.content_path, 0)
    with open(stale.content_path, "wb") as file:
        file.write(bytes(8192))
    for path in (live, stale):
        for name in os.listdir(path.directory):
            os.utime(f"{path.directory}/{name}", (1, 1))
    os.utime(f"{layout.leases}/{os.path.basename(stale.directory).split('.')[1]}", (1, 1))
    os.unlink(f"{layout.leases}/{os.path.basename(stale.directory).split('.')[1]}")
    found = collect(store, dry_run=True)
    assert [(str(path), size) for path, size in found.partials] == [(stale.directory, 8192)]
    assert found.size == 8192
    assert os.path.exists(stale.directory)
    assert collect(store).partials == found.partials
    assert os.listdir(layout.partial) == [os.path.basename(live.directory)]
    assert files_below(tmp_path / "store" / "ingest") == []


def test_young_partials_are_kept_for_the_next_try(layout, make_lease):
    found = start(layout, make_lease(), pieces=[piece(0, 100)])
    newest = max(os.stat(f"{found.directory}/{name}").st_mtime_ns for name in os.listdir(found.directory))
    assert find_stale(layout, (), newest - 1) == []
    assert len(find_stale(layout, (), newest)) == 1


def test_a_name_without_an_owner_is_an_orphan(layout, make_lease):
    start(layout, make_lease())
    os.makedirs(f"{layout.partial}/stray")
    assert [path.name for path, _ in find_stale(layout, (), 0)] == ["stray"]
