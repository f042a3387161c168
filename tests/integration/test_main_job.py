"""The main job on real input: a trained model is packed, pushed to a registry, pulled elsewhere, unpacked and run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

KIT = str(Path(sys.executable).with_name("kit"))
MIB = 1024 * 1024


class Machine:
    """A machine with a store of its own that runs the real ``kit``."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.home.mkdir()
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "KITOPS_HOME": str(home / "kitops"),
            "LC_ALL": "C.UTF-8",
        } | {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}

    @property
    def store(self) -> Path:
        return self.home / "kitops" / "store"

    def kit(self, *arguments: str | Path, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [KIT, *map(str, arguments)],
            cwd=cwd or self.home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"kit {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree(root: Path) -> dict[str, tuple[int, str]]:
    """Names, permission bits and bytes of everything below ``root``."""
    return {
        str(path.relative_to(root)): (path.stat().st_mode & 0o7777, "" if path.is_dir() else digest_of(path))
        for path in root.rglob("*")
        if path.name != ".kitops-unpacked.json"
    }


def digits_project(verb: str, directory: Path) -> str:
    command = [sys.executable, str(Path(__file__).with_name("digits_project.py")), verb, str(directory)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained project; whoever changes it copies it first."""
    directory = tmp_path_factory.mktemp("trained") / "project"
    directory.mkdir()
    digits_project("train", directory)
    return directory


@pytest.fixture
def laptop(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "laptop")


@pytest.fixture
def server(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "server")


def test_a_trained_model_arrives_and_predicts_the_same(
    project: Path, laptop: Machine, server: Machine, docker_registry, tmp_path: Path
) -> None:
    work = shutil.copytree(project, tmp_path / "work")
    ref = f"{docker_registry.address}/team/digits:v1"
    laptop.kit("init", work, "--name", "digits", "--desc", "handwritten digits", "--author", "somebody")
    packed = laptop.kit("pack", work, "-t", ref).splitlines()[-1]
    assert packed.startswith("Model saved: sha256:")
    assert laptop.kit("push", ref, "--plain-http").splitlines()[-1].startswith("Pushed sha256:")

    pulled = server.kit("pull", ref, "--plain-http").splitlines()[-1]
    assert pulled.split()[-1] == packed.split()[-1]
    assert json.loads(server.kit("list", "--format", "json"))[0]["tags"] == ["v1"]
    server.kit("unpack", ref, "-d", tmp_path / "out")

    assert tree(tmp_path / "out") == tree(work)
    before, after = (json.loads(digits_project("predict", path)) for path in (work, tmp_path / "out"))
    assert len(after["joblib"]) == 1797
    assert after == before
    assert after["onnx"] == after["joblib"]


def test_unpack_straight_from_the_registry(
    project: Path, laptop: Machine, server: Machine, docker_registry, tmp_path: Path
) -> None:
    work = shutil.copytree(project, tmp_path / "work")
    ref = f"{docker_registry.address}/team/streamed:v1"
    laptop.kit("init", work, "--name", "digits", "--desc", "", "--author", "")
    laptop.kit("pack", work, "-t", ref)
    laptop.kit("push", ref, "--plain-http")
    server.kit("unpack", ref, "--plain-http", "-d", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(work)
    assert not list(server.store.glob("blobs/sha256/*")), "nothing was kept"


def test_packing_twice_gives_one_digest(project: Path, laptop: Machine, server: Machine, tmp_path: Path) -> None:
    work = shutil.copytree(project, tmp_path / "work")
    laptop.kit("init", work, "--name", "digits", "--desc", "", "--author", "")
    first = laptop.kit("pack", work, "-t", "digits:v1")
    other = shutil.copytree(work, tmp_path / "elsewhere", copy_function=shutil.copy)
    assert server.kit("pack", other, "-t", "other/name:v2").splitlines()[-1] == first.splitlines()[-1]


def write_weights(path: Path, size: int) -> None:
    """So many bytes, nowhere sparse, no megabyte twice."""
    block = bytearray(os.urandom(MIB))
    with path.open("wb", buffering=0) as file:
        for number in range(size // MIB):
            block[:8] = number.to_bytes(8, "little")
            file.write(block)


@pytest.mark.slow
def test_two_gibibytes_of_weights_arrive(laptop: Machine, server: Machine, docker_registry, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    write_weights(work / "model-00001-of-00002.safetensors", 1536 * MIB)
    write_weights(work / "model-00002-of-00002.safetensors", 512 * MIB)
    (work / "config.json").write_text('{"hidden_size": 4096}')
    ref = f"{docker_registry.address}/team/large:v1"
    laptop.kit("init", work, "--name", "large", "--desc", "", "--author", "")
    laptop.kit("pack", work, "-t", ref)
    laptop.kit("push", ref, "--plain-http")
    shutil.rmtree(laptop.home)  # room for the copies that follow
    server.kit("pull", ref, "--plain-http")
    server.kit("unpack", ref, "-d", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(work)


def skopeo(*arguments: str) -> None:
    command = ["skopeo", "--insecure-policy", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_skopeo_copies_what_was_pushed_and_what_is_stored(
    project: Path, laptop: Machine, docker_registry, need, tmp_path: Path
) -> None:
    need("skopeo")
    work = shutil.copytree(project, tmp_path / "work")
    ref = f"{docker_registry.address}/team/skopeo:v1"
    laptop.kit("init", work, "--name", "digits", "--desc", "", "--author", "")
    digest = laptop.kit("pack", work, "-t", ref).split()[-1]
    laptop.kit("push", ref, "--plain-http")

    skopeo("copy", "--src-tls-verify=false", f"docker://{ref}", f"dir:{tmp_path / 'pushed'}")
    skopeo("copy", f"oci:{laptop.store}:{ref}", f"dir:{tmp_path / 'stored'}")

    for copy in ("pushed", "stored"):
        manifest = tmp_path / copy / "manifest.json"
        assert f"sha256:{digest_of(manifest)}" == digest
        layers = json.loads(manifest.read_bytes())["layers"]
        assert layers
        for layer in layers:
            assert digest_of(tmp_path / copy / layer["digest"].removeprefix("sha256:")) == layer["digest"][7:]
