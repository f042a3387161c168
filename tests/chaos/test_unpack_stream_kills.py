"""An unpack straight from a registry that is killed goes on: right bytes, few of them twice, nothing in the store."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blob_server import BlobServer, Weather, blob_server
from golden_trees import tree_of
from kitops.oci.manifest import Manifest
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Place, open_place

MIB = 1024 * 1024
KIT = [sys.executable, "-c", "import sys; from kitops.cli._main import main; sys.exit(main())"]
SMALL, BIG, RATE, KILLS = 100, 24 * MIB, 40 * MIB, 4

pytestmark = pytest.mark.chaos


def no_network() -> object:
    raise AssertionError("packing needs no network")


def pack_project(tmp_path: Path, layer_format: str) -> tuple[Path, Manifest, dict[str, bytes]]:
    project = tmp_path / "project"
    (project / "data/deep").mkdir(parents=True)
    (project / "weights.bin").write_bytes(random.Random(1).randbytes(BIG))
    text = "manifestVersion: 1.0.0\nmodel: {path: weights.bin}\n"
    if layer_format == "tar":
        text += "datasets: [{path: data}]\n"
        for number in range(SMALL):
            (project / f"data/deep/{number}").write_bytes(random.Random(number).randbytes(1000 * number))
    else:
        (project / "data/deep").rmdir()
        (project / "data").rmdir()
    (project / "Kitfile").write_text(text)
    place: Place = open_place(tmp_path / "packer", connection=no_network)  # type: ignore[arg-type]
    packed = pack(place, project, PackOptions(layer_format=layer_format))  # type: ignore[arg-type]
    manifest = Manifest.parse(place.store.blobs.fetch(packed.desc))
    blobs = {str(child.digest): place.store.blobs.path(child.digest).read_bytes() for child in manifest.children}
    return project, manifest, blobs


def run_kit(home: Path, *words: object, server: BlobServer | None = None, limit: int = 0) -> int:
    """Run ``kit``; with ``server`` it is killed once that has sent ``limit`` bytes in all."""
    process = subprocess.Popen(
        [*KIT, *map(str, words), "--plain-http", "--progress", "none"],
        env=os.environ | {"KITOPS_HOME": str(home), "COVERAGE_PROCESS_START": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if server is not None:
        while process.poll() is None and server.sent < limit:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    return process.wait(60)


def list_staging(out: Path) -> list[str]:
    return [name for name in os.listdir(out) if name.startswith(".kitops-unpack-")]


@pytest.mark.parametrize("layer_format", ["tar", "raw"])
def test_a_stream_that_is_killed_again_and_again(layer_format: str, tmp_path: Path) -> None:
    project, manifest, blobs = pack_project(tmp_path, layer_format)
    size = sum(map(len, blobs.values()))
    home, out = tmp_path / "home", tmp_path / "out"
    with blob_server(manifest, blobs, lambda asked: Weather(rate=RATE)) as server:
        words = ("unpack", f"{server.address}/team/big:v1", "-d", out)
        kills = 0
        for number in range(1, KILLS + 1):
            kills += run_kit(home, *words, server=server, limit=number * size // (KILLS + 1)) == -signal.SIGKILL
            assert not out.exists() or [name for name in os.listdir(out) if not name.startswith(".kitops-")] == []
        assert kills == KILLS
        assert run_kit(home, *words) == 0
        assert server.sent <= size + kills * 12 * MIB
    assert {path: found for path, found in tree_of(out).items() if path != "Kitfile"} == {
        path: found for path, found in tree_of(project).items() if path != "Kitfile"
    }
    assert list_staging(out) == []
    stored = [path for path in (home / "store").rglob("*") if path.is_file() and path.stat().st_size > MIB]
    assert stored == []


def test_what_a_killed_stream_left_is_not_believed(tmp_path: Path) -> None:
    project, manifest, blobs = pack_project(tmp_path, "raw")
    home, out = tmp_path / "home", tmp_path / "out"
    with blob_server(manifest, blobs, lambda asked: Weather(rate=RATE)) as server:
        words = ("unpack", f"{server.address}/team/big:v1", "-d", out)
        assert run_kit(home, *words, server=server, limit=BIG * 3 // 4) == -signal.SIGKILL
        (staging,) = list_staging(out)
        partial = out / staging / "files/weights.bin"
        with partial.open("r+b") as file:
            file.write(b"damaged")
        sent = server.sent
        assert run_kit(home, *words) == 0
        assert server.sent - sent >= BIG
    assert (out / "weights.bin").read_bytes() == (project / "weights.bin").read_bytes()


def test_a_network_that_fails_leaves_what_came(tmp_path: Path) -> None:
    project, manifest, blobs = pack_project(tmp_path, "raw")
    home, out = tmp_path / "home", tmp_path / "out"
    weather = Weather(rate=RATE)
    with blob_server(manifest, blobs, lambda asked: weather) as server:
        words = ("unpack", f"{server.address}/team/big:v1", "-d", out)
        process = subprocess.Popen(
            [*KIT, *map(str, words), "--plain-http", "--progress", "none"],
            env=os.environ | {"KITOPS_HOME": str(home), "COVERAGE_PROCESS_START": ""},
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and server.sent < BIG * 3 // 4:
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert len(list_staging(out)) == 1
        sent = server.sent
        assert run_kit(home, *words) == 0
        assert server.sent - sent < BIG * 3 // 4
    assert (out / "weights.bin").read_bytes() == (project / "weights.bin").read_bytes()
    assert list_staging(out) == []
