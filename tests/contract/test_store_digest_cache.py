"""Design, section 4: the digest cache is believed only when it is certain."""

import os

import pytest
from store_kits import OCTETS, files_below

from kitops.content.protocols import Fingerprint, LayerRecord
from kitops.oci.digest import Digest
from kitops.store import open_store
from kitops.store.digest_cache import KEEP_NS, MARGIN_NS, StoreDigestCache
from kitops.store.gc import collect

LOCAL, REMOTE = os.makedev(8, 1), os.makedev(0, 50)
STARTED = 1_700_000_000 * 10**9


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


@pytest.fixture
def cache(store):
    return StoreDigestCache(store.layout, lambda: {LOCAL: "ext4", REMOTE: "nfs4"})


@pytest.fixture
def record(store):
    with store.lease("pack") as lease:
        desc = store.blobs.put_bytes(b"layer", OCTETS, lease)
    return LayerRecord(desc.digest, 5, Digest.of(b"uncompressed"))


def stamp(key=b"k" * 32, newest_ns=STARTED - MARGIN_NS, devices=(LOCAL,)):
    return Fingerprint(key, newest_ns, frozenset(devices))


def test_what_is_certain_is_believed(cache, record):
    assert cache.get(stamp()) is None
    cache.put(stamp(), record, STARTED)
    assert cache.get(stamp()) == record
    assert cache.get(stamp(key=b"o" * 32)) is None


def test_files_as_young_as_the_hashing_are_not_believed(cache, record, tmp_path):
    cache.put(stamp(newest_ns=STARTED - MARGIN_NS + 1), record, STARTED)
    assert files_below(tmp_path / "store" / "packed") == []
    cache.put(stamp(), record, STARTED)
    assert cache.get(stamp(newest_ns=STARTED - MARGIN_NS + 1)) is None


def test_a_network_file_system_is_not_believed(cache, record, tmp_path):
    cache.put(stamp(devices=(LOCAL, REMOTE)), record, STARTED)
    assert files_below(tmp_path / "store" / "packed") == []
    cache.put(stamp(), record, STARTED)
    assert cache.get(stamp(devices=(LOCAL, REMOTE))) is None
    assert cache.get(stamp(devices=(os.makedev(9, 9),))) is None


def test_the_layer_must_be_there_with_its_size(cache, record, store):
    cache.put(stamp(), record, STARTED)
    store.blobs.path(record.digest).write_bytes(b"lay")
    assert cache.get(stamp()) is None
    store.blobs.path(record.digest).unlink()
    assert cache.get(stamp()) is None


def test_a_damaged_entry_counts_as_missing(cache, record, tmp_path):
    cache.put(stamp(), record, STARTED)
    (name,) = files_below(tmp_path / "store" / "packed")
    for content in (b"", b"{", b"[]", b'{"digest":"x"}'):
        (tmp_path / "store" / "packed" / name).write_bytes(content)
        assert cache.get(stamp()) is None


def test_a_cache_that_cannot_be_written_is_no_error(cache, record, tmp_path):
    (tmp_path / "store" / "packed").rmdir()
    (tmp_path / "store" / "packed").write_bytes(b"")
    cache.put(stamp(), record, STARTED)
    assert cache.get(stamp()) is None


def test_prune_drops_what_is_of_no_use(cache, record, store, tmp_path):
    cache.put(stamp(key=b"a" * 32), record, STARTED)
    cache.put(stamp(key=b"b" * 32), LayerRecord(Digest.of(b"gone"), 4, Digest.of(b"gone")), STARTED)
    assert cache.stale(STARTED + KEEP_NS) == [f"{store.layout.packed}/{(b'b' * 32).hex()}"]
    assert len(cache.stale(STARTED + KEEP_NS + 1)) == 2
    cache.drop_stale(STARTED)
    assert files_below(tmp_path / "store" / "packed") == [(b"a" * 32).hex()]
    collect(store)  # by the clock of today the first is old
    assert store.usage().packed == 0
