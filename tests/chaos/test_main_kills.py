"""``kill -9`` in the middle of pack and of unpack: the store stays valid, and the rerun finishes and cleans up.

``KITOPS_CHAOS=long`` does it twenty times each; otherwise a few.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from golden_trees import tree_of
from kitops.content.protocols import Run
from kitops.formats.modelkit import read_modelkit
from kitops.oci.reference import Reference
from kitops.store import Store, open_store

ROUNDS = 20 if os.environ.get("KITOPS_CHAOS") == "long" else 4
KIT = [sys.executable, "-c", "import sys; from kitops.cli._main import main; sys.exit(main())"]

pytestmark = pytest.mark.chaos


@pytest.fixture
def project(tmp_path: Path) -> Path:
    context = tmp_path / "project"
    (context / "data").mkdir(parents=True)
    (context / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {path: model.bin}\ndatasets: [{path: data}]\n")
    (context / "model.bin").write_bytes(os.urandom(64 << 20))
    for number in range(300):
        (context / f"data/{number:03}.csv").write_text(f"{number}\n" * 100)
    return context


def run_kit(home: Path, *args: object, kill_after: float | None = None) -> int:
    """Run ``kit``; with ``kill_after`` seconds it is killed unless it ended before. The exit code."""
    environment = os.environ | {"KITOPS_HOME": str(home), "COVERAGE_PROCESS_START": ""}
    process = subprocess.Popen(
        [*KIT, *map(str, args), "--progress", "none"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return process.returncode


def test_kills_in_the_middle_of_pack_and_unpack(project: Path, tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    expected = tree_of(project)
    for _ in range(ROUNDS):
        run_kit(home, "pack", project, "-t", "x:v1", "--no-cache", kill_after=random.uniform(0.1, 0.6))
        store = open_store(home / "store", run=Run())
        for row in store.refs.list():
            check_whole(store, row.reference)
    assert run_kit(home, "pack", project, "-t", "x:v1") == 0
    for _ in range(ROUNDS):
        run_kit(home, "unpack", "x:v1", "-d", out, "--overwrite", kill_after=random.uniform(0.1, 0.5))
        for path, content in tree_of(out).items() if out.exists() else ():
            assert path == "Kitfile" or content == expected[path], f"{path} is half written"
    assert run_kit(home, "unpack", "x:v1", "-d", out, "--overwrite") == 0
    assert {path: content for path, content in tree_of(out).items() if path != "Kitfile"} == {
        path: content for path, content in expected.items() if path != "Kitfile"
    }
    assert sorted(os.listdir(out)) == [".kitops-unpacked.json", "Kitfile", "data", "model.bin"]


def check_whole(store: Store, ref: Reference) -> None:
    """Every blob below ``ref`` is there and is what its descriptor says."""
    kit = read_modelkit(store.blobs, store.refs.resolve(ref))
    for layer in kit.layers:
        with store.blobs.open(layer.desc) as reader:
            buffer = memoryview(bytearray(1 << 20))
            while reader.readinto(buffer):
                pass
