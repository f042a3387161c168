"""``kit convert`` end to end: the command line, Debian's registry, and skopeo, which must read our images."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_verbs_remote import Machine

from golden_trees import GOLDEN, tree_of

PLAIN = "--plain-http"
KITFILE = """\
manifestVersion: 1.0.0
package:
  name: tiny
  authors: [Ada]
model:
  path: m.bin
code:
  - path: src
"""


@pytest.fixture
def here(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "here")


@pytest.fixture
def away(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "away")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "Kitfile").write_text(KITFILE)
    (root / "m.bin").write_bytes(os.urandom(200_000))
    (root / "src/run.sh").write_text("#!/bin/sh\n")
    (root / "src/run.sh").chmod(0o755)
    return root


@pytest.fixture
def skopeo(need: Callable[[str], str]) -> Callable[..., str]:
    def run(*words: object) -> str:
        done = subprocess.run(
            [need("skopeo"), "--insecure-policy", *map(str, words)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def content(root: Path) -> dict[str, bytes]:
    return {path: data for path, data in tree_of(root).items() if data is not None}


def test_an_image_through_skopeo_and_back(
    here: Machine, away: Machine, project: Path, skopeo: Callable[..., str], docker_registry: Any, tmp_path: Path
) -> None:
    packed = here.json("pack", project, "-t", "tiny:v1")
    ref = f"{docker_registry.address}/team/car:v1"
    done = here.json("convert", "tiny:v1", ref, "--to", "image", "--compression", "gzip")
    assert (done["source"], done["format"], done["written"]) == (packed["digest"], "image", 2)
    here.kit("push", ref, PLAIN)
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{ref}"))
    assert (seen["Digest"], seen["Os"], seen["Architecture"]) == (done["digest"], "linux", "amd64")
    assert seen["Labels"]["org.opencontainers.image.authors"] == "Ada"
    skopeo("copy", "--src-tls-verify=false", f"docker://{ref}", f"oci:{tmp_path / 'layout'}:v1")
    skopeo("copy", f"oci:{tmp_path / 'layout'}:v1", f"docker-archive:{tmp_path / 'car.tar'}:car:v1")
    away.kit("copy", f"oci:{tmp_path / 'layout'}:v1", "store:car:v1")
    assert away.json("info", "car:v1") == here.json("info", "tiny:v1")
    assert away.json("inspect", "car:v1")["format"] == "image"
    away.kit("unpack", "car:v1", "-d", tmp_path / "out")
    assert content(tmp_path / "out") == content(project)
    assert os.access(tmp_path / "out/src/run.sh", os.X_OK)
    back = away.json("convert", "car:v1", "--to", "modelkit", "--compression", "none")
    assert (back["digest"], back["reference"]) == (packed["digest"], "car:v1-modelkit")
    (row,) = here.json("list", f"{docker_registry.address}/team/car", PLAIN)
    assert (row["modelName"], row["digest"]) == ("tiny", done["digest"])


def test_in_the_registry_nothing_is_pulled(
    here: Machine, away: Machine, project: Path, docker_registry: Any, tmp_path: Path
) -> None:
    repository = f"{docker_registry.address}/team/remote-{os.urandom(4).hex()}"
    packed = here.json("pack", project, "-t", f"{repository}:v1", "--push", PLAIN)
    there = away.json("convert", "-r", f"{repository}:v1", "--to", "modelpack", PLAIN)
    assert (there["reference"], there["reused"], there["written"]) == (f"{repository}:v1-modelpack", 2, 0)
    assert away.json("list") == []
    other = away.json("convert", "-r", f"{repository}:v1-modelpack", f"{repository}-two:v1", "--to", "modelkit", PLAIN)
    assert other["digest"] == packed["digest"]
    assert here.json("convert", f"{repository}:v1", "--to", "modelpack")["digest"] == there["digest"]
    away.kit("unpack", f"{repository}-two:v1", "-d", tmp_path / "out", PLAIN)
    assert content(tmp_path / "out") == content(project)
    same = away.json("convert", "-r", f"{repository}:v1", f"{repository}-three:v1", "--to", "modelkit", PLAIN)
    assert same["digest"] == packed["digest"]

    done = away.run("convert", "-r", f"{repository}:v1", "--to", "image", PLAIN)
    assert done.returncode == 2
    assert "would have to be made again, which a registry cannot do" in done.stderr.decode()
    assert "kit pull" in done.stderr.decode()
    done = away.run("convert", "-r", f"{repository}:v1", "elsewhere.example.com/x:v1", "--to", "modelpack", PLAIN)
    assert done.returncode == 2
    assert "is in another registry" in done.stderr.decode()


def test_foreign_artifacts_travel(here: Machine, away: Machine, docker_registry: Any, tmp_path: Path) -> None:
    ref = f"{docker_registry.address}/team/oras-{os.urandom(4).hex()}:v1"
    layout = GOLDEN / "other/oras/layout"
    here.kit("copy", f"oci:{layout}:v1", ref, PLAIN)
    assert here.json("list", ref.rpartition(":")[0], PLAIN)[0]["tags"] == ["v1"]
    away.kit("pull", ref, PLAIN)
    done = away.run("info", ref)
    assert "path: model.safetensors" in done.stdout.decode()
    assert "without a Kitfile: one was made" in done.stderr.decode()
    away.kit("tag", ref, f"{ref}b")
    away.kit("push", f"{ref}b", PLAIN)
    assert here.json("inspect", "-r", f"{ref}b", PLAIN)["kitfileMade"] is True
    assert here.json("diff", f"remote://{ref}", f"remote://{ref}b", PLAIN)["equal"] is True
    here.kit("unpack", f"{ref}b", "-d", tmp_path / "out", PLAIN)
    assert (tmp_path / "out/onnx/a.onnx").read_bytes() == (GOLDEN / "other/oras/files/onnx/a.onnx").read_bytes()


def test_what_nobody_understands_is_moved(here: Machine, docker_registry: Any, tmp_path: Path) -> None:
    repository = f"{docker_registry.address}/team/any-{os.urandom(4).hex()}"
    layout = tmp_path / "layout"
    make_strange(layout)
    here.kit("copy", f"oci:{layout}:v1", f"{repository}:v1", PLAIN)
    for tag in ("v1", "index"):
        if tag == "index":
            here.kit("copy", f"oci:{layout}:index", f"{repository}:index", PLAIN)
        here.kit("pull", f"{repository}:{tag}", PLAIN)
        here.kit("tag", f"{repository}:{tag}", f"{repository}:{tag}-2")
        here.kit("push", f"{repository}:{tag}-2", PLAIN)
    done = here.run("unpack", f"{repository}:v1", "-d", tmp_path / "out", PLAIN)
    assert done.returncode == 2
    assert "is not a ModelKit: it is 'application/vnd.example.strange'" in done.stderr.decode()
    assert "kit copy" in done.stderr.decode()
    done = here.run("pull", f"{repository}:v1", "--filter", "model", PLAIN)
    assert done.returncode == 2
    assert "has no parts that a filter could ask for" in done.stderr.decode()


def make_strange(layout: Path) -> None:
    """A layout with an artifact of a type that nobody knows, and an index of it."""
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    oci = "application/vnd.oci.image"
    manifest = put(
        json.dumps(
            {"schemaVersion": 2, "mediaType": f"{oci}.manifest.v1+json",
             "artifactType": "application/vnd.example.strange",
             "config": put(b"{}", "application/vnd.oci.empty.v1+json"),
             "layers": [put(b"strange", "application/x")]}
        ).encode(),
        f"{oci}.manifest.v1+json",
    )  # fmt: skip
    index = put(
        json.dumps({"schemaVersion": 2, "mediaType": f"{oci}.index.v1+json", "manifests": [manifest]}).encode(),
        f"{oci}.index.v1+json",
    )
    named = [
        {**desc, "annotations": {"org.opencontainers.image.ref.name": name}}
        for desc, name in ((manifest, "v1"), (index, "index"))
    ]
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": named}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
