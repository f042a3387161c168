"""Tensors and ModelPack against Debian's registry and skopeo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kitops.cli._main import main
from kitops.oci.digest import Digest
from weight_bytes import plain_safetensors, write_gguf


@pytest.fixture
def pushed(docker_registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ModelPack of raw layers in the registry: two shards of a directory, a GGUF file, code."""
    monkeypatch.setenv("KITOPS_HOME", str(tmp_path / "home"))
    root = tmp_path / "project"
    (root / "model").mkdir(parents=True)
    (root / "src").mkdir()
    (root / "model/model-00001-of-00002.safetensors").write_bytes(plain_safetensors(wte=(1000, 50)))
    (root / "model/model-00002-of-00002.safetensors").write_bytes(plain_safetensors(head=(50, 1000)))
    (root / "src/run.sh").write_text("#!/bin/sh\n")
    write_gguf(root / "tiny.gguf")
    (root / "Kitfile").write_text(
        "manifestVersion: 1.0.0\npackage: {name: tiny}\n"
        "model: {path: model, parts: [{path: tiny.gguf}]}\ncode: [{path: src}]\n"
    )
    ref = f"{docker_registry.address}/weights:v1"
    words = ["pack", str(root), "-t", ref, "--use-model-pack", "--layer-format", "raw", "--push", "--plain-http"]
    assert main(words) == 0
    return ref


def test_tensors_are_listed_without_pulling(pushed: str, tmp_path: Path) -> None:
    start = "import sys; from kitops.cli._main import main; sys.exit(main())"
    words = [
        "inspect",
        "--tensors",
        "-r",
        pushed,
        "--plain-http",
        "--format",
        '{{.File}} {{.Name}} {{join .Shape "x"}}',
    ]
    done = subprocess.run(
        [sys.executable, "-c", start, *words],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "KITOPS_HOME": str(tmp_path / "away")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "model/model-00001-of-00002.safetensors wte 1000x50",
        "model/model-00002-of-00002.safetensors head 50x1000",
        "tiny.gguf plain 8x4",
        "tiny.gguf packed 64x2",
    ]
    assert not (tmp_path / "away/store/blobs").exists()


def test_skopeo_copies_a_modelpack(pushed: str, need, tmp_path: Path) -> None:
    skopeo = need("skopeo")
    source = f"docker://{pushed}"
    raw = subprocess.run(
        [skopeo, "inspect", "--raw", "--tls-verify=false", source], capture_output=True, check=True, timeout=60
    ).stdout
    target = tmp_path / "copy"
    subprocess.run([skopeo, "copy", "-q", "--src-tls-verify=false", source, f"dir:{target}"], check=True, timeout=60)
    assert (target / "manifest.json").read_bytes() == raw
    names = {path.name for path in target.iterdir()} - {"manifest.json", "version"}
    assert len(names) == 5
    assert all(Digest.of((target / name).read_bytes()).encoded == name for name in names)
