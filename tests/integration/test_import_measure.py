"""What an import costs: bytes read, bytes on the disk, memory. Measured of the whole process, and with kills."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hub_server import Hub, model_repo
from integration.hub_imports import MIB, kill_when, kit, make_file
from integration.test_import_again import KITFILE, spent

SIZE = 256 * MIB
MOST_MEMORY = 250 * MIB


def make_files(root: Path, size: int, count: int) -> list[Path]:
    paths = []
    for number in range(count):
        path = root / f"part-{number}.bin"
        make_file(path, size // count)
        paths.append(path)
    return paths


LAUNCH = "import os, subprocess, sys; process = subprocess.Popen(sys.argv[1:]);"
LAUNCH += (
    "_, status, usage = os.wait4(process.pid, 0); print(usage.ru_maxrss); sys.exit(os.waitstatus_to_exitcode(status))"
)
"""Starts a process from a small one, because a process has the most memory that the one had that started it."""


def measured(hub: Hub, home: Path, *arguments: str) -> int:
    """Run ``kit`` to the end; the most memory that it had, in bytes."""
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "KITOPS_HOME": str(home)}
    command = [sys.executable, "-c", LAUNCH, str(Path(sys.executable).with_name("kit")), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1]) * 1024


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "xet", "directory"])
def test_every_byte_is_read_once_and_lies_here_once(hub: Hub, tmp_path: Path, kind: str) -> None:
    if kind == "xet":
        pytest.importorskip("hf_xet", reason="the hub's client for Xet is made for 64 bit x86 and ARM")
        hub.has_xet = True
    paths = make_files(tmp_path, SIZE, 4 if kind == "directory" else 1)
    below = "data/" if kind == "directory" else ""
    hub.add(model_repo("Org/Big", {f"{below}{path.name}": path for path in paths}))
    arguments = ["import", "Org/Big", "--progress", "none"]
    if kind == "directory":
        (tmp_path / "Kitfile").write_bytes(KITFILE)
        arguments += ["-f", str(tmp_path / "Kitfile")]
    memory = measured(hub, tmp_path / "home", *arguments)
    assert hub.sent + hub.xet.sent <= 1.01 * SIZE
    assert spent(tmp_path / "home") <= 1.02 * SIZE
    assert memory <= MOST_MEMORY
    read = hub.sent + hub.xet.sent
    measured(hub, tmp_path / "home", *arguments)
    assert hub.sent + hub.xet.sent - read <= 0.01 * SIZE


@pytest.mark.slow
def test_kills_cost_little(hub: Hub, tmp_path: Path) -> None:
    """Twenty of them, so many bytes each, are less than a tenth of 2 GiB: the long run is that."""
    is_long = os.environ.get("KITOPS_CHAOS") == "long"
    rounds, size = (20, 2048 * MIB) if is_long else (4, SIZE)
    lost = 0.1 * 2048 * MIB / 20
    (path,) = make_files(tmp_path, size, 1)
    hub.add(model_repo("Org/Big", {"model.bin": path}))
    kills = 0
    for _ in range(rounds):
        goal = hub.sent + size // (rounds + 1)
        kills += kill_when(kit(hub, tmp_path / "home", "import", "Org/Big"), lambda goal=goal: hub.sent >= goal)  # type: ignore[misc]
    measured(hub, tmp_path / "home", "import", "Org/Big")
    assert kills == rounds
    assert hub.sent <= size + kills * lost
    assert spent(tmp_path / "home") <= 1.02 * size
