"""The benchmark runs and prints its table; what it measures at this size means nothing and is not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    "pack one file of 8 MiB",
    "pack four files of 2 MiB",
    "pack the 8 MiB again, nothing changed",
    "pack 200 files of 4 KiB",
    "unpack one file of 8 MiB, verified",
    "unpack 200 files of 4 KiB",
    "peak RSS of all of the above",
    "kit version",
    "kit list of 20 tags",
]
LOOKED = [
    "convert 8 MiB of raw layers to ModelPack",
    "convert a tar layer of 8 MiB to raw",
    "status of 200 unchanged files",
    "verify four files of 2 MiB",
    "tensors of 8 MiB in a registry",
]
MOVED = [
    "push one blob of 4 MiB",
    "push four blobs of 1 MiB",
    "push 8 blobs of 1 MiB",
    "pull one blob of 4 MiB",
    "pull four blobs of 1 MiB",
    "pull 8 blobs of 1 MiB",
    "unpack four layers of 1 MiB from the registry",
    "pull 4 MiB over a link of 20 ms and 30 MB/s a connection",
    "push what is there already, one of it",
    "push what is there already, four of it",
    "push what is there already, 8 of it",
    "pull 4 MiB from `kit registry serve`",
    "peak RSS of all of the above",
]
IMPORTED = ["import one file of 4 MiB from a hub"]


def test_every_row_of_the_table_is_measured(need: Callable[[str], str], tmp_path: Path) -> None:
    need("docker-registry")
    need("curl")
    command = [sys.executable, str(ROOT / "bench" / "run.py"), "--scale", "small"]
    command += ["--data", str(tmp_path / "data"), "--json", str(tmp_path / "figures.json")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stderr
    table = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| ")]
    table = [row for row in table if row != "row"]
    assert table[: len(ROWS)] == ROWS
    begin = table.index(LOOKED[0])
    assert table[begin : begin + len(LOOKED)] == LOOKED
    assert "Listing the tensors of a file in a registry reads " in done.stdout
    begin = table.index(MOVED[0])
    assert table[begin : begin + len(MOVED)] == MOVED
    assert "Peak RSS of `kit registry serve`" in done.stdout
    begin = table.index(IMPORTED[0])
    assert table[begin : begin + len(IMPORTED)] == IMPORTED
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert all(figure["seconds"] > 0 for figure in figures if "seconds" in figure)
    assert not (tmp_path / "data" / "runs").exists()


def test_single_rows_are_measured_and_told_as_json(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "bench" / "run.py"), "--scale", "small", "--data", str(tmp_path / "data")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    options = ["--rows", "pack one file", "kit version", "--format", "json"]
    done = subprocess.run(
        [*command, *options], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    figures = [figure for figure in json.loads(done.stdout) if figure["command"] == "kit"]
    assert [figure["row"] for figure in figures] == [ROWS[0], ROWS[4], ROWS[7]]
    assert all(figure["ratio"] > 0 and figure["cpu"] > 0 and figure["peak"] > 0 for figure in figures)
    refused = subprocess.run([*command, "--rows", "no such"], capture_output=True, text=True, timeout=60, check=False)
    assert "no row is named like no such" in refused.stderr
