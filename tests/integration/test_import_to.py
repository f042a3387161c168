"""Imports straight to registries: what is there is not read, what breaks goes on, and nothing stays here."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from faulty_registry import Faults, faulty_registry
from hub_server import Hub, model_repo
from integration.hub_imports import MIB, kill_when, kit, make_file, run_import
from integration.test_import_again import KITFILE, change, fetched, many
from kitops.content.events import Event, Message
from kitops.content.protocols import Run
from kitops.errors import NetworkError
from kitops.formats.layertypes import KITOPS_ARTIFACT
from kitops.importers.location import parse_location
from kitops.oci.reference import Reference
from kitops.ops.import_ import Imported, ImportOptions, import_to
from kitops.ops.place import Place
from kitops.ops.referrers import referrers
from kitops.ops.sources import SourceOptions, open_source
from kitops.ops.unpack import unpack
from kitops.testing import ThrowAwayRegistry
from unit.ops.ops_places import open_network_place

CONTENT = os.urandom(20 * MIB)
HEADS = 64 * 1024
"""Bytes that are read to make a Kitfile, at most."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_network_place(tmp_path / "home")


@pytest.fixture
def registry() -> Iterator[ThrowAwayRegistry]:
    with ThrowAwayRegistry() as found:
        yield found


def send(place: Place, hub: Hub, source: str, *targets: Reference, options: ImportOptions | None = None) -> Imported:
    with open_source(place, parse_location(source), SourceOptions(endpoint=hub.endpoint)) as tree:
        return import_to(place, tree, list(targets), options)


def check(target: Reference, tmp_path: Path, name: str = "model.bin", content: bytes = CONTENT) -> None:
    out = tmp_path / f"out-{time.monotonic_ns()}"
    unpack(open_network_place(tmp_path / f"other-{time.monotonic_ns()}"), target, out)
    assert (out / name).read_bytes() == content


def spent(place: Place) -> int:
    """Bytes of blobs and of what is unfinished."""
    usage = place.store.usage()
    return usage.blobs_size + usage.partial_size + usage.trash_size


def test_what_the_store_has_is_not_read_again(
    hub: Hub, place: Place, registry: ThrowAwayRegistry, tmp_path: Path
) -> None:
    hub.add(model_repo("Org/Big", {"model.bin": CONTENT, "data/a.txt": b"a", "data/b.txt": b"b"}))
    run_import(place, hub, "Org/Big")
    before, asked = hub.sent, fetched(hub)
    target = registry.reference("team/big:v1")
    send(place, hub, "Org/Big", target)
    assert hub.sent == before
    assert fetched(hub) == asked
    check(target, tmp_path)
    assert len(place.store.refs.list()) == 2  # the ModelKit and where it came from, as before


def test_two_registries_cost_one_reading(hub: Hub, place: Place, registry: ThrowAwayRegistry, tmp_path: Path) -> None:
    hub.add(model_repo("Org/Big", {"model.bin": CONTENT, "data/a.txt": b"a"}))
    with ThrowAwayRegistry() as other:
        targets = [
            registry.reference("team/big:v1"),
            other.reference("copies/big:v1"),
            other.reference("copies/big:v2"),
        ]
        send(place, hub, "Org/Big", *targets)
        assert hub.sent <= len(CONTENT) + HEADS
        for target in targets:
            check(target, tmp_path)
            assert len(referrers(place, target, remote=True)) == 1
    assert spent(place) == 0


def test_what_is_damaged_in_the_store_does_not_fail_what_was_sent(
    hub: Hub, place: Place, registry: ThrowAwayRegistry, tmp_path: Path
) -> None:
    hub.add(model_repo("Org/Other", {"model.bin": b"other"}))
    other = run_import(place, hub, "Org/Other")
    place.store.blobs.path(other.desc.digest).unlink()
    hub.add(model_repo("Org/Big", {"model.bin": CONTENT}))
    send(place, hub, "Org/Big", target := registry.reference("team/damaged:v1"))
    check(target, tmp_path)


def test_when_the_second_registry_fails_the_first_has_it_and_in_the_end_no_layer_stays_here(
    hub: Hub, place: Place, registry: ThrowAwayRegistry, tmp_path: Path
) -> None:
    hub.add(model_repo("Org/Data", many(5)))
    options = ImportOptions(kitfile_text=KITFILE)
    target = registry.reference("team/data:v1")
    with pytest.raises(NetworkError):
        send(place, hub, "Org/Data", target, Reference.parse("127.0.0.1:1/copies/data:v1"), options=options)
    check(target, tmp_path, "data/000.txt", many(1)["data/000.txt"])  # type: ignore[arg-type]
    with ThrowAwayRegistry() as other:
        imported = send(place, hub, "Org/Data", target, other.reference("copies/data:v1"), options=options)
    assert fetched(hub) == 5
    assert spent(place) < 4096 < imported.size  # what the first attempt said of it, unless it was in the same second


