"""A large blob comes down whatever the connection does: cut, stalled, slow, without ranges, wrong."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from blob_server import FINE, Asked, BlobServer, Weather, blob_server
from kitops.content.copy import copy
from kitops.content.events import Advanced, Event, Message
from kitops.content.protocols import Run
from kitops.content.spans import SMALLEST_PIECE
from kitops.errors import Cancelled, FileSystemError, IntegrityError, NetworkError, RegistryError
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.registry import Network, Repository, open_repository, pace
from kitops.registry.credentials import FixedCredential
from kitops.registry.network import Patience
from kitops.store import Store, filesystem, landing, open_store
from kitops.store.atomic import entries
from kitops.store.partial import Piece, read_pieces

MIB = 1024 * 1024
SIZE = 40 * MIB + 12345
LAYER = "application/vnd.kitops.modelkit.model.v1.tar"
PATIENCE = Patience(attempts=3, pause=0.005, stall=5.0, read=20.0)
HASTE = replace(PATIENCE, stall=0.3, read=5.0)


@pytest.fixture(scope="module")
def big() -> bytes:
    return random.Random(4).randbytes(SIZE)


@pytest.fixture(scope="module")
def kit(big: bytes) -> Manifest:
    config = Descriptor.of(b"{}", "application/vnd.kitops.modelkit.config.v1+json")
    return Manifest.build(config=config, layers=[Descriptor.of(big, LAYER)])


@pytest.fixture
def server(big: bytes, kit: Manifest) -> Iterator[BlobServer]:
    with blob_server(kit, {str(kit.config.digest): b"{}", str(kit.layers[0].digest): big}) as found:
        yield found


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """More connections are tried at once."""
    monkeypatch.setattr(pace, "WINDOW", 0.02)
    monkeypatch.setattr(pace, "WORTH", 0.1)
    monkeypatch.setattr(pace, "GAIN", 0.0)


class Puller:
    """Pulls the kit into a store below ``home``, and keeps what was told."""

    def __init__(self, home: Path, server: BlobServer, kit: Manifest, patience: Patience = PATIENCE) -> None:
        self.events: list[Event] = []
        self.run = Run(self.events.append)
        self.store = open_store(home / "store", run=self.run)
        self.kit = kit
        self.ref = Reference.parse(f"{server.address}/team/big:v1")
        self.network = Network(plain_http=True, patience=patience)

    def connect(self) -> Repository:
        return open_repository(self.ref, self.network, FixedCredential(), self.run)

    def pull(self) -> None:
        with self.connect() as source, self.store.lease("pull") as lease:
            sink = self.store.repository(self.ref, lease)
            copy(source, sink, self.kit.descriptor, self.run, verb="pull")
            sink.tag(self.kit.descriptor, "v1")

    @property
    def moved(self) -> int:
        item = str(self.kit.layers[0].digest)
        return sum(event.size for event in self.events if isinstance(event, Advanced) and event.item == item)

    def said(self, text: str) -> bool:
        return any(isinstance(event, Message) and text in event.text for event in self.events)


@pytest.fixture
def puller(tmp_path: Path, server: BlobServer, kit: Manifest) -> Puller:
    return Puller(tmp_path, server, kit)


def check_whole(puller: Puller, big: bytes) -> None:
    assert puller.store.blobs.path(puller.kit.layers[0].digest).read_bytes() == big
    assert puller.moved == len(big)
    assert partials(puller.store) == []


def partials(store: Store) -> list[str]:
    return [entry.name for entry in entries(store.layout.partial)]


def first(weather: Weather) -> Callable[[Asked], Weather]:
    """This weather for the first request, and a fine day afterwards."""
    return lambda asked: weather if asked.number == 0 else FINE


def test_on_a_fast_link_one_request_brings_all_of_it(puller: Puller, server: BlobServer, big: bytes) -> None:
    puller.pull()
    check_whole(puller, big)
    assert [(asked.start, asked.end) for asked in server.asked] == [(0, SIZE)]
    assert server.sent == SIZE


def test_a_connection_that_is_cut_goes_on_where_it_was(puller: Puller, server: BlobServer, big: bytes) -> None:
    server.forecast = lambda asked: Weather(cut_after=7 * MIB) if asked.number < 4 else FINE
    puller.pull()
    check_whole(puller, big)
    assert [asked.start for asked in server.asked] == [0, 7 * MIB, 14 * MIB, 21 * MIB, 28 * MIB]
    assert server.sent == SIZE


def test_without_ranges_a_break_begins_again(puller: Puller, server: BlobServer, big: bytes) -> None:
    server.forecast = lambda asked: Weather(has_ranges=False, cut_after=None if asked.number else 20 * MIB)
    puller.pull()
    check_whole(puller, big)
    assert [asked.is_ranged for asked in server.asked] == [True, False]


@pytest.mark.parametrize("said", ["bytes 5-9/40", "bytes */100", "items 0-1/2", "", f"bytes 0-{SIZE - 1}/{SIZE + 1}"])
def test_a_wrong_range_leads_to_a_plain_request(puller: Puller, server: BlobServer, big: bytes, said: str) -> None:
    server.forecast = first(Weather(content_range=said or "-"))
    puller.pull()
    check_whole(puller, big)
    assert [asked.is_ranged for asked in server.asked] == [True, False]


def test_416_leads_to_a_plain_request(puller: Puller, server: BlobServer, big: bytes) -> None:
    server.forecast = first(Weather(status=416))
    puller.pull()
    check_whole(puller, big)


def test_wrong_bytes_are_fetched_once_more(puller: Puller, server: BlobServer, big: bytes) -> None:
    server.forecast = first(Weather(flip=True))
    puller.pull()
    check_whole(puller, big)
    assert puller.said("fetching it once more")
    assert server.sent == 2 * SIZE


def test_bytes_that_are_wrong_twice_are_an_error_that_names_the_registry(puller: Puller, server: BlobServer) -> None:
    server.forecast = lambda asked: Weather(flip=True)
    with pytest.raises(IntegrityError, match=f"of {server.address}/team/big is damaged"):
        puller.pull()
    assert not puller.store.blobs.exists(puller.kit.layers[0].digest)
    assert partials(puller.store) == []


def test_a_connection_that_stalls_is_replaced(puller: Puller, server: BlobServer, big: bytes) -> None:
    puller.network = replace(puller.network, patience=HASTE)
    server.forecast = first(Weather(stall_after=3 * MIB))
    puller.pull()
    check_whole(puller, big)
    assert [asked.start for asked in server.asked[:2]] == [0, 3 * MIB]


def test_a_server_that_always_stalls_ends_in_an_error(puller: Puller, server: BlobServer) -> None:
    puller.network = replace(puller.network, patience=replace(PATIENCE, stall=0.05, read=0.2))
    server.forecast = lambda asked: Weather(stall_after=0)
    with pytest.raises(NetworkError):
        puller.pull()


def test_a_busy_server_is_given_the_time_that_it_asks_for(puller: Puller, server: BlobServer, big: bytes) -> None:
    busy = Weather(status=503, headers={"Retry-After": "0"})
    server.forecast = lambda asked: [Weather(cut_after=5 * MIB), busy, FINE][min(asked.number, 2)]
    puller.pull()
    check_whole(puller, big)
    assert [asked.start for asked in server.asked] == [0, 5 * MIB, 5 * MIB]


@pytest.mark.usefixtures("eager")
def test_slow_connections_are_joined_by_others(puller: Puller, server: BlobServer, big: bytes) -> None:
    server.forecast = lambda asked: Weather(rate=30 * MIB)
    puller.pull()
    check_whole(puller, big)
    assert server.most_open > 1
    assert server.sent < SIZE + SMALLEST_PIECE


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "ill", [Weather(stall_after=0), Weather(stall_after=MIB), Weather(cut_after=MIB), Weather(gate=threading.Event())]
)
def test_one_bad_connection_among_others_is_not_waited_for(
    puller: Puller, server: BlobServer, big: bytes, ill: Weather
) -> None:
    puller.network = replace(puller.network, patience=HASTE)
    server.forecast = lambda asked: ill if asked.number == 1 else Weather(rate=40 * MIB)
    puller.pull()
    check_whole(puller, big)
    bad = server.asked[1]
    assert bad.start > 0
    assert any(bad.start <= asked.start < bad.end for asked in server.asked[2:])


@pytest.mark.usefixtures("eager")
def test_a_registry_that_wants_fewer_connections_gets_fewer(puller: Puller, server: BlobServer, big: bytes) -> None:
    def refuse(asked: Asked) -> Weather:
        return Weather(status=429) if server.open else Weather(rate=60 * MIB)

    server.forecast = refuse
    puller.pull()
    check_whole(puller, big)
    assert server.most_open == 1


@pytest.mark.usefixtures("eager")
def test_ranges_that_end_in_the_middle_end_in_one_stream(puller: Puller, server: BlobServer, big: bytes) -> None:
    server.forecast = lambda asked: Weather(has_ranges=asked.number < 2, rate=100 * MIB)
    puller.pull()
    check_whole(puller, big)


@pytest.mark.usefixtures("eager")
def test_one_blob_at_a_time_means_one_connection(puller: Puller, server: BlobServer, big: bytes) -> None:
    puller.run = replace(puller.run, concurrency=1)
    server.forecast = lambda asked: Weather(rate=100 * MIB)
    puller.pull()
    check_whole(puller, big)
    assert server.most_open == 1


def test_what_came_before_an_error_is_not_fetched_again(
    puller: Puller, server: BlobServer, kit: Manifest, big: bytes, tmp_path: Path
) -> None:
    broken = Weather(status=500)
    server.forecast = lambda asked: Weather(cut_after=33 * MIB) if asked.number == 0 else broken
    with pytest.raises((NetworkError, RegistryError)):
        puller.pull()
    assert len(partials(puller.store)) == 1
    server.forecast, server.sent = (lambda asked: FINE), 0
    again = Puller(tmp_path, server, kit)
    again.pull()
    check_whole(again, big)
    assert SIZE - 33 * MIB <= server.sent <= SIZE - 33 * MIB + SMALLEST_PIECE
    assert again.said("were here already")
    left = sum(event.size for event in again.events if isinstance(event, Advanced) and event.existed)
    assert SIZE - left == server.sent


@pytest.mark.usefixtures("eager")
def test_pieces_that_came_ahead_of_a_gap_are_kept_too(
    puller: Puller, server: BlobServer, kit: Manifest, big: bytes, tmp_path: Path
) -> None:
    def forecast(asked: Asked) -> Weather:
        return Weather(rate=30 * MIB, stall_after=9 * MIB) if asked.number == 0 else FINE

    server.forecast = forecast
    puller.network = replace(puller.network, patience=replace(PATIENCE, stall=30.0))
    thread = threading.Thread(target=until_cancelled, args=(puller,))
    thread.start()
    while thread.is_alive() and not any(piece.offset for piece in journal(puller.store)):
        thread.join(0.01)
    puller.run.cancel.cancel()
    thread.join()
    ahead = sum(piece.size for piece in journal(puller.store) if piece.offset)
    assert ahead >= SMALLEST_PIECE
    server.forecast, server.sent = (lambda asked: FINE), 0
    again = Puller(tmp_path, server, kit)
    again.pull()
    check_whole(again, big)
    assert server.sent <= SIZE - ahead


def until_cancelled(puller: Puller) -> None:
    with pytest.raises(Cancelled):
        puller.pull()


def journal(store: Store) -> list[Piece]:
    return [piece for name in partials(store) for piece in read_pieces(f"{store.layout.partial}/{name}")]


def test_what_was_damaged_on_the_disk_meanwhile_is_fetched_again(
    puller: Puller, server: BlobServer, kit: Manifest, big: bytes, tmp_path: Path
) -> None:
    server.forecast = lambda asked: Weather(cut_after=33 * MIB) if asked.number == 0 else Weather(status=500)
    with pytest.raises((NetworkError, RegistryError)):
        puller.pull()
    (name,) = partials(puller.store)
    with open(f"{puller.store.layout.partial}/{name}/content", "r+b") as file:
        file.seek(1 * MIB)
        file.write(b"damage")
    server.forecast = lambda asked: FINE
    again = Puller(tmp_path, server, kit)
    again.pull()
    check_whole(again, big)


def test_a_blob_that_another_process_finished_is_used(
    puller: Puller, server: BlobServer, kit: Manifest, big: bytes, tmp_path: Path
) -> None:
    gate = threading.Event()
    server.forecast = first(Weather(gate=gate))
    puller.network = replace(puller.network, patience=replace(PATIENCE, stall=30.0))
    slow = threading.Thread(target=puller.pull)
    slow.start()
    try:
        while not server.asked:
            slow.join(0.01)
        other = Puller(tmp_path, server, kit)
        other.pull()
        slow.join(10)
        assert not slow.is_alive()
    finally:
        gate.set()
        slow.join()
    assert puller.store.refs.resolve(puller.ref).digest == kit.descriptor.digest
    assert other.store.blobs.path(kit.layers[0].digest).read_bytes() == big
    assert partials(puller.store) == []
    assert server.sent < 2 * SIZE


def test_a_disk_that_is_too_full_is_told_with_both_numbers(
    puller: Puller, server: BlobServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "free_space", lambda path: 1000)
    with pytest.raises(FileSystemError, match=f"{SIZE} bytes needed, 1000 bytes free"):
        puller.pull()
    assert server.asked == []
    assert partials(puller.store) == []


def test_a_flush_that_fails_is_told(puller: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(landing, "flush_file", fail)
    with pytest.raises(FileSystemError, match="input/output error"):
        puller.pull()


def test_the_end_is_heeded_in_the_middle(puller: Puller, server: BlobServer) -> None:
    server.forecast = first(Weather(stall_after=20 * MIB))
    puller.network = replace(puller.network, patience=replace(PATIENCE, stall=30.0))
    timer = threading.Timer(0.3, puller.run.cancel.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        puller.pull()
    timer.join()
    assert len(partials(puller.store)) == 1


@pytest.fixture
def others(tmp_path: Path) -> Iterator[tuple[Puller, BlobServer]]:
    """A kit of a small layer, and of a large one known by its SHA-512."""
    small, large = random.Random(5).randbytes(3 * MIB), random.Random(6).randbytes(40 * MIB)
    long_name = Digest("sha512", hashlib.sha512(large).hexdigest())
    layers = [Descriptor.of(small, LAYER), Descriptor(LAYER, long_name, len(large))]
    config = Descriptor.of(b"{}", "application/vnd.kitops.modelkit.config.v1+json")
    manifest = Manifest.build(config=config, layers=layers)
    content = {str(config.digest): b"{}", str(layers[0].digest): small, str(long_name): large}
    with blob_server(manifest, content) as found:
        yield Puller(tmp_path, found, manifest), found


def test_a_small_blob_that_is_wrong(others: tuple[Puller, BlobServer]) -> None:
    puller, server = others
    first = iter([True])
    server.forecast = lambda asked: Weather(flip=asked.end == 3 * MIB and next(first, False))
    puller.pull()
    assert puller.said("fetching it once more")
    puller.store.blobs.path(puller.kit.layers[0].digest).unlink()
    server.forecast = lambda asked: Weather(flip=True)
    with pytest.raises(IntegrityError, match=f"of {server.address}/team/big is damaged"):
        puller.pull()


def test_a_blob_known_by_its_sha512_goes_on_too(others: tuple[Puller, BlobServer], tmp_path: Path) -> None:
    puller, server = others
    server.forecast = lambda asked: Weather(cut_after=33 * MIB) if asked.end > 30 * MIB else FINE
    puller.network = replace(puller.network, patience=replace(PATIENCE, attempts=1))
    with pytest.raises(NetworkError):
        puller.pull()
    server.forecast, server.sent = (lambda asked: FINE), 0
    again = Puller(tmp_path, server, puller.kit)
    again.pull()
    assert hashlib.sha512(again.store.blobs.path(puller.kit.layers[1].digest).read_bytes()).hexdigest() == (
        puller.kit.layers[1].digest.encoded
    )
    assert server.sent <= 40 * MIB - SMALLEST_PIECE


def test_a_stream_goes_on_where_it_was(puller: Puller, server: BlobServer, big: bytes) -> None:
    server.forecast = lambda asked: Weather(cut_after=9 * MIB) if asked.number < 2 else FINE
    with puller.connect() as source, source.open(puller.kit.layers[0]) as reader:
        assert read_all(reader, len(big)) == big
    assert [asked.start for asked in server.asked] == [0, 9 * MIB, 18 * MIB]


def test_a_stream_without_ranges_skips_what_it_had(puller: Puller, server: BlobServer, big: bytes) -> None:
    server.forecast = lambda asked: Weather(has_ranges=False, cut_after=None if asked.number else 9 * MIB)
    with puller.connect() as source, source.open(puller.kit.layers[0]) as reader:
        assert read_all(reader, len(big)) == big
    assert server.sent == SIZE + 9 * MIB


@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_stream_from_the_middle(puller: Puller, server: BlobServer, big: bytes, has_ranges: bool) -> None:
    server.forecast = lambda asked: Weather(has_ranges=has_ranges, cut_after=None if asked.number else 30 * MIB)
    start = 20 * MIB
    with puller.connect() as source, source.stream_from(puller.kit.layers[0], start) as reader:
        assert read_all(reader, len(big) - start) == big[start:]
    assert len(server.asked) == (1 if has_ranges else 2)


def read_all(reader: object, size: int) -> bytes:
    found = bytearray(size)
    view, count = memoryview(found), 0
    while more := reader.readinto(view[count:] if count < size else memoryview(bytearray(1))):  # type: ignore[attr-defined]
        count += more
    return bytes(found[:count])
