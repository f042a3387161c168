"""Ctrl-C in every transfer: exit 130, no traceback, a valid store, and the same command finishes later."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import pytest

from kitops.content.protocols import Run
from kitops.formats.modelkit import read_modelkit
from kitops.server import RegistryServer
from kitops.store import open_store

KIT = str(Path(sys.executable).with_name("kit"))
MIB = 1 << 20
BOUND = 30
"""Seconds until a command must have ended: less than any timeout of its own, more than a busy machine takes."""


class Machine:
    """Runs ``kit`` with a store of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._environment = os.environ | {"KITOPS_HOME": str(home), "HOME": str(home)}

    def kit(self, *words: str | Path) -> str:
        done = subprocess.run(
            [KIT, *map(str, words)], env=self._environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def start(self, *words: str | Path) -> Iterator[subprocess.Popen[str]]:
        """The running command, which tells its progress as JSON."""
        with subprocess.Popen(
            [KIT, *map(str, words), "--progress", "json"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            try:
                yield running
            finally:
                running.kill()

    def check_store(self) -> None:
        """Everything that has a name is there, whole; nothing temporary was left."""
        store = open_store(self.home / "store", run=Run())
        for row in store.refs.list():
            for layer in read_modelkit(store.blobs, row.desc).layers:
                with store.blobs.open(layer.desc) as reader:
                    buffer = memoryview(bytearray(MIB))
                    while reader.readinto(buffer):
                        pass
        for name in ("ingest", "leases"):
            assert not list((self.home / "store").glob(f"{name}/*")), name


def interrupt(running: subprocess.Popen[str]) -> None:
    """Ctrl-C: it ends as it should."""
    running.send_signal(signal.SIGINT)
    out, complaint = running.communicate(timeout=BOUND)
    assert (running.returncode, out) == (130, ""), complaint
    assert "Traceback" not in complaint


def wait_for_bytes(running: subprocess.Popen[str]) -> None:
    """Read the progress until some bytes have moved."""
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("{") and json.loads(line).get("done", 0) > 0:
            return
    raise AssertionError("it ended before it moved anything")


def wait_for_file(target: Path) -> None:
    """Wait until a file is being made below ``target``."""
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:
        if any(path.name == "model.bin" for path in target.rglob("*")):
            return
        time.sleep(0.005)
    raise AssertionError("no file was made")


class Stalling:
    """Stands between ``kit`` and a registry: after so many bytes of one direction nothing moves any more."""

    def __init__(self, target: str, *, up: int | None = None, down: int | None = None) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._limits = {"up": up, "down": down}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()
        self.stalled = threading.Event()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(BOUND)
        for one in self._sockets:
            one.close()

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                self._run(self._pass_on, client, server, "up")
                self._run(self._pass_on, server, client, "down")

    def _pass_on(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        left = self._limits[way]
        with suppress(OSError):
            while data := source.recv(65536):
                if left is not None and len(data) > left:
                    self.stalled.set()
                    self._over.wait(2 * BOUND)
                    return
                left = None if left is None else left - len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "home")


def make_project(path: Path, size: int, *, sparse: bool) -> Path:
    path.mkdir()
    (path / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {path: model.bin}\n")
    with (path / "model.bin").open("wb") as file:
        if sparse:
            file.truncate(size)
        else:
            file.write(os.urandom(size))
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", 8 * MIB, sparse=False)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    with RegistryServer(tmp_path / "registry") as server:
        yield server.address


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_pack(machine: Machine, tmp_path: Path, compression: str) -> None:
    project = make_project(tmp_path / "large", 4096 * MIB, sparse=True)
    with machine.start("pack", project, "-t", "x:1", "--compression", compression) as running:
        wait_for_bytes(running)
        interrupt(running)
    assert machine.kit("list", "--format", "json") == "[]\n"
    machine.check_store()


def test_unpack(machine: Machine, tmp_path: Path) -> None:
    project = make_project(tmp_path / "large", 512 * MIB, sparse=True)
    machine.kit("pack", project, "-t", "x:1", "--compression", "zstd")
    with machine.start("unpack", "x:1", "-d", tmp_path / "out") as running:
        wait_for_file(tmp_path / "out")
        interrupt(running)
    assert not (tmp_path / "out").exists()
    machine.check_store()


def test_push(machine: Machine, project: Path, registry: str, tmp_path: Path) -> None:
    machine.kit("pack", project, "-t", "x:1")
    with (
        Stalling(registry, up=MIB) as between,
        machine.start("push", "x:1", f"{between.address}/x:1", "--plain-http") as running,
    ):
        assert between.stalled.wait(BOUND)
        interrupt(running)
    machine.check_store()
    machine.kit("push", "x:1", f"{registry}/x:1", "--plain-http")
    machine.kit("unpack", f"{registry}/x:1", "--plain-http", "-d", tmp_path / "out")
    assert (tmp_path / "out/model.bin").read_bytes() == (project / "model.bin").read_bytes()


@pytest.fixture
def pushed(machine: Machine, project: Path, registry: str) -> str:
    machine.kit("pack", project, "-t", f"{registry}/x:1")
    machine.kit("push", f"{registry}/x:1", "--plain-http")
    machine.kit("remove", f"{registry}/x:1")
    return registry


def test_pull(machine: Machine, pushed: str, project: Path, tmp_path: Path) -> None:
    with (
        Stalling(pushed, down=MIB) as between,
        machine.start("pull", f"{between.address}/x:1", "--plain-http") as running,
    ):
        assert between.stalled.wait(BOUND)
        interrupt(running)
    assert machine.kit("list", "--format", "json") == "[]\n"
    machine.check_store()
    machine.kit("pull", f"{pushed}/x:1", "--plain-http")
    machine.kit("unpack", f"{pushed}/x:1", "-d", tmp_path / "out")
    assert (tmp_path / "out/model.bin").read_bytes() == (project / "model.bin").read_bytes()


def test_unpack_from_a_registry(machine: Machine, pushed: str, tmp_path: Path) -> None:
    with (
        Stalling(pushed, down=MIB) as between,
        machine.start("unpack", f"{between.address}/x:1", "--plain-http", "-d", tmp_path / "out") as running,
    ):
        assert between.stalled.wait(BOUND)
        interrupt(running)
    out = tmp_path / "out"
    assert not out.exists() or all(path.name.startswith(".kitops-unpack") for path in out.iterdir())  # to go on with
    machine.kit("unpack", f"{pushed}/x:1", "--plain-http", "-d", tmp_path / "out")
    assert (tmp_path / "out/model.bin").stat().st_size == 8 * MIB
