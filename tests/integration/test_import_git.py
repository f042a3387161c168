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

import numpy as np
import pytest
from safetensors.numpy import save

from git_server import GitServer, add_submodule, git, git_server, lfs_pointer
from kitops.cli._tally import Tally
from kitops.content.protocols import Run
from kitops.errors import IntegrityError, KitError, NetworkError, SourceError
from kitops.importers.location import parse_location
from kitops.oci.reference import Reference
from kitops.ops.describe_tree import describe_tree
from kitops.ops.import_ import Imported, ImportOptions, import_, import_to
from kitops.ops.place import Place
from kitops.ops.sources import SourceOptions, open_source
from kitops.ops.unpack import unpack
from kitops.testing import ThrowAwayRegistry
from unit.ops.ops_places import open_network_place

BIG = os.urandom(3_000_000)
TABLE = b"a,b\n" * 1000
CARD = b"---\nlicense: apache-2.0\n---\n# Tiny\n"


@pytest.fixture(autouse=True)
def programs(need: Callable[[str], str]) -> None:
    need("git")
    need("git-lfs")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_network_place(tmp_path / "home")


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
    assert list((tmp_path / "home/store/partial").glob("*")) == []
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


def test_what_came_is_counted_once(server: GitServer, tmp_path: Path) -> None:
    tally = Tally()
    place = open_network_place(tmp_path / "home", Run(tally))
    source = project(server, tmp_path)
    url = publish(server, source)
    imported = run_import(place, url)
    files = [path for path in source.rglob("*") if path.is_file() and ".git" not in path.parts]
    size = sum(path.stat().st_size for path in files if not path.read_bytes().startswith(b"version"))
    assert imported.fetched_size == size + len(BIG) + len(TABLE)
    assert tally.sums().done == tally.sums().size == imported.fetched_size
    assert run_import(place, url).fetched_size == 0


def weights(size: int = 100_000) -> bytes:
    return save({"w": np.arange(size, dtype=np.float32)})


def test_headers_in_lfs_tell_the_same_whatever_is_here(server: GitServer, place: Place, tmp_path: Path) -> None:
    """Of weights only the head is read for the Kitfile, and no byte of it twice."""
    source = project(server, tmp_path)
    (source / "model.safetensors").write_bytes(lfs(server, weights()))
    (source / "config.json").write_bytes(lfs(server, b'{"model_type": "tiny"}'))
    url = publish(server, source)
    with open_source(place, parse_location(f"git+{url}"), SourceOptions()) as tree:
        described = describe_tree(tree, tree.files, place.run)
    assert server.sent <= 64 * 1024 + 100
    server.sent = 0
    first = run_import(place, url)
    assert server.sent == len(weights()) + len(TABLE) + len(b'{"model_type": "tiny"}')
    again = run_import(place, url)
    assert again.desc == first.desc
    assert server.sent == len(weights()) + len(TABLE) + len(b'{"model_type": "tiny"}')
    assert first.kitfile == described
    assert first.kitfile.model is not None
    assert first.kitfile.model.parameters == {
        "family": "tiny",
        "parameterCount": 100_000,
        "parameterSize": "100.0K",
        "precision": "float32",
    }


@pytest.mark.parametrize("fault", ["ranges", "batch"])
def test_a_server_that_gives_no_heads_gives_whole_files(
    server: GitServer, place: Place, tmp_path: Path, fault: str
) -> None:
    """And the Kitfile is the same."""
    source = project(server, tmp_path)
    (source / "model.safetensors").write_bytes(lfs(server, weights()))
    url = publish(server, source)
    expected = run_import(open_network_place(tmp_path / "other"), url)
    server.has_ranges = fault != "ranges"
    server.batch_refusals = 1 if fault == "batch" else 0
    found = run_import(place, url)
    assert found.desc == expected.desc
    assert found.kitfile.model is not None
    assert found.kitfile.model.parameters


def test_heads_are_read_with_a_token_too(server: GitServer, place: Place, tmp_path: Path) -> None:
    source = project(server, tmp_path)
    (source / "model.safetensors").write_bytes(lfs(server, weights()))
    url = publish(server, source)
    server.password = "hunter2-secret"
    reach = SourceOptions(token="hunter2-secret")
    with open_source(place, parse_location(f"git+{url}"), reach) as tree:
        kitfile = describe_tree(tree, tree.files, place.run)
    assert kitfile.model is not None
    assert kitfile.model.parameters
    assert server.sent <= 64 * 1024


