"""Eight processes pull overlapping ModelKits into one store, on a file system whose locks do nothing.

The store has no locks, so that ``flock`` and ``lockf`` may as well do nothing: nothing is lost, nothing is damaged.
``KITOPS_CHAOS=long`` has larger blobs, and goes on for several rounds.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from kitops.content.protocols import Run
from kitops.oci.digest import Digest
from kitops.oci.reference import Reference
from kitops.ops.pack_to import pack_to
from kitops.store import open_store
from kitops.store.gc import collect
from kitops.store.graph import walk
from kitops.testing import ThrowAwayRegistry
from unit.ops.ops_places import open_network_place

IS_LONG = os.environ.get("KITOPS_CHAOS") == "long"
ROUNDS, LARGE = (4, 96) if IS_LONG else (1, 18)
PROCESSES = 8
MIB = 1024 * 1024
SIZES = [LARGE * MIB, LARGE * MIB, 3 * MIB, MIB, 5000, 0]
KITS = [(0, 1, 2), (0, 2, 3), (1, 3, 4), (0, 1, 4, 5), (2, 3, 4)]
MAIN = """
import fcntl, sys
fcntl.flock = fcntl.lockf = lambda *words: None
from kitops.cli._main import main
for ref in sys.argv[1:]:
    if code := main(["pull", ref, "--plain-http", "--progress", "none"]):
        sys.exit(code)
"""

pytestmark = pytest.mark.chaos


def fill(address: str, tmp_path: Path) -> dict[str, Digest]:
    """Put the kits into the registry; their digests by their references."""
    project, place = tmp_path / "project", open_network_place(tmp_path / "here")
    project.mkdir()
    for number, size in enumerate(SIZES):
        (project / f"{number}.bin").write_bytes(os.urandom(size))
    found = {}
    for number, parts in enumerate(KITS):
        text = f"{address}/team/kit-{number % 2}:v{number}"
        paths = "".join(f"  - path: {part}.bin\n" for part in parts)
        (project / "Kitfile").write_text(f"manifestVersion: 1.0.0\ndatasets:\n{paths}")
        found[text] = pack_to(place, project, [Reference.parse(text)]).desc.digest
    return found


def pull_all(home: Path, refs: list[str]) -> list[tuple[int, str]]:
    """Eight processes at once, each pulls some of the kits in an order of its own; their codes and errors."""
    environment = os.environ | {"KITOPS_HOME": str(home), "COVERAGE_PROCESS_START": ""}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MAIN, *random.sample(refs, 2), refs[number % len(refs)]],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    said = [process.communicate(timeout=120)[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def test_eight_processes_pull_where_locks_do_nothing(tmp_path: Path) -> None:
    with ThrowAwayRegistry() as registry:
        kits = fill(registry.address, tmp_path)
        for number in range(ROUNDS):
            home = tmp_path / f"home-{number}"
            ended = pull_all(home, list(kits))
            assert [code for code, _ in ended] == [0] * PROCESSES, ended
            check_whole(home, kits)


def check_whole(home: Path, kits: dict[str, Digest]) -> None:
    """Every kit is there with the bytes that were packed, and nothing else is."""
    store = open_store(home / "store", run=Run())
    held = set()
    for text, digest in kits.items():
        desc = store.refs.resolve(Reference.parse(text))
        assert desc.digest == digest
        for item in walk(store.blobs, desc):
            held.add(item.digest.encoded)
            assert Digest.of(store.blobs.path(item.digest).read_bytes()) == item.digest
    assert len(store.refs.list()) == len(kits)
    collect(store, grace_seconds=0)
    assert {path.name for path in (home / "store" / "blobs" / "sha256").iterdir()} == held
    for name in ("leases", "ingest", "partial"):
        assert list((home / "store" / name).iterdir()) == []
