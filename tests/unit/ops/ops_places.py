"""Places for the tests of the verbs."""

from __future__ import annotations

from pathlib import Path

from kitops.content.protocols import Run
from kitops.ops.place import Connection, Place
from kitops.registry.credentials import CredentialStore
from kitops.registry.network import Network
from kitops.store import open_store


def no_network() -> Connection:
    raise AssertionError("this test has no network")


def open_test_place(home: Path, run: Run | None = None) -> Place:
    run = run or Run()
    return Place(home, open_store(home / "store", run=run), no_network, run)


def open_network_place(home: Path, run: Run | None = None) -> Place:
    """A place that speaks plain HTTP to registries and has no credentials."""
    run = run or Run()
    connection = Connection(Network(plain_http=True), CredentialStore(home / "credentials.json"))
    return Place(home, open_store(home / "store", run=run), lambda: connection, run)
