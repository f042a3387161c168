"""Packing straight into a registry: the same ModelKit, and nothing of it stays here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import kitops
from kitops.errors import InvalidValueError, PackError
from kitops.oci.reference import Reference
from kitops.ops.pack import PackOptions, pack
from kitops.ops.pack_to import pack_and_push, pack_to
from kitops.ops.pull import pull
from kitops.ops.unpack import unpack
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
    assert not list((tmp_path / "home").rglob("blobs/*/*"))
    other = open_network_place(tmp_path / "other")
    assert pack(other, project, options).desc == sent.desc
    for pulled in pull(open_network_place(tmp_path / "third"), targets):
        assert pulled.desc == sent.desc


def test_what_the_registry_has_is_not_sent_again(registry: ThrowAwayRegistry, project: Path, tmp_path: Path) -> None:
    target = Reference.parse(f"{registry.address}/team/again:v1")
    place = open_network_place(tmp_path / "home")
    assert pack_to(place, project, [target]).new_size > 3_000_000
    assert pack_to(place, project, [target]).new_size == 0


def test_what_the_store_keeps_already_stays(registry: ThrowAwayRegistry, project: Path, tmp_path: Path) -> None:
    place, ref = open_network_place(tmp_path / "home"), Reference.parse("mine:v1")
    pack(place, project, PackOptions(references=(ref,)))
    pack_to(place, project, [Reference.parse(f"{registry.address}/team/mine:v1")])
    unpack(place, ref, tmp_path / "out")
    place.store.blobs.path(place.store.refs.resolve(ref).digest).unlink()
    pack_to(place, project, [Reference.parse(f"{registry.address}/team/mine:v2")], PackOptions(compression="gzip"))


def test_a_digest_is_no_name(registry: ThrowAwayRegistry, project: Path, tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "home")
    for text in (f"{registry.address}/team/x@sha256:{'0' * 64}", f"{registry.address}/team/x:v1@sha256:{'0' * 64}"):
        target = Reference.parse(text)
        for work in (
            lambda target=target: pack_to(place, project, [target]),
            lambda target=target: pack(place, project, PackOptions(references=(target,))),
        ):
            with pytest.raises(InvalidValueError, match="is no name to give"):
                work()


def test_targets_are_registries_and_paths_are_there(project: Path, tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "home")
    with pytest.raises(InvalidValueError, match="names no registry"):
        pack_to(place, project, [Reference.parse("team/local:v1")])
    (project / "run.py").unlink()
    with pytest.raises(PackError, match=r"run\.py"):
        pack_to(place, project, [Reference.parse("127.0.0.1:9/x:v1")])


def test_the_library_pushes_what_it_packs(registry: ThrowAwayRegistry, project: Path, tmp_path: Path) -> None:
    settings = kitops.Settings(home=tmp_path / "home", network=kitops.Network(plain_http=True))
    ref = f"{registry.address}/team/library"
    sent = kitops.pack(project, push_to=f"{ref}:v1,v2", settings=settings)
    assert [row.tags for row in kitops.list(ref, settings=settings)] == [("v1", "v2")]
    assert kitops.list(settings=settings) == []
    kept = kitops.pack(project, push_to=[f"{ref}:v3"], keep=True, settings=settings)
    assert kept.desc == sent.desc
    assert [(row.repo, row.tags) for row in kitops.list(settings=settings)] == [(ref, ("v3",))]
    assert kitops.inspect(f"{ref}:v3", remote=True, settings=settings).kit.desc == sent.desc
    for wrong in ({"tag": "x:1", "push_to": f"{ref}:v1"}, {"keep": True}):
        with pytest.raises(InvalidValueError, match="push_to"):
            kitops.pack(project, settings=settings, **wrong)  # type: ignore[arg-type]


def test_pushing_without_a_name_is_refused(project: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="no reference says where to"):
        pack_and_push(open_network_place(tmp_path / "home"), project, PackOptions())
