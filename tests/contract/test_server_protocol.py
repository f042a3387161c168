"""The server, spoken to request by request (distribution-spec v1.1), over real sockets."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitops.errors import FileSystemError, InvalidValueError, NetworkError
from kitops.oci import mediatype
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.oci.manifest import MAX_MANIFEST_SIZE, Manifest
from kitops.server import BasicAccess, DirectoryShelf, RegistryServer, ServerOptions
from registry_visitor import EMPTY_JSON, Visitor
from tls_files import make_authority

DATA = bytes(range(256)) * 2000
DIGEST = str(Digest.of(DATA))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer(DirectoryShelf(tmp_path / "root")) as found:
        yield found


@pytest.fixture
def visitor(server: RegistryServer) -> Iterator[Visitor]:
    found = Visitor(server.address)
    yield found
    found.connection.close()


# --- the frame


def test_the_base(visitor: Visitor) -> None:
    for target in ("/v2/", "/v2"):
        answer = visitor.ask("GET", target)
        assert (answer.status, answer.headers["docker-distribution-api-version"]) == (200, "registry/2.0")
    assert visitor.ask("HEAD", "/v2/").body == b""


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/", 404, "UNSUPPORTED"),
        ("GET", "/v2/_uploads/tags/list", 404, "NAME_INVALID"),
        ("GET", f"/v2/{'a' * 256}/tags/list", 400, "NAME_INVALID"),
        ("GET", "//[/v2/", 400, "UNSUPPORTED"),
        ("GET", "/v2/?" + "&".join("x" * 65), 400, "UNSUPPORTED"),
        ("GET", "/v2/UPPER/tags/list", 404, "NAME_INVALID"),
        ("GET", "/v2/a/../b/tags/list", 404, "NAME_INVALID"),
        ("GET", "/v2/a/_uploads/tags/list", 404, "NAME_INVALID"),
        ("POST", "/v2/", 405, "UNSUPPORTED"),
        ("PUT", "/v2/a/tags/list", 405, "UNSUPPORTED"),
        ("GET", "/v2/a/tags/list", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/a/blobs/sha256:1", 400, "DIGEST_INVALID"),
        ("GET", f"/v2/a/blobs/{DIGEST}", 404, "BLOB_UNKNOWN"),
        ("DELETE", f"/v2/a/blobs/{DIGEST}", 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/a/manifests/v1", 404, "MANIFEST_UNKNOWN"),
        ("GET", f"/v2/a/manifests/{DIGEST}", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/a/manifests/-x", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/a/manifests/sha256:1", 400, "DIGEST_INVALID"),
        ("DELETE", "/v2/a/manifests/v1", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/a/blobs/uploads/nothing", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("PATCH", "/v2/a/blobs/uploads/" + "0" * 32, 404, "BLOB_UPLOAD_UNKNOWN"),
        ("POST", "/v2/a/blobs/uploads/?digest=x", 400, "DIGEST_INVALID"),
        ("POST", "/v2/a/blobs/uploads/?mount=x&from=b", 400, "DIGEST_INVALID"),
    ],
)
def test_refusals_have_the_specifications_codes(
    visitor: Visitor, method: str, target: str, status: int, code: str
) -> None:
    answer = visitor.ask(method, target)
    assert (answer.status, answer.code) == (status, code)
    assert visitor.ask("GET", "/v2/").status == 200  # and the connection goes on


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: x\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length : 5\r\n",
        b"Content-Length: 5\r\n folded: 1\r\n",
        b"A\0: 1\r\n",
        b"X: " + b"y" * 100_000 + b"\r\n",
        b"Transfer-Encoding: gzip\r\n",
    ],
)
def test_framing_that_cannot_be_trusted(server: RegistryServer, head: bytes) -> None:
    host, _, port = server.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as sock:
        sock.sendall(b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n" + head + b"\r\nGET /v2/ HTTP/1.1\r\n\r\n")
        answer = b""
        while more := sock.recv(65536):
            answer += more
    assert answer.split()[1] in (b"400", b"431", b"501")
    assert answer.count(b"HTTP/1.1") == 1


# --- uploads


def test_post_then_put(visitor: Visitor) -> None:
    opened = visitor.ask("POST", "/v2/a/b/blobs/uploads/")
    assert opened.status == 202
    done = visitor.ask("PUT", f"{opened.headers['location']}?digest={DIGEST}", DATA)
    assert (done.status, done.headers["docker-content-digest"]) == (201, DIGEST)
    assert visitor.ask("GET", done.headers["location"]).body == DATA
    assert visitor.ask("GET", opened.headers["location"]).status == 404


def test_a_single_post(visitor: Visitor, server: RegistryServer) -> None:
    assert visitor.ask("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", DATA).status == 201
    assert visitor.ask("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", DATA[1:]).code == "DIGEST_INVALID"
    assert list(server.root.glob("repositories/a/_uploads/*")) == []


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}"),
        ("PUT", "/v2/a/manifests/v1"),
        ("DELETE", "/v2/a/manifests/v1"),
    ],
)
def test_a_web_page_cannot_change_what_has_no_password(visitor: Visitor, method: str, target: str) -> None:
    answer = visitor.ask(method, target, DATA, Origin="https://evil.example.com")
    assert (answer.status, answer.code) == (403, "DENIED")
    assert visitor.ask("GET", "/v2/", Origin="https://evil.example.com").status == 200
    assert visitor.ask("GET", f"/v2/a/blobs/{DIGEST}").status == 404


def test_whoever_has_the_password_may_come_by_a_web_page(tmp_path: Path) -> None:
    options = ServerOptions(access=BasicAccess({"me": "pw"}))
    known = {"Authorization": "Basic bWU6cHc=", "Origin": "https://ui.example.com"}
    with RegistryServer(DirectoryShelf(tmp_path / "root"), options) as server, Visitor(server.address) as visitor:
        assert visitor.ask("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", DATA, **known).status == 201


def test_chunks_in_order(visitor: Visitor) -> None:
    location = visitor.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    first = visitor.ask("PATCH", location, DATA[:1000], Content_Range="0-999")
    assert (first.status, first.headers["range"]) == (202, "0-999")
    skipped = visitor.ask("PATCH", first.headers["location"], DATA[2000:], Content_Range=f"2000-{len(DATA) - 1}")
    assert (skipped.status, skipped.headers["range"]) == (416, "0-999")
    assert visitor.ask("PATCH", location, b"x", Content_Range="1000-2000").status == 416
    assert visitor.ask("PATCH", location, b"x", Content_Range="some").status == 400
    assert visitor.ask("GET", location).headers["range"] == "0-999"
    last = visitor.ask("PUT", f"{location}?digest={DIGEST}", DATA[1000:], Content_Range=f"1000-{len(DATA) - 1}")
    assert last.status == 201
    assert visitor.ask("GET", f"/v2/a/blobs/{DIGEST}").body == DATA


def test_a_body_in_chunks_of_http(visitor: Visitor) -> None:
    location = visitor.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    parts = [DATA[:7], DATA[7:300_000], DATA[300_000:]]
    assert visitor.ask("PATCH", location, parts, Transfer_Encoding="chunked").headers["range"] == f"0-{len(DATA) - 1}"
    assert visitor.ask("PUT", f"{location}?digest={DIGEST}").status == 201


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"\r\n", b"-5\r\n", b"5\r\nabcdeXX\r\n", b"5\r\nab"])
def test_chunks_that_are_none_end_the_connection_and_keep_what_came(server: RegistryServer, chunk: bytes) -> None:
    visitor = Visitor(server.address)
    location = visitor.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    host, _, port = server.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as sock:
        sock.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunk)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""
    assert visitor.ask("GET", location).status == 204
    visitor.connection.close()


def test_wrong_bytes_are_dropped(visitor: Visitor) -> None:
    location = visitor.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    assert visitor.ask("PUT", f"{location}?digest={DIGEST}", b"wrong").code == "DIGEST_INVALID"
    assert visitor.ask("HEAD", f"/v2/a/blobs/{DIGEST}").status == 404
    assert visitor.ask("GET", location).status == 404


def test_an_upload_can_be_cancelled(visitor: Visitor) -> None:
    location = visitor.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    assert visitor.ask("DELETE", location).status == 204
    assert visitor.ask("GET", location).code == "BLOB_UPLOAD_UNKNOWN"


def test_an_upload_belongs_to_its_repository(visitor: Visitor) -> None:
    location = visitor.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    assert visitor.ask("GET", location.replace("/v2/a/", "/v2/b/")).code == "BLOB_UPLOAD_UNKNOWN"


def test_who_asks_how_far_an_upload_is_waits_for_its_last_bytes(
    server: RegistryServer, visitor: Visitor, tmp_path: Path
) -> None:
    location = visitor.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    host, _, port = server.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as late:
        late.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nfirst".encode())
        deadline = time.monotonic() + 20
        upload = location.rpartition("/")[2]
        while not any(path.stat().st_size == 5 for path in tmp_path.rglob(f"*{upload}")):  # it is being written to
            assert time.monotonic() < deadline
            time.sleep(0.01)
        end = threading.Timer(0.3, lambda: late.sendall(b" half"))
        end.start()
        assert visitor.ask("GET", location).headers["range"] == "0-9"
        end.join()
    more = {"Content-Range": "10-10"}
    assert visitor.ask("PATCH", location, b"!", **more).status == 202


def test_two_requests_do_not_write_to_one_upload(server: RegistryServer, visitor: Visitor) -> None:
    location = visitor.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    host, _, port = server.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as slow:
        slow.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nfirst".encode())
        deadline = time.monotonic() + 2
        statuses = set()
        while 409 not in statuses and time.monotonic() < deadline:
            statuses.add(visitor.ask("PATCH", location, b"").status)
        slow.sendall(b" half")
        refused = b"409" if 409 not in statuses else b"202"  # whichever came second was refused
        assert slow.recv(12) == b"HTTP/1.1 " + refused


def test_uploads_outlive_the_server(tmp_path: Path) -> None:
    with RegistryServer(tmp_path) as first:
        visitor = Visitor(first.address)
        location = visitor.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
        visitor.ask("PATCH", location, DATA[:100_000])
        visitor.connection.close()
    with RegistryServer(tmp_path) as second:
        visitor = Visitor(second.address)
        assert visitor.ask("GET", location).headers["range"] == "0-99999"
        assert visitor.ask("PUT", f"{location}?digest={DIGEST}", DATA[100_000:]).status == 201
        visitor.connection.close()


def test_sha512(visitor: Visitor) -> None:
    digest = f"sha512:{hashlib.sha512(DATA).hexdigest()}"
    assert visitor.ask("POST", f"/v2/a/blobs/uploads/?digest={digest}", DATA).status == 201
    assert visitor.ask("GET", f"/v2/a/blobs/{digest}").body == DATA


def test_mounts_only_from_repositories_that_have_the_blob(visitor: Visitor) -> None:
    visitor.put_blob(DATA, "source")
    for source in ("other", "../source", "_blobs"):
        answer = visitor.ask("POST", f"/v2/target/blobs/uploads/?mount={DIGEST}&from={source}")
        assert answer.status == 202
        assert "location" in answer.headers
    assert visitor.ask("POST", f"/v2/target/blobs/uploads/?mount={DIGEST}&from=source").status == 201
    assert visitor.ask("GET", f"/v2/target/blobs/{DIGEST}").body == DATA


def test_a_large_body_that_is_refused_is_answered(server: RegistryServer) -> None:
    visitor = Visitor(server.address)
    answer = visitor.ask("PUT", "/v2/a/blobs/uploads/" + "0" * 32, bytes(20 * 1024 * 1024))
    assert answer.code == "BLOB_UPLOAD_UNKNOWN"
    visitor.connection.close()


# --- blobs


def test_heads(visitor: Visitor) -> None:
    visitor.put_blob(DATA)
    answer = visitor.ask("HEAD", f"/v2/a/b/blobs/{DIGEST}")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, str(len(DATA)), b"")
    assert answer.headers["docker-content-digest"] == DIGEST


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=511000-", 206, 511_000, 512_000),
        ("bytes=-5", 206, 511_995, 512_000),
        ("bytes=10-9999999", 206, 10, 512_000),
        ("bytes=-9999999", 206, 0, 512_000),
        ("bytes=5-2", 416, 0, 0),
        ("bytes=0-1,5-6", 200, 0, 512_000),
        ("bytes=-", 200, 0, 512_000),
        ("lines=1-2", 200, 0, 512_000),
        ("bytes=512000-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
    ],
)
def test_ranges(visitor: Visitor, asked: str, status: int, start: int, end: int) -> None:
    visitor.put_blob(DATA)
    answer = visitor.ask("GET", f"/v2/a/b/blobs/{DIGEST}", Range=asked)
    assert answer.status == status
    if status == 416:
        assert answer.headers["content-range"] == "bytes */512000"
    else:
        assert answer.body == DATA[start:end]
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/512000"


def test_deleting_a_blob_leaves_other_repositories_theirs(visitor: Visitor) -> None:
    visitor.put_blob(DATA, "a")
    visitor.put_blob(DATA, "b")
    assert visitor.ask("DELETE", f"/v2/a/blobs/{DIGEST}").status == 202
    assert visitor.ask("HEAD", f"/v2/a/blobs/{DIGEST}").status == 404
    assert visitor.ask("HEAD", f"/v2/b/blobs/{DIGEST}").status == 200


# --- manifests and tags


def test_a_manifest_keeps_bytes_and_type(visitor: Visitor) -> None:
    manifest = visitor.put_manifest("v1", "a/b", b"layer")
    for pointer in ("v1", str(manifest.descriptor.digest)):
        answer = visitor.ask("GET", f"/v2/a/b/manifests/{pointer}")
        assert (answer.body, answer.headers["content-type"]) == (manifest.raw, mediatype.MANIFEST)
        assert answer.headers["docker-content-digest"] == str(manifest.descriptor.digest)


@pytest.mark.parametrize(
    ("pointer", "body", "kind", "status", "code"),
    [
        ("v1", b"{", mediatype.MANIFEST, 400, "MANIFEST_INVALID"),
        ("v1", b"[]", mediatype.INDEX, 400, "MANIFEST_INVALID"),
        ("v1", Manifest.build(config=EMPTY_JSON, layers=[]).raw, "text/plain", 415, "MANIFEST_INVALID"),
        ("v1", Manifest.build(config=EMPTY_JSON, layers=[]).raw, mediatype.DOCKER_MANIFEST, 400, "MANIFEST_INVALID"),
        (
            "v1",
            Manifest.build(config=EMPTY_JSON, layers=[]).raw.replace(b'"mediaType"', rb'"media\u0054ype"'),
            mediatype.DOCKER_MANIFEST,
            400,
            "MANIFEST_INVALID",
        ),
        ("v1", Manifest.build(config=EMPTY_JSON, layers=[]).raw, mediatype.MANIFEST, 404, "MANIFEST_BLOB_UNKNOWN"),
        (DIGEST, Index.build([]).raw, mediatype.INDEX, 400, "DIGEST_INVALID"),
        ("v1", bytes(MAX_MANIFEST_SIZE + 1), mediatype.INDEX, 413, "SIZE_INVALID"),
        ("..", Index.build([]).raw, mediatype.INDEX, 400, "MANIFEST_INVALID"),
    ],
)
def test_manifests_that_are_refused(
    visitor: Visitor, pointer: str, body: bytes, kind: str, status: int, code: str
) -> None:
    answer = visitor.ask("PUT", f"/v2/a/manifests/{pointer}", body, Content_Type=kind)
    assert (answer.status, answer.code) == (status, code)


def test_an_index_by_digest_and_with_parameters_of_its_type(visitor: Visitor) -> None:
    index = Index.build([visitor.put_manifest("v1").descriptor])
    digest = f"sha512:{hashlib.sha512(index.raw).hexdigest()}"
    kind = f"{mediatype.INDEX}; charset=utf-8"
    assert visitor.ask("PUT", f"/v2/a/b/manifests/{digest}", index.raw, Content_Type=kind).status == 201
    assert visitor.ask("GET", f"/v2/a/b/manifests/{digest}").headers["content-type"] == mediatype.INDEX


def test_tags_differ_by_case(visitor: Visitor) -> None:
    lower, upper = visitor.put_manifest("v1", "a/b", b"1"), visitor.put_manifest("V1", "a/b", b"2")
    assert visitor.ask("GET", "/v2/a/b/manifests/v1").body == lower.raw
    assert visitor.ask("GET", "/v2/a/b/manifests/V1").body == upper.raw
    assert json.loads(visitor.ask("GET", "/v2/a/b/tags/list").body) == {"name": "a/b", "tags": ["V1", "v1"]}


def test_tags_in_pages(visitor: Visitor) -> None:
    for tag in "edcba":
        visitor.put_manifest(tag)
    answer = visitor.ask("GET", "/v2/a/b/tags/list?n=2")
    assert json.loads(answer.body)["tags"] == ["a", "b"]
    assert answer.headers["link"] == '</v2/a/b/tags/list?n=2&last=b>; rel="next"'
    answer = visitor.ask("GET", "/v2/a/b/tags/list?n=2&last=d")
    assert json.loads(answer.body)["tags"] == ["e"]
    assert "link" not in answer.headers
    assert json.loads(visitor.ask("GET", "/v2/a/b/tags/list?n=0").body)["tags"] == []
    assert visitor.ask("GET", "/v2/a/b/tags/list?n=x").code == "UNSUPPORTED"


def test_a_repository_without_tags_has_none(visitor: Visitor) -> None:
    visitor.put_blob(DATA)
    assert json.loads(visitor.ask("GET", "/v2/a/b/tags/list").body)["tags"] == []


def test_untagging_and_deleting(visitor: Visitor) -> None:
    manifest = visitor.put_manifest("v1")
    visitor.put_manifest("v2")
    other = visitor.put_manifest("v3", "a/b", b"other")
    assert visitor.ask("DELETE", "/v2/a/b/manifests/v1").status == 202
    assert visitor.ask("HEAD", "/v2/a/b/manifests/v1").status == 404
    assert visitor.ask("HEAD", f"/v2/a/b/manifests/{manifest.descriptor.digest}").status == 200
    assert visitor.ask("DELETE", f"/v2/a/b/manifests/{manifest.descriptor.digest}").status == 202
    assert visitor.ask("HEAD", "/v2/a/b/manifests/v2").status == 404
    assert visitor.ask("GET", "/v2/a/b/manifests/v3").body == other.raw


# --- access, TLS, the end


def test_basic_access(tmp_path: Path) -> None:
    with RegistryServer(tmp_path, ServerOptions(access=BasicAccess({"me": "pass:word"}))) as server:
        visitor = Visitor(server.address)
        for value in ("", "Basic !", "Basic bWU6bm8=", "Basic eW91Ong=", "Bearer x"):
            answer = visitor.ask("GET", "/v2/", Authorization=value)
            assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
            assert answer.headers["www-authenticate"] == 'Basic realm="kitops"'
        assert visitor.ask("GET", "/v2/", Authorization="Basic bWU6cGFzczp3b3Jk").status == 200
        visitor.connection.close()


def test_a_disk_that_fails_is_a_500(server: RegistryServer, visitor: Visitor) -> None:
    (server.root / "repositories").write_text("not a directory")
    answer = visitor.ask("POST", "/v2/a/blobs/uploads/")
    assert (answer.status, answer.code) == (500, "UNKNOWN")


def test_many_visitors_at_once(server: RegistryServer) -> None:
    failures: list[object] = []

    def visit(number: int) -> None:
        visitor = Visitor(server.address)
        try:
            visitor.put_manifest(f"v{number}", "shared", DATA, b"%d" % number)
        except (AssertionError, OSError) as error:
            failures.append(error)
        visitor.connection.close()

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    visitor = Visitor(server.address)
    assert failures == []
    assert len(json.loads(visitor.ask("GET", "/v2/shared/tags/list").body)["tags"]) == 12
    visitor.connection.close()


def hears_the_end(connection: socket.socket) -> bool:
    """Whether the other side closed: orderly, or with a reset where bytes of ours were left unread."""
    try:
        return connection.recv(10) == b""
    except ConnectionResetError:
        return True


def test_stopping_ends_idle_and_unfinished_connections_and_may_be_done_twice(tmp_path: Path) -> None:
    before = set(threading.enumerate())  # some of an earlier test may be about to end
    server = RegistryServer(tmp_path)
    host, _, port = server.address.partition(":")
    idle = Visitor(server.address)
    idle.ask("GET", "/v2/")
    location = idle.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    with socket.create_connection((host, int(port)), timeout=20) as stuck:
        stuck.sendall(f"PUT {location}?digest={DIGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf".encode())
        server.stop()
        server.stop()
        try:
            said = stuck.recv(10)
        except ConnectionResetError:  # it was stopped before it read the request
            said = b""
        assert said == b""
    idle.connection.close()
    assert set(threading.enumerate()) <= before
    with pytest.raises(OSError), socket.create_connection((host, int(port)), timeout=1):
        pass


def test_a_temporary_registry_leaves_nothing() -> None:
    with RegistryServer() as server:
        visitor = Visitor(server.address)
        visitor.put_blob(DATA)
        visitor.connection.close()
        root = server.root
        assert root.is_dir()
    assert not root.exists()


def test_ipv6() -> None:
    try:
        server = RegistryServer(options=ServerOptions(host="::1"))
    except NetworkError:
        pytest.skip("this machine has no IPv6")
    with server:
        assert server.address.startswith("[::1]:")
        visitor = Visitor(server.address)
        assert visitor.ask("GET", "/v2/").status == 200
        visitor.connection.close()


def test_an_address_that_is_taken(server: RegistryServer) -> None:
    with pytest.raises(NetworkError, match=r"listening on 127\.0\.0\.1:\d+: address already in use$"):
        RegistryServer(options=ServerOptions(port=int(server.address.partition(":")[2])))
    with pytest.raises(NetworkError, match="listening on"):
        RegistryServer(options=ServerOptions(port=70000))


def test_an_address_of_another_machine() -> None:
    with pytest.raises(NetworkError, match=r"listening on 192\.0\.2\.1:0: cannot assign") as caught:
        RegistryServer(options=ServerOptions(host="192.0.2.1", port=0))
    assert caught.value.hint == "give `--host` an address of this machine"


def test_tls_files_that_are_none(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    text = tmp_path / "text"
    text.write_text("hello")
    with pytest.raises(InvalidValueError, match="text are not usable") as caught:
        RegistryServer(options=ServerOptions(tls_cert=text))
    assert caught.value.hint
    with pytest.raises(FileSystemError, match="missing: no such file"):
        RegistryServer(options=ServerOptions(tls_cert=authority.cert, tls_key=tmp_path / "missing"))


def test_requests_are_told(tmp_path: Path) -> None:
    told: list[tuple[str, str, int]] = []
    with RegistryServer(tmp_path, on_request=lambda *row: told.append(row)) as server:
        visitor = Visitor(server.address)
        visitor.ask("GET", "/v2/")
        visitor.ask("GET", "/nowhere")
        visitor.connection.close()
    assert told == [("GET", "/v2/", 200), ("GET", "/nowhere", 404)]
