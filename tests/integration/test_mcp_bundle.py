"""An MCP bundle (``.mcpb``): found, packed as it is, pushed, pulled and unpacked, byte-equal."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kitops.errors import PackError
from kitops.layers.mcpb import check_bundle

KIT = str(Path(sys.executable).with_name("kit"))


def kit(home: Path, *words: str | Path, code: int = 0) -> str:
    environment = os.environ | {"KITOPS_HOME": str(home), "HOME": str(home)}
    command = [KIT, *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def make_bundle(path: Path, *, manifest: str = "manifest.json") -> Path:
    """A small server in Python, as the bundle's specification describes it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        described = {"manifest_version": "0.2", "name": "files", "version": "1.0.0", "server": {"type": "python"}}
        bundle.writestr(manifest, json.dumps(described))
        bundle.writestr("server/main.py", "print('ready')\n")
        bundle.writestr("server/größe.txt", "x" * 1000)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    (project / "tools").mkdir(parents=True)
    (project / "model.gguf").write_bytes(b"GGUF" + bytes(60))
    make_bundle(project / "tools" / "files.mcpb")
    return project


def test_from_init_to_unpack(project: Path, docker_registry, tmp_path: Path) -> None:
    laptop, server = tmp_path / "laptop", tmp_path / "server"
    kit(laptop, "init", project, "--name", "tools", "--desc", "", "--author", "")
    assert "mcpServers:\n  - name: files\n    path: tools/files.mcpb\n" in (project / "Kitfile").read_text()

    ref = f"{docker_registry.address}/team/mcp:v1"
    kit(laptop, "pack", project, "-t", ref, "--compression", "gzip")  # which such a layer does not take
    manifest = json.loads(kit(laptop, "inspect", ref))["manifest"]
    (layer,) = [layer for layer in manifest["layers"] if "mcpb" in layer["mediaType"]]
    bundle = (project / "tools" / "files.mcpb").read_bytes()
    assert layer["mediaType"] == "application/vnd.kitops.modelkit.mcpb.v1.raw"
    assert layer["size"] == len(bundle)
    assert layer["annotations"]["org.cncf.model.filepath"] == "tools/files.mcpb"

    kit(laptop, "push", ref, "--plain-http")
    kit(server, "pull", ref, "--plain-http")
    kit(server, "unpack", ref, "-d", tmp_path / "out", "--filter", "mcpservers:files")
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")) == [
        ".kitops-unpacked.json",
        "tools",
        "tools/files.mcpb",
    ]
    assert (tmp_path / "out/tools/files.mcpb").read_bytes() == bundle
    with zipfile.ZipFile(tmp_path / "out/tools/files.mcpb") as unpacked:
        assert unpacked.testzip() is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no zip", "it is no zip file"),
        (b"", "it is no zip file"),
        (None, "it has no manifest.json at its root"),
    ],
)
def test_what_is_no_bundle(project: Path, tmp_path: Path, content: bytes | None, told: str) -> None:
    path = project / "tools" / "files.mcpb"
    (project / "Kitfile").write_text("manifestVersion: 1.0.0\nmcpServers: [{name: x, path: tools/files.mcpb}]\n")
    if content is None:
        make_bundle(path, manifest="server/manifest.json")
    else:
        path.write_bytes(content)
    assert told in kit(tmp_path / "home", "pack", project, code=3)


def test_damaged_directories_of_zips_are_no_bugs(tmp_path: Path) -> None:
    whole = make_bundle(tmp_path / "whole.mcpb").read_bytes()
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    path = tmp_path / "damaged.mcpb"
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 4])):
            damaged[chance.randrange(len(damaged) - 300, len(damaged))] = chance.choice([0, 1, 127, 128, 255])
        path.write_bytes(damaged)
        try:
            check_bundle(path)
        except PackError:
            continue
        except Exception as error:
            raise AssertionError(f"seed {seed}: {bytes(damaged)!r}") from error
