"""Packing straight into a registry: the same ModelKit, and nothing of it stays here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitops.errors import InvalidValueError, PackError
from kitops.oci.reference import Reference
from kitops.ops.pack import PackOptions, pack
from kitops.ops.pack_to import pack_to
from kitops.ops.pull import pull
from kitops.testing import ThrowAwayRegistry
from unit.ops.ops_places import open_network_place

KITFILE = b"""manifestVersion: 1.0.0
model:
  path: model.bin
  parts:
    - path: parts
code:
  - path: run.py
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "parts/deep").mkdir(parents=True)
    (root / "Kitfile").write_bytes(KITFILE)
    (root / "model.bin").write_bytes(os.urandom(3_000_000))
    (root / "parts/deep/a.json").write_bytes(b"{}")
    (root / "run.py").write_bytes(b"print()\n")
    return root


@pytest.fixture(scope="module")
def registry() -> Iterator[ThrowAwayRegistry]:
    with ThrowAwayRegistry() as found:
        yield found


@pytest.mark.parametrize(
    "options",
    [
        PackOptions(),
        PackOptions(compression="zstd"),
        PackOptions(compression="gzip"),
        PackOptions(modelpack=True, layer_format="raw"),
    ],
    ids=["tar", "zstd", "gzip", "modelpack-raw"],
)
def test_it_is_the_same_modelkit(
    registry: ThrowAwayRegistry, project: Path, tmp_path: Path, options: PackOptions
) -> None:
    name = f"{options.compression}-{options.layer_format}"
    targets = [Reference.parse(f"{registry.address}/team/{name}:{tag}") for tag in ("v1", "v2")]
    place = open_network_place(tmp_path / "home")
    sent = pack_to(place, project, targets, options)
    assert place.store.refs.list() == []
    kept = sum(path.stat().st_size for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert kept < 100_000
    other = open_network_place(tmp_path / "other")
    assert pack(other, project, options).desc == sent.desc
    for pulled in pull(open_network_place(tmp_path / "third"), targets):
        assert pulled.desc == sent.desc


def test_what_the_registry_has_is_not_sent_again(registry: ThrowAwayRegistry, project: Path, tmp_path: Path) -> None:
    target = Reference.parse(f"{registry.address}/team/again:v1")
    place = open_network_place(tmp_path / "home")
    assert pack_to(place, project, [target]).new_size > 3_000_000
    assert pack_to(place, project, [target]).new_size == 0


def test_targets_are_registries_and_paths_are_there(project: Path, tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "home")
    with pytest.raises(InvalidValueError, match="names no registry"):
        pack_to(place, project, [Reference.parse("team/local:v1")])
    (project / "run.py").unlink()
    with pytest.raises(PackError, match=r"run\.py"):
        pack_to(place, project, [Reference.parse("127.0.0.1:9/x:v1")])
