"""Pushes end to end, to Debian's registry and to one with habits: what is sent, and what is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from faulty_registry import Faults, faulty_registry

KIT = str(Path(sys.executable).with_name("kit"))
MIB = 1024 * 1024


class Machine:
    """A store of its own with one ModelKit, ``model:v1``, and the real ``kit``."""

    def __init__(self, root: Path, size: int = 1000) -> None:
        self.environment = os.environ | {"KITOPS_HOME": str(root / "home"), "HOME": str(root)}
        project = root / "project"
        project.mkdir(parents=True)
        (project / "weights.bin").write_bytes(os.urandom(size))
        (project / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {path: weights.bin}\n")
        self.kit("pack", project, "-t", "model:v1", "--layer-format", "raw")

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [KIT, *map(str, words)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def kit(self, *words: object) -> subprocess.CompletedProcess[str]:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done

    def push(self, *words: object) -> list[str]:
        """Push ``model:v1`` to ``words``; method and path of every request."""
        said = self.kit("push", "model:v1", *words, "--plain-http", "-v", "--progress", "none").stderr
        lines = [line.split() for line in said.splitlines() if line.startswith("Debug: ")]
        return [f"{line[1]} /{line[2].rstrip(':').split('/', 3)[3].split('?')[0]} {line[3]}" for line in lines]


def count(requests: list[str], start: str) -> int:
    return sum(request.startswith(start) for request in requests)


def test_what_is_there_costs_one_small_request_a_blob(docker_registry: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    first = machine.push(f"{docker_registry.address}/upload/there:v1")
    assert count(first, "POST") == 2
    again = machine.push(f"{docker_registry.address}/upload/there:v1")
    assert [request.split()[0] for request in again] == ["HEAD"] * 4  # two blobs, the manifest, its tag


def test_a_large_blob_goes_in_chunks_and_comes_back(docker_registry: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path / "here", 40 * MIB)
    requests = machine.push(f"{docker_registry.address}/upload/large:v1")
    assert (count(requests, "PATCH"), count(requests, "PUT /v2/upload/large/blobs")) == (1, 2)
    away = Machine(tmp_path / "away")
    away.kit("pull", f"{docker_registry.address}/upload/large:v1", "--plain-http")


def test_several_destinations_mount_from_the_first(docker_registry: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    base = f"{docker_registry.address}/upload"
    requests = machine.push(f"{base}/a:v1,v2", f"{base}/b:v1")
    assert count(requests, "POST /v2/upload/a/") == 2
    assert [line for line in requests if line.startswith("POST /v2/upload/b/")] == [
        "POST /v2/upload/b/blobs/uploads/ 201"
    ] * 2
    assert count(requests, "PUT /v2/upload/b/blobs") == 0
    assert [line for line in requests if "manifests/v" in line] == [
        "PUT /v2/upload/a/manifests/v1 201",
        "PUT /v2/upload/a/manifests/v2 201",
        "PUT /v2/upload/b/manifests/v1 201",
    ]


def test_what_the_store_knows_of_other_repositories_is_mounted(docker_registry: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    base = f"{docker_registry.address}/upload"
    machine.kit("tag", "model:v1", f"{base}/known:v1")
    machine.kit("push", f"{base}/known:v1", "--plain-http")
    requests = machine.push(f"{base}/new:v1")
    assert (count(requests, "POST"), count(requests, "PUT /v2/upload/new/blobs")) == (2, 0)


def test_a_neighbour_that_has_nothing_costs_nothing(docker_registry: Any, tmp_path: Path) -> None:
    """The store's tag was never pushed: the upload that the registry opens instead of mounting is used."""
    machine = Machine(tmp_path)
    base = f"{docker_registry.address}/upload"
    machine.kit("tag", "model:v1", f"{base}/never-pushed:v1")
    requests = machine.push(f"{base}/target:v1")
    assert (count(requests, "POST"), count(requests, "PUT /v2/upload/target/blobs")) == (2, 2)


def test_one_destination_that_fails_names_its_registry(docker_registry: Any, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with faulty_registry(Faults(types=())) as registry:
        base = docker_registry.address
        done = machine.run("push", "model:v1", f"{registry.address}/x:v1", f"{base}/upload/z:v1", "--plain-http")
    assert done.returncode == 7
    assert registry.address in done.stderr
    assert "--use-model-pack" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_upload_that_failed_is_gone_on_with_and_its_url_is_told_to_nobody(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 18 * MIB)
    faults = Faults(has_state=True, cut_bytes=[10 * MIB], busy=[(429, "3600")], busy_from=1)
    with faulty_registry(faults) as registry:
        ref = f"{registry.address}/team/model:v1"
        failed = machine.run("push", "model:v1", ref, "--plain-http", "-vvv")
        assert failed.returncode == 7
        assert "asks to wait 3600 s" in failed.stderr
        (record,) = (tmp_path / "home" / "store" / "uploads").iterdir()
        location = json.loads(record.read_text())["location"]
        assert "hunter2" in location
        assert "hunter2" not in failed.stderr + failed.stdout
        machine.push(ref)
        assert registry.came < 27 * MIB  # what had come is not sent again; what was put off is
    assert list(record.parent.iterdir()) == []


def test_a_dead_upload_is_begun_anew_in_silence(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 18 * MIB)
    with faulty_registry(Faults(busy=[(429, "3600")], busy_from=1)) as registry:
        ref = f"{registry.address}/team/model:v1"
        assert machine.run("push", "model:v1", ref, "--plain-http").returncode == 7
        registry.uploads.clear()
        said = machine.kit("push", "model:v1", ref, "--plain-http")
    assert said.stderr == f"Pushing model:v1 to {ref}\n"


def test_what_was_left_is_more_than_what_a_refused_mount_opened(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 18 * MIB)
    with faulty_registry(Faults(busy=[(429, "3600")], busy_from=1)) as registry:
        ref = f"{registry.address}/team/model:v1"
        assert machine.run("push", "model:v1", ref, "--plain-http").returncode == 7
        machine.kit("tag", "model:v1", f"{registry.address}/other/model:v1")
        machine.push(ref)
        assert registry.came < 21 * MIB
        assert not registry.uploads


def test_what_was_left_of_an_upload_that_came_through_is_removed(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 18 * MIB)
    with faulty_registry(Faults(busy=[(429, "3600")], busy_from=1)) as registry:
        ref = f"{registry.address}/team/model:v1"
        assert machine.run("push", "model:v1", ref, "--plain-http").returncode == 7
        uploads = tmp_path / "home" / "store" / "uploads"
        (record,) = uploads.iterdir()
        kept = record.read_bytes()
        machine.push(ref)
        record.write_bytes(kept)
        machine.push(ref)
    assert list(uploads.iterdir()) == []
