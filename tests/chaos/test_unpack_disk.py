"""Unpacking where there is no room, or no leave to write: exit 14, nothing half-written, nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from golden_trees import tree_of
from kitops.server import RegistryServer
from small_disks import read_only, small_disk

KIT = str(Path(sys.executable).with_name("kit"))
MIB = 1 << 20

pytestmark = pytest.mark.chaos


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


def kit(home: Path, *arguments: str | Path) -> Ended:
    environment = os.environ | {"KITOPS_HOME": str(home), "HOME": str(home)}
    done = subprocess.run(
        [KIT, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Shelf:
    """A store, a registry, and the same ModelKit in both under several names."""

    home: Path
    registry: str

    def source(self, tag: str, *, is_local: bool) -> list[str]:
        if is_local:
            return [f"x:{tag}"]
        return [f"{self.registry}/x:{tag}", "--plain-http"]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    root = tmp_path_factory.mktemp("shelf")
    project = root / "project"
    (project / "data").mkdir(parents=True)
    (project / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {path: model.bin}\ndatasets: [{path: data}]\n")
    (project / "model.bin").write_bytes(os.urandom(4 * MIB))
    for number in range(100):
        (project / f"data/{number:03}.csv").write_text(f"{number}\n" * 100)
    flat = project / "flat.yaml"
    flat.write_text("manifestVersion: 1.0.0\nmodel: {path: model.bin}\n")
    with RegistryServer(root / "registry") as server:
        found = Shelf(root / "home", server.address)
        for tag, more in (
            ("tar", []),
            ("gzip", ["--compression", "gzip-fastest"]),
            ("raw", ["--layer-format", "raw", "-f", flat]),
        ):
            assert kit(found.home, "pack", project, "-t", f"x:{tag}", *more).code == 0
            done = kit(found.home, "push", f"x:{tag}", f"{found.registry}/x:{tag}", "--plain-http")
            assert done.code == 0, done.err
        yield found


@pytest.mark.parametrize("is_local", [True, False], ids=["store", "registry"])
@pytest.mark.parametrize("tag", ["tar", "gzip", "raw"])
def test_a_disk_without_room(shelf: Shelf, tag: str, is_local: bool, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "size=2m") as target:
        (target / "data").mkdir()
        (target / "data/000.csv").write_text("mine")
        (target / "model.bin").write_text("old weights")
        before = tree_of(target)
        ended = kit(shelf.home, "unpack", *shelf.source(tag, is_local=is_local), "-d", target, "--overwrite")
        assert ended.code == 14, ended.err
        assert "no space left on device" in ended.err
        assert "Hint: free some space" in ended.err
        assert tree_of(target) == before


def test_both_numbers_are_told(shelf: Shelf, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "size=2m") as target:
        ended = kit(shelf.home, "unpack", "x:raw", "-d", target / "new" / "directory")
        assert ended.code == 14
        assert f"({4 * MIB} bytes needed, {2 * MIB} bytes free)" in ended.err
        assert os.listdir(target) == []


@pytest.mark.parametrize("is_local", [True, False], ids=["store", "registry"])
def test_a_disk_without_inodes(shelf: Shelf, is_local: bool, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "size=16m,nr_inodes=50") as target:
        (target / "mine.txt").write_text("mine")
        ended = kit(shelf.home, "unpack", *shelf.source("tar", is_local=is_local), "-d", target)
        assert (ended.code, "no space left on device" in ended.err) == (14, True), ended.err
        assert tree_of(target) == {"mine.txt": b"mine"}


@pytest.mark.parametrize("is_local", [True, False], ids=["store", "registry"])
def test_a_target_that_cannot_be_written(shelf: Shelf, is_local: bool, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "model.bin").write_text("old weights")
    with read_only(target):
        for place in (target, target / "new" / "directory"):
            ended = kit(shelf.home, "unpack", *shelf.source("tar", is_local=is_local), "-d", place, "--overwrite")
            assert ended.code == 14, ended.err
            assert ended.err.startswith("Error: unpacking into "), ended.err
            assert "Hint: " in ended.err
    assert tree_of(target) == {"model.bin": b"old weights"}


def test_there_is_room_again(shelf: Shelf, tmp_path: Path) -> None:
    """What was too small once holds no litter: after the disk has grown the same command works."""
    with small_disk(tmp_path / "small", "size=2m") as target:
        assert kit(shelf.home, "unpack", "x:tar", "-d", target).code == 14
        subprocess.run(["mount", "-o", "remount,size=16m", str(target)], check=True)
        assert kit(shelf.home, "unpack", "x:tar", "-d", target).code == 0
        assert sorted(os.listdir(target)) == [".kitops-unpacked.json", "Kitfile", "data", "model.bin"]
        used = os.statvfs(target)
        assert (used.f_blocks - used.f_bfree) * used.f_frsize < 6 * MIB
