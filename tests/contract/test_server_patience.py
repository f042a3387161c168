"""The server against clients that are slow, silent, too many or cut off; and its orderly end."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from kitops.content.cancel import CancelToken
from kitops.oci.digest import Digest
from kitops.server import BasicAccess, BearerAccess, DirectoryShelf, RegistryServer, ServerOptions
from kitops.server.wire import Patience
from registry_visitor import Visitor
from tls_files import make_authority

DATA = bytes(range(256)) * 40_000
DIGEST = str(Digest.of(DATA))
HASTY = Patience(idle_seconds=0.3, head_seconds=0.3, handshake_seconds=0.3, slowest=1_000_000)


@contextmanager
def serving(root: Path, options: ServerOptions) -> Iterator[RegistryServer]:
    with RegistryServer(DirectoryShelf(root), options) as server:
        yield server


def dial(server: RegistryServer) -> socket.socket:
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def hear(sock: socket.socket) -> bytes:
    """Everything until the other side closes."""
    heard = b""
    try:
        while more := sock.recv(65536):
            heard += more
    except ConnectionResetError:
        pass
    return heard


def is_refused(attempt: Callable[[], None]) -> bool:
    """Whether it fails, at last, when it is tried for some seconds."""
    for _ in range(1000):
        try:
            attempt()
        except OSError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET /v2/ HTT",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n",
        b"POST /v2/a/blobs/uploads/?digest=" + DIGEST.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx",
    ],
)
def test_who_says_no_more_is_left(tmp_path: Path, said: bytes) -> None:
    with serving(tmp_path, ServerOptions(patience=HASTY)) as server, dial(server) as sock:
        sock.sendall(said)
        assert hear(sock) == b""


@pytest.mark.parametrize(
    "head", [b"GET /v2/ HTTP/1.1\r\nX: ", b"PUT /v2/a HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n"]
)
def test_dripping_does_not_keep_a_connection(tmp_path: Path, head: bytes) -> None:
    with serving(tmp_path, ServerOptions(patience=HASTY)) as server, dial(server) as sock:
        sock.sendall(head)
        assert is_refused(lambda: sock.sendall(b"x"))


def test_half_a_handshake_keeps_nobody_waiting(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    cert, key = authority.issue("server", "127.0.0.1")
    context = ssl.create_default_context(cafile=str(authority.cert))
    with serving(tmp_path / "root", ServerOptions(tls_cert=cert, tls_key=key)) as server, ExitStack() as stack:
        silent = [stack.enter_context(dial(server)) for _ in range(20)]
        silent[0].sendall(b"\x16\x03\x01")
        with Visitor(server.address, context) as visitor:
            assert visitor.ask("GET", "/v2/").status == 200


def test_half_a_handshake_is_given_up(tmp_path: Path) -> None:
    cert, key = make_authority(tmp_path).issue("server", "127.0.0.1")
    options = ServerOptions(tls_cert=cert, tls_key=key, patience=HASTY)
    with serving(tmp_path / "root", options) as server, dial(server) as silent, dial(server) as plain:
        assert hear(silent) == b""
        plain.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not hear(plain).startswith(b"HTTP/1.1 200")


def test_a_client_that_does_not_read_is_left(tmp_path: Path) -> None:
    with serving(tmp_path, ServerOptions()) as server, Visitor(server.address) as visitor:
        visitor.put_blob(DATA, "a")
    with serving(tmp_path, ServerOptions(patience=HASTY)) as server, dial(server) as sock:
        sock.sendall(f"GET /v2/a/blobs/{DIGEST} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(1)  # longer than the server waits
        assert len(hear(sock)) < len(DATA)


def test_idle_connections_make_room(tmp_path: Path) -> None:
    with serving(tmp_path, ServerOptions(most_connections=4)) as server, ExitStack() as stack:
        for _ in range(12):
            visitor = stack.enter_context(Visitor(server.address))
            assert visitor.ask("GET", "/v2/").status == 200


def test_heads_that_never_end_make_room(tmp_path: Path) -> None:
    options = ServerOptions(most_connections=4, patience=Patience(idle_seconds=600, head_seconds=600))
    with serving(tmp_path, options) as server, ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(dial(server)).sendall(b"GET /v2/ HTT")
        visitor = stack.enter_context(Visitor(server.address))
        assert visitor.ask("GET", "/v2/").status == 200


def test_busy_connections_keep_theirs_and_others_wait(tmp_path: Path) -> None:
    with serving(tmp_path, ServerOptions(most_connections=2)) as server, ExitStack() as stack:
        target = f"POST /v2/a/blobs/uploads/?digest={DIGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(DATA)}\r\n\r\n"
        busy = [stack.enter_context(dial(server)) for _ in range(2)]
        for sock in busy:
            sock.sendall(target.encode() + DATA[:1000])
        late = stack.enter_context(dial(server))
        late.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        late.settimeout(0.3)
        with pytest.raises(TimeoutError):
            late.recv(100)
        for sock in busy:
            sock.sendall(DATA[1000:])
            assert sock.recv(12) == b"HTTP/1.1 201"
        late.settimeout(20)
        assert late.recv(12) == b"HTTP/1.1 200"


def test_a_body_is_asked_for_only_when_it_is_wanted(tmp_path: Path) -> None:
    head = f"POST /v2/a/blobs/uploads/?digest={DIGEST} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
    head += f"Content-Length: {len(DATA)}\r\n"
    with serving(tmp_path, ServerOptions(access=BasicAccess({"me": "x"}))) as server:
        with dial(server) as sock:
            sock.sendall(f"{head}\r\n".encode())
            heard = hear(sock)
            assert heard.startswith(b"HTTP/1.1 401 ")
            assert b"100" not in heard.split(b"\r\n", 1)[0]
        with dial(server) as sock:
            sock.sendall(f"{head}Authorization: Basic bWU6eA==\r\n\r\n".encode())
            assert sock.recv(12) == b"HTTP/1.1 100"
            sock.sendall(DATA)
            sock.shutdown(socket.SHUT_WR)
            assert b"HTTP/1.1 201" in hear(sock)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_connection_is_closed_when_that_is_asked_for(tmp_path: Path, version: bytes) -> None:
    with serving(tmp_path, ServerOptions()) as server, dial(server) as sock:
        sock.sendall(b"GET /v2/ HTTP/" + version + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"\r\nConnection: close\r\n" in hear(sock)


def test_what_runs_is_finished_and_no_more_begins(tmp_path: Path) -> None:
    server = RegistryServer(DirectoryShelf(tmp_path), ServerOptions(grace_seconds=20))
    with dial(server) as running:
        target = f"POST /v2/a/blobs/uploads/?digest={DIGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(DATA)}\r\n\r\n"
        running.sendall(target.encode() + DATA[:1000])
        while not list(tmp_path.glob("repositories/a/_uploads/*")):
            time.sleep(0.01)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert is_refused(lambda: dial(server).close())
        running.sendall(DATA[1000:])
        heard = hear(running)
        assert heard.startswith(b"HTTP/1.1 201 ")
        assert b"\r\nConnection: close\r\n" in heard
        stopping.join()
    assert (tmp_path / "blobs/sha256" / DIGEST.removeprefix("sha256:")).read_bytes() == DATA


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/v2/a/blobs/uploads/"),
        ("POST", f"/v2/b/blobs/uploads/?mount={DIGEST}&from=a"),
        ("PATCH", "/v2/a/blobs/uploads/" + "0" * 32),
        ("PUT", "/v2/a/manifests/v2"),
        ("DELETE", "/v2/a/manifests/v1"),
        ("DELETE", f"/v2/a/blobs/{DIGEST}"),
    ],
)
def test_a_read_only_registry_changes_nothing(tmp_path: Path, method: str, target: str) -> None:
    with serving(tmp_path, ServerOptions()) as server, Visitor(server.address) as visitor:
        manifest = visitor.put_manifest("v1", "a", DATA)
    before = sorted(tmp_path.rglob("*"))
    with serving(tmp_path, ServerOptions(read_only=True)) as server, Visitor(server.address) as visitor:
        answer = visitor.ask(method, target, b"{}" if method in ("PUT", "PATCH") else None)
        assert (answer.status, answer.code) == (405, "UNSUPPORTED")
        assert visitor.ask("GET", "/v2/a/manifests/v1").body == manifest.raw
        assert visitor.ask("GET", f"/v2/a/blobs/{DIGEST}").body == DATA
    assert sorted(tmp_path.rglob("*")) == before


def test_two_clients_push_the_same_blob(tmp_path: Path) -> None:
    with serving(tmp_path, ServerOptions()) as server, Visitor(server.address) as one, Visitor(server.address) as two:
        places = [each.ask("POST", "/v2/a/blobs/uploads/").headers["location"] for each in (one, two)]
        for each, place in zip((one, two), places, strict=True):
            each.ask("PATCH", place, DATA[:5_000_000])
        for each, place in zip((two, one), reversed(places), strict=True):
            assert each.ask("PUT", f"{place}?digest={DIGEST}", DATA[5_000_000:]).status == 201
        assert one.ask("GET", f"/v2/a/blobs/{DIGEST}").body == DATA
    assert not list(tmp_path.glob("repositories/a/_uploads/*"))


def test_a_blob_that_goes_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    with serving(tmp_path, ServerOptions()) as server, Visitor(server.address) as visitor, dial(server) as sock:
        visitor.put_blob(DATA, "a")
        sock.sendall(f"GET /v2/a/blobs/{DIGEST} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        heard = sock.recv(1000)
        assert visitor.ask("DELETE", f"/v2/a/blobs/{DIGEST}").status == 202
        (tmp_path / "blobs/sha256" / DIGEST.removeprefix("sha256:")).unlink()
        heard += hear(sock)
        assert heard.partition(b"\r\n\r\n")[2] == DATA


def test_a_mount_needs_the_right_to_read_the_source(tmp_path: Path) -> None:
    rights = {"repository:a:pull,push", "repository:a:pull", "repository:b:pull,push"}
    access = BearerAccess("https://auth.test", "x", lambda token, scope: scope in rights)
    with serving(tmp_path, ServerOptions(access=access)) as server, Visitor(server.address) as visitor:
        token = {"Authorization": "Bearer x"}
        assert visitor.ask("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", DATA, **token).status == 201
        for query, status in ((f"mount={DIGEST}&from=a", 201), (f"mount={DIGEST}", 201)):
            assert visitor.ask("POST", f"/v2/b/blobs/uploads/?{query}", **token).status == status
        rights.discard("repository:a:pull")
        visitor.ask("DELETE", f"/v2/b/blobs/{DIGEST}", **token)
        rights.add("repository:b:delete")
        assert visitor.ask("DELETE", f"/v2/b/blobs/{DIGEST}", **token).status == 202
        for query in (f"mount={DIGEST}&from=a", f"mount={DIGEST}"):
            assert visitor.ask("POST", f"/v2/b/blobs/uploads/?{query}", **token).status == 202


def test_an_older_registry_lists_no_referrers(tmp_path: Path) -> None:
    with serving(tmp_path, ServerOptions(has_referrers=False)) as server, Visitor(server.address) as visitor:
        manifest = visitor.put_manifest("v1", "a")
        answer = visitor.ask("GET", f"/v2/a/referrers/{manifest.descriptor.digest}")
        assert (answer.status, answer.code) == (404, "UNSUPPORTED")


def test_a_server_that_tidies_ends(tmp_path: Path) -> None:
    shelf = DirectoryShelf(tmp_path)
    dead = shelf.start_upload("a", "sha256")
    path = Path(dead.path)
    os.utime(path, (0, 0))
    with RegistryServer(DirectoryShelf(tmp_path), ServerOptions(tidy_seconds=3600)):
        token = CancelToken()
        for _ in range(400):
            if not path.exists():
                break
            token.wait(0.05)
        assert not path.exists()
