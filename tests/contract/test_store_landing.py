"""What lands of a large blob survives: by the piece, by the second, and to the last byte in good order."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest
from store_kits import OCTETS

from kitops.content.spans import Span
from kitops.errors import IntegrityError
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.store import Store, open_store
from kitops.store.landing import open_assembly, open_landing
from kitops.store.partial import read_pieces

CONTENT = os.urandom(300_000)
DESC = Descriptor.of(CONTENT, OCTETS)
KEY = Descriptor(OCTETS, Digest.of(b"what it is made of"), len(CONTENT))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def put(landing, start: int, end: int, content: bytes = CONTENT) -> None:
    landing.write(start, memoryview(content)[start:end])


def test_in_good_order_every_byte_stays_however_few_they_are(store: Store) -> None:
    with store.lease("pull") as lease, open_landing(store.blobs, DESC, lease) as landing:
        put(landing, 0, 1000)
        put(landing, 5000, 5001)
        put(landing, 200_000, 250_000)
    with store.lease("pull") as lease, open_landing(store.blobs, DESC, lease) as landing:
        assert landing.missing() == [Span(1000, 5000), Span(5001, 200_000), Span(250_000, 300_000)]
        put(landing, 0, len(CONTENT))
        landing.finish()
    assert store.blobs.path(DESC.digest).read_bytes() == CONTENT
    assert os.listdir(store.layout.partial) == []


def test_what_came_is_recorded_by_the_second(store: Store) -> None:
    """A kill costs no more than that of small files, each of which is a request."""
    with store.lease("pull") as lease, open_landing(store.blobs, DESC, lease) as landing:
        put(landing, 0, 100)
        put(landing, 5000, 5100)
        (name,) = os.listdir(store.layout.partial)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = read_pieces(f"{store.layout.partial}/{name}")
            if len(found) == 2:
                break
            time.sleep(0.05)
        assert {(piece.offset, piece.size) for piece in found} == {(0, 100), (5000, 100)}
        put(landing, 100, 300)
        while time.monotonic() < end and len(found) < 3:
            found = read_pieces(f"{store.layout.partial}/{name}")
            time.sleep(0.05)
        assert {(piece.offset, piece.size) for piece in found} == {(0, 100), (5000, 100), (0, 300)}
        assert all(hashlib.sha256(CONTENT[piece.offset : piece.end]).hexdigest() == piece.sha256 for piece in found)


def test_what_is_doubted_is_missing_the_next_time(store: Store) -> None:
    with store.lease("pull") as lease, open_landing(store.blobs, DESC, lease) as landing:
        put(landing, 0, 1000)
    with store.lease("pull") as lease, open_landing(store.blobs, DESC, lease) as landing:
        put(landing, 1000, 3000)
    with store.lease("pull") as lease, open_landing(store.blobs, DESC, lease) as landing:
        put(landing, 7000, 9000)
        landing.doubt(Span(1500, 1600))
    with store.lease("pull") as lease, open_landing(store.blobs, DESC, lease) as landing:
        missing = landing.missing()
        assert missing[-2:] == [Span(3000, 7000), Span(9000, len(CONTENT))]
        assert missing[0].start in (1000, 1500)  # a piece with a byte of it
        put(landing, 0, len(CONTENT))
        landing.finish()


def test_a_digest_that_is_found(store: Store) -> None:
    with store.lease("pull") as lease, open_assembly(store.blobs, KEY, lease) as assembly:
        put(assembly, 100_000, 300_000)
        with pytest.raises(IntegrityError):
            assembly.finish_as_found()
    with store.lease("pull") as lease:
        with open_assembly(store.blobs, KEY, lease) as assembly:
            assert assembly.missing() == [Span(0, 100_000)]
            put(assembly, 0, 100_000)
            buffer = memoryview(bytearray(10))
            assert assembly.read_at(99_995, buffer) == 10
            assert bytes(buffer) == CONTENT[99_995:100_005]
            assert assembly.finish_as_found() == DESC.digest
        assert store.blobs.path(DESC.digest).read_bytes() == CONTENT
        with open_assembly(store.blobs, KEY, lease) as assembly:
            put(assembly, 0, len(CONTENT))
            assert assembly.finish_as_found() == DESC.digest
    assert os.listdir(store.layout.partial) == []


def test_several_threads_fill_it(store: Store) -> None:
    with store.lease("pull") as lease, open_assembly(store.blobs, KEY, lease) as assembly:
        threads = [
            threading.Thread(target=put, args=(assembly, start, start + 1000)) for start in range(0, len(CONTENT), 1000)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert assembly.finish_as_found() == DESC.digest
