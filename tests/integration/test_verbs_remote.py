"""The remote verbs end to end: Debian's registry, which knows no referrers, and skopeo, which knows no ModelKits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from any_artifacts import put_signature
from kitops.content.protocols import Run
from kitops.oci.reference import Reference
from kitops.registry import Network, open_repository
from kitops.registry.credentials import FixedCredential

KIT = str(Path(sys.executable).with_name("kit"))
PLAIN = "--plain-http"


class Machine:
    """A store of its own, and the real ``kit``."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.environment = os.environ | {"KITOPS_HOME": str(home / "kitops"), "HOME": str(home)}

    def run(self, *words: object, **more: Any) -> subprocess.CompletedProcess[bytes]:
        arguments = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **more}
        return subprocess.run(
            [KIT, *map(str, words)], env=self.environment, stderr=subprocess.PIPE, timeout=60, check=False, **arguments
        )

    def kit(self, *words: object) -> str:
        done = self.run(*words)
        assert done.returncode == 0, f"kit {words}: {done.returncode}\n{done.stderr.decode()}"
        return done.stdout.decode()

    def json(self, *words: object) -> Any:
        return json.loads(self.kit(*words, "--format", "json"))


@pytest.fixture
def here(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "here")


@pytest.fixture
def away(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "away")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "Kitfile").write_text("manifestVersion: 1.0.0\npackage: {name: tiny}\nmodel: {path: m.bin}\n")
    (root / "m.bin").write_bytes(os.urandom(200_000))
    return root


@pytest.fixture
def signed(here: Machine, project: Path, docker_registry: Any) -> str:
    """A ModelKit with a signature in Debian's registry."""
    ref = f"{docker_registry.address}/team/{os.urandom(6).hex()}:v1"
    here.kit("pack", project, "-t", ref, "--push", PLAIN)
    with open_repository(Reference.parse(ref), Network(plain_http=True), FixedCredential(), Run()) as repository:
        put_signature(repository, repository.resolve("v1"))
    return ref


