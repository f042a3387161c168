"""``kill -9`` in the middle of a pull and of a push, again and again: all stays valid, and little travels twice.

``KITOPS_CHAOS=long`` kills fifty times over 1 GiB; otherwise five times over 64 MiB.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_main_kills import KIT, run_kit

from blob_server import Weather, blob_server
from faulty_registry import Faults, faulty_registry
from kitops.content.protocols import Run
from kitops.content.spans import piece_size
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.store import Store, open_store
from kitops.store.gc import collect
from kitops.store.graph import walk

CONFIG = "application/vnd.kitops.modelkit.config.v1+json"
LAYER = "application/vnd.kitops.modelkit.model.v1.tar"
KITFILE = b'{"manifestVersion":"1.0.0","model":{"path":"m"}}'
MIB = 1024 * 1024
IS_LONG = os.environ.get("KITOPS_CHAOS") == "long"
SIZE, KILLS, RATE = (1024 * MIB, 50, 160 * MIB) if IS_LONG else (64 * MIB, 5, 50 * MIB)
BUFFERED = 8 * MIB
"""Bytes that may be under way in the buffers of one connection."""

pytestmark = pytest.mark.chaos


def kill_at(home: Path, moved: Callable[[], int], *words: object) -> bool:
    """Run ``kit`` until ``moved()`` has grown by a random number of bytes, then kill it; False if it ended before.

    Now and then it is killed after a while instead, wherever it is then. All kills together fall into one transfer.
    """
    limit = moved() + random.randrange(int(0.9 * SIZE / KILLS))
    end = time.monotonic() + (random.uniform(0.0, 0.5) if random.random() < 0.1 else 60.0)
    environment = os.environ | {"KITOPS_HOME": str(home), "COVERAGE_PROCESS_START": ""}
    process = subprocess.Popen(
        [*KIT, *map(str, words), "--plain-http", "--progress", "none"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and moved() <= limit and time.monotonic() < end:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def tell(verb: str, kills: int, moved: int) -> None:
    """The figures of a long run, which pytest shows with ``-s`` or ``-rP``."""
    sys.stdout.write(f"{verb}: {kills} kills, {moved / SIZE:.3f} of {SIZE // MIB} MiB travelled\n")


def check_store(store: Store, refs: int) -> None:
    """So many refs, each with all of its blobs as their digests say."""
    rows = store.refs.list()
    assert len(rows) == refs
    for row in rows:
        for item in walk(store.blobs, row.desc):
            assert Digest.of(store.blobs.path(item.digest).read_bytes()) == item.digest


def test_a_pull_that_is_killed_again_and_again(tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    config = Descriptor.of(KITFILE, CONFIG)
    manifest = Manifest.build(config=config, layers=[Descriptor.of(data, LAYER)])
    blobs = {str(config.digest): KITFILE, str(manifest.layers[0].digest): data}
    with blob_server(manifest, blobs, lambda asked: Weather(rate=RATE)) as server:
        ref = f"{server.address}/team/big:v1"
        kills = 0
        while kills < KILLS and kill_at(tmp_path, lambda: server.sent, "pull", ref):
            kills += 1
            store = open_store(tmp_path / "store", run=Run())
            assert store.refs.list() == []
            assert not store.blobs.exists(manifest.layers[0].digest)
            collect(store)
        assert kills >= KILLS - 1
        assert run_kit(tmp_path, "pull", ref, "--plain-http") == 0

        tell("pull", kills, server.sent)
        assert server.sent <= 1.05 * SIZE + kills * piece_size(SIZE)
    store = open_store(tmp_path / "store", run=Run())
    assert store.refs.resolve(Reference.parse(ref)).digest == manifest.descriptor.digest
    assert store.blobs.path(manifest.layers[0].digest).read_bytes() == data
    assert os.listdir(store.layout.partial) == []


def test_a_push_that_is_killed_again_and_again(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {path: model.bin}\n")
    (project / "model.bin").write_bytes(os.urandom(SIZE))
    assert run_kit(tmp_path, "pack", project, "-t", "big:v1") == 0
    (project / "model.bin").unlink()
    store = open_store(tmp_path / "store", run=Run())
    manifest = Manifest.parse(store.blobs.fetch(store.refs.resolve(Reference.parse("big:v1"))))
    layer = manifest.layers[0]
    with faulty_registry(Faults(rate=RATE)) as registry:
        ref = f"{registry.address}/team/big:v1"
        moved = lambda: registry.came + sum(len(upload.content) for upload in registry.uploads.values())  # noqa: E731
        kills = 0
        while kills < KILLS and kill_at(tmp_path, moved, "push", "big:v1", ref):
            kills += 1
            assert not registry.manifests
            collect(open_store(tmp_path / "store", run=Run()))
        assert kills >= KILLS - 1
        assert run_kit(tmp_path, "push", "big:v1", ref, "--plain-http") == 0

        tell("push", kills, registry.came)
        assert registry.came <= 1.05 * SIZE + kills * BUFFERED
        assert ("team/big", "v1") in registry.manifests
        stored = registry.blobs["team/big", str(layer.digest)]
        assert Digest.of(stored) == layer.digest
        assert not registry.uploads
    check_store(open_store(tmp_path / "store", run=Run()), 1)
    assert os.listdir(store.layout.uploads) == []
