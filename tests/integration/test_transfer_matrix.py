"""A large blob comes down through more habits of registries."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from blob_server import FINE, Asked, BlobServer, Weather, blob_server
from kitops.content.copy import copy
from kitops.content.protocols import Run
from kitops.errors import AuthenticationError, KitError, NetworkError
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.registry import Credential, Network, open_repository, pace
from kitops.registry.credentials import FixedCredential
from kitops.registry.network import Patience
from kitops.store import Store, landing, open_store
from kitops.store.atomic import entries
from scripted_server import Said, Scripted, Seen, scripted_server

MIB = 1024 * 1024
SIZE = 36 * MIB + 12345
DATA = random.Random(6).randbytes(SIZE)
CONFIG = Descriptor.of(b"{}", "application/vnd.kitops.modelkit.config.v1+json")
LAYER = Descriptor.of(DATA, "application/vnd.kitops.modelkit.model.v1.tar")
KIT = Manifest.build(config=CONFIG, layers=[LAYER])
PATIENCE = Patience(attempts=3, pause=0.005, stall=5.0, read=20.0)


@pytest.fixture
def server() -> Iterator[BlobServer]:
    with blob_server(KIT, {str(CONFIG.digest): b"{}", str(LAYER.digest): DATA}) as found:
        yield found


def pull(
    address: str,
    home: Path,
    *,
    credential: Credential | None = None,
    patience: Patience = PATIENCE,
    run: Run | None = None,
) -> Store:
    """The store that the kit was pulled into."""
    run = run or Run()
    store = open_store(home / "store", run=run)
    ref = Reference.parse(f"{address}/team/big:v1")
    network = Network(plain_http=True, patience=patience)
    with open_repository(ref, network, FixedCredential(credential), run) as source, store.lease("pull") as lease:
        sink = store.repository(ref, lease)
        copy(source, sink, KIT.descriptor, run, verb="pull")
        sink.tag(KIT.descriptor, "v1")
    return store


def alone() -> Run:
    """One connection at a time, however slow this machine is."""
    return Run(concurrency=1)


def check_whole(store: Store) -> None:
    assert store.blobs.path(LAYER.digest).read_bytes() == DATA
    assert [entry.name for entry in entries(store.layout.partial)] == []


# --- tokens that end on the way


@pytest.fixture
def authority() -> Iterator[Scripted]:
    """Gives tokens t0, t1, … to me."""
    given: list[str] = []

    def script(seen: Seen) -> Said:
        given.append(seen.target)
        return Said(body=b'{"token":"t%d"}' % (len(given) - 1))

    with scripted_server(script) as found:
        yield found


def test_a_token_that_ends_in_the_middle_is_replaced(server: BlobServer, authority: Scripted, tmp_path: Path) -> None:
    """Each connection breaks after 9 MiB, and each token is good for one of them."""
    spent: set[str | None] = {None}

    def forecast(asked: Asked) -> Weather:
        if asked.authorization in spent:
            realm = f'Bearer realm="http://{authority.address}/token",service="x",scope="repository:team/big:pull"'
            return Weather(status=401, headers={"WWW-Authenticate": realm})
        spent.add(asked.authorization)
        return Weather(cut_after=9 * MIB)

    server.forecast = forecast
    check_whole(pull(server.address, tmp_path, credential=Credential("me", "hunter2"), run=alone()))
    assert [(asked.start, asked.authorization) for asked in server.asked[1::2]] == [
        (9 * MIB * number, f"Bearer t{number}") for number in range(5)
    ]
    assert server.sent == SIZE


def test_a_registry_that_lets_nobody_in_any_more_is_not_asked_for_ever(
    server: BlobServer, authority: Scripted, tmp_path: Path
) -> None:
    realm = f'Bearer realm="http://{authority.address}/token",service="x",scope="repository:team/big:pull"'
    locked = Weather(status=401, headers={"WWW-Authenticate": realm})
    server.forecast = lambda asked: locked if asked.number else Weather(cut_after=20 * MIB)
    with pytest.raises(AuthenticationError):
        pull(server.address, tmp_path, credential=Credential("me", "hunter2"), run=alone())
    assert len(server.asked) < 8
    server.forecast = lambda asked: FINE
    check_whole(pull(server.address, tmp_path, run=alone()))
    assert server.asked[-1].start >= 16 * MIB


# --- signed storage


@pytest.fixture
def front(server: BlobServer) -> Iterator[Scripted]:
    """A registry that sends whoever wants the large blob to ``server``, each time with another signature."""
    signed: list[str] = []

    def script(seen: Seen) -> Said:
        if "Authorization" not in seen.headers:
            return Said(401, {"WWW-Authenticate": 'Basic realm="x"'})
        name = seen.target.rpartition("/")[2]
        name = name if ":" in name else str(KIT.descriptor.digest)
        if name == str(LAYER.digest):
            signed.append(name)
            return Said(307, {"Location": f"http://{server.address}/signature-{len(signed)}/{name}"})
        kind, body = server.content[name]
        return Said(headers={"Content-Type": kind, "Docker-Content-Digest": name}, body=body)

    with scripted_server(script) as found:
        yield found


def signature(asked: Asked) -> int:
    found = re.match(r"/signature-(\d+)/", asked.path)
    assert found
    return int(found[1])


def test_signed_storage_is_asked_for_anew_after_each_break(server: BlobServer, front: Scripted, tmp_path: Path) -> None:
    """A signature is good for one request; storage gets none of our secrets."""
    used: set[int] = set()

    def forecast(asked: Asked) -> Weather:
        if signature(asked) in used:
            return Weather(status=403)
        used.add(signature(asked))
        return Weather(cut_after=13 * MIB)

    server.forecast = forecast
    check_whole(pull(front.address, tmp_path, credential=Credential("me", "hunter2"), run=alone()))
    assert [asked.start for asked in server.asked] == [0, 13 * MIB, 26 * MIB]
    assert {asked.authorization for asked in server.asked} == {None}
    assert server.sent == SIZE


def test_several_connections_have_a_signature_each(
    server: BlobServer, front: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "WINDOW", 0.02)
    monkeypatch.setattr(pace, "WORTH", 0.1)
    monkeypatch.setattr(pace, "GAIN", 0.0)
    server.forecast = lambda asked: Weather(rate=25 * MIB)
    check_whole(pull(front.address, tmp_path, credential=Credential("me", "hunter2")))
    assert server.most_open > 1
    signatures = [signature(asked) for asked in server.asked]
    assert len(set(signatures)) == len(signatures)


def test_connections_do_not_wait_for_pieces_that_none_of_them_can_finish(
    server: BlobServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of large blobs more bytes are in unfinished pieces than may be unrecorded."""
    monkeypatch.setattr(pace, "WINDOW", 0.02)
    monkeypatch.setattr(pace, "WORTH", 0.1)
    monkeypatch.setattr(pace, "GAIN", 0.0)
    monkeypatch.setattr(landing, "_MOST_UNRECORDED", MIB)
    server.forecast = lambda asked: Weather(rate=15 * MIB)
    run = Run()
    alarm = threading.Timer(30, run.cancel.cancel)
    alarm.start()
    try:
        check_whole(pull(server.address, tmp_path, run=run))
    finally:
        alarm.cancel()
    assert server.most_open > 1


