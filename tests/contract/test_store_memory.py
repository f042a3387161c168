"""What a store remembers beside its blobs: where files are in layers, what was sent, what foreign programs fetched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from store_kits import tag_kit

from kitops.content.protocols import Fingerprint, LayerRecord
from kitops.oci.digest import Digest
from kitops.store import Store, open_store
from kitops.store.foreign import open_foreign
from kitops.store.gc import collect
from kitops.store.members import UNKNOWN, LayerFile

FILES = [LayerFile("a b\n.txt", 512, 3, "1" * 64, "2" * 40), LayerFile("ü", UNKNOWN, 3, "3" * 64)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = open_store(tmp_path / "store")
    found.layout.prepare()
    return found


def test_files_of_layers_are_found_while_the_layer_is_there(store: Store) -> None:
    tag_kit(store, "team/kit:v1", b"layer")
    layer = Digest.of(b"layer")
    store.members.put(layer, FILES)
    gone = Digest.of(b"gone")
    store.members.put(gone, FILES)
    assert store.members.read(layer) == tuple(FILES)
    assert store.members.find_all() == {
        f"sha256:{'1' * 64}": (layer, FILES[0]),
        f"gitBlob:{'2' * 40}": (layer, FILES[0]),
    }
    collect(store)
    assert store.members.read(gone) == ()
    assert store.members.read(layer) == tuple(FILES)


def test_what_is_damaged_is_not_known(store: Store) -> None:
    layer = Digest.of(b"layer")
    store.members.put(layer, FILES)
    (name,) = os.listdir(store.layout.members)
    for content in (b"no json", b"[1]", b"5", b"\xff"):
        Path(store.layout.members, name).write_bytes(content)
        assert store.members.read(layer) == ()
    Path(store.layout.members, "stray").write_bytes(b"")
    assert store.members.find_all() == {}


def test_what_was_sent_is_known_by_registry_and_forgotten_in_time(store: Store) -> None:
    one, other = Digest.of(b"one"), Digest.of(b"other")
    store.sent.note("registry.example:5000/team/a", Digest.of(b"manifest"), [one, other])
    store.sent.note("registry.example:5000/team/b", Digest.of(b"manifest"), [one])
    store.sent.note("elsewhere.example/team/a", Digest.of(b"manifest"), [one])
    both = {"registry.example:5000/team/a", "registry.example:5000/team/b"}
    assert store.sent.find("registry.example:5000") == {one: both, other: {"registry.example:5000/team/a"}}
    for entry in Path(store.layout.sent).iterdir():
        if b"team/b" in entry.read_bytes():
            entry.write_bytes(b"nonsense")
        else:
            os.utime(entry, (1, 1))
    collect(store)
    assert store.sent.find("registry.example:5000") == {}
    assert len(os.listdir(store.layout.sent)) == 0 or store.sent.find("elsewhere.example") == {}


def test_what_content_gave_is_remembered_when_the_layer_is_gone(store: Store) -> None:
    stamp = Fingerprint(b"k" * 32, 0, frozenset())
    record = LayerRecord(Digest.of(b"gone"), 4, Digest.of(b"gone"))
    store.digest_cache.put(stamp, record, 10**18)
    assert store.digest_cache.get(stamp) is None
    assert store.digest_cache.recall(stamp) == record
    assert store.digest_cache.stale(10**18 + 1) == []
    assert len(store.digest_cache.stale(2 * 10**18)) == 1


def test_foreign_directories_stay_when_their_work_failed(store: Store) -> None:
    with store.lease("a") as lease, open_foreign(store.layout, "x", lease) as path:
        (path / "empty").mkdir()
    assert os.listdir(store.layout.partial) == []

    def fail(name: str) -> None:
        with store.lease("a") as lease, open_foreign(store.layout, "x", lease) as path:
            (path / "deep").mkdir(exist_ok=True)
            (path / "deep" / name).write_bytes(b"1" * 5000)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail("one")
    with store.lease("b") as other, open_foreign(store.layout, "y", other) as path:
        assert os.listdir(path) == []
    with pytest.raises(ZeroDivisionError):
        fail("two")
    assert store.usage().partial_size >= 10_000
    with store.lease("b") as lease, open_foreign(store.layout, "x", lease) as path:
        assert sorted(os.listdir(path / "deep")) == ["one", "two"]
        with store.lease("c") as other, open_foreign(store.layout, "x", other) as second:
            assert second != path
            assert os.listdir(second) == []
    assert os.listdir(store.layout.partial) == []