def test_two_repositories_of_a_registry_cost_one_upload(
    hub: Hub, place: Place, registry: ThrowAwayRegistry, tmp_path: Path
) -> None:
    hub.add(model_repo("Org/Big", {"model.bin": CONTENT}))
    targets = [registry.reference("team/big:v1"), registry.reference("team/copy:v1")]
    send(place, hub, "Org/Big", *targets)
    assert hub.sent <= len(CONTENT) + HEADS
    assert any("mount=" in asked.target and asked.status == 201 for asked in registry.asked)
    for target in targets:
        check(target, tmp_path)


def test_what_another_repository_of_the_registry_has_is_mounted_later_too(
    hub: Hub, place: Place, registry: ThrowAwayRegistry, tmp_path: Path
) -> None:
    hub.add(model_repo("Org/Big", {"model.bin": CONTENT}))
    send(place, hub, "Org/Big", registry.reference("team/big:v1"))
    before = hub.sent
    target = registry.reference("other/big:v1")
    send(place, hub, "Org/Big", target)
    assert hub.sent - before <= HEADS
    check(target, tmp_path)


def test_what_the_registry_has_is_not_fetched_though_nothing_is_kept_here(
    hub: Hub, place: Place, registry: ThrowAwayRegistry, tmp_path: Path
) -> None:
    repo = model_repo("Org/Data", many(20) | {f"data/{number}.bin": os.urandom(2 * MIB) for number in range(3)})
    hub.add(repo)
    target = registry.reference("team/data:v1")
    options = ImportOptions(kitfile_text=KITFILE)
    first = send(place, hub, "Org/Data", target, options=options)
    assert spent(place) == 0
    assert place.store.refs.list() == []
    before = fetched(hub)
    again = send(place, hub, "Org/Data", target, options=options)
    assert again.desc == first.desc
    assert fetched(hub) == before
    assert spent(place) == 0
    change(repo, {"data/007.txt": b"changed"})
    send(place, hub, "Org/Data", target, options=options)
    check(target, tmp_path, "data/007.txt", b"changed")


def test_connections_that_are_cut_again_and_again(
    hub: Hub, place: Place, registry: ThrowAwayRegistry, tmp_path: Path
) -> None:
    """Only failures that got nothing on count: this would be four of them."""
    content = CONTENT * 2
    hub.add(model_repo("Org/Big", {"model.bin": content}))
    hub.cut_after, hub.cuts = 4 * MIB, 100
    target = registry.reference("team/big:v1")
    send(place, hub, "Org/Big", target)
    assert hub.sent <= 1.05 * len(content)
    check(target, tmp_path, content=content)


def test_killed_imports_to_a_registry_go_on(hub: Hub, tmp_path: Path) -> None:
    """The registry keeps what it has of an upload; the next import reads the rest from the hub."""
    size = 96 * MIB
    path = tmp_path / "weights.bin"
    make_file(path, size)
    hub.add(model_repo("Org/Big", {"model.bin": path}))
    rate = 60 * MIB
    kills = 0
    with faulty_registry(Faults(rate=rate, keeps_cut=True)) as registry:
        target = f"{registry.address}/team/big:v1"
        command = ("import", "Org/Big", "--to", target, "--plain-http")
        for step in (1, 2):
            goal = step * size // 3
            kills += kill_when(kit(hub, tmp_path / "home", *command), lambda goal=goal: hub.sent >= goal)  # type: ignore[misc]
        process = kit(hub, tmp_path / "home", *command)
        _, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, complaint
        assert kills == 2
        (blob,) = [content for content in registry.blobs.values() if len(content) == size]
        assert hashlib.sha256(blob).hexdigest() == hub.digest(path)
    on_its_way = 8 * MIB  # in sockets, and read by the registry but not counted yet
    assert hub.sent <= size + kills * on_its_way


def test_where_the_same_is_from_is_said_once_a_source(hub: Hub, place: Place, registry: ThrowAwayRegistry) -> None:
    target = registry.reference("team/data:v1")
    text = b"manifestVersion: 1.0.0\npackage: {name: data}\ndatasets: [{path: data}]\n"
    found = set()
    for source in ("Org/Data", "Mirror/Data", "Org/Data"):
        hub.add(model_repo(source, many(2)))
        found.add(send(place, hub, source, target, options=ImportOptions(kitfile_text=text)).desc.digest)
    assert len(found) == 1
    assert len(referrers(place, target, remote=True)) == 2
    assert spent(place) == 0


def test_a_registry_that_takes_no_attestations_is_told_of(hub: Hub, tmp_path: Path) -> None:
    hub.add(model_repo("Org/Tiny", {"model.bin": b"x" * 2000}))
    with faulty_registry(Faults(types=(KITOPS_ARTIFACT,))) as registry:
        target = Reference.parse(f"{registry.address}/team/tiny:v1")
        events: list[Event] = []
        place = open_network_place(tmp_path / "place", Run(events.append))
        imported = send(place, hub, "Org/Tiny", target)
        assert [event for event in events if isinstance(event, Message) and "does not take" in event.text]
        assert place.store.usage().blobs_size == 0
        output = tmp_path / "said.json"
        command = ("import", "Org/Tiny", "--to", str(target), "--plain-http", "--attestation-output", str(output))
        process = kit(hub, tmp_path / "home", *command)
        stdout, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint
        assert stdout.strip() == f"Pushed {imported.desc.digest}"
        assert json.loads(output.read_text())["runDetails"]
