"""What Debian's ``docker-registry`` supports, with TLS and passwords; ``skopeo`` reads and writes beside us."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitops.content.copy import BytesReader
from kitops.content.protocols import Run
from kitops.errors import Cancelled, NotFoundError
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.registry import Credential, Network, Repository, open_repository
from kitops.registry.catalog import list_repositories
from kitops.registry.credentials import FixedCredential
from kitops.registry.memory import Memory
from kitops.store import open_store
from kitops.store.uploads import StoreUploads
from tls_files import make_authority

MIB = 1024 * 1024
ME = FixedCredential(Credential("me", "hunter2"))
BLOB = "application/vnd.kitops.modelkit.model.v1.tar"
DATA = os.urandom(17 * MIB + 5)
DESC = Descriptor.of(DATA, BLOB)
KIT = str(Path(sys.executable).with_name("kit"))


class Debian:
    """The running registry."""

    def __init__(self, address: str, cert: Path) -> None:
        self.address = address
        self.cert = cert
        self.network = Network(tls_certs=(cert,))

    def connect(self, name: str, memory: Memory | None = None, run: Run | None = None) -> Repository:
        return open_repository(Reference.parse(f"{self.address}/{name}"), self.network, ME, run or Run(), memory=memory)


@pytest.fixture(scope="module")
def debian(
    need: Callable[[str], str],
    start_docker_registry: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Debian:
    place = tmp_path_factory.mktemp("debian")
    authority = make_authority(place)
    line = subprocess.run([need("htpasswd"), "-Bbn", "me", "hunter2"], capture_output=True, check=True).stdout
    (place / "htpasswd").write_bytes(line)
    files = authority.issue("server", "127.0.0.1", "localhost")
    return Debian(start_docker_registry(htpasswd=place / "htpasswd", tls=files).address, authority.cert)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    (tmp_path / "large").write_bytes(DATA)
    return tmp_path / "large"


def send(repository: Repository, path: Path, moved: Callable[[int], None] = lambda size: None) -> None:
    with path.open("rb", buffering=0) as file:
        repository.put(DESC, file, moved)


def fetch(repository: Repository, start: int = 0) -> bytes:
    buffer, found = memoryview(bytearray(MIB)), bytearray()
    with repository.stream_from(DESC, start) as reader:
        while count := reader.readinto(buffer):
            found += buffer[:count]
    return bytes(found)


@pytest.mark.parametrize("way", ["whole", "chunks", "as-it-comes"])
def test_a_blob_goes_up_and_comes_down(debian: Debian, large: Path, way: str) -> None:
    memory = Memory()
    if way == "chunks":
        memory.limits(debian.address).note_too_large(16 * MIB)
        assert memory.limits(debian.address).next_size(len(DATA)) == 4 * MIB
    elif way == "whole":
        memory.limits(debian.address).refuse_chunks()
    steps: list[int] = []
    with debian.connect(f"blobs/{way}", memory) as repository:
        assert not repository.exists(DESC)
        send(repository, large, steps.append)
        assert sum(steps) == len(DATA)
        assert repository.exists(DESC)
        assert fetch(repository) == DATA
        assert fetch(repository, 9 * MIB) == DATA[9 * MIB :]
        with repository.ranges(DESC, limit=0) as ranges:
            assert ranges.read_at(5 * MIB, 100) == DATA[5 * MIB : 5 * MIB + 100]


class Ending(io.FileIO):
    """A file whose reader is ended at byte ``end``."""

    def __init__(self, path: Path, end: int) -> None:
        super().__init__(path)
        self._end = end

    def readinto(self, buffer: Any, /) -> int:
        if self.tell() >= self._end:
            raise Cancelled
        return super().readinto(buffer)


@pytest.mark.parametrize(("end", "kept"), [(8 * MIB, 8 * MIB), (9 * MIB, 0)], ids=["between-chunks", "inside-a-chunk"])
def test_an_upload_is_gone_on_with_by_the_next_process(
    debian: Debian, large: Path, tmp_path: Path, end: int, kept: int
) -> None:
    """The program signs the length into the upload's Location: cut inside a chunk, it refuses to go on."""
    layout = open_store(tmp_path / "store", run=Run()).layout

    def memory() -> Memory:
        found = Memory(StoreUploads(layout))
        found.limits(debian.address).note_too_large(16 * MIB)
        return found

    with (
        debian.connect(f"resumed/from-{end}", memory()) as repository,
        Ending(large, end) as file,
        pytest.raises(Cancelled),
    ):
        repository.put(DESC, file, lambda size: None)
    steps: list[int] = []
    with debian.connect(f"resumed/from-{end}", memory()) as repository:
        send(repository, large, steps.append)
        assert (steps[0] if steps[0] > MIB else 0) == kept
        assert sum(steps) == len(DATA)
        assert fetch(repository) == DATA
    assert os.listdir(layout.uploads) == []


