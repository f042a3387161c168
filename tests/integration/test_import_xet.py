"""Imports of files in Xet storage, through the hub's real client for it, against a storage on loopback."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from hub_server import Hub, model_repo
from integration.hub_imports import MIB, check_unpacked, failure, kill_when, kit, make_file, run_import
from kitops.content.events import Event, Message
from kitops.content.protocols import Run
from kitops.errors import Cancelled, IntegrityError
from kitops.importers.location import parse_location
from kitops.oci.reference import Reference
from kitops.ops.import_ import import_to
from kitops.ops.place import Place
from kitops.ops.sources import SourceOptions, open_source
from kitops.ops.unpack import unpack
from kitops.testing import ThrowAwayRegistry
from unit.ops.ops_places import open_network_place, open_test_place

pytest.importorskip("hf_xet", reason="the hub's client for Xet is made for 64 bit x86 and ARM")
SIZE = 40 * MIB + 12_345
SMALL = {"config.json": b"{}", "README.md": b"# Big\n"}


@pytest.fixture
def hub(hub: Hub) -> Hub:
    hub.has_xet = True
    return hub


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_test_place(tmp_path / "home")


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(SIZE)


def listen(place: Place, events: list[Event]) -> Place:
    return Place(place.home, place.store, place.connection, Run(events.append))


def warnings(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Message) and event.level == "warning"]


def check(place: Place, content: bytes, target: Path) -> None:
    unpack(place, Reference.parse("org/big"), target)
    assert (target / "model.bin").read_bytes() == content


def test_large_files_come_from_xet_and_nothing_secret_goes_there(
    hub: Hub, place: Place, content: bytes, tmp_path: Path
) -> None:
    hub.add(model_repo("Org/Big", {"model.bin": content, **SMALL}, tokens=frozenset({"mine"})))
    events: list[Event] = []
    imported = run_import(listen(place, events), hub, "Org/Big", token="mine")
    assert imported.fetched_size == SIZE + sum(map(len, SMALL.values()))
    check(place, content, tmp_path / "out")
    assert hub.sent < 200_000  # heads of files
    assert SIZE <= hub.xet.sent < 1.01 * SIZE
    assert [request for request in hub.requests if "xet-read-token" in request]
    plans = [said for said in hub.xet.headers if "authorization" in said]
    assert {said["authorization"] for said in plans} == {"Bearer xet-token-0"}
    assert len(plans) < len(hub.xet.headers)  # signed URLs get no token
    assert not [request for request in hub.xet.requests if request.startswith("POST")]  # no telemetry
    assert warnings(events) == []
    assert "secret-of-xet" not in repr(events)
    assert "mine" not in repr(events) + repr(imported) + repr(hub.xet.headers)

    before = hub.xet.sent
    assert run_import(place, hub, "Org/Big", token="mine").fetched_size == 0
    assert hub.xet.sent == before


def test_storage_that_cuts_connections(hub: Hub, place: Place, content: bytes, tmp_path: Path) -> None:
    hub.add(model_repo("Org/Big", {"model.bin": content}))
    hub.xet.cuts = 2
    run_import(place, hub, "Org/Big")
    check(place, content, tmp_path / "out")
    assert hub.xet.sent < 2 * SIZE


def test_a_token_that_storage_refuses_once(hub: Hub, place: Place, content: bytes, tmp_path: Path) -> None:
    hub.add(model_repo("Org/Big", {"model.bin": content}))
    hub.xet.refusals = [401]
    run_import(place, hub, "Org/Big")
    check(place, content, tmp_path / "out")
    assert hub.sent < 200_000


@pytest.mark.parametrize("fault", ["down", "refuses", "garbage"])
def test_where_storage_cannot_be_used_plain_http_takes_over(
    hub: Hub, place: Place, content: bytes, tmp_path: Path, fault: str
) -> None:
    hub.add(model_repo("Org/Big", {"model.bin": content, "more.bin": content[:2000]}))
    if fault == "down":
        hub.xet.address = "http://127.0.0.1:9"
    elif fault == "refuses":
        hub.xet.refusals = [403] * 1000
    else:
        hub.xet.garbage = True
    events: list[Event] = []
    run_import(listen(place, events), hub, "Org/Big")
    check(place, content, tmp_path / "out")
    assert hub.sent >= SIZE
    assert [text for text in warnings(events) if "from here on over plain HTTP" in text]
    assert not any("\n" in text or "secret-of-xet" in text for text in warnings(events))


def test_wrong_bytes_are_fetched_once_more_and_then_refused(
    hub: Hub, place: Place, content: bytes, tmp_path: Path
) -> None:
    hub.add(model_repo("Org/Big", {"model.bin": content}))
    hub.xet.spoil = 1
    events: list[Event] = []
    run_import(listen(place, events), hub, "Org/Big")
    check(place, content, tmp_path / "out")
    assert "model.bin came damaged; fetching it again" in warnings(events)

    other = os.urandom(MIB)
    hub.add(model_repo("Org/Other", {"model.bin": other}))
    hub.xet.spoil = 1000
    error = failure(place, hub, "Org/Other")
    assert isinstance(error, IntegrityError)
    assert "model.bin" in error.message


def test_the_end_is_heeded_while_storage_is_silent(hub: Hub, place: Place, content: bytes) -> None:
    hub.add(model_repo("Org/Big", {"model.bin": content}))
    hub.xet.stall = threading.Event()
    run = Run()

    def cancel() -> None:
        limit = time.monotonic() + 10
        while not [request for request in hub.xet.requests if "/xorbs/" in request] and time.monotonic() < limit:
            time.sleep(0.02)
        run.cancel.cancel()

    watcher = threading.Thread(target=cancel)
    watcher.start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        run_import(Place(place.home, place.store, place.connection, run), hub, "Org/Big")
    assert time.monotonic() - started < 14  # the storage would have answered after 15
    watcher.join()
    hub.xet.stall.set()


def test_from_xet_to_a_registry(hub: Hub, content: bytes, tmp_path: Path) -> None:
    hub.add(model_repo("Org/Big", {"model.bin": content, **SMALL}))
    place = open_network_place(tmp_path / "home")
    with ThrowAwayRegistry() as registry:
        target = Reference.parse(f"{registry.address}/team/big:v1")
        with open_source(place, parse_location("Org/Big"), SourceOptions(endpoint=hub.endpoint)) as tree:
            import_to(place, tree, [target])
        unpack(open_network_place(tmp_path / "other"), target, tmp_path / "out")
    assert (tmp_path / "out/model.bin").read_bytes() == content
    assert hub.xet.sent >= SIZE


def test_it_can_be_switched_off(hub: Hub, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(model_repo("Org/Big", {"model.bin": content}))
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    process = kit(hub, tmp_path / "home", "import", "Org/Big")
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    assert hub.xet.requests == []
    assert hub.sent >= SIZE


def test_killed_imports_go_on(hub: Hub, tmp_path: Path) -> None:
    size = 256 * MIB
    path = tmp_path / "weights.bin"
    make_file(path, size)
    hub.add(model_repo("Org/Big", {"model.bin": path}))
    kills = 0
    for _ in range(2):
        goal = hub.xet.sent + 140 * MIB  # more than what is lost
        kills += kill_when(kit(hub, tmp_path / "home", "import", "Org/Big"), lambda goal=goal: hub.xet.sent >= goal)  # type: ignore[misc]
    process = kit(hub, tmp_path / "home", "import", "Org/Big", "--format", "json")
    output, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    assert kills > 0
    assert json.loads(output)["fetchedSize"] < size
    lost = 64 * MIB + 16 * MIB + 16 * MIB  # what the client held, what was not durable, what the socket held
    assert hub.xet.sent <= 1.05 * size + kills * lost
    check_unpacked(hub, tmp_path, path)
