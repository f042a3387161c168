"""Where things came from: told of every kind of source, file by file, and kept under every name."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from git_server import GitServer, add_submodule, git, git_server
from hub_server import Hub
from integration.hub_imports import run_import
from integration.test_import_git import BIG, TABLE, lfs, project, publish
from integration.test_import_git import run_import as run_git_import
from integration.test_import_hub import tiny
from kitops.errors import SourceError
from kitops.importers.location import parse_location
from kitops.importers.tree import OnDisk
from kitops.oci.gojson import Json
from kitops.oci.reference import Reference
from kitops.ops.cache import cache_clear, cache_info
from kitops.ops.import_ import Imported, ImportOptions, import_, import_directory
from kitops.ops.place import Place
from kitops.ops.prune import prune
from kitops.ops.referrers import referrers
from kitops.ops.remove import remove
from kitops.ops.sources import SourceOptions, open_source
from kitops.testing import ThrowAwayRegistry
from unit.ops.ops_places import open_network_place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_network_place(tmp_path / "home")


@pytest.fixture
def server(tmp_path: Path, need: Callable[[str], str]) -> Iterator[GitServer]:
    need("git")
    need("git-lfs")
    root = tmp_path / "server"
    root.mkdir()
    with git_server(root) as found:
        yield found


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def told(imported: Imported) -> tuple[dict[str, Json], list[dict[str, Json]]]:
    """What was asked for, and what came of it."""
    definition = imported.predicate["buildDefinition"]
    return definition["externalParameters"], definition["resolvedDependencies"]  # type: ignore[index,call-overload,return-value]


def digests(imported: Imported) -> dict[str, str]:
    """The SHA-256 of each file that came."""
    return {
        str(one["name"]): str(one["digest"]["sha256"])  # type: ignore[index,call-overload]
        for one in told(imported)[1]
        if "name" in one and "uri" not in one
    }


def test_a_directory_tells_its_files(place: Place, tmp_path: Path) -> None:
    root = tmp_path / "model"
    (root / "data/sub").mkdir(parents=True)
    files = {"model.gguf": b"GGUF", "data/a.csv": b"1,2", "data/sub/b.csv": b"", "README.md": b"# hello"}
    for name, content in files.items():
        (root / name).write_bytes(content)
    (root / "data/left.tmp").write_bytes(b"out")
    (root / ".kitignore").write_bytes(b"**/*.tmp\n")
    imported = import_directory(place, root)
    assert digests(imported) == {name: sha256(content) for name, content in files.items()}
    (said,) = referrers(place, imported.references[0])
    assert said.desc.annotations["in-toto.io/predicate-type"] == "https://slsa.dev/provenance/v1"
    again = import_directory(place, root)
    assert digests(again) == digests(imported)
    assert len(referrers(place, imported.references[0])) == 1


def test_a_directory_that_goes_to_a_registry_tells_its_files_there(place: Place, tmp_path: Path) -> None:
    root = tmp_path / "model"
    (root / "data").mkdir(parents=True)
    files = {"model.gguf": b"GGUF", "data/a.csv": b"1,2"}
    for name, content in files.items():
        (root / name).write_bytes(content)
    with ThrowAwayRegistry() as registry:
        target = registry.reference("team/model:v1")
        imported = import_directory(place, root, targets=[target])
        assert digests(imported) == {name: sha256(content) for name, content in files.items()}
        (said,) = referrers(place, target, remote=True)
        assert said.subject == imported.desc.digest
    assert place.store.refs.list() == []
    assert place.store.usage().blobs_size == 0


def test_a_statement_is_kept_under_every_name(hub: Hub, place: Place) -> None:
    hub.add(tiny())
    one, other = Reference.parse("one/a:1"), Reference.parse("two/b:1")
    run_import(place, hub, "Org/Tiny", ImportOptions(references=(one,)))
    run_import(place, hub, "Org/Tiny", ImportOptions(references=(other,)))
    assert len(referrers(place, other)) == 1
    remove(place, [one])
    assert len(referrers(place, other)) == 1


def test_how_it_was_asked_for_is_told(hub: Hub, place: Place) -> None:
    hub.add(tiny())
    text = b"manifestVersion: 1.0.0\nmodel:\n  path: model.safetensors\n"
    asked = told(run_import(place, hub, "Org/Tiny", ImportOptions(kitfile_text=text, exclude=("x",))))[0]
    assert asked["kitfile"] == {"from": "given", "digest": {"sha256": sha256(text)}}
    assert asked["exclude"] == ["x"]
    edited: list[str] = []

    def edit(generated: str) -> str:
        edited.append(generated.replace("name: Tiny", "name: Mine"))
        return edited[0]

    asked = told(run_import(place, hub, "Org/Tiny", ImportOptions(edit=edit)))[0]
    assert asked["kitfile"] == {"from": "edited", "digest": {"sha256": sha256(edited[0].encode())}}
    asked = told(run_import(place, hub, "Org/Tiny", ImportOptions(edit=lambda text: text)))[0]
    assert "kitfile" not in asked


def test_files_of_git_have_their_sha256(server: GitServer, place: Place, tmp_path: Path) -> None:
    url = publish(server, project(server, tmp_path))
    imported = run_git_import(place, url)
    found = digests(imported)
    assert found["model.safetensors"] == sha256(BIG)
    assert found["data, [new]/a.csv"] == sha256(TABLE)
    assert found["run.sh"] == sha256(b"#!/bin/sh\n")
    assert found["config.json"] == sha256(b"{}")


def test_submodules_are_told_with_their_commits(server: GitServer, place: Place, tmp_path: Path) -> None:
    source = project(server, tmp_path)
    inner = add_submodule(server, source, "third/inner", {"inner.txt": b"inner"})
    imported = run_git_import(place, publish(server, source), submodules=True)
    commit = git(inner, "rev-parse", "HEAD")
    (part,) = [one for one in told(imported)[1] if one.get("name") == "third/inner"]
    assert part == {
        "uri": f"git+{server.url('inner')}@{commit}",
        "digest": {"gitCommit": commit},
        "name": "third/inner",
    }
    assert digests(imported)["third/inner/inner.txt"] == sha256(b"inner")


def test_two_imports_of_one_repository_at_once(server: GitServer, place: Place, tmp_path: Path) -> None:
    url = publish(server, project(server, tmp_path))
    other = open_network_place(place.home)
    with open_source(place, parse_location(f"git+{url}"), SourceOptions()) as tree:
        assert isinstance(tree, OnDisk)
        tree.prepare(tree.files, place.run)
        with open_source(other, parse_location(f"git+{url}"), SourceOptions()) as twin:
            import_(other, twin, ImportOptions(references=(Reference.parse("other:v1"),)))
        assert all(tree.path_of(file).is_file() for file in tree.files)
        imported = import_(place, tree)
    assert imported.size > len(BIG)
    assert os.listdir(place.store.layout.partial) == []


def test_what_a_failed_import_left_is_seen_and_cleared(server: GitServer, place: Place, tmp_path: Path) -> None:
    source = project(server, tmp_path)
    (source / "missing.bin").write_bytes(lfs(server, b"missing" * 100))
    url = publish(server, source)
    server.objects.pop(sha256(b"missing" * 100))
    with pytest.raises(SourceError):
        run_git_import(place, url)
    left = cache_info(place).partial_size
    assert left >= len(TABLE)
    assert prune(place).size < left  # it is young
    assert cache_clear(place).size >= len(TABLE)
    assert cache_info(place).partial_size == 0


def test_a_token_of_the_environment_is_for_git(server: GitServer, tmp_path: Path) -> None:
    url = publish(server, project(server, tmp_path))
    server.password = "hunter2-secret"
    command = [str(Path(sys.executable).with_name("kit")), "import", f"git+{url}"]
    environment = {**os.environ, "KITOPS_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 11
    environment["KITOPS_GIT_TOKEN"] = "hunter2-secret"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
