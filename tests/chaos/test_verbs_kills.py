"""Save and load where they are killed, or where there is no room: no half file, no half ModelKit; the rerun does it.

``KITOPS_CHAOS=long`` kills twenty times each; otherwise a few.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kitops.content.protocols import Run
from kitops.layout.archive import open_archive
from kitops.oci.reference import Reference
from kitops.store import open_store
from kitops.store.graph import walk
from small_disks import small_disk

ROUNDS = 20 if os.environ.get("KITOPS_CHAOS") == "long" else 3
KIT = str(Path(sys.executable).with_name("kit"))
MIB = 1 << 20

pytestmark = pytest.mark.chaos


def run_kit(home: Path, *words: object, kill_after: float | None = None) -> tuple[int, str]:
    """Run ``kit``, killed after so many seconds unless it ended before; its exit code and what it said."""
    process = subprocess.Popen(
        [KIT, *map(str, words), "--progress", "none"],
        env=os.environ | {"KITOPS_HOME": str(home), "HOME": str(home), "COVERAGE_PROCESS_START": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = process.communicate(timeout=kill_after)[1]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        said = process.communicate()[1]
    return process.returncode, said


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A store with x:v1, of 48 MiB."""
    context = tmp_path / "project"
    context.mkdir()
    (context / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {path: model.bin}\n")
    (context / "model.bin").write_bytes(os.urandom(48 * MIB))
    assert run_kit(tmp_path / "home", "pack", context, "-t", "x:v1")[0] == 0
    return tmp_path / "home"


def check_store(home: Path) -> int:
    """Every ModelKit that is listed is whole; how many there are."""
    store = open_store(home / "store", run=Run())
    rows = store.refs.list()
    for row in rows:
        for item in walk(store.blobs, row.desc):
            store.blobs.fetch(item)
    return len(rows)


def test_kills_in_the_middle_of_save_and_load(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for _ in range(ROUNDS):
        run_kit(home, "save", "x:v1", "-o", out / "x.tar", kill_after=random.uniform(0.15, 0.4))
        names = [path.name for path in out.iterdir()]
        assert names in ([], ["x.tar"])
    assert run_kit(home, "save", "x:v1", "-o", out / "x.tar")[0] == 0
    with open_archive(str(out / "x.tar"), Run()) as contents:
        assert contents.names().texts == ["x:v1"]
    away = tmp_path / "away"
    for _ in range(ROUNDS):
        run_kit(away, "load", "-i", out / "x.tar", kill_after=random.uniform(0.15, 0.4))
        assert check_store(away) in (0, 1)
    assert run_kit(away, "load", "-i", out / "x.tar")[0] == 0
    assert check_store(away) == 1
    source, target = open_store(home / "store"), open_store(away / "store")
    assert source.refs.resolve(Reference.parse("x:v1")) == target.refs.resolve(Reference.parse("x:v1"))


def test_no_room(home: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "size=16m") as small:
        code, said = run_kit(home, "save", "x:v1", "-o", small / "x.tar")
        assert code == 14
        assert "bytes needed" in said
        assert list(small.iterdir()) == []
        assert run_kit(home, "save", "x:v1", "-o", tmp_path / "x.tar")[0] == 0
        code, said = run_kit(small / "home", "load", "-i", tmp_path / "x.tar")
        assert code == 14
        assert "bytes needed" in said
        assert run_kit(small / "home", "list")[0] == 0
        code, said = run_kit(home, "copy", "store:x:v1", f"oci:{small / 'layout'}:v1")
        assert code == 14
        assert "bytes needed" in said
        assert not (small / "layout" / "blobs").exists()  # asked before the first byte
