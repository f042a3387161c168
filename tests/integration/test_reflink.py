"""Raw layers and adopted storage share their blocks where the file system has reflinks: here an XFS of our own."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from small_disks import mounted

KIT = str(Path(sys.executable).with_name("kit"))
MIB = 1 << 20
WEIGHTS = 48 * MIB
SLACK = 8 * MIB
"""What the file system itself, and the other files of a store, may take."""
STORAGE = Path(__file__).parents[1] / "golden" / "stores" / "2026" / "storage"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory, need) -> Iterator[Path]:
    """An XFS with reflinks, on a sparse file; containers have no loop devices."""
    need("mkfs.xfs")
    root = tmp_path_factory.mktemp("reflink")
    image, disk = root / "image", root / "disk"
    with image.open("wb") as file:
        file.truncate(400 * MIB)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True)
    disk.mkdir()
    with mounted(disk, ["-o", "loop", str(image), str(disk)], required=False):
        yield disk


@pytest.fixture
def room(disk: Path, tmp_path: Path) -> Iterator[Path]:
    """A directory on it, gone afterwards."""
    path = disk / tmp_path.name
    path.mkdir()
    yield path
    shutil.rmtree(path)


def kit(home: Path, *arguments: str | Path) -> str:
    environment = os.environ | {"KITOPS_HOME": str(home), "HOME": str(home)}
    command = [KIT, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def used(path: Path) -> int:
    os.sync()
    room = os.statvfs(path)
    return (room.f_blocks - room.f_bfree) * room.f_frsize


def make_project(room: Path) -> Path:
    project = room / "project"
    (project / "weights").mkdir(parents=True)
    (project / "weights" / "model.bin").write_bytes(os.urandom(WEIGHTS))
    (project / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {path: weights/model.bin}\n")
    return project


def test_packing_and_unpacking_raw_layers_takes_no_space(room: Path) -> None:
    project, home = make_project(room), room / "home"
    before = used(room)
    kit(home, "pack", project, "-t", "x:v1", "--layer-format", "raw")
    packed = used(room)
    assert packed - before < SLACK, "the blob shares the blocks of the file"
    kit(home, "unpack", "x:v1", "-d", room / "out")
    assert used(room) - packed < SLACK, "the unpacked file shares those of the blob"

    content = (project / "weights" / "model.bin").read_bytes()
    with (project / "weights" / "model.bin").open("r+b") as file:  # the three are files of their own all the same
        file.write(b"changed")
    assert (room / "out" / "weights" / "model.bin").read_bytes() == content
    shutil.rmtree(room / "out")
    kit(home, "unpack", "x:v1", "-d", room / "out")  # verified: exit 5 if the blob had changed
    assert (room / "out" / "weights" / "model.bin").read_bytes() == content


def test_what_is_left_is_neither_shared_nor_copied(room: Path) -> None:
    home = room / "home"
    kit(home, "pack", make_project(room), "-t", "x:v1", "--layer-format", "raw")
    done = json.loads(kit(home, "unpack", "x:v1", "-d", room / "out", "--format", "json"))
    assert (done["reflinked"], done["copied"]) == (WEIGHTS, done["size"] - WEIGHTS)
    (room / "out/weights/model.bin").write_bytes(b"mine")
    done = json.loads(kit(home, "unpack", "x:v1", "-d", room / "out", "-i", "--format", "json"))
    assert (done["files"], done["kept"], done["keptSize"], done["size"]) == (0, 1, 4, 0)
    assert (done["reflinked"], done["copied"]) == (0, 0)


def test_a_tar_layer_is_a_copy(room: Path) -> None:
    """What the test above measures does take space where nothing is shared."""
    project = make_project(room)
    before = used(room)
    kit(room / "home", "pack", project, "-t", "x:v1")
    assert used(room) - before >= WEIGHTS


def test_adoption_shares_blocks_where_links_do_not_work(room: Path) -> None:
    """A bind mount is another mount of the same file system: no hard links between the two, but reflinks."""
    storage, elsewhere = room / "storage", room / "elsewhere"
    kit(room / "packer", "pack", make_project(room), "-t", "big:v1")
    shutil.copytree(STORAGE, storage)
    (blob,) = [path for path in (room / "packer/store/blobs/sha256").iterdir() if path.stat().st_size > WEIGHTS]
    shutil.rmtree(room / "project")
    add_kit(storage, room / "packer" / "store")
    shutil.rmtree(room / "packer")
    elsewhere.mkdir()
    with mounted(elsewhere, ["--bind", str(storage), str(elsewhere)]):
        before = used(room)
        told = kit(room / "home", "cache", "adopt", elsewhere, "--format", "json")
        assert '"copied":0' in told.replace(" ", "")
        assert used(room) - before < SLACK
        assert (room / "home/store/blobs/sha256" / blob.name).stat().st_nlink == 1, "no hard link"
        kit(room / "home", "unpack", "big:v1", "-d", room / "out")
    assert (room / "out" / "weights" / "model.bin").stat().st_size == WEIGHTS


def add_kit(storage: Path, store: Path) -> None:
    """Have the Go tool's storage hold what our store holds."""
    for path in (store / "blobs" / "sha256").iterdir():
        path.rename(storage / "blobs" / "sha256" / path.name)
    (desc,) = json.loads((store / "index.json").read_text())["manifests"]
    desc.pop("annotations", None)
    stem = base64.urlsafe_b64encode(b"localhost/big").decode()
    (storage / f"{stem}-index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [desc]}))
    (storage / f"{stem}-tags.json").write_text(json.dumps({"v1": desc}))