# --- lengths, and patience


@pytest.mark.parametrize("length", [SIZE + 100, SIZE - 100, 1])
def test_a_length_that_is_wrong_once_does_not_matter(server: BlobServer, tmp_path: Path, length: int) -> None:
    server.forecast = lambda asked: FINE if asked.number else Weather(length=length)
    check_whole(pull(server.address, tmp_path))


@pytest.mark.parametrize("length", [SIZE + 100, SIZE - 100])
def test_a_length_that_is_always_wrong_is_told(server: BlobServer, tmp_path: Path, length: int) -> None:
    server.forecast = lambda asked: Weather(length=length)
    with pytest.raises(KitError) as caught:
        pull(server.address, tmp_path)
    assert server.address in caught.value.message
    assert len(server.asked) < 10


def test_a_blob_that_trickles_ends(server: BlobServer, tmp_path: Path) -> None:
    """Never silent for as long as a read may take, and yet below a KiB a second."""
    server.forecast = lambda asked: Weather(step=16, rate=200)
    with pytest.raises(NetworkError):
        pull(server.address, tmp_path, patience=replace(PATIENCE, attempts=2, stall=0.3, read=0.3))


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_the_middle(server: BlobServer, tmp_path: Path, status: int) -> None:
    busy = Weather(status=status, headers={"Retry-After": "1"})
    server.forecast = lambda asked: [Weather(cut_after=5 * MIB), busy, FINE][min(asked.number, 2)]
    check_whole(pull(server.address, tmp_path, run=alone()))
    assert [asked.start for asked in server.asked] == [0, 5 * MIB, 5 * MIB]