def test_heads_are_read_from_where_the_server_leads(server: GitServer, place: Place, tmp_path: Path) -> None:
    source = project(server, tmp_path)
    (source / "model.safetensors").write_bytes(lfs(server, weights()))
    url = publish(server, source)
    server.redirects = True
    with open_source(place, parse_location(f"git+{url}"), SourceOptions()) as tree:
        kitfile = describe_tree(tree, tree.files, place.run)
    assert kitfile.model is not None
    assert kitfile.model.parameters
    assert server.sent <= 64 * 1024


@pytest.mark.parametrize("difference", [-7, 7])
def test_a_pointer_with_a_wrong_size_is_refused(
    server: GitServer, place: Place, tmp_path: Path, difference: int
) -> None:
    source = project(server, tmp_path)
    size = len(TABLE) + difference
    (source / "data, [new]/a.csv").write_bytes(lfs(server, TABLE).replace(b"size 4000", f"size {size}".encode()))
    found = failure(place, publish(server, source))
    assert isinstance(found, IntegrityError)
    assert "data, [new]/a.csv" in found.message
    assert f"expected {size} bytes, got 4000 bytes" in found.message
    size = len(BIG) + difference
    (source / "data, [new]/a.csv").write_bytes(lfs(server, TABLE))
    (source / "model.safetensors").write_bytes(lfs(server, BIG).replace(b"size 3000000", f"size {size}".encode()))
    assert isinstance(failure(place, publish(server, source)), IntegrityError | SourceError)
    assert place.store.refs.list() == []


def test_a_link_brings_the_large_file_that_it_leads_to(server: GitServer, place: Place, tmp_path: Path) -> None:
    source = project(server, tmp_path)
    (source / "best.safetensors").symlink_to("model.safetensors")
    imported = run_import(place, publish(server, source), ImportOptions(exclude=("model.safetensors",)))
    unpack(place, imported.references[0], tmp_path / "out")
    assert (tmp_path / "out/best.safetensors").read_bytes() == BIG
    assert not (tmp_path / "out/model.safetensors").exists()


def test_a_folder_of_a_repository_of_the_hub(server: GitServer, place: Place, tmp_path: Path) -> None:
    """`--tool git` takes what the URL says: revision, folder, and that it is a dataset."""
    publish(server, project(server, tmp_path))
    (server.root / "datasets/team").mkdir(parents=True)
    (server.root / "team/model.git").rename(server.root / "datasets/team/model")
    text = f"{server.address}/datasets/team/model/tree/main/data, [new]"
    location = parse_location(text, hub=server.address, tool="git")
    with open_source(place, location, SourceOptions()) as tree:
        imported = import_(place, tree)
    assert [dataset.path for dataset in imported.kitfile.datasets] == ["data, [new]"]
    assert imported.origin.asked == "main"
    assert [str(ref) for ref in imported.references] == ["team/model:latest"]


def test_a_hook_of_git_may_import(server: GitServer, tmp_path: Path) -> None:
    """What git tells a hook of its own repository is not ours: that repository stays as it is."""
    url = publish(server, project(server, tmp_path))
    own = tmp_path / "own"
    own.mkdir()
    (own / "work.txt").write_bytes(b"mine")
    git(own, "init", "-q", "-b", "main")
    git(own, "add", "-A")
    git(own, "commit", "-q", "-m", "mine")
    (own / "work.txt").write_bytes(b"not committed yet")
    before = (git(own, "rev-parse", "HEAD"), git(own, "status", "--porcelain"), (own / ".git/config").read_bytes())
    environment = {
        **os.environ,
        "KITOPS_HOME": str(tmp_path / "home"),
        "GIT_DIR": str(own / ".git"),
        "GIT_WORK_TREE": str(own),
        "GIT_INDEX_FILE": str(own / ".git/index"),
        "GIT_OBJECT_DIRECTORY": str(own / ".git/objects"),
        "GIT_PREFIX": "",
    }
    command = [str(Path(sys.executable).with_name("kit")), "import", f"git+{url}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert before == (
        git(own, "rev-parse", "HEAD"),
        git(own, "status", "--porcelain"),
        (own / ".git/config").read_bytes(),
    )
    assert (own / "work.txt").read_bytes() == b"not committed yet"


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
    assert run_import(place, url, ref=old[:8]).origin.revision == old
    with pytest.raises(SourceError, match="abcdef12"):
        run_import(place, url, ref="abcdef12")
    with pytest.raises(SourceError, match="v9") as caught:
        run_import(place, url, ref="v9")
    assert "--ref" in (caught.value.hint or "")
    with pytest.raises(SourceError, match="not the name"):
        run_import(place, url, ref="--upload-pack=/bin/sh")


