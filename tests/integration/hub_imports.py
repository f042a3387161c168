"""Imports from the hub of the tests: in this process, and by the real ``kit``, which may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hub_server import Hub
from kitops.errors import KitError
from kitops.importers.location import parse_location
from kitops.ops.import_ import Imported, ImportOptions, import_
from kitops.ops.place import Place
from kitops.ops.sources import SourceOptions, open_source

MIB = 1024 * 1024


def run_import(
    place: Place,
    hub: Hub,
    source: str,
    options: ImportOptions | None = None,
    *,
    token: str | None = None,
    ref: str = "",
) -> Imported:
    reach = SourceOptions(revision=ref, token=token, endpoint=hub.endpoint)
    with open_source(place, parse_location(source), reach) as tree:
        return import_(place, tree, options)


def failure(place: Place, hub: Hub, source: str = "Org/Tiny", **more: object) -> KitError:
    with pytest.raises(KitError) as caught:
        run_import(place, hub, source, **more)  # type: ignore[arg-type]
    return caught.value


def kit(hub: Hub, home: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "KITOPS_HOME": str(home), "NO_COLOR": "1"}
    command = [str(Path(sys.executable).with_name("kit")), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


def kill_when(process: subprocess.Popen[str], is_time: Callable[[], bool]) -> bool:
    """Kill a process at a moment; False when it ended before."""
    limit = time.monotonic() + 60
    while not is_time() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    was_killed = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return was_killed


def make_file(path: Path, size: int) -> None:
    """A file of random bytes."""
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))


def check_unpacked(hub: Hub, root: Path, path: Path) -> None:
    """``org/big`` of the store below ``root`` has the content of ``path`` as its model."""
    process = kit(hub, root / "home", "unpack", "org/big", "-d", str(root / "out"))
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    with path.open("rb") as one, (root / "out/model.bin").open("rb") as other:
        while piece := one.read(MIB):
            assert piece == other.read(MIB)


def tree_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("[!.]*")) if path.is_file()}
