"""``kill -9`` in the middle of a pull, again and again: the store stays valid, and little is fetched twice.

``KITOPS_CHAOS=long`` kills fifty times over 1 GiB; otherwise a few times over 64 MiB.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest
from test_main_kills import run_kit

from blob_server import Weather, blob_server
from kitops.content.protocols import Run
from kitops.content.spans import piece_size
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.store import open_store
from kitops.store.gc import collect

CONFIG = "application/vnd.kitops.modelkit.config.v1+json"
LAYER = "application/vnd.kitops.modelkit.model.v1.tar"
KITFILE = b'{"manifestVersion":"1.0.0","model":{"path":"m"}}'
MIB = 1024 * 1024
IS_LONG = os.environ.get("KITOPS_CHAOS") == "long"
SIZE, KILLS, RATE = (1024 * MIB, 50, 160 * MIB) if IS_LONG else (64 * MIB, 3, 50 * MIB)

pytestmark = pytest.mark.chaos


def test_a_pull_that_is_killed_again_and_again(tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    config = Descriptor.of(KITFILE, CONFIG)
    manifest = Manifest.build(config=config, layers=[Descriptor.of(data, LAYER)])
    blobs = {str(config.digest): KITFILE, str(manifest.layers[0].digest): data}
    with blob_server(manifest, blobs, lambda asked: Weather(rate=RATE)) as server:
        ref = f"{server.address}/team/big:v1"
        kills = 0
        while kills < KILLS:
            seconds = random.uniform(0.4, 1.2)
            if run_kit(tmp_path, "pull", ref, "--plain-http", kill_after=seconds) != -signal.SIGKILL:
                break
            kills += 1
            store = open_store(tmp_path / "store", run=Run())
            assert store.refs.list() == []
            assert not store.blobs.exists(manifest.layers[0].digest)
            collect(store)
        assert kills
        assert run_kit(tmp_path, "pull", ref, "--plain-http") == 0

        assert server.sent <= 1.05 * SIZE + kills * piece_size(SIZE)
    store = open_store(tmp_path / "store", run=Run())
    assert store.refs.resolve(Reference.parse(ref)).digest == manifest.descriptor.digest
    assert store.blobs.path(manifest.layers[0].digest).read_bytes() == data
    assert os.listdir(store.layout.partial) == []
