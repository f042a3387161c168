"""The library does what the command does: credentials, the space of the store, and the options of each verb."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import kitops
from kitops.errors import AuthenticationError, NotFoundError
from kitops.server import RegistryServer, ServerOptions
from kitops.server.access import BasicAccess


@pytest.fixture
def settings(tmp_path: Path) -> kitops.Settings:
    context = tmp_path / "project"
    (context / "model").mkdir(parents=True)
    (context / "model/w.bin").write_bytes(b"weights")
    (context / "model/deep").mkdir()
    (context / "model/deep/a.json").write_text("{}")
    (context / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {path: model}\n")
    return kitops.Settings(home=tmp_path / "home", network=kitops.Network(plain_http=True))


def test_credentials_are_kept_once_they_were_taken(settings: kitops.Settings, tmp_path: Path) -> None:
    kitops.pack(tmp_path / "project", tag="x:v1", settings=settings)
    with RegistryServer(tmp_path / "registry", ServerOptions(access=BasicAccess({"ada": "secret"}))) as server:
        with pytest.raises(AuthenticationError):
            kitops.login(server.address, "wrong", username="ada", settings=settings)
        kitops.login(server.address, "secret", username="ada", settings=settings)
        kitops.push("x:v1", f"{server.address}/x:v1", settings=settings)
        kitops.logout(server.address, settings=settings)
        with pytest.raises(AuthenticationError):
            kitops.push("x:v1", f"{server.address}/x:v2", settings=settings)
        with pytest.raises(NotFoundError):
            kitops.logout(server.address, settings=settings)


def test_what_no_modelkit_needs_is_freed(settings: kitops.Settings, tmp_path: Path) -> None:
    kitops.pack(tmp_path / "project", tag="x:v1", settings=settings)
    stray = tmp_path / "home/store/blobs/sha256" / ("0" * 64)
    stray.write_bytes(b"stray")
    os.utime(stray, (1, 1))
    assert kitops.prune(dry_run=True, settings=settings).size == 5
    assert stray.exists()
    assert kitops.prune(settings=settings).size == 5
    assert not stray.exists()
    assert len(kitops.list(settings=settings)) == 1


def test_options_that_the_command_has(settings: kitops.Settings, tmp_path: Path) -> None:
    first = kitops.pack(tmp_path / "project", tag="x:v1", settings=settings)
    other = kitops.pack(tmp_path / "project", tag="x:v2", annotations={"a": "b"}, cache=False, settings=settings)
    assert first.desc.digest != other.desc.digest
    assert kitops.inspect("x:v2", settings=settings).kit.manifest.annotations["a"] == "b"
    made = kitops.init(tmp_path / "project", output=tmp_path / "made", depth=-1)
    assert made.path == tmp_path / "made"
    assert "model/deep/a.json" in made.text
    saved = kitops.save("x:v1", tmp_path / "x.tar", referrers=False, parents=False, settings=settings)
    assert [name for name, _ in saved.kits] == ["x:v1"]
    removed = kitops.remove(["x:v1", "x:v2"], settings=settings)
    assert [str(ref) for ref in removed.untagged] == ["x:v1", "x:v2"]
