"""Imports by the real git and git-lfs from a server on loopback."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from git_server import GitServer, git, git_server, lfs_pointer
from kitops.errors import KitError, NetworkError, SourceError
from kitops.importers.location import parse_location
from kitops.oci.reference import Reference
from kitops.ops.import_ import Imported, ImportOptions, import_, import_to
from kitops.ops.place import Place
from kitops.ops.sources import SourceOptions, open_source
from kitops.ops.unpack import unpack
from kitops.testing import ThrowAwayRegistry
from unit.ops.ops_places import open_network_place, open_test_place

BIG = os.urandom(3_000_000)
TABLE = b"a,b\n" * 1000
CARD = b"---\nlicense: apache-2.0\n---\n# Tiny\n"


@pytest.fixture(autouse=True)
def programs(need: Callable[[str], str]) -> None:
    need("git")
    need("git-lfs")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_test_place(tmp_path / "home")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    root = tmp_path / "server"
    root.mkdir()
    with git_server(root) as found:
        yield found


def lfs(server: GitServer, content: bytes) -> bytes:
    """Put an object of git-lfs on the server; what git keeps of it."""
    oid = hashlib.sha256(content).hexdigest()
    path = server.root / oid
    path.write_bytes(content)
    server.objects[oid] = path
    return lfs_pointer(content)


def publish(server: GitServer, source: Path) -> str:
    """Commit everything in ``source`` and publish it as team/model; its URL."""
    if not (source / ".git").exists():
        git(source, "init", "-q", "-b", "main")
    git(source, "add", "-A")
    git(source, "commit", "-q", "-m", "state")
    bare = server.root / "team/model.git"
    if bare.exists():
        git(source, "push", "-q", "--force", str(bare), "main")
    else:
        bare.parent.mkdir()
        git(source, "clone", "-q", "--bare", str(source), str(bare))
    return server.url("team/model")


def project(server: GitServer, tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "data, [new]").mkdir(parents=True)
    (source / "README.md").write_bytes(CARD)
    (source / "config.json").write_bytes(b"{}")
    (source / "model.safetensors").write_bytes(lfs(server, BIG))
    (source / "data, [new]/a.csv").write_bytes(lfs(server, TABLE))
    (source / "run.sh").write_bytes(b"#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "link.md").symlink_to("README.md")
    return source


def run_import(
    place: Place,
    url: str,
    options: ImportOptions | None = None,
    *,
    token: str | None = None,
    ref: str = "",
    submodules: bool = False,
) -> Imported:
    reach = SourceOptions(revision=ref, token=token, submodules=submodules)
    with open_source(place, parse_location(f"git+{url}"), reach) as tree:
        return import_(place, tree, options)


def test_a_repository_comes_with_its_large_files(server: GitServer, place: Place, tmp_path: Path) -> None:
    source = project(server, tmp_path)
    url = publish(server, source)
    imported = run_import(place, url)
    assert [str(ref) for ref in imported.references] == ["team/model:latest"]
    assert imported.origin.revision == git(source, "rev-parse", "HEAD")
    assert imported.kitfile.model is not None
    assert imported.kitfile.model.license == "Apache-2.0"
    unpack(place, imported.references[0], tmp_path / "out")
    found = {
        str(path.relative_to(tmp_path / "out")): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    del found["Kitfile"], found[".kitops-unpacked.json"]
    assert found == {
        "README.md": CARD,
        "config.json": b"{}",
        "model.safetensors": BIG,
        "data, [new]/a.csv": TABLE,
        "run.sh": b"#!/bin/sh\n",
        "link.md": CARD,
    }
    assert (tmp_path / "out/run.sh").stat().st_mode & 0o111
    assert list((tmp_path / "home/imports").glob("*")) == []
    assert list((tmp_path / "home/store/ingest").iterdir()) == []


def test_what_is_here_is_not_fetched_again(server: GitServer, place: Place, tmp_path: Path) -> None:
    source = project(server, tmp_path)
    url = publish(server, source)
    first = run_import(place, url)
    assert server.sent == len(BIG) + len(TABLE)
    again = run_import(place, url)
    assert again.desc == first.desc
    assert server.sent == len(BIG) + len(TABLE)
    (source / "model.safetensors").write_bytes(lfs(server, b"new" * 1000))
    newer = run_import(place, publish(server, source))
    assert newer.desc != first.desc
    assert server.sent == len(BIG) + len(TABLE) + 3000


def test_branches_tags_and_commits(server: GitServer, place: Place, tmp_path: Path) -> None:
    source = project(server, tmp_path)
    publish(server, source)
    old = git(source, "rev-parse", "HEAD")
    git(source, "tag", "v1")
    git(source, "push", "-q", str(server.root / "team/model.git"), "v1")
    (source / "config.json").write_bytes(b'{"new": 1}')
    url = publish(server, source)
    assert run_import(place, url, ref="v1").origin.revision == old
    assert run_import(place, url, ref=old).origin.revision == old
    assert run_import(place, url, ref="main").origin.revision == git(source, "rev-parse", "HEAD")
    with pytest.raises(SourceError, match="v9") as caught:
        run_import(place, url, ref="v9")
    assert "--ref" in (caught.value.hint or "")
    with pytest.raises(SourceError, match="not the name"):
        run_import(place, url, ref="--upload-pack=/bin/sh")


def test_only_the_wanted_large_files_come(server: GitServer, place: Place, tmp_path: Path) -> None:
    url = publish(server, project(server, tmp_path))
    run_import(place, url, ImportOptions(exclude=("*.safetensors",)))
    assert server.sent == len(TABLE)


def test_a_token_opens_and_never_shows(server: GitServer, place: Place, tmp_path: Path) -> None:
    url = publish(server, project(server, tmp_path))
    server.password = "hunter2-secret"
    for token in (None, "wrong"):
        with pytest.raises(SourceError) as caught:
            run_import(place, url, token=token)
        assert "--token" in (caught.value.hint or "")
        assert "hunter2" not in str(caught.value)
    assert run_import(place, url, token="hunter2-secret").size > len(BIG)
    assert not any("hunter2" in request for request in server.requests)


def test_the_token_is_in_no_process_list(server: GitServer, tmp_path: Path) -> None:
    url = publish(server, project(server, tmp_path))
    server.password = "hunter2-secret"
    command = [str(Path(sys.executable).with_name("kit")), "import", f"git+{url}", "--token=hunter2-secret"]
    environment = {**os.environ, "KITOPS_HOME": str(tmp_path / "home")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    seen = 0
    while process.poll() is None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes()
            except OSError:
                continue
            if b"git" in line.split(b"\0")[0] and str(process.pid) != path.parent.name and url.encode() in line:
                seen += 1
                assert b"hunter2" not in line
    assert process.wait() == 0, process.stderr
    process.communicate()
    assert seen > 0


def test_submodules_are_refused_or_taken(server: GitServer, place: Place, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "inner.txt").write_bytes(b"inner")
    git(inner, "init", "-q", "-b", "main")
    git(inner, "add", "-A")
    git(inner, "commit", "-q", "-m", "x")
    git(inner, "clone", "-q", "--bare", str(inner), str(server.root / "inner.git"))
    source = project(server, tmp_path)
    git(source, "init", "-q", "-b", "main")
    git(source, "submodule", "add", "-q", server.url("inner"), "third/inner")
    url = publish(server, source)
    with pytest.raises(SourceError, match="third/inner") as caught:
        run_import(place, url)
    assert "--submodules" in (caught.value.hint or "")
    imported = run_import(place, url, submodules=True)
    unpack(place, imported.references[0], tmp_path / "out")
    assert (tmp_path / "out/third/inner/inner.txt").read_bytes() == b"inner"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret", ".git/config", "data, [new]"])
def test_links_that_lead_out_are_refused(server: GitServer, place: Place, tmp_path: Path, target: str) -> None:
    source = project(server, tmp_path)
    (source / "evil").symlink_to(target)
    with pytest.raises(SourceError, match="evil"):
        run_import(place, publish(server, source))
    assert place.store.refs.list() == []


def failure(place: Place, url: str) -> KitError:
    with pytest.raises(KitError) as caught:
        run_import(place, url)
    return caught.value


def test_what_is_not_there(server: GitServer, place: Place, tmp_path: Path) -> None:
    missing = failure(place, server.url("team/nothing"))
    assert isinstance(missing, SourceError)
    assert "check the URL" in (missing.hint or "")
    assert isinstance(failure(place, "http://127.0.0.1:9/x.git"), NetworkError)
    url = publish(server, project(server, tmp_path))
    server.objects.clear()
    lost = failure(place, url)
    assert isinstance(lost, SourceError)
    assert list((tmp_path / "home/store/ingest").iterdir()) == []


def test_an_import_that_was_killed_does_not_fetch_large_files_twice(server: GitServer, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    contents = [os.urandom(8_000_000) for _ in range(4)]
    for index, content in enumerate(contents):
        (source / f"model-{index}.safetensors").write_bytes(lfs(server, content))
    url = publish(server, source)
    command = [str(Path(sys.executable).with_name("kit")), "import", f"git+{url}"]
    environment = {**os.environ, "KITOPS_HOME": str(tmp_path / "home")}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while server.sent < 10_000_000 and process.poll() is None:
        time.sleep(0.005)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert server.sent <= 1.1 * 32_000_000 + 8_000_000  # git-lfs outlives its parent for the file that it is at


def test_through_a_clone_straight_into_a_registry(server: GitServer, tmp_path: Path) -> None:
    url = publish(server, project(server, tmp_path))
    place = open_network_place(tmp_path / "home")
    with ThrowAwayRegistry() as registry:
        target = Reference.parse(f"{registry.address}/team/model:v1")
        with open_source(place, parse_location(f"git+{url}"), SourceOptions()) as tree:
            imported = import_to(place, tree, [target], ImportOptions(include=("*.safetensors", "config.json")))
        assert place.store.refs.list() == []
        unpack(open_network_place(tmp_path / "other"), target, tmp_path / "out")
    assert (tmp_path / "out/model.safetensors").read_bytes() == BIG
    assert {docs.path for docs in imported.kitfile.docs} == set()