def test_mounts_tags_deletes_and_the_catalog(debian: Debian, large: Path) -> None:
    with debian.connect("first/model") as repository:
        send(repository, large)
        config = Descriptor.of(b"{}", "application/vnd.kitops.modelkit.config.v1+json")
        repository.put(config, BytesReader(b"{}"), lambda size: None)
        manifest = Manifest.build(config=config, layers=[DESC])
        repository.put(manifest.descriptor, BytesReader(manifest.raw), lambda size: None)
        for number in range(12):
            repository.tag(manifest.descriptor, f"v{number:02}")
        assert sorted(repository.tags()) == [f"v{number:02}" for number in range(12)]
    with debian.connect("second/model") as repository:
        assert repository.mount_from(DESC, f"{debian.address}/first/model")
        assert repository.exists(DESC)
        assert not repository.mount_from(Descriptor.of(b"nobody has it", BLOB), f"{debian.address}/first/model")
        with pytest.raises(NotFoundError):
            repository.resolve("v00")
    assert {"first/model", "second/model"} <= set(list_repositories(debian.address, debian.network, ME, Run()))
    with debian.connect("first/model") as repository:
        repository.delete(str(manifest.descriptor.digest))
        with pytest.raises(NotFoundError):
            repository.resolve("v00")


# --- the command


class Machine:
    """A home of its own, logged in."""

    def __init__(self, home: Path, debian: Debian) -> None:
        home.mkdir()
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "KITOPS_HOME": str(home / "kitops")}
        self.environment |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
        self.environment["SSL_CERT_FILE"] = str(debian.cert)
        self.kit("login", debian.address, "-u", "me", "--password-stdin", text="hunter2")

    def kit(self, *words: str, text: str = "") -> str:
        done = subprocess.run(
            [KIT, *words], env=self.environment, input=text, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"kit {words}: {done.stderr}"
        return done.stdout


def test_a_modelkit_and_skopeo(debian: Debian, need: Callable[[str], str], tmp_path: Path) -> None:
    """Ours is copied by skopeo, and what it wrote is pulled and unpacked, in part and whole."""
    skopeo = need("skopeo")
    here, away = Machine(tmp_path / "here", debian), Machine(tmp_path / "away", debian)
    project = tmp_path / "project"
    project.mkdir()
    (project / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {path: m.bin}\ndocs: [{path: notes.txt}]\n")
    (project / "m.bin").write_bytes(os.urandom(300_000))
    (project / "notes.txt").write_text("notes")
    mine, theirs = f"{debian.address}/ours/kit:v1", f"{debian.address}/theirs/kit:v2"
    here.kit("pack", str(project), "-t", mine)
    here.kit("push", mine)
    policy, certs = tmp_path / "policy.json", tmp_path / "certs"
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    certs.mkdir()
    (certs / "ca.crt").write_bytes(debian.cert.read_bytes())
    secrets = ["--src-creds", "me:hunter2", "--dest-creds", "me:hunter2"]
    folders = ["--src-cert-dir", str(certs), "--dest-cert-dir", str(certs)]
    subprocess.run(
        [skopeo, "--policy", str(policy), "copy", *folders, *secrets, f"docker://{mine}", f"docker://{theirs}"],
        env={**os.environ, "HOME": str(tmp_path)}, check=True, capture_output=True,
    )  # fmt: skip
    (row,) = json.loads(away.kit("list", f"{debian.address}/theirs/kit", "--format", "json"))
    assert row["digest"] == json.loads(here.kit("list", "--format", "json"))[0]["digest"]
    away.kit("pull", theirs, "--filter", "docs")
    away.kit("unpack", theirs, "-d", str(tmp_path / "whole"))
    for name in ("m.bin", "notes.txt"):
        assert (tmp_path / "whole" / name).read_bytes() == (project / name).read_bytes()
    away.kit("tag", "--remote", theirs, f"{debian.address}/theirs/kit:v3")
    assert "theirs/kit" in away.kit("list", debian.address)
    away.kit("remove", "--remote", "-f", f"{debian.address}/theirs/kit:v3")
