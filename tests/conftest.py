"""Programs that integration tests run against: skipped where they are missing, an error where CI must have them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

Need = Callable[[str], str]


def pytest_configure(config: pytest.Config) -> None:
    """The same surroundings on every machine, however the tests are started.

    Permission bits are part of digests: files that tests make have those of umask 022. And a shell has what it runs in
    the background ignore Ctrl-C, which the programs that tests start would inherit.
    """
    os.umask(0o022)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def need() -> Need:
    """``need("skopeo")``: the program's path; without it the test is skipped, or fails when CI=true."""

    def find(program: str) -> str:
        path = shutil.which(program)
        if path is None and os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(f"{program} is not installed, and CI must have it")
        if path is None:
            pytest.skip(f"{program} is not installed")
        return path

    return find


@dataclass(frozen=True)
class DockerRegistry:
    """Debian's ``docker-registry`` on a free loopback port."""

    address: str
    root: Path


StartDockerRegistry = Callable[..., DockerRegistry]


@pytest.fixture(scope="session")
def start_docker_registry(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartDockerRegistry]:
    """Starts registries that live as long as the session.

    ``start_docker_registry(htpasswd=Path|None, tls=(cert, key)|None) -> DockerRegistry``
    """
    program = need("docker-registry")
    with ExitStack() as stack:

        def start(*, htpasswd: Path | None = None, tls: tuple[Path, Path] | None = None) -> DockerRegistry:
            root = tmp_path_factory.mktemp("docker-registry")
            return stack.enter_context(_running(program, root, htpasswd, tls))

        yield start


@pytest.fixture(scope="session")
def docker_registry(start_docker_registry: StartDockerRegistry) -> DockerRegistry:
    """One open registry over plain HTTP for everybody; use repository names of your own."""
    return start_docker_registry()


@contextmanager
def _running(
    program: str, root: Path, htpasswd: Path | None, tls: tuple[Path, Path] | None
) -> Iterator[DockerRegistry]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = root / "config.yml"
    config.write_text(_config(root, port, htpasswd, tls))
    with (root / "log").open("wb") as log:
        running = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            _wait_for(port, running, root / "log")
            yield DockerRegistry(f"127.0.0.1:{port}", root / "data")
        finally:
            running.terminate()
            try:
                running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def _config(root: Path, port: int, htpasswd: Path | None, tls: tuple[Path, Path] | None) -> str:
    lines = [
        "version: 0.1",
        "log: {level: warn, accesslog: {disabled: true}}",
        "storage:",
        f"  filesystem: {{rootdirectory: {root / 'data'}}}",
        "  delete: {enabled: true}",
        "http:",
        f"  addr: 127.0.0.1:{port}",
        "  relativeurls: true" if tls is None else "  relativeurls: false",
    ]
    if tls is not None:
        lines.append(f"  tls: {{certificate: {tls[0]}, key: {tls[1]}}}")
    if htpasswd is not None:
        lines.append(f"auth: {{htpasswd: {{realm: test, path: {htpasswd}}}}}")
    return "\n".join(lines) + "\n"


def _wait_for(port: int, running: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if running.poll() is not None:
            raise RuntimeError(f"docker-registry ended: {log.read_text()}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("docker-registry does not listen")
