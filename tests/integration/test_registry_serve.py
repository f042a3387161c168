"""``kit registry serve`` as a process: with skopeo, with our own client, killed, stopped, on a full disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest

from kitops.cli._main import main
from kitops.oci.digest import Digest
from registry_visitor import Visitor
from small_disks import small_disk
from tls_files import Authority, make_authority

Need = Callable[[str], str]
KIT = [sys.executable, "-c", "import sys; from kitops.cli._main import main; sys.exit(main())"]
DATA = os.urandom(3_000_000)
DIGEST = str(Digest.of(DATA))


@dataclass
class Served:
    """A running ``kit registry serve``."""

    process: subprocess.Popen[str]
    address: str

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def serving(home: Path, *words: object) -> Iterator[Served]:
    command = [*KIT, "registry", "serve", *map(str, words), "--format", "json"]
    environ = {**os.environ, "KITOPS_HOME": str(home)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            assert told["url"].endswith(told["address"])
            yield Served(process, told["address"])
        finally:
            process.kill()


def kit(home: Path, *words: object, code: int = 0, text: str | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*KIT, *map(str, words)],
        check=False,
        env={**os.environ, "KITOPS_HOME": str(home)},
        capture_output=True,
        text=True,
        input=text,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    path.mkdir()
    (path / "Kitfile").write_text("manifestVersion: 1.0.0\npackage: {name: served}\nmodel: {path: model.bin}\n")
    (path / "model.bin").write_bytes(DATA)
    return path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_bytes(b"me:" + bcrypt.hashpw(b"hunter2", bcrypt.gensalt(4)) + b"\n")
    return path


def skopeo(program: str, *words: str) -> str:
    return subprocess.run([program, *words], capture_output=True, text=True, check=True, timeout=120).stdout


def copy_both_ways(program: str, address: str, home: Path, tmp_path: Path, flags: Sequence[str] = ()) -> None:
    """What we packed goes in and out again through skopeo, unchanged."""
    inward, outward = [f"--dest-{flag}" for flag in flags], [f"--src-{flag}" for flag in flags]
    source, middle, back = f"oci:{home / 'store'}:x:v1", f"docker://{address}/team/x:v1", f"oci:{tmp_path / 'back'}:x"
    skopeo(program, "copy", "--insecure-policy", *inward, source, middle)
    skopeo(program, "copy", "--insecure-policy", *outward, middle, back)
    there = json.loads(skopeo(program, "inspect", "--raw", *(f"--{flag}" for flag in flags), middle))
    index = json.loads((tmp_path / "back/index.json").read_text())
    digest = index["manifests"][0]["digest"].removeprefix("sha256:")
    assert json.loads((tmp_path / "back/blobs/sha256" / digest).read_bytes()) == there
    assert json.loads((home / "store/blobs/sha256" / digest).read_bytes()) == there


@pytest.mark.parametrize("words", [["{root}"], ["--store"]], ids=["directory", "store"])
def test_skopeo_over_http(need: Need, tmp_path: Path, project: Path, words: list[str]) -> None:
    program, home = need("skopeo"), tmp_path / "home"
    kit(home, "pack", project, "-t", "x:v1")
    with serving(tmp_path / "other", *(word.format(root=tmp_path / "root") for word in words), "--port", 0) as served:
        copy_both_ways(program, served.address, home, tmp_path, ["tls-verify=false"])
        assert served.end() == 0


def test_skopeo_over_tls_with_a_password(
    need: Need, tmp_path: Path, project: Path, authority: Authority, users: Path
) -> None:
    program, home = need("skopeo"), tmp_path / "home"
    cert, key = authority.issue("server", "127.0.0.1")
    kit(home, "pack", project, "-t", "x:v1")
    words = [tmp_path / "root", "--port", 0, "--tls-cert", cert, "--tls-key", key, "--htpasswd", users]
    with serving(tmp_path / "other", *words) as served:
        copy_both_ways(program, served.address, home, tmp_path, ["tls-verify=false", "creds=me:hunter2"])
        with pytest.raises(subprocess.CalledProcessError, match="inspect"):
            skopeo(program, "inspect", "--tls-verify=false", "--creds=me:no", f"docker://{served.address}/team/x:v1")


def test_our_client_over_tls_with_a_password(tmp_path: Path, project: Path, authority: Authority, users: Path) -> None:
    cert, key = authority.issue("server", "127.0.0.1")
    home, trust = tmp_path / "home", ["--tls-cert", authority.cert]
    words = [tmp_path / "root", "--port", 0, "--tls-cert", cert, "--tls-key", key, "--htpasswd", users]
    with serving(tmp_path / "other", *words) as served:
        ref = f"{served.address}/team/x:v1"
        kit(home, "pack", project, "-t", ref)
        kit(home, "push", ref, *trust, code=6)
        kit(home, "login", served.address, "-u", "me", "--password-stdin", *trust, text="hunter2")
        kit(home, "push", ref, *trust)
        kit(home, "remove", ref)
        kit(home, "pull", ref, *trust)
        kit(home, "unpack", ref, "-d", tmp_path / "out")
    assert (tmp_path / "out/model.bin").read_bytes() == DATA


def test_the_store_is_served_and_filled(tmp_path: Path, project: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    with serving(here, "--store", "--port", 0) as served:
        kit(here, "pack", project, "-t", "team/x:v1")
        ref = f"{served.address}/team/x:v1"
        kit(there, "pull", ref, "--plain-http")
        kit(there, "push", ref, f"{served.address}/registry.example.com/y:v2", "--plain-http")
        kit(here, "prune")
        rows = json.loads(kit(here, "list", "--format", "json").stdout)
        assert [row["repo"] for row in rows] == ["registry.example.com/y", "team/x"]
        assert rows[0]["digest"] == rows[1]["digest"]
        with Visitor(served.address) as visitor:
            assert visitor.ask("GET", "/v2/_catalog").json["repositories"] == ["registry.example.com/y", "team/x"]
            visitor.put_blob(b"waits for its manifest", "z")
            kit(here, "remove", "team/x:v1")
            assert visitor.ask("GET", "/v2/team/x/manifests/v1").status == 404
        assert os.listdir(here / "store/leases")
        assert served.end() == 0
    kit(here, "unpack", "registry.example.com/y:v2", "-d", tmp_path / "out")
    assert (tmp_path / "out/model.bin").read_bytes() == DATA
    assert os.listdir(here / "store/leases") == []


@pytest.mark.parametrize("kind", ["directory", "store"])
def test_an_upload_goes_on_after_the_server_was_killed(tmp_path: Path, kind: str) -> None:
    words = ["--store"] if kind == "store" else [tmp_path / "root"]
    with serving(tmp_path / "home", *words, "--port", 0) as served, Visitor(served.address) as visitor:
        location = visitor.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
        visitor.ask("PATCH", location, DATA[:1_000_000], Content_Range="0-999999")
        visitor.connection.putrequest("PATCH", location)
        visitor.connection.putheader("Content-Length", "2000000")
        visitor.connection.endheaders(DATA[1_000_000:1_500_000])
        while True:  # until some of it is there
            with Visitor(served.address) as other:
                status = other.ask("GET", location)
            if status.headers["range"] != "0-999999":
                break
            time.sleep(0.01)
        assert served.end(signal.SIGKILL) == -signal.SIGKILL
    with serving(tmp_path / "home", *words, "--port", 0) as served, Visitor(served.address) as visitor:
        status = visitor.ask("GET", location)
        done = int(status.headers["range"].removeprefix("0-")) + 1
        assert 1_000_000 < done <= 1_500_000
        rest = DATA[done:]
        target = f"{status.headers['location']}?digest={DIGEST}"
        answer = visitor.ask("PUT", target, rest, Content_Range=f"{done}-{len(DATA) - 1}")
        assert answer.status == 201
        assert visitor.ask("GET", f"/v2/a/blobs/{DIGEST}").body == DATA


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_after_what_is_running(tmp_path: Path, number: int) -> None:
    with serving(tmp_path / "home", "--port", 0) as served, Visitor(served.address) as visitor:
        location = visitor.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
        visitor.connection.putrequest("PUT", f"{location}?digest={DIGEST}")
        visitor.connection.putheader("Content-Length", str(len(DATA)))
        visitor.connection.endheaders(DATA[:1_000_000])
        path = next((tmp_path / "home/registry/repositories/a/_uploads").iterdir())
        while not path.stat().st_size:
            time.sleep(0.01)
        served.process.send_signal(number)
        time.sleep(0.2)
        visitor.connection.send(DATA[1_000_000:])
        assert visitor.connection.getresponse().status == 201
        assert served.process.wait(30) == 0


def test_it_ends_what_takes_too_long(tmp_path: Path) -> None:
    with serving(tmp_path / "home", "--port", 0, "--grace", 0.2) as served, Visitor(served.address) as visitor:
        visitor.connection.putrequest("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}")
        visitor.connection.putheader("Content-Length", str(len(DATA)))
        visitor.connection.endheaders(DATA[:1000])
        assert served.end() == 0


def test_a_directory_and_a_port_are_served_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with serving(tmp_path / "home", root, "--port", 0) as served:
        said = kit(tmp_path / "home", "registry", "serve", root, "--port", 0, code=9).stderr
        assert "served by another process" in said
        port = served.address.rpartition(":")[2]
        said = kit(tmp_path / "home", "registry", "serve", "--port", port, code=8).stderr
        assert "--port" in said
        with serving(tmp_path / "home", root, "--port", 0, "--read-only") as reader, Visitor(reader.address) as visitor:
            assert visitor.ask("POST", "/v2/a/blobs/uploads/").status == 405


@pytest.mark.parametrize("kind", ["directory", "store"])
def test_a_disk_without_room(tmp_path: Path, kind: str) -> None:
    with small_disk(tmp_path / "small", "size=2m") as small:
        words = ["--store"] if kind == "store" else [small / "root"]
        with serving(small if kind == "store" else tmp_path / "home", *words, "--port", 0) as served:
            with Visitor(served.address) as visitor:
                visitor.put_blob(b"{}", "a")
                answer = visitor.ask("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", DATA)
                assert answer.status == 507
                assert "disk is full" in answer.body.decode()
                assert visitor.ask("GET", f"/v2/a/blobs/{Digest.of(b'{}')}").body == b"{}"
                visitor.put_blob(DATA[:1_000_000], "a")  # and what it had taken is free again
            assert served.end() == 0


def test_a_filtered_pull_is_served_with_what_it_has(tmp_path: Path, project: Path) -> None:
    (project / "notes.md").write_text("notes\n")
    (project / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {path: model.bin}\ndocs: [{path: notes.md}]\n")
    here, there = tmp_path / "here", tmp_path / "there"
    with serving(here, "--store", "--port", 0) as served:
        kit(here, "pack", project, "-t", "x:v1")
        ref = f"{served.address}/x:v1"
        kit(there, "pull", ref, "--filter", "docs", "--plain-http")
        kit(there, "tag", ref, "x:v1")
    with serving(there, "--store", "--port", 0, "--read-only") as served, Visitor(served.address) as visitor:
        manifest = visitor.ask("GET", "/v2/x/manifests/v1").json
        layers = manifest["layers"]
        assert isinstance(layers, list)
        found = [visitor.ask("HEAD", f"/v2/x/blobs/{layer['digest']}").status for layer in layers]
        assert sorted(found) == [200, 404]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--host", "0.0.0.0"], 2, "--htpasswd"),
        (["--host", "::"], 2, "--insecure"),
        (["--host", ""], 2, "--insecure"),
        (["--host", "no such host"], 2, "no address"),
        (["--tls-key", "missing"], 2, "without a certificate"),
        (["--tls-cert", "missing"], 14, "missing"),
        (["--htpasswd", "missing"], 14, "missing"),
        (["--store", "x"], 2, "no DIRECTORY"),
        (["--store", "--gc"], 2, "no --gc"),
        (["--port", "70000"], 2, "65535"),
        (["nowhere", "--read-only"], 2, "no directory"),
    ],
)
def test_what_is_not_served(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KITOPS_HOME", str(tmp_path / "home"))
    assert main(["registry", "serve", *words]) == code
    told = capsys.readouterr()
    assert says in told.err
    assert told.out == ""


def test_beyond_loopback_with_insecure_or_with_passwords(tmp_path: Path, users: Path) -> None:
    with serving(tmp_path, tmp_path / "a", "--port", 0, "--host", "0.0.0.0", "--insecure") as served:
        assert served.address.startswith("0.0.0.0:")
        port = served.address.rpartition(":")[2]
        with Visitor(f"127.0.0.1:{port}") as visitor:
            assert visitor.ask("GET", "/v2/").status == 200
    with serving(tmp_path, tmp_path / "b", "--port", 0, "--host", "0.0.0.0", "--htpasswd", users) as served:
        visitor = Visitor(f"127.0.0.1:{served.address.rpartition(':')[2]}")
        with visitor:
            assert visitor.ask("GET", "/v2/").status == 401
