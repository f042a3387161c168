"""Design, section 3: unfinished downloads belong to one writer; an orphan is taken over into a fresh file."""

import hashlib
import os

import pytest
from store_kits import OCTETS, files_below

from kitops.content.protocols import Run
from kitops.errors import FileSystemError
from kitops.oci.descriptor import Descriptor
from kitops.store import open_store, partial
from kitops.store.atomic import write_new
from kitops.store.gc import collect
from kitops.store.layout import Layout
from kitops.store.lease import Lease
from kitops.store.partial import Piece, find_orphans, find_stale, open_partial, read_pieces
from kitops.store.process import this_process

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
    with open_partial(layout, DESC, lease, (), Run()) as found:
        assert found.pieces == ()
        assert os.path.basename(found.directory).split(".")[:2] == [f"sha256-{DESC.digest.encoded}", lease.id]
        assert os.stat(found.content_path).st_size == 0


def test_a_download_of_which_nothing_was_recorded_leaves_nothing(layout, make_lease):
    with open_partial(layout, DESC, make_lease(), (), Run()) as found:
        os.pwrite(found.fd, CONTENT, 0)
    assert os.listdir(layout.partial) == []


def test_what_is_not_vouched_for_gives_its_space_back(layout, make_lease):
    with open_partial(layout, DESC, make_lease(), (), Run()) as found:
        os.pwrite(found.fd, CONTENT, 0)
        found.record(piece(0, 100))
    assert os.stat(found.content_path).st_size == 100


def test_of_an_owner_that_may_only_be_suspended_the_pieces_are_copied(layout, make_lease, tmp_path):
    with open_partial(layout, DESC, make_lease(), (), Run()) as old:  # this process lives, its lease counts as dead
        os.pwrite(old.fd, CONTENT, 0)
        old.record(piece(512, 256), piece(0, 50), piece(0, 100))
        inode = os.fstat(old.fd).st_ino
        with open_partial(layout, DESC, make_lease(), (), Run()) as found:
            assert found.pieces == (piece(0, 100), piece(512, 256))
            assert found.front.hexdigest() == piece(0, 100).sha256
            os.pwrite(old.fd, b"x" * 1024, 0)  # the former owner wakes up
            assert os.pread(found.fd, 100, 0) == CONTENT[:100]
            assert os.pread(found.fd, 256, 512) == CONTENT[512:768]
            assert os.fstat(found.fd).st_ino != inode
            assert read_pieces(found.directory) == [piece(0, 100), piece(512, 256)]
    assert len(os.listdir(layout.partial)) == 1
    assert files_below(tmp_path / "store" / "ingest") == []


@pytest.mark.parametrize("ending", ["in good order", "killed"])
def test_the_file_of_an_owner_that_is_gone_is_used_as_it_is(layout, make_lease, ending):
    old = start(layout, make_lease(), pieces=[piece(512, 256), piece(0, 100)])
    inode = os.stat(old.content_path).st_ino
    if ending == "killed":
        dead = f"{this_process().rpartition('-')[0]}-1"  # our pid, started at another time
        write_new(f"{old.directory}/owner", dead.encode(), durable=False)
    with open_partial(layout, DESC, make_lease(), (), Run()) as found:
        assert found.pieces == (piece(0, 100), piece(512, 256))
        assert os.fstat(found.fd).st_ino == inode
        assert not os.path.exists(old.directory)


def test_a_front_is_believed_as_far_as_its_lines_go(layout, make_lease):
    old = start(layout, make_lease(), pieces=[piece(0, 100), piece(0, 300), piece(0, 600), piece(600, 50)])
    with open(old.content_path, "r+b") as file:
        file.seek(400)
        file.write(b"\0\0")
    with open_partial(layout, DESC, make_lease(), (), Run()) as found:
        assert found.pieces == (piece(0, 300), piece(600, 50))
        assert found.front.hexdigest() == piece(0, 300).sha256


def test_two_orphans_are_put_together_and_neither_spoils_the_other(layout, make_lease):
    live = make_lease()
    first = start(layout, live, pieces=[piece(0, 100), piece(0, 300)])
    second = start(layout, make_lease(), live={live.id}, pieces=[piece(0, 200), piece(0, 400), piece(500, 100)])
    with open(second.content_path, "r+b") as file:
        file.seek(50)
        file.write(b"\0\0")
    with open_partial(layout, DESC, make_lease(), (), Run()) as found:
        assert found.pieces == (piece(0, 300), piece(500, 100))
        assert os.pread(found.fd, 300, 0) == CONTENT[:300]
        assert found.front.hexdigest() == piece(0, 300).sha256
    assert not os.path.exists(first.directory)
    assert len(os.listdir(layout.partial)) == 1


def test_what_could_be_continued_is_told_without_touching_it(layout, make_lease):
    old = start(layout, make_lease(), pieces=[piece(0, 100), piece(512, 256)])
    before = sorted(os.listdir(layout.partial))
    (found,) = find_orphans(layout, DESC.digest, ())
    assert (found.path, found.size, found.is_free) == (old.directory, 356, True)
    assert find_orphans(layout, DESC.digest, {os.path.basename(old.directory).split(".")[1]}) == []
    assert sorted(os.listdir(layout.partial)) == before


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
    old = start(layout, make_lease(), pieces=[piece(0, 100)])
    os.unlink(old.content_path)
    assert start(layout, make_lease()).pieces == ()
    assert os.listdir(layout.partial) == []


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
    with open_partial(layout, DESC, make_lease(), (), Run()) as found:
        os.mkdir(f"{found.directory}/pieces")
        with pytest.raises(FileSystemError):
            found.record(piece(0, 1))


def test_prune_lists_stale_partials_and_frees_them(layout, make_lease, tmp_path):
    store = open_store(tmp_path / "store")
    lease = make_lease()
    live = start(layout, lease, pieces=[piece(0, 100)])
    stale = start(layout, make_lease(), live={lease.id}, pieces=[piece(0, 100)])
    os.truncate(stale.content_path, 0)
    with open(stale.content_path, "wb") as file:
        file.write(bytes(8192))
    for path in (live, stale):
        for name in os.listdir(path.directory):
            os.utime(f"{path.directory}/{name}", (1, 1))
    os.utime(f"{layout.leases}/{os.path.basename(stale.directory).split('.')[1]}", (1, 1))
    os.unlink(f"{layout.leases}/{os.path.basename(stale.directory).split('.')[1]}")
    found = collect(store, dry_run=True)
    assert [str(path) for path, _ in found.partials] == [stale.directory]
    assert found.size >= 8192
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