@pytest.mark.parametrize("part", ["model.bin", "."])
def test_a_damaged_object_that_git_lfs_kept_is_fetched_again(
    server: GitServer, place: Place, tmp_path: Path, part: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "model.bin").write_bytes(lfs(server, BIG))
    url = publish(server, source)
    text = f"manifestVersion: 1.0.0\ndatasets: [{{path: {part}}}]\n".encode()
    with open_source(place, parse_location(f"git+{url}"), SourceOptions()) as tree:
        kept = tree.path_of(tree.files[0])  # type: ignore[attr-defined]
        kept.parent.mkdir(parents=True)
        kept.write_bytes(bytes(len(BIG)))  # as a power cut may leave it
        imported = import_(place, tree, ImportOptions(kitfile_text=text))
    unpack(place, imported.references[0], tmp_path / "out")
    assert (tmp_path / "out/model.bin").read_bytes() == BIG


def test_files_that_git_converts_come_as_they_are_checked_out(server: GitServer, place: Place, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "data").mkdir(parents=True)
    (source / ".gitattributes").write_bytes(b"*.bat text eol=crlf\n")
    (source / "data/a.bat").write_bytes(b"one\ntwo\n")
    (source / "data/b.txt").write_bytes(b"one\ntwo\n")  # to git the same object
    (source / "data/table.csv").write_bytes(lfs(server, TABLE))
    url = publish(server, source)
    options = ImportOptions(kitfile_text=b"manifestVersion: 1.0.0\ndatasets: [{path: data}]\n")
    imported = run_import(place, url, options)
    assert server.sent == len(TABLE)
    assert run_import(place, url, options).desc == imported.desc
    assert server.sent == len(TABLE)
    unpack(place, imported.references[0], tmp_path / "out")
    assert (tmp_path / "out/data/a.bat").read_bytes() == b"one\r\ntwo\r\n"
    assert (tmp_path / "out/data/b.txt").read_bytes() == b"one\ntwo\n"
    said = imported.predicate["buildDefinition"]["resolvedDependencies"]  # type: ignore[index,call-overload]
    digests = {one["name"]: one["digest"] for one in said if "name" in one}  # type: ignore[index,call-overload,union-attr]
    assert digests["data/a.bat"] == {"sha256": hashlib.sha256(b"one\r\ntwo\r\n").hexdigest()}
    assert digests["data/b.txt"].keys() == {"sha256", "gitBlob"}  # type: ignore[union-attr]


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
    source = project(server, tmp_path)
    add_submodule(server, source, "third/inner", {"inner.txt": b"inner"})
    url = publish(server, source)
    with pytest.raises(SourceError, match="third/inner") as caught:
        run_import(place, url)
    assert "--submodules" in (caught.value.hint or "")
    imported = run_import(place, url, submodules=True)
    unpack(place, imported.references[0], tmp_path / "out")
    assert (tmp_path / "out/third/inner/inner.txt").read_bytes() == b"inner"


def test_large_files_of_submodules_come_too(server: GitServer, place: Place, tmp_path: Path) -> None:
    source = project(server, tmp_path)
    add_submodule(server, source, "deps", {"w, [1].bin": lfs(server, BIG[:500_000]), "w.txt": b"small"})
    (source / "link.bin").symlink_to("deps/w, [1].bin")
    imported = run_import(place, publish(server, source), submodules=True)
    unpack(place, imported.references[0], tmp_path / "out")
    assert (tmp_path / "out/deps/w, [1].bin").read_bytes() == BIG[:500_000]
    assert (tmp_path / "out/link.bin").read_bytes() == BIG[:500_000]
    assert (tmp_path / "out/model.safetensors").read_bytes() == BIG
    assert run_import(place, server.url("team/model"), submodules=True).fetched_size == 0