def skopeo(need: Callable[[str], str], *words: object) -> str:
    done = subprocess.run(
        [need("skopeo"), "--insecure-policy", *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_mirror_with_signatures(here: Machine, signed: str) -> None:
    repository = signed.removesuffix(":v1")
    assert [one["artifactType"] for one in here.json("referrers", "-r", signed, PLAIN)] == [
        "application/vnd.example.signature"
    ]
    here.kit("tag", "-r", signed, f"{repository}:stable", PLAIN)
    copied = here.json("copy", "-r", "--all-tags", repository, f"{repository}-mirror", PLAIN)
    assert [one["references"] for one in copied] == [[f"{repository}-mirror:stable"], [f"{repository}-mirror:v1"]]
    assert copied[0]["mounted"] == 4
    assert copied[0]["moved"] == 0
    line = here.kit("referrers", "-r", signed, PLAIN, "--format", "{{.ArtifactType}} {{json .Annotations}}")
    assert line.startswith(here.json("referrers", "-r", signed, PLAIN)[0]["artifactType"])
    table = here.kit("referrers", "-r", f"{repository}-mirror:v1", PLAIN)
    assert table.splitlines()[0].split()[:2] == ["ARTIFACT", "TYPE"]
    assert len(table.splitlines()) == 2
    (row,) = here.json("list", f"{repository}-mirror", PLAIN)
    assert row["tags"] == ["stable", "v1"]
    host, _, name = repository.partition("/")
    rows = here.json("list", host, "-f", f"repo={name}*", PLAIN)
    assert [row["repo"] for row in rows] == [name, f"{name}-mirror"]


def test_an_air_gap(here: Machine, away: Machine, signed: str, need: Callable[[str], str], tmp_path: Path) -> None:
    file = tmp_path / "kits.tar"
    assert here.kit("save", "-r", signed, "-o", file, PLAIN) == f"Saved {signed}\n"
    inspected = json.loads(skopeo(need, "inspect", "--raw", f"oci-archive:{file}:{signed}"))
    assert inspected == here.json("inspect", signed)["manifest"]
    assert away.kit("load", "-i", file) == f"Loaded {signed}\n"
    assert [row["tags"] for row in away.json("list")] == [["v1"]]
    assert len(away.json("referrers", signed)) == 1
    away.kit("save", signed, "-o", tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == file.read_bytes()
    assert here.json("inspect", signed)["digest"] == away.json("inspect", signed)["digest"]


def test_what_skopeo_wrote_is_loaded(
    here: Machine, away: Machine, signed: str, need: Callable[[str], str], tmp_path: Path
) -> None:
    file, directory = tmp_path / "skopeo.tar", tmp_path / "layout"
    skopeo(need, "copy", "--src-tls-verify=false", f"docker://{signed}", f"oci-archive:{file}:v1")
    assert away.kit("load", "-i", file, "-t", "team/tiny") == "Loaded team/tiny:v1\n"
    assert away.json("inspect", "team/tiny:v1")["digest"] == here.json("inspect", signed)["digest"]
    away.kit("copy", "store:team/tiny:v1", f"oci:{directory}:kept")
    target = signed.replace(":v1", ":by-skopeo")
    skopeo(need, "copy", "--dest-tls-verify=false", f"oci:{directory}:kept", f"docker://{target}")
    assert here.json("inspect", "-r", target, PLAIN)["digest"] == here.json("inspect", signed)["digest"]


def test_through_a_pipe(here: Machine, away: Machine, signed: str) -> None:
    archive = here.run("save", signed, "-o", "-")
    assert archive.returncode == 0
    assert away.run("load", "-i", "-", stdin=None, input=archive.stdout).stdout.decode() == f"Loaded {signed}\n"
    assert away.kit("list", "--format", "{{.ModelName}}") == "tiny\n"


def test_a_pipe_that_breaks_off_loads_nothing(here: Machine, away: Machine, signed: str) -> None:
    archive = here.run("save", signed, "-o", "-").stdout
    done = away.run("load", "-i", "-", stdin=None, input=archive[: len(archive) // 2])
    assert done.returncode == 5
    assert b"an early end" in done.stderr
    assert away.json("list") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_standard_output_on_a_full_disk(here: Machine, signed: str) -> None:
    with open("/dev/full", "wb") as full:
        done = here.run("save", signed, "-o", "-", stdout=full)
    assert done.returncode == 14
    assert b"no space left" in done.stderr


def test_removing_in_a_registry_without_referrers(here: Machine, signed: str) -> None:
    repository = signed.removesuffix(":v1")
    here.kit("tag", "-r", signed, f"{repository}:other", PLAIN)
    untagged = here.run("remove", "-r", f"{repository}:other", PLAIN)
    if untagged.returncode:  # Debian's release decides whether tags can be taken away there
        assert b"the registry does not do that" in untagged.stderr
        assert b"--remote --force" in untagged.stderr
    told = here.run("remove", "-r", "--force", signed, PLAIN)
    assert told.returncode == 0
    assert f"what refers to {signed} stays (1:".encode() in told.stderr
    here.kit("push", signed, PLAIN)
    assert len(here.json("referrers", "-r", signed, PLAIN)) == 1
    removed = here.json("remove", "-r", "--force", "--referrers", signed, PLAIN)
    assert len(removed["deleted"]) == 2
    here.kit("push", signed, PLAIN)
    assert here.json("referrers", "-r", signed, PLAIN) == []


def test_words_that_are_wrong(here: Machine, tmp_path: Path) -> None:
    for words, code, text in [
        (("copy", "x:v1", "oci:"), 2, "names no path"),
        (("load", "-i", tmp_path / "no.tar"), 14, "no such file"),
        (("save", "x:v1", "-o", tmp_path / "a.tar"), 4, "is not in the local store"),
        (("copy", "oci:nowhere:v1", "store:"), 2, "is not an OCI image layout"),
        (("list", "-f", "tga=v1"), 2, "tag="),
    ]:
        done = here.run(*words)
        assert (done.returncode, text in done.stderr.decode()) == (code, True), done.stderr.decode()
    (tmp_path / "x.tar.gz").write_bytes(b"\x1f\x8b" + bytes(100))
    done = here.run("load", "-i", tmp_path / "x.tar.gz")
    assert done.returncode == 2
    assert b"gunzip -c" in done.stderr
