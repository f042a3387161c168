"""``kit convert`` and ``kit validate`` as people type them, and their doors in the library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import Kit

import kitops
from golden_trees import GOLDEN
from weight_bytes import plain_safetensors


@pytest.fixture
def project(kit: Kit, tmp_path: Path) -> Path:
    """``tiny:v1``, a ModelKit, and ``tiny:pack``, a ModelPack artifact of the same files."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "m.safetensors").write_bytes(plain_safetensors(wte=(2, 2)))
    (root / "Kitfile").write_text("package: {name: tiny}\nmodel: {path: m.safetensors}\n")
    assert kit("pack", str(root), "-t", "tiny:v1").code == 0
    assert kit("pack", str(root), "-t", "tiny:pack", "--use-model-pack").code == 0
    return root


def test_headers_can_be_left_alone(kit: Kit, project: Path) -> None:
    packed = kit("inspect", "tiny:pack").json["digest"]
    assert kit("convert", "tiny:v1", "--to", "modelpack", "--format", "json").json["digest"] == packed
    assert kit("convert", "tiny:v1", "--to", "modelpack", "--headers", "--format", "json").json["digest"] == packed
    silent = kit("convert", "tiny:v1", "--to", "modelpack", "--headers=false", "--format", "json").json["digest"]
    assert silent != packed


def test_platforms(kit: Kit, project: Path) -> None:
    assert kit("convert", "tiny:v1", "--to", "image", "--platform", "linux/arm64/v8").code == 0
    for wrong in ("linux", "linux/", "/arm64", "linux/arm64/", "linux/arm64/v8/x"):
        done = kit("convert", "tiny:v1", "--to", "image", "--platform", wrong)
        assert (done.code, "is not a platform" in done.err) == (2, True)


def test_what_is_valid(kit: Kit, project: Path) -> None:
    done = kit("validate", "tiny:pack")
    assert (done.code, done.out) == (0, "tiny:pack\n  valid ModelPack\n")
    assert kit("validate", "tiny:pack", "--format", "json").json == {
        "reference": "tiny:pack", "valid": True, "violations": []
    }  # fmt: skip
    done = kit("validate", "tiny:v1")
    assert (done.code, "is no ModelPack artifact" in done.err) == (2, True)


def test_what_is_not(kit: Kit) -> None:
    """The Go tool writes wrong diff IDs."""
    layout = GOLDEN / "pack/2026/minimal+modelpack/layout"
    tag = json.loads((layout / "index.json").read_text())["manifests"][0]["annotations"][
        "org.opencontainers.image.ref.name"
    ]
    assert kit("copy", f"oci:{layout}:{tag}", "store:go:v1").code == 0
    done = kit("validate", "go:v1", "--no-layers")
    assert done.code == 1
    assert [line.partition(": ")[0] for line in done.out.splitlines()] == [
        "go:v1", "  mediaType", "  config.modelfs.diffIds[0]"
    ]  # fmt: skip
    table = kit("validate", "go:v1", "--format", "json").json
    assert table["valid"] is False
    assert {row["where"] for row in table["violations"]} == {"mediaType", "config.modelfs.diffIds[0]"}


def test_the_library(tmp_path: Path, project: Path) -> None:
    settings = kitops.Settings(home=tmp_path / "home")
    assert kitops.validate("tiny:pack", settings=settings) == ()
    assert kitops.validate("tiny:pack", layers=False, settings=settings) == ()
    with pytest.raises(kitops.KitError, match="is no ModelPack artifact"):
        kitops.validate("tiny:v1", settings=settings)
