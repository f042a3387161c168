"""Whatever comes over the wire: a refusal of the client's kind or silence, never a fault of the server."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kitops.oci.digest import Digest
from kitops.server import RegistryServer
from kitops.server.answers import RefusedError
from kitops.server.blob_endpoints import read_range
from kitops.server.store_shelf import StoreShelf
from kitops.store import open_store
from registry_visitor import Visitor

DIGEST = str(Digest.of(b"x"))
WORDS = st.sampled_from(
    ["", "v2", "a", "b.c", "a__b", "UP", "..", "_catalog", "_uploads", "blobs", "uploads", "manifests", "tags", "list",
     "referrers", "v1", "-", DIGEST, "sha256:1", "sha512:" + "0" * 128, "0" * 32, "%2e%2e", "%00", "%ff", "a%2Fb", "é"]
)  # fmt: skip
PATHS = st.lists(WORDS, max_size=6).map(lambda words: "/v2/" + "/".join(words))
KEYS = st.sampled_from(["n", "last", "mount", "from", "digest", "tag", "artifactType", "digest-algorithm", "x"])
QUERIES = st.lists(st.tuples(KEYS, WORDS | st.integers().map(str)), max_size=3).map(
    lambda pairs: "&".join(f"{key}={value}" for key, value in pairs)
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["Range", "Content-Range", "Content-Type", "If-Range", "Authorization", "Expect", "Upgrade", "X"]
        ),
        st.sampled_from(
            ["bytes=0-", "0-1", "5-2", "9" * 30 + "-", "application/json", "Basic /w==", "100-continue", "é", ""]
        ),
    ),
    max_size=3,
)


@pytest.fixture(scope="module", params=["directory", "store"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    root = tmp_path_factory.mktemp("served")
    with RegistryServer(None if request.param == "directory" else StoreShelf(root, open_store(root))) as found:
        yield found


def say(server: RegistryServer, data: bytes) -> bytes:
    host, _, port = server.address.rpartition(":")
    heard = b""
    with socket.create_connection((host, int(port)), timeout=20) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while more := sock.recv(65536):
                heard += more
        except ConnectionError:
            pass
    return heard


def check(server: RegistryServer, heard: bytes) -> None:
    if heard:
        version, status = heard.split()[:2]
        assert version == b"HTTP/1.1"
        assert 100 <= int(status) < 500 or status == b"501", heard[:500]  # 501: a coding that is not chunked
    with Visitor(server.address) as visitor:
        assert visitor.ask("GET", "/v2/").status == 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"GET /v2/ HTTP/1.1\r\n", b"PUT /v2/a/manifests/b HTTP/1.1\r\nHost: x\r\n"]),
)
@example(
    b"\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n", b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x"
)
@example(b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
def test_any_bytes(server: RegistryServer, data: bytes, head: bytes) -> None:
    check(server, say(server, head + data))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"]),
    PATHS, QUERIES, HEADERS, st.sampled_from([b"", b"{}", b"[]", b'{"schemaVersion":2}', b"\xff" * 50]),
)  # fmt: skip
def test_any_request(
    server: RegistryServer, method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    lines = [f"{method} {path}?{query} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{key}: {value}" for key, value in headers]
    check(server, say(server, "\r\n".join([*lines, "", ""]).encode() + body))


@given(st.integers(0, 2000), st.integers(0, 3000) | st.none(), st.integers(0, 3000) | st.none())
def test_a_range_is_what_slicing_gives(size: int, first: int | None, last: int | None) -> None:
    data = bytes(size)
    asked = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    if first is None:
        wanted = data[max(size - (last or 0), 0) :] if last is not None else data
    else:
        wanted = data[first : None if last is None else last + 1]
    try:
        found = read_range(asked, None, DIGEST, size)
    except RefusedError as refused:
        assert (refused.status, wanted) == (416, b"")
    else:
        start, count = found or (0, size)
        assert data[start : start + count] == wanted
        assert count == len(wanted)
