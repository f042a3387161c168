"""Through real proxies: CONNECT for TLS, absolute URLs for plain HTTP, with a user and without."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kitops.content.copy import BytesReader
from kitops.content.protocols import Run
from kitops.errors import NetworkError, RegistryError
from kitops.oci.descriptor import Descriptor
from kitops.oci.reference import Reference
from kitops.registry import Network, Repository, open_repository
from kitops.registry.credentials import FixedCredential
from kitops.registry.network import Patience
from kitops.testing import ThrowAwayRegistry
from scripted_server import Said, Seen, raw_server, scripted_server
from small_web import pump, read_head
from tls_files import make_authority

DATA = bytes(range(256)) * 4000
DESC = Descriptor.of(DATA, "application/octet-stream")
QUICK = Patience(attempts=2, pause=0.001)


@dataclass
class Proxy:
    address: str
    lines: list[str]


@contextmanager
def proxy(user: str | None = None, tls: tuple[Path, Path] | None = None) -> Iterator[Proxy]:
    """A small HTTP proxy, one request a connection for plain HTTP; spoken to by TLS where it has the files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if tls is not None:
        context.load_cert_chain(*tls)
    lines: list[str] = []
    wanted = f"Basic {base64.b64encode(user.encode()).decode()}" if user else None

    def converse(client: socket.socket) -> None:
        head, _, rest = read_head(client).partition(b"\r\n\r\n")
        if not head:
            return
        first, *fields = head.decode().split("\r\n")
        lines.append(first)
        headers = {key.lower(): value.strip() for key, _, value in (field.partition(":") for field in fields)}
        if headers.get("proxy-authorization") != wanted:
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        method, target, _ = first.split(" ")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            opening = b""
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            parts = urlsplit(target)
            host, port = parts.hostname or "", str(parts.port)
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            kept = [field for field in fields if not field.lower().startswith(("proxy-", "connection:"))]
            opening = "\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""]).encode()
        with socket.create_connection((host, int(port))) as server:
            server.sendall(opening + rest)
            pump(client, server)

    def converse_by_tls(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as secure:
            converse(secure)

    with raw_server(converse if tls is None else converse_by_tls) as address:
        yield Proxy(address, lines)


def round_trip(repository: Repository) -> None:
    repository.put(DESC, BytesReader(DATA), lambda size: None)
    assert repository.exists(DESC)
    assert repository.fetch(DESC) == DATA


@pytest.mark.parametrize(
    ("user", "typed"),
    [(None, ""), ("me:p@ss/word", "me:p%40ss%2Fword@"), ("mé:p€ss", "m%C3%A9:p%E2%82%ACss@")],
)
def test_plain_http_through_a_proxy(user: str | None, typed: str) -> None:
    with ThrowAwayRegistry() as registry, proxy(user) as way:
        network = replace(registry.network, proxy=f"http://{typed}{way.address}", patience=QUICK)
        with registry.repository("a/b", network=network) as repository:
            round_trip(repository)
    assert way.lines[0] == f"POST http://{registry.address}/v2/a/b/blobs/uploads/ HTTP/1.1"
    assert len(way.lines) == 4


@pytest.mark.parametrize("user", [None, "me:hunter2"])
def test_tls_through_a_proxy(tmp_path: Path, user: str | None) -> None:
    authority = make_authority(tmp_path)
    cert, key = authority.issue("server", "127.0.0.1")
    typed = f"{user}@" if user else ""
    with ThrowAwayRegistry(tls_cert=cert, tls_key=key) as registry, proxy(user) as way:
        network = Network(tls_certs=(authority.cert,), proxy=f"http://{typed}{way.address}", patience=QUICK)
        with registry.repository("a/b", network=network) as repository:
            round_trip(repository)
    assert [line.rpartition(" ")[0] for line in way.lines] == [f"CONNECT {registry.address}"]


def test_tls_through_a_proxy_that_speaks_tls(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    files = authority.issue("server", "127.0.0.1")
    with ThrowAwayRegistry(tls_cert=files[0], tls_key=files[1]) as registry, proxy("me:hunter2", files) as way:
        network = Network(tls_certs=(authority.cert,), proxy=f"https://me:hunter2@{way.address}", patience=QUICK)
        with registry.repository("a/b", network=network) as repository:
            repository.ping()
            assert not repository.exists(DESC)
    assert {line.rpartition(" ")[0] for line in way.lines} == {f"CONNECT {registry.address}"}


def test_a_proxy_that_wants_a_user(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    cert, key = authority.issue("server", "127.0.0.1")
    with ThrowAwayRegistry(tls_cert=cert, tls_key=key) as registry, proxy("me:hunter2") as way:
        network = Network(tls_certs=(authority.cert,), proxy=f"http://me:wrong-secret@{way.address}", patience=QUICK)
        with registry.repository("a/b", network=network) as repository, pytest.raises(NetworkError) as caught:
            repository.ping()
    assert "407" in caught.value.message
    assert "proxy's user" in (caught.value.hint or "")
    assert "wrong-secret" not in caught.value.message


@pytest.mark.parametrize("path", ["/v2/", "/token"])
def test_a_plain_proxy_that_wants_a_user_is_told_as_what_it_is(path: str) -> None:
    """It answers in the place of the registry, or of the token server."""

    def script(seen: Seen) -> Said:
        target = seen.target.partition("?")[0].removeprefix("http://registry.example.invalid")
        if target == path:
            return Said(407, {"Proxy-Authenticate": "Basic"}, b"who is there?")
        return Said(401, {"WWW-Authenticate": 'Bearer realm="http://registry.example.invalid/token"'})

    with scripted_server(script) as way:
        network = Network(plain_http=True, http_proxy=f"http://{way.address}", patience=QUICK)
        ref = Reference.parse("registry.example.invalid/a/b")
        with (
            open_repository(ref, network, FixedCredential(), Run()) as repository,
            pytest.raises(RegistryError, match="the proxy answered 407: who is there") as caught,
        ):
            repository.ping()
    assert caught.value.hint == "put the proxy's user and password into its URL"
    assert (caught.value.exit_code, caught.value.status) == (7, 407)


def test_a_plain_proxy_that_wants_a_user() -> None:
    with ThrowAwayRegistry() as registry, proxy("me:hunter2") as way:
        network = replace(registry.network, proxy=f"http://{way.address}", patience=QUICK)
        with registry.repository("a/b", network=network) as repository, pytest.raises(RegistryError, match="407"):
            repository.ping()
    assert registry.asked == []


def test_a_proxy_that_is_away() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ThrowAwayRegistry() as registry:
        network = replace(registry.network, proxy=f"http://127.0.0.1:{port}", patience=QUICK)
        with registry.repository("a/b", network=network) as repository, pytest.raises(NetworkError) as caught:
            repository.ping()
    assert "through the proxy: connection refused" in caught.value.message
    assert "--proxy" in (caught.value.hint or "")
    assert "server is running" not in (caught.value.hint or "")


def test_the_environments_proxy_does_not_serve_loopback() -> None:
    with ThrowAwayRegistry() as registry, proxy() as way:
        network = replace(registry.network, http_proxy=f"http://{way.address}", https_proxy=f"http://{way.address}")
        with registry.repository("a/b", network=network) as repository:
            repository.ping()
    assert way.lines == []
