"""Remote datasets from the command line: pinned and checked at pack, fetched at unpack, from S3, the web, ModelKits."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3

from kitops.cli._main import main
from kitops.errors import InvalidValueError
from kitops.formats.build import Built
from kitops.kitfile.parse import parse
from kitops.kitfile.schema import Dataset, Kitfile
from kitops.layers.staging import Existing
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.ops.inspect import inspect
from kitops.ops.pack import keep
from kitops.ops.place import Place
from kitops.ops.remote_fetch import RemoteFiles, select_remote
from kitops.testing import ThrowAwayRegistry
from object_server import Files
from scripted_server import Said, Scripted, Seen, scripted_server
from tls_files import make_authority
from unit.cli.cli_runs import START, Ended
from unit.ops.ops_places import open_network_place

DATA = os.urandom(3_000_000)
SHA = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
HOP = ("connection", "content-length", "date", "server", "transfer-encoding")
Kit = Callable[..., Ended]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().endswith("_PROXY") or name.startswith(("KITOPS_", "DOCKER_", "REGISTRY_", "XDG_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("KITOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def kit(capsys: pytest.CaptureFixture[str]) -> Kit:
    def run(*words: str) -> Ended:
        capsys.readouterr()
        code = main(words)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/model.bin").write_bytes(b"model")
    return tmp_path / "project"


def write_kitfile(project: Path, *datasets: str) -> Path:
    rows = "".join(f"  - {dataset}\n" for dataset in datasets)
    path = project / "Kitfile"
    path.write_text(f"# ours\nmanifestVersion: 1.0.0\nmodel:\n  path: model.bin\ndatasets:\n{rows}", encoding="utf-8")
    return path


def put_again(place: Place, name: str, config: bytes) -> Reference:
    """The ModelKit ``name`` with another config, as ``x:2``."""
    old, ref = inspect(place, Reference.parse(name)).kit.manifest, Reference.parse("x:2")
    desc = Descriptor.of(config, old.config.media_type)
    manifest = Manifest.build(config=desc, layers=old.layers, artifact_type=old.artifact_type)
    with place.store.lease("test") as lease:
        keep(place, Built(manifest, config), [ref], lease)
    return ref


def hidden(target: Path) -> list[Path]:
    return [path for path in target.glob(".kitops-unpack*") if not path.name.endswith(".json")]


# the web


@pytest.fixture
def files() -> Files:
    return Files({"/data.csv": DATA})


@pytest.fixture
def web(files: Files) -> Iterator[Scripted]:
    with scripted_server(files) as server:
        yield server


def test_the_whole_way_by_etag(kit: Kit, project: Path, web: Scripted, files: Files, tmp_path: Path) -> None:
    url = f"http://{web.address}/data.csv"
    path = write_kitfile(project, f"{{name: train, path: sets/train.csv, remotePath: '{url}'}}  # big")
    assert kit("pack", str(project), "-t", "x:1").code == 2  # no hash
    packed = kit("pack", str(project), "-t", "x:1", "--pin-remote")
    assert packed.code == 0, packed.err
    etag = files.etag("/data.csv")
    assert f'remoteHash: "{etag}", remotePath' in path.read_text()
    assert path.read_text().startswith("# ours\n")
    assert path.read_text().endswith("  # big\n")
    again = kit("pack", str(project), "-t", "x:1")  # what was pinned is what is packed
    assert again.out == packed.out
    target = tmp_path / "out"
    done = kit("unpack", "x:1", "-d", str(target), "--include-remote", "--format", "json")
    assert done.code == 0, done.err
    assert (target / "sets/train.csv").read_bytes() == DATA
    assert done.json["files"] == 3
    assert hidden(target) == []
    assert kit("status", str(target), "--exit-code").code == 0
    assert kit("verify", str(target)).code == 0
    with (target / "sets/train.csv").open("r+b") as file:
        file.write(b"other")
    assert kit("status", str(target), "--exit-code").code == 1
    assert kit("verify", str(target)).code == 5
    (target / "model.bin").write_bytes(b"other")
    refused = kit("unpack", "x:1", "-d", str(target), "--repair")
    assert (refused.code, f"kit unpack x:1 -d {target} --repair --include-remote" in refused.err) == (4, True)
    assert "Mended model.bin" in refused.err
    assert (target / "model.bin").read_bytes() == b"model"
    assert kit("status", str(target)).out.splitlines()[1:] == ["  ? sets/train.csv"]
    repaired = kit("unpack", "x:1", "-d", str(target), "--repair", "--include-remote", "--format", "json")
    assert (repaired.code, repaired.json["mended"]) == (0, ["sets/train.csv"])
    assert (target / "sets/train.csv").read_bytes() == DATA
    assert kit("status", str(target), "--exit-code").code == 0
    assert kit("verify", str(target)).code == 0
    assert web.sent("Authorization") == [None] * len(web.seen)


def test_a_repair_fetches_what_never_was_there(
    kit: Kit, project: Path, web: Scripted, lake: str, tmp_path: Path
) -> None:
    url = f"http://{web.address}/data.csv"
    write_kitfile(
        project,
        f"{{path: a.csv, remotePath: '{url}', remoteHash: '{SHA}'}}",
        f"{{path: sub/b.csv, remotePath: '{url}', remoteHash: '{SHA}'}}",
        f"{{path: below, remotePath: 'lake:v1', remoteHash: '{lake}'}}",
    )
    assert kit("pack", str(project), "-t", "x:1", "--skip-remote-check").code == 0
    target = tmp_path / "out"
    assert kit("unpack", "x:1", "-d", str(target)).code == 0
    (target / "a.csv").write_bytes(DATA)  # by hand, and right
    (target / "sub").write_text("in the way")
    asked = len(web.seen)
    mended = kit("unpack", "x:1", "-d", str(target), "--repair", "--include-remote", "--format", "json")
    assert mended.code == 0, mended.err
    assert mended.json["mended"] == ["below/b.csv", "below/sets", "below/sets/a.csv", "sub/b.csv"]
    assert [seen.method for seen in web.seen[asked:]].count("GET") == 1
    assert (target / "sub/b.csv").read_bytes() == DATA
    assert (target / "sub.before-repair").read_text() == "in the way"
    assert kit("status", str(target)).out.splitlines()[1:] == ["  + sub.before-repair"]
    assert kit("verify", str(target), "--ignore-extra").code == 0
    (target / "a.csv").write_bytes(b"other")
    (target / "below/b.csv").write_bytes(b"other")
    assert kit("verify", str(target), "--ignore-extra").code == 5
    again = kit("unpack", "x:1", "-d", str(target), "--repair", "--include-remote", "--format", "json")
    assert (again.code, again.json["mended"]) == (0, ["a.csv", "below/b.csv"])


def test_a_repair_whose_fetch_fails_has_mended_the_layers(
    kit: Kit, project: Path, web: Scripted, files: Files, tmp_path: Path
) -> None:
    write_kitfile(project, f"{{path: d, remotePath: 'http://{web.address}/data.csv', remoteHash: '{SHA}'}}")
    assert kit("pack", str(project), "-t", "x:1", "--skip-remote-check").code == 0
    target = tmp_path / "out"
    assert kit("unpack", "x:1", "-d", str(target), "--include-remote").code == 0
    for name in ("model.bin", "d"):
        (target / name).write_bytes(b"changed")
    del files.content["/data.csv"]
    failed = kit("unpack", "x:1", "-d", str(target), "--repair", "--include-remote")
    assert (failed.code, "Mended model.bin" in failed.err) == (11, True)
    assert (target / "model.bin").read_bytes() == b"model"
    assert kit("status", str(target)).out.splitlines()[1:] == ["  ~ d"]


def test_content_hash_is_read_and_checked(kit: Kit, project: Path, web: Scripted, files: Files, tmp_path: Path) -> None:
    files.has_etag = False
    url = f"http://{web.address}/data.csv?sig=very-secret"
    path = write_kitfile(project, f"path: sets/\n    remotePath: {url}")
    packed = kit("pack", str(project), "-t", "x:1", "--pin-remote")
    assert packed.code == 0, packed.err
    assert parse(path.read_text()).datasets[0].remote_hash == SHA
    assert "very-secret" not in packed.err
    assert kit("pack", str(project), "-t", "x:1").code == 0
    assert kit("unpack", "x:1", "-d", str(tmp_path / "a"), "--include-remote").code == 0
    assert (tmp_path / "a/sets/data.csv").read_bytes() == DATA
    files.content["/data.csv"] = bytes(len(DATA))
    refused = kit("pack", str(project), "-t", "x:1")
    assert (refused.code, "another than wanted" in refused.err) == (5, True)
    refused = kit("unpack", "x:1", "-d", str(tmp_path / "b"), "--include-remote")
    assert refused.code == 5
    assert not (tmp_path / "b/sets").exists()
    assert not (tmp_path / "b/model.bin").exists()


def test_what_goes_wrong_at_pack(kit: Kit, project: Path, web: Scripted, files: Files) -> None:
    write_kitfile(project, f"{{path: d, remotePath: 'http://{web.address}/gone', remoteHash: e}}")
    missing = kit("pack", str(project), "-t", "x:1")
    assert (missing.code, "there is no such file" in missing.err) == (11, True)
    skipped = kit("pack", str(project), "-t", "x:1", "--skip-remote-check")
    assert (skipped.code, "1 remote datasets were not checked" in skipped.err) == (0, True)
    write_kitfile(project, f"{{path: d, remotePath: 'http://{web.address}/data.csv', remoteHash: other}}")
    changed = kit("pack", str(project), "-t", "x:1")
    assert (changed.code, f"expected ETag other, got ETag {files.etag('/data.csv')}" in changed.err) == (5, True)
    files.heads, files.statuses = 403, [403]
    forbidden = kit("pack", str(project), "-t", "x:1")
    assert (forbidden.code, "no credentials are sent" in forbidden.err) == (11, True)
    files.has_etag, files.heads = False, 200
    assert "got no strong ETag" in kit("pack", str(project), "-t", "x:1").err
    both = kit("pack", str(project), "--pin-remote", "--skip-remote-check")
    assert (both.code, "exclude one another" in both.err) == (2, True)


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_cut_connections_go_on(
    kit: Kit, project: Path, web: Scripted, files: Files, tmp_path: Path, *, knows_ranges: bool
) -> None:
    files.knows_ranges, files.heads = knows_ranges, 405
    write_kitfile(project, f"{{path: d, remotePath: 'http://{web.address}/data.csv', remoteHash: '{SHA}'}}")
    assert kit("pack", str(project), "-t", "x:1", "--skip-remote-check").code == 0
    files.cuts = [0, 1_000_000, 1_500_000 if knows_ranges else 2_500_000]
    done = kit("unpack", "x:1", "-d", str(tmp_path / "out"), "--include-remote")
    assert done.code == 0, done.err
    assert (tmp_path / "out/d").read_bytes() == DATA
    ranges = [sent for sent in web.sent("Range") if sent]
    assert ranges[0] == "bytes=1000000-"


def test_a_file_that_is_replaced_meanwhile(
    kit: Kit, project: Path, web: Scripted, files: Files, tmp_path: Path
) -> None:
    etag = files.etag("/data.csv")
    write_kitfile(project, f"{{path: d, remotePath: 'http://{web.address}/data.csv', remoteHash: '\"{etag}\"'}}")
    assert kit("pack", str(project), "-t", "x:1").code == 0

    def script(seen: Seen) -> Said:
        if seen.method == "GET" and seen.headers.get("Range"):
            files.content["/data.csv"] = bytes(3_000_000)
        return files(seen)

    files.cuts = [1_000_000]
    with scripted_server(script) as other:
        write_kitfile(project, f"{{path: d, remotePath: 'http://{other.address}/data.csv', remoteHash: '{etag}'}}")
        assert kit("pack", str(project), "-t", "x:1").code == 0
        refused = kit("unpack", "x:1", "-d", str(tmp_path / "out"), "--include-remote")
    assert (refused.code, "another than wanted" in refused.err) == (5, True)
    assert not (tmp_path / "out/d").exists()


def test_existing_files_and_filters(kit: Kit, project: Path, web: Scripted, tmp_path: Path) -> None:
    url = f"http://{web.address}/data.csv"
    write_kitfile(
        project,
        f"{{name: a, path: a.csv, remotePath: '{url}', remoteHash: '{SHA}'}}",
        f"{{name: b, path: b.csv, remotePath: '{url}', remoteHash: '{SHA}'}}",
    )
    assert kit("pack", str(project), "-t", "x:1", "--skip-remote-check").code == 0
    target = tmp_path / "out"
    done = kit("unpack", "x:1", "-d", str(target), "--include-remote", "--filter", "datasets:b")
    assert done.code == 0, done.err
    assert {path.name for path in target.iterdir()} - {".kitops-unpacked.json"} == {"b.csv"}
    (target / "b.csv").write_bytes(b"mine")
    before = len(web.seen)
    refused = kit("unpack", "x:1", "-d", str(target), "--include-remote")
    assert (refused.code, "b.csv: it is there already" in refused.err) == (14, True)
    assert len(web.seen) == before
    kept = kit("unpack", "x:1", "-d", str(target), "--include-remote", "-i", "--format", "json")
    assert (kept.code, kept.json["kept"]) == (0, 1)
    assert (target / "b.csv").read_bytes() == b"mine"
    assert kit("unpack", "x:1", "-d", str(target), "--include-remote", "-o").code == 0
    assert (target / "b.csv").read_bytes() == (target / "a.csv").read_bytes() == DATA
    told = kit("unpack", "x:1", "-d", str(tmp_path / "without"))
    assert "dataset a stays at" in told.err
    assert not (tmp_path / "without/a.csv").exists()


def test_a_pinned_kitfile_keeps_its_permission_bits(kit: Kit, project: Path, web: Scripted, tmp_path: Path) -> None:
    path = write_kitfile(project, f"{{path: data.csv, remotePath: 'http://{web.address}/data.csv'}}")
    path.chmod(0o640)
    assert kit("pack", str(project), "-t", "x:1", "--pin-remote").code == 0
    assert "remoteHash" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(found.name for found in project.iterdir()) == ["Kitfile", "model.bin"]


def test_two_datasets_of_one_file(kit: Kit, project: Path, web: Scripted, tmp_path: Path) -> None:
    url = f"http://{web.address}/data.csv"
    rows = [f"{{name: {name}, path: {path}, remotePath: '{url}', remoteHash: '{SHA}'}}" for name, path in
            (("one", "sets/"), ("two", "sets/data.csv"))]  # fmt: skip
    write_kitfile(project, *rows)
    refused = kit("pack", str(project), "-t", "x:1")
    assert (refused.code, "datasets[1].path: the same file as datasets[0].path" in refused.err) == (2, True)
    assert kit("kitfile", "lint", str(project)).code == 2
    datasets = [Dataset(path=path, remote_path=url, remote_hash=SHA) for path in ("sets/", "sets/data.csv")]
    remote = select_remote(Kitfile(datasets=tuple(datasets)), ())  # as another tool may have packed it
    with ExitStack() as stack, pytest.raises(InvalidValueError, match=r"its file sets/data\.csv is in the way of that"):
        RemoteFiles(open_network_place(tmp_path / "home"), remote, tmp_path / "out", Existing.REFUSE, stack)
    assert web.seen == []


def test_a_target_above_what_is_not_there(kit: Kit, project: Path, web: Scripted, tmp_path: Path) -> None:
    write_kitfile(
        project, f"{{name: d, path: d.csv, remotePath: 'http://{web.address}/data.csv', remoteHash: '{SHA}'}}"
    )
    assert kit("pack", str(project), "-t", "x:1", "--skip-remote-check").code == 0
    done = kit("unpack", "x:1", "-d", str(tmp_path / "nowhere/../out"), "--include-remote")
    assert done.code == 0, done.err
    assert (tmp_path / "out/d.csv").read_bytes() == DATA


@pytest.mark.parametrize("path", ["sets/a.csv", "sets/a.csv/b", "Kitfile", ".kitops-unpacked.json"])
def test_a_dataset_in_the_way_of_a_packed_file(
    kit: Kit, project: Path, web: Scripted, tmp_path: Path, path: str
) -> None:
    (project / "sets").mkdir()
    (project / "sets/a.csv").write_bytes(b"packed")
    far = f"{{name: far, path: {path}, remotePath: 'http://{web.address}/data.csv', remoteHash: '{SHA}'}}"
    write_kitfile(project, "{name: near, path: sets}", far)
    refused = kit("pack", str(project), "-t", "x:1", "--skip-remote-check")
    assert (refused.code, f"would be fetched to {path}, where something packed goes" in refused.err) == (3, True)
    place = open_network_place(tmp_path / "home")
    (project / "sets/a.csv").rename(project / "sets/b.csv")  # as another tool may have packed it
    write_kitfile(project, "{name: near, path: sets}", far.replace(path, "elsewhere"))
    assert kit("pack", str(project), "-t", "x:1", "--skip-remote-check").code == 0
    config = place.store.blobs.fetch(inspect(place, Reference.parse("x:1")).kit.manifest.config)
    ref = put_again(place, "x:1", config.replace(b"elsewhere", path.replace("a.csv", "b.csv").encode()))
    target = tmp_path / "out"
    ended = kit("unpack", str(ref), "-d", str(target), "--include-remote")
    assert (ended.code, "in the way of one of a layer" in ended.err) == (2, True)
    assert not target.exists()
    assert kit("unpack", str(ref), "-d", str(target)).code == 0
    ended = kit("unpack", str(ref), "-d", str(target), "--include-remote", "--repair")
    assert (ended.code, "is in the way of a file of the ModelKit" in ended.err) == (0, True)
    assert (target / "sets/b.csv").read_bytes() == b"packed"
    assert web.seen == []


def test_a_full_disk_is_told_before_anything_comes(kit: Kit, project: Path, tmp_path: Path) -> None:
    def script(seen: Seen) -> Said:
        assert seen.method == "HEAD"
        return Said(200, {"ETag": '"e"'}, b"", 1 << 50)

    with scripted_server(script) as server:
        write_kitfile(project, f"{{path: d, remotePath: 'http://{server.address}/x', remoteHash: e}}")
        assert kit("pack", str(project), "-t", "x:1").code == 0
        full = kit("unpack", "x:1", "-d", str(tmp_path / "out"), "--include-remote")
    assert (full.code, f"{1 << 50} bytes needed" in full.err) == (14, True)


def test_damage_in_what_was_there_is_mended_once(
    kit: Kit, project: Path, web: Scripted, files: Files, tmp_path: Path
) -> None:
    write_kitfile(project, f"{{path: d, remotePath: 'http://{web.address}/data.csv', remoteHash: '{SHA}'}}")
    assert kit("pack", str(project), "-t", "x:1", "--skip-remote-check").code == 0
    target = tmp_path / "out"
    files.cuts, files.statuses = [1_000_000], [200, 404]
    assert kit("unpack", "x:1", "-d", str(target), "--include-remote").code == 11
    (left,) = hidden(target)
    assert left.stat().st_size == 1_000_000
    left.write_bytes(bytes(1_000_000))
    done = kit("unpack", "x:1", "-d", str(target), "--include-remote")
    assert (done.code, "is damaged: fetching it again" in done.err) == (0, True)
    assert (target / "d").read_bytes() == DATA
    assert hidden(target) == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_killed_run_goes_on(kit: Kit, project: Path, tmp_path: Path, scheme: str) -> None:
    authority = make_authority(tmp_path)
    tls = authority.issue("web", "127.0.0.1") if scheme == "https" else None
    trust = ["--tls-cert", str(authority.cert)] if tls else []
    files = Files({"/data.csv": DATA})
    held = threading.Event()
    arrived = threading.Event()

    def script(seen: Seen) -> Said:
        if seen.method == "GET" and not held.is_set() and seen.headers.get("Range"):
            arrived.set()
            held.wait(20)
        return files(seen)

    with scripted_server(script, tls=tls) as server:
        write_kitfile(project, f"{{path: d, remotePath: '{scheme}://{server.address}/data.csv', remoteHash: '{SHA}'}}")
        assert kit("pack", str(project), "-t", "x:1", *trust).code == 0
        files.cuts = [2_000_000]
        target = tmp_path / "out"
        words = ["unpack", "x:1", "-d", str(target), "--include-remote", *trust]
        process = subprocess.Popen([sys.executable, "-c", START, *words], stderr=subprocess.DEVNULL)
        try:
            assert arrived.wait(20)
            twice = kit(*words)  # while the other still runs
            assert (twice.code, "another process is fetching" in twice.err) == (14, True)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            held.set()
        assert {path.name for path in target.iterdir()} == {path.name for path in hidden(target)}
        before = len(server.seen)
        done = kit(*words)
        assert done.code == 0, done.err
        assert [seen.headers.get("Range") for seen in server.seen[before:]][-1] == "bytes=2000000-"
    assert (target / "d").read_bytes() == DATA
    assert (target / "model.bin").read_bytes() == b"model"
    assert hidden(target) == []


@pytest.mark.parametrize("left", [0, 1_000_000])
def test_wrong_bytes_of_the_web(kit: Kit, project: Path, files: Files, tmp_path: Path, left: int) -> None:
    """Of the right size and with the right ETag; after a run that was cut, too."""
    authority = make_authority(tmp_path)
    trust = ["--tls-cert", str(authority.cert)]
    with scripted_server(files, tls=authority.issue("web", "127.0.0.1")) as server:
        write_kitfile(project, f"{{path: d, remotePath: 'https://{server.address}/data.csv', remoteHash: '{SHA}'}}")
        assert kit("pack", str(project), "-t", "x:1", *trust).code == 0
        words = ["unpack", "x:1", "-d", str(tmp_path / "out"), "--include-remote", *trust]
        if left:
            files.cuts, files.statuses = [left], [200, 404]
            assert kit(*words).code == 11
        files.wrong = [bytes(len(DATA))] * 9
        refused = kit(*words)
        assert (refused.code, "another than wanted" in refused.err) == (5, True)
        assert not (tmp_path / "out/d").exists()
        assert not (tmp_path / "out/model.bin").exists()
        assert all(path.stat().st_size == 0 for path in hidden(tmp_path / "out")), "nothing of it is gone on with"
        files.wrong = []
        assert kit(*words).code == 0
        assert (tmp_path / "out/d").read_bytes() == DATA


def test_tls_and_redirects(kit: Kit, project: Path, files: Files, tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    files.moved = {"/moved": "/data.csv", "/round": "/round", "/inside": "http://169.254.169.254/x"}
    with scripted_server(files, tls=authority.issue("web", "127.0.0.1")) as server:
        trust = ["--tls-cert", str(authority.cert)]
        write_kitfile(project, f"{{path: d, remotePath: 'https://{server.address}/moved', remoteHash: '{SHA}'}}")
        assert kit("pack", str(project), "-t", "x:1").code == 8  # nobody vouches for it
        assert kit("pack", str(project), "-t", "x:1", *trust).code == 0
        done = kit("unpack", "x:1", "-d", str(tmp_path / "out"), "--include-remote", *trust)
        assert done.code == 0, done.err
        assert (tmp_path / "out/d").read_bytes() == DATA
        write_kitfile(project, f"{{path: d, remotePath: 'https://{server.address}/round', remoteHash: '{SHA}'}}")
        assert "more than 5 redirects" in kit("pack", str(project), *trust).err
        write_kitfile(project, f"{{path: d, remotePath: 'https://{server.address}/inside', remoteHash: '{SHA}'}}")
        assert "169.254.169.254" in kit("pack", str(project), *trust).err


# S3


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - a second, and only for these

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(moto: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    import boto3  # noqa: PLC0415 - as above

    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    calls = boto3.client("s3")
    bucket = f"bucket-{time.monotonic_ns()}"
    calls.create_bucket(Bucket=bucket)
    calls.bucket = bucket
    return calls


def test_s3_by_etag_and_version(kit: Kit, project: Path, s3: Any, tmp_path: Path) -> None:
    s3.put_bucket_versioning(Bucket=s3.bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=s3.bucket, Key="a/train.csv", Body=DATA)
    path = write_kitfile(project, f"path: train.csv\n    remotePath: s3://{s3.bucket}/a/train.csv")
    packed = kit("pack", str(project), "-t", "x:1", "--pin-remote")
    assert packed.code == 0, packed.err
    dataset = parse(path.read_text()).datasets[0]
    assert dataset.remote_path == f"s3://{s3.bucket}/a/train.csv?versionId={first['VersionId']}"
    assert dataset.remote_hash == first["ETag"].strip('"')
    s3.put_object(Bucket=s3.bucket, Key="a/train.csv", Body=b"newer")
    assert kit("pack", str(project), "-t", "x:1").code == 0
    done = kit("unpack", "x:1", "-d", str(tmp_path / "out"), "--include-remote")
    assert done.code == 0, done.err
    assert (tmp_path / "out/train.csv").read_bytes() == DATA
    unversioned = dataset.remote_path.partition("?")[0]
    write_kitfile(project, f"{{path: d, remotePath: '{unversioned}', remoteHash: '{dataset.remote_hash}'}}")
    assert kit("pack", str(project), "-t", "x:2").code == 5


def test_s3_of_parts_by_content_and_by_etag(kit: Kit, project: Path, s3: Any, tmp_path: Path) -> None:
    where = {"Bucket": s3.bucket, "Key": "big"}
    upload = s3.create_multipart_upload(**where)["UploadId"]
    pieces = [os.urandom(5 << 20), b"the end"]
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**where, UploadId=upload, PartNumber=number, Body=piece)["ETag"]}
        for number, piece in enumerate(pieces, 1)
    ]
    etag = s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})["ETag"]
    assert etag.endswith('-2"')
    write_kitfile(
        project,
        f"path: a\n    remotePath: s3://{s3.bucket}/big",
        f"{{path: b, remotePath: 's3://{s3.bucket}/big', remoteHash: '{etag}'}}",
    )
    packed = kit("pack", str(project), "-t", "x:1", "--pin-remote-content")
    assert packed.code == 0, packed.err
    digest = hashlib.sha256(b"".join(pieces)).hexdigest()
    assert f'remoteHash: "sha256:{digest}"' in (project / "Kitfile").read_text()
    done = kit("unpack", "x:1", "-d", str(tmp_path / "out"), "--include-remote")
    assert done.code == 0, done.err
    assert (tmp_path / "out/a").read_bytes() == (tmp_path / "out/b").read_bytes() == b"".join(pieces)


@dataclass
class Between:
    """Passes requests on to moto; answers to GET break off after ``cuts`` bytes, or are other bytes."""

    moto: str
    cuts: list[int] = field(default_factory=list)
    wrong: bytes | None = None
    has_checksum: bool = True

    def __call__(self, seen: Seen) -> Said:
        headers = {key: value for key, value in seen.headers.items() if key not in ("Connection", "Content-Length")}
        answer = urllib3.request(seen.method, self.moto + seen.target, headers=headers, decode_content=False)
        kept = {key: value for key, value in answer.headers.items() if key.lower() not in HOP}
        if not self.has_checksum:
            kept = {key: value for key, value in kept.items() if "checksum" not in key.lower()}
        if seen.method == "HEAD":
            return Said(answer.status, kept, b"", int(answer.headers["Content-Length"]))
        if self.wrong is not None:
            return Said(answer.status, kept, self.wrong)
        if self.cuts:
            return Said(answer.status, kept, answer.data[: self.cuts.pop(0)], len(answer.data))
        return Said(answer.status, kept, answer.data)


@pytest.fixture
def between(moto: str, s3: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Between, Scripted]]:
    script = Between(moto)
    with scripted_server(script) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.address}")
        yield script, server


def test_s3_goes_on_after_cuts(
    kit: Kit, project: Path, s3: Any, between: tuple[Between, Scripted], tmp_path: Path
) -> None:
    script, server = between
    etag = s3.put_object(Bucket=s3.bucket, Key="k", Body=DATA)["ETag"]
    write_kitfile(project, f"{{path: d, remotePath: 's3://{s3.bucket}/k', remoteHash: '{SHA}'}}")
    assert kit("pack", str(project), "-t", "x:1").code == 0
    script.cuts = [1_000_000, 1_000_000]
    done = kit("unpack", "x:1", "-d", str(tmp_path / "out"), "--include-remote")
    assert done.code == 0, done.err
    assert (tmp_path / "out/d").read_bytes() == DATA
    gets = [seen for seen in server.seen if seen.method == "GET"][-3:]
    assert [seen.headers.get("Range") for seen in gets] == [None, "bytes=1000000-", "bytes=2000000-"]
    assert [seen.headers.get("If-Match") for seen in gets] == [etag] * 3


@pytest.mark.parametrize("has_checksum", [True, False])
def test_wrong_bytes_of_s3(
    kit: Kit, project: Path, s3: Any, between: tuple[Between, Scripted], tmp_path: Path, has_checksum: bool
) -> None:
    script, _ = between
    script.has_checksum = has_checksum
    etag = s3.put_object(Bucket=s3.bucket, Key="k", Body=DATA)["ETag"]
    write_kitfile(project, f"{{path: d, remotePath: 's3://{s3.bucket}/k', remoteHash: '{etag}'}}")
    assert kit("pack", str(project), "-t", "x:1").code == 0
    script.wrong = bytes(len(DATA))
    wrong = kit("unpack", "x:1", "-d", str(tmp_path / "out"), "--include-remote")
    assert (wrong.code, ("checksum" if has_checksum else "expected MD5") in wrong.err) == (5, True)
    assert not (tmp_path / "out/d").exists()


def test_s3_refusals(kit: Kit, project: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write_kitfile(project, f"{{path: d, remotePath: 's3://{s3.bucket}/none', remoteHash: e}}")
    missing = kit("pack", str(project), "-t", "x:1")
    assert (missing.code, "there is no such object" in missing.err) == (11, True)

    def forbid(seen: Seen) -> Said:
        return Said(403)

    with scripted_server(forbid) as closed:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{closed.address}")
        refused = kit("pack", str(project), "-t", "x:1")
        assert (refused.code, "your credentials may not read it" in refused.err) == (11, True)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        refused = kit("pack", str(project), "-t", "x:1")
        assert (refused.code, "it is not public" in refused.err) == (11, True)
        assert closed.sent("Authorization")[-1] is None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nowhere")
    assert (bad := kit("pack", str(project), "-t", "x:1")).code == 11, bad.err
    monkeypatch.setitem(sys.modules, "boto3", None)
    without = kit("pack", str(project), "-t", "x:1")
    assert (without.code, "pip install 'kitops[s3]'" in without.err) == (11, True)


# other ModelKits


@pytest.fixture
def lake(kit: Kit, tmp_path: Path) -> str:
    """A ModelKit in the store that has datasets."""
    (tmp_path / "lake/sets").mkdir(parents=True)
    (tmp_path / "lake/sets/a.csv").write_bytes(b"a")
    (tmp_path / "lake/b.csv").write_bytes(b"b")
    (tmp_path / "lake/run.py").write_bytes(b"")
    text = "manifestVersion: 1.0.0\ndatasets: [{path: sets}, {path: b.csv}]\ncode: [{path: run.py}]\n"
    (tmp_path / "lake/Kitfile").write_text(text, encoding="utf-8")
    packed = kit("pack", str(tmp_path / "lake"), "-t", "lake:v1")
    assert packed.code == 0, packed.err
    return packed.out.split()[-1]


def test_datasets_of_another_modelkit(kit: Kit, project: Path, lake: str, tmp_path: Path) -> None:
    path = write_kitfile(project, "path: below\n    remotePath: lake:v1")
    loose = kit("pack", str(project), "-t", "x:0")
    assert (loose.code, "is not pinned" in loose.err) == (0, True)
    assert kit("pack", str(project), "-t", "x:1", "--pin-remote").code == 0
    assert parse(path.read_text()).datasets[0].remote_hash == lake
    done = kit("unpack", "x:1", "-d", str(tmp_path / "out"), "--include-remote")
    assert done.code == 0, done.err
    found = {str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert found - {".kitops-unpacked.json"} == {"Kitfile", "model.bin", "below/sets/a.csv", "below/b.csv"}
    assert kit("verify", str(tmp_path / "out")).code == 0
    (tmp_path / "out/below/b.csv").write_bytes(b"x")
    assert kit("verify", str(tmp_path / "out")).code == 5
    mended = kit("unpack", "x:1", "-d", str(tmp_path / "out"), "--repair")
    assert (mended.code, (tmp_path / "out/below/b.csv").read_bytes()) == (0, b"b"), mended.err
    (tmp_path / "lake/b.csv").write_bytes(b"changed")
    assert kit("pack", str(tmp_path / "lake"), "-t", "lake:v1").code == 0
    moved = kit("pack", str(project), "-t", "x:2")
    assert (moved.code, lake in moved.err) == (5, True)
    write_kitfile(project, "{path: below, remotePath: 'lake:none'}")
    assert kit("pack", str(project), "-t", "x:2").code == 4
    write_kitfile(project, "{path: below, remotePath: 'x:1'}")
    assert (empty := kit("pack", str(project), "-t", "x:2")).code == 2, empty.err


def test_from_a_registry_by_digest(kit: Kit, project: Path, lake: str, tmp_path: Path) -> None:
    with ThrowAwayRegistry() as registry:
        away = f"{registry.address}/team/lake:v1"
        assert kit("push", "lake:v1", away, "--plain-http").code == 0
        write_kitfile(project, f"{{path: ., remotePath: '{away}', remoteHash: '{lake}'}}")
        packed = kit("pack", str(project), "-t", "x:1", "--plain-http")
        assert packed.code == 0, packed.err
        assert kit("remove", "lake:v1").code == 0
        done = kit("unpack", "x:1", "-d", str(tmp_path / "out"), "--include-remote", "--plain-http")
        assert done.code == 0, done.err
    assert (tmp_path / "out/sets/a.csv").read_bytes() == b"a"