def run_with_ssh(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> KitError:
    """The failure of an import where ssh says something and ends."""
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{said}\nEND\nexit 255\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    location = parse_location("git@git.example.com:team/model.git")
    with pytest.raises(KitError) as caught, open_source(place, location, SourceOptions()):
        pass
    return caught.value


def test_what_ssh_says_is_told(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = run_with_ssh(place, tmp_path, monkeypatch, "Host key verification failed.")
    assert "Host key verification failed" in strange.message
    assert "ssh -T git@git.example.com" in (strange.hint or "")
    denied = run_with_ssh(place, tmp_path, monkeypatch, "git@git.example.com: Permission denied (publickey).")
    assert "Permission denied (publickey)" in denied.message
    assert "ssh-add" in (denied.hint or "")
    assert "--token" not in (denied.hint or "")
    missing = run_with_ssh(place, tmp_path, monkeypatch, "ERROR: Repository not found.")
    assert "Repository not found" in missing.message
    assert "--token" not in (missing.hint or "")
    away = run_with_ssh(
        place, tmp_path, monkeypatch, "ssh: connect to host git.example.com port 22: Connection refused"
    )
    assert isinstance(away, NetworkError)
    assert "Connection refused" in away.message


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret", ".git/config", "data, [new]"])
def test_links_that_lead_out_are_refused(server: GitServer, place: Place, tmp_path: Path, target: str) -> None:
    source = project(server, tmp_path)
    (source / "evil").symlink_to(target)
    with pytest.raises(SourceError, match="evil"):
        run_import(place, publish(server, source))
    assert place.store.refs.list() == []


def test_links_that_lead_out_matter_only_where_they_are_wanted(server: GitServer, place: Place, tmp_path: Path) -> None:
    source = project(server, tmp_path)
    (source / "evil").symlink_to("/etc/passwd")
    (source / "away").symlink_to("..", target_is_directory=True)
    url = publish(server, source)
    given = ImportOptions(kitfile_text=b"manifestVersion: 1.0.0\ncode:\n- path: .\n")
    with pytest.raises(SourceError, match="away, evil"):
        run_import(place, url, options=given)
    given = ImportOptions(kitfile_text=b"manifestVersion: 1.0.0\ndocs:\n- path: README.md\n")
    assert len(run_import(place, url, options=given).kitfile.docs) == 1
    with pytest.raises(SourceError, match=r"directories: away\Z"):
        run_import(place, url, options=ImportOptions(exclude=("evil",)))
    unpack(
        place, run_import(place, url, options=ImportOptions(exclude=("evil", "away"))).references[0], tmp_path / "out"
    )
    assert not {"evil", "away"} & set(os.listdir(tmp_path / "out"))


@pytest.mark.parametrize("target", ["/etc/passwd", "..", "nowhere"])
def test_a_kitignore_that_leads_out_is_told_before_it_is_read(
    server: GitServer, place: Place, tmp_path: Path, target: str
) -> None:
    source = project(server, tmp_path)
    (source / ".kitignore").symlink_to(target)
    url = publish(server, source)
    with pytest.raises(SourceError, match=r"directories: \.kitignore\Z"):
        run_import(place, url)
    assert run_import(place, url, options=ImportOptions(exclude=(".kitignore",))).kitfile.model is not None


def failure(place: Place, url: str) -> KitError:
    with pytest.raises(KitError) as caught:
        run_import(place, url)
    return caught.value


def test_what_is_not_there(server: GitServer, place: Place, tmp_path: Path) -> None:
    missing = failure(place, server.url("team/nothing"))
    assert isinstance(missing, SourceError)
    assert "check the URL" in (missing.hint or "")
    assert isinstance(failure(place, "http://127.0.0.1:9/x.git"), NetworkError)
    source = project(server, tmp_path)
    (source / ".lfsconfig").write_text("[lfs]\n\turl = http://127.0.0.1:9/lfs\n")
    assert isinstance(failure(place, publish(server, source)), NetworkError)
    (source / ".lfsconfig").unlink()
    url = publish(server, source)
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
        assert imported.fetched_size == len(BIG) + len(b"{}")
        before = server.sent
        with open_source(place, parse_location(f"git+{url}"), SourceOptions()) as tree:
            import_to(place, tree, [target], ImportOptions(include=("*.safetensors", "config.json")))
        assert server.sent - before < 200_000  # heads: the registry has the rest
        unpack(open_network_place(tmp_path / "other"), target, tmp_path / "out")
    assert (tmp_path / "out/model.safetensors").read_bytes() == BIG
    assert {docs.path for docs in imported.kitfile.docs} == set()
