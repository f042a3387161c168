"""What a registry may do to its client: lie, stall, redirect, break off, ask to wait. Real sockets."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from kitops.content.cancel import CancelToken
from kitops.content.copy import BytesReader
from kitops.content.events import Event, Message, Waiting
from kitops.content.protocols import Reader, Run
from kitops.errors import (
    AuthenticationError,
    Cancelled,
    IntegrityError,
    InvalidValueError,
    KitError,
    NetworkError,
    NotFoundError,
    RegistryError,
)
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.registry import Credential, Network, Repository, check_login, open_repository
from kitops.registry.credentials import FixedCredential
from kitops.registry.network import Patience
from scripted_server import Said, Scripted, Seen, raw_server, scripted_server

BLOB = "application/vnd.kitops.modelkit.model.v1.tar"
QUICK = Network(plain_http=True, patience=Patience(connect=2, read=5, commit=5, attempts=3, pause=0.001))
DATA = b"the bytes of a blob"
DESC = Descriptor.of(DATA, BLOB)
MANIFEST = Manifest.build(config=Descriptor.of(b"{}", "application/x"), layers=[DESC])
BASIC = Credential("me", "hunter2")


def connect(
    address: str,
    *,
    network: Network = QUICK,
    credential: Credential | None = BASIC,
    run: Run | None = None,
) -> Repository:
    return open_repository(
        Reference.parse(f"{address}/team/model:v1"), network, FixedCredential(credential), run or Run()
    )


def in_turn(*answers: Said) -> Callable[[Seen], Said]:
    left = list(answers)
    return lambda seen: left.pop(0) if len(left) > 1 else left[0]


def challenged(then: Callable[[Seen], Said]) -> Callable[[Seen], Said]:
    """A registry with Basic before everything."""

    def script(seen: Seen) -> Said:
        if "Authorization" not in seen.headers:
            return Said(401, {"WWW-Authenticate": 'Basic realm="x"'})
        return then(seen)

    return script


# --- redirects and credentials


def test_a_blob_is_followed_to_another_host_without_credentials() -> None:
    with scripted_server(lambda seen: Said(body=DATA)) as storage:
        location = f"http://{storage.address}/signed?X-Signature=topsecret"
        with (
            scripted_server(challenged(lambda seen: Said(307, {"Location": location}))) as registry,
            connect(registry.address) as repository,
        ):
            assert repository.fetch(DESC) == DATA
    assert storage.sent("Authorization") == [None]
    assert storage.seen[0].target == "/signed?X-Signature=topsecret"
    assert registry.sent("Authorization")[0] is None
    assert (registry.sent("Authorization")[1] or "").startswith("Basic ")


def test_a_redirect_that_comes_home_does_not_get_credentials_back() -> None:
    with scripted_server(lambda seen: Said(307, {"Location": f"http://{addresses[0]}/secret"})) as storage:

        def home(seen: Seen) -> Said:
            if seen.target == "/secret":
                return Said(body=DATA)
            return Said(307, {"Location": f"http://{storage.address}/x"})

        def script(seen: Seen) -> Said:
            return home(seen) if seen.target == "/secret" else challenged(home)(seen)

        with scripted_server(script) as registry, connect(registry.address) as repository:
            addresses = [registry.address]
            assert repository.fetch(DESC) == DATA
    assert registry.seen[-1].target == "/secret"
    assert registry.sent("Authorization")[-1] is None


def test_a_redirect_on_the_same_host_keeps_them() -> None:
    def script(seen: Seen) -> Said:
        return Said(body=DATA) if seen.target == "/elsewhere" else Said(302, {"Location": "/elsewhere"})

    with scripted_server(challenged(script)) as registry, connect(registry.address) as repository:
        assert repository.fetch(DESC) == DATA
    assert (registry.sent("Authorization")[-1] or "").startswith("Basic ")


@pytest.mark.parametrize("location", ["/v2/again", "", "ftp://x/y"])
def test_redirects_that_lead_nowhere(location: str) -> None:
    with (
        scripted_server(lambda seen: Said(307, {"Location": location})) as registry,
        connect(registry.address) as repository,
        pytest.raises(RegistryError),
    ):
        repository.fetch(DESC)
    assert len(registry.seen) <= 6


def test_a_401_of_another_host_gets_no_credentials() -> None:
    with scripted_server(lambda seen: Said(401, {"WWW-Authenticate": 'Basic realm="x"'})) as storage:
        location = f"http://{storage.address}/x?sig=topsecret"
        with (
            scripted_server(lambda seen: Said(307, {"Location": location})) as registry,
            connect(registry.address) as repository,
            pytest.raises(RegistryError) as caught,
        ):
            repository.fetch(DESC)
    assert storage.sent("Authorization") == [None]
    assert "topsecret" not in f"{caught.value}{caught.value.to_json()}"


def test_an_upload_location_on_another_host_gets_no_credentials() -> None:
    with scripted_server(lambda seen: Said(201)) as storage:
        location = f"http://{storage.address}/upload?state=1"
        with (
            scripted_server(challenged(lambda seen: Said(202, {"Location": location}))) as registry,
            connect(registry.address) as repository,
        ):
            repository.put(DESC, BytesReader(DATA), lambda size: None)
    (put,) = storage.seen
    assert put.target == f"/upload?state=1&digest={str(DESC.digest).replace(':', '%3A')}"
    assert put.body == DATA
    assert "Authorization" not in put.headers


def test_relative_upload_locations() -> None:
    script = in_turn(Said(202, {"Location": "session-7"}), Said(201))
    with scripted_server(script) as registry, connect(registry.address) as repository:
        repository.put(DESC, BytesReader(DATA), lambda size: None)
    assert registry.seen[1].target.startswith("/v2/team/model/blobs/uploads/session-7?digest=")


def test_an_upload_without_a_location() -> None:
    with (
        scripted_server(lambda seen: Said(202)) as registry,
        connect(registry.address) as repository,
        pytest.raises(RegistryError, match="no Location"),
    ):
        repository.put(DESC, BytesReader(DATA), lambda size: None)


def test_a_hostile_realm_gets_nothing() -> None:
    with scripted_server(lambda seen: Said(200, body=b'{"token":"x"}')) as thief:
        # by name, so that it is not loopback to us, though nothing listens there
        challenge = 'Bearer realm="http://thief.invalid/token",service="x"'
        with (
            scripted_server(lambda seen: Said(401, {"WWW-Authenticate": challenge})) as registry,
            connect(registry.address) as repository,
            pytest.raises(AuthenticationError, match="plain HTTP"),
        ):
            repository.resolve("v1")
    assert thief.seen == []


def test_wrong_basic_credentials_are_not_tried_twice() -> None:
    with (
        scripted_server(lambda seen: Said(401, {"WWW-Authenticate": 'Basic realm="x"'})) as registry,
        connect(registry.address) as repository,
    ):
        for _ in range(2):
            with pytest.raises(AuthenticationError) as caught:
                repository.resolve("v1")
            assert "kit login" in (caught.value.hint or "")
            assert "hunter2" not in str(caught.value)
    assert len(registry.seen) == 3


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"WWW-Authenticate": "Negotiate"}, "negotiate"),
        ({}, "who you are"),
        ({"WWW-Authenticate": "Basic"}, "who you are"),
    ],
)
def test_an_anonymous_visitor_is_told_to_log_in(headers: dict[str, str], says: str) -> None:
    with (
        scripted_server(lambda seen: Said(401, headers)) as registry,
        connect(registry.address, credential=None) as repository,
        pytest.raises(AuthenticationError, match=says),
    ):
        repository.resolve("v1")


def test_403_is_about_who_we_are() -> None:
    body = b'{"errors":[{"code":"DENIED","message":"no push for you"}]}'
    with (
        scripted_server(lambda seen: Said(403, body=body)) as registry,
        connect(registry.address, credential=None) as repository,
        pytest.raises(AuthenticationError, match="DENIED: no push for you") as caught,
    ):
        repository.put(DESC, BytesReader(DATA), lambda size: None)
    assert caught.value.hint == f"kit login {registry.address} --plain-http"


# --- lies


def read_to_end(reader: Reader) -> None:
    buffer = memoryview(bytearray(7))
    while reader.readinto(buffer):
        pass


@pytest.mark.parametrize("body", [DATA[:-1], DATA + b"!", DATA[:-1] + b"?", b""])
def test_bytes_that_are_not_the_blobs(body: bytes) -> None:
    with scripted_server(lambda seen: Said(body=body)) as registry, connect(registry.address) as repository:
        with pytest.raises(IntegrityError):
            repository.fetch(DESC)
        with pytest.raises(IntegrityError), repository.open(DESC) as reader:
            read_to_end(reader)


def test_a_body_without_a_length_that_never_ends_is_cut_off() -> None:
    def endless(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with raw_server(endless) as address, connect(address) as repository:
        with pytest.raises(IntegrityError, match="more"):
            repository.fetch(DESC)
        with pytest.raises(RegistryError, match="more than"):
            repository.tags()


def test_a_body_that_breaks_off_is_a_network_error() -> None:
    with (
        scripted_server(lambda seen: Said(body=DATA[:5], length=len(DATA))) as registry,
        connect(registry.address) as repository,
        pytest.raises(NetworkError, match="5 of 19 bytes"),
    ):
        repository.fetch(DESC)


def test_a_chunked_body_that_breaks_off_is_a_network_error() -> None:
    def broken(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthe b")

    with (
        raw_server(broken) as address,
        connect(address) as repository,
        pytest.raises(NetworkError, match="closed early"),
    ):
        repository.fetch(DESC)


def test_a_manifests_digest_is_computed_not_believed() -> None:
    headers = {"Content-Type": mediatype.MANIFEST, "Docker-Content-Digest": str(Digest.of(b"other"))}
    with scripted_server(lambda seen: Said(200, headers, MANIFEST.raw)) as registry:
        with connect(registry.address) as repository, pytest.raises(IntegrityError):
            repository.fetch_manifest("v1")
        with connect(registry.address) as repository, pytest.raises(IntegrityError):
            repository.resolve(str(MANIFEST.descriptor.digest))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Docker-Content-Digest": "nonsense", "Content-Type": mediatype.MANIFEST},
        {"Docker-Content-Digest": str(MANIFEST.descriptor.digest)},
        {"Docker-Content-Digest": str(MANIFEST.descriptor.digest), "Content-Type": "text/plain"},
        {"Content-Type": f"{mediatype.MANIFEST}; charset=utf-8"},
    ],
)
def test_a_head_that_says_too_little_is_followed_by_a_get(headers: dict[str, str]) -> None:
    with (
        scripted_server(lambda seen: Said(200, headers, MANIFEST.raw)) as registry,
        connect(registry.address) as repository,
    ):
        assert repository.resolve("v1") == MANIFEST.descriptor
    assert [seen.method for seen in registry.seen] == ["HEAD", "GET"]


def test_a_head_that_says_it_has_no_bytes_is_followed_by_a_get() -> None:
    headers = {"Docker-Content-Digest": str(MANIFEST.descriptor.digest), "Content-Type": mediatype.MANIFEST}

    def script(seen: Seen) -> Said:
        return Said(200, headers, MANIFEST.raw, length=0 if seen.method == "HEAD" else None)

    with scripted_server(script) as registry, connect(registry.address) as repository:
        assert repository.resolve("v1") == MANIFEST.descriptor
        repository.tag(MANIFEST.descriptor, "v1")
    assert [seen.method for seen in registry.seen] == ["HEAD", "GET", "HEAD", "GET"]


@pytest.mark.parametrize(
    ("status", "error"), [(400, RegistryError), (403, AuthenticationError), (404, NotFoundError), (410, RegistryError)]
)
def test_a_refusal_of_head_is_asked_for_its_words(status: int, error: type[KitError]) -> None:
    body = b'{"errors":[{"code":"NAME_UNKNOWN","message":"the team was renamed"}]}'
    with (
        scripted_server(lambda seen: Said(status, body=body)) as registry,
        connect(registry.address) as repository,
        pytest.raises(error, match="NAME_UNKNOWN: the team was renamed"),
    ):
        repository.resolve("v1")
    assert [seen.method for seen in registry.seen] == ["HEAD", "GET"]


def test_a_refusal_to_tell_whether_a_blob_is_there_is_asked_for_its_words() -> None:
    body = b'{"errors":[{"code":"DENIED","message":"ask ada"}]}'
    with scripted_server(lambda seen: Said(403, body=body)) as registry, connect(registry.address) as repository:
        with pytest.raises(AuthenticationError, match=r"looking for blob .*: DENIED: ask ada"):
            repository.exists(DESC)
        assert [seen.method for seen in registry.seen] == ["HEAD", "GET"]


@pytest.mark.parametrize(("status", "found"), [(200, True), (404, False)])
def test_whether_a_blob_is_there_without_head(status: int, found: bool) -> None:
    with (
        scripted_server(lambda seen: Said(405) if seen.method == "HEAD" else Said(status, body=DATA)) as registry,
        connect(registry.address) as repository,
    ):
        assert repository.exists(DESC) == found


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_registry_without_head(status: int) -> None:
    def script(seen: Seen) -> Said:
        if seen.method == "HEAD":
            return Said(status)
        return Said(200, {"Content-Type": mediatype.MANIFEST}, MANIFEST.raw)

    with scripted_server(script) as registry, connect(registry.address) as repository:
        assert repository.resolve("v1") == MANIFEST.descriptor


def test_a_new_tag_costs_no_question_for_words() -> None:
    def script(seen: Seen) -> Said:
        if seen.method == "PUT":
            return Said(201)
        return Said(404) if seen.target.endswith("/v1") else Said(body=MANIFEST.raw)

    with scripted_server(script) as registry, connect(registry.address) as repository:
        repository.tag(MANIFEST.descriptor, "v1")
    assert [seen.method for seen in registry.seen] == ["HEAD", "GET", "PUT"]


@pytest.mark.parametrize(("kind", "body"), [(mediatype.INDEX, MANIFEST.raw), (mediatype.MANIFEST, b"{")])
def test_a_manifest_and_its_header_must_agree(kind: str, body: bytes) -> None:
    with (
        scripted_server(lambda seen: Said(200, {"Content-Type": kind}, body)) as registry,
        connect(registry.address) as repository,
        pytest.raises(InvalidValueError, match="team/model:v1"),
    ):
        repository.fetch_manifest("v1")


BAD_SIZE = MANIFEST.raw.replace(b'"size":2', b'"size":-2')


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (mediatype.MANIFEST, b"<html>log in</html>"),
        (mediatype.MANIFEST, BAD_SIZE),
        (mediatype.MANIFEST, b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json"}'),
        (mediatype.INDEX, b'{"schemaVersion":2,"manifests":{}}'),
    ],
)
def test_a_manifest_that_is_none_is_the_registrys_error(kind: str, raw: bytes) -> None:
    headers = {"Content-Type": kind, "Docker-Content-Digest": str(Digest.of(raw))}
    with scripted_server(lambda seen: Said(200, headers, raw)) as registry, connect(registry.address) as repository:
        desc = repository.resolve("v1")
        with pytest.raises(RegistryError, match="team/model@sha256") as caught:
            repository.fetch(desc)
        assert caught.value.exit_code == 7
        assert isinstance(caught.value, InvalidValueError)  # for who looks for a ModelKit, it is none


def test_a_list_of_referrers_that_is_none_is_the_registrys_error() -> None:
    said = Said(200, {"Content-Type": mediatype.INDEX}, b'{"schemaVersion":2,"manifests":[{"size":"large"}]}')
    with (
        scripted_server(lambda seen: said) as registry,
        connect(registry.address) as repository,
        pytest.raises(RegistryError, match="the referrers of"),
    ):
        repository.referrers(MANIFEST.descriptor.digest)


def test_a_registry_that_stored_something_else() -> None:
    def script(seen: Seen) -> Said:
        if seen.method == "POST":
            return Said(202, {"Location": "/x"})
        return Said(201, {"Docker-Content-Digest": str(Digest.of(b"other"))})

    with scripted_server(script) as registry, connect(registry.address) as repository, pytest.raises(IntegrityError):
        repository.put(DESC, BytesReader(DATA), lambda size: None)


# --- tags


def test_tags_over_several_pages() -> None:
    def script(seen: Seen) -> Said:
        if "last=b" in seen.target:
            return Said(body=b'{"tags":["c","a"]}')
        return Said(200, {"Link": '</v2/team/model/tags/list?last=b&n=2>; rel="next"'}, b'{"tags":["a","b"]}')

    with scripted_server(script) as registry, connect(registry.address) as repository:
        assert repository.tags() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("headers", "body", "says"),
    [
        ({"Link": '</v2/team/model/tags/list>; rel="next"'}, b'{"tags":null}', "never end"),
        ({"Link": '<http://other.example.com/x>; rel="next"'}, b'{"tags":[]}', "another host"),
        ({}, b"[]", "not a list"),
        ({}, b"{", "not a list"),
        ({}, b'{"tags":[1]}', "not a list"),
        ({}, b'{"tags":"abc"}', "not a list"),
    ],
)
def test_tag_listings_that_are_none(headers: dict[str, str], body: bytes, says: str) -> None:
    with (
        scripted_server(lambda seen: Said(200, headers, body)) as registry,
        connect(registry.address) as repository,
        pytest.raises(RegistryError, match=says),
    ):
        repository.tags()
    assert len(registry.seen) <= 2


# --- refusals, waiting, trying again


def test_a_busy_registry_is_asked_again_and_the_wait_is_told() -> None:
    events: list[Event] = []
    script = in_turn(Said(429, {"Retry-After": "1"}), Said(503), Said(body=DATA))
    with (
        scripted_server(script) as registry,
        connect(registry.address, run=Run(observer=events.append)) as repository,
    ):
        assert repository.fetch(DESC) == DATA
    assert len(registry.seen) == 3
    assert [event for event in events if isinstance(event, Waiting)] == [
        Waiting(f"{registry.address}, which asks for 1 s of patience")
    ]


def test_a_registry_that_asks_for_too_much_patience() -> None:
    with (
        scripted_server(lambda seen: Said(429, {"Retry-After": "3600"})) as registry,
        connect(registry.address) as repository,
        pytest.raises(RegistryError, match="3600 s") as caught,
    ):
        repository.fetch(DESC)
    assert (len(registry.seen), caught.value.status) == (1, 429)


def test_a_registry_that_stays_broken() -> None:
    body = b'{"errors":[{"code":"UNKNOWN","message":"disk\\u001b[31m full"}]}'
    with (
        scripted_server(lambda seen: Said(500, body=body)) as registry,
        connect(registry.address) as repository,
        pytest.raises(RegistryError) as caught,
    ):
        repository.resolve("v1")
    error = caught.value
    assert len(registry.seen) == 3
    assert (error.status, error.request) == (500, f"HEAD http://{registry.address}/v2/team/model/manifests/v1")
    assert "\x1b" not in error.message


def test_the_specifications_codes_are_kept() -> None:
    body = b'{"errors":[{"code":"MANIFEST_INVALID","message":"unknown artifactType"}]}'
    with (
        scripted_server(lambda seen: Said(400, body=body)) as registry,
        connect(registry.address) as repository,
        pytest.raises(RegistryError, match="unknown artifactType") as caught,
    ):
        repository.put(MANIFEST.descriptor, BytesReader(MANIFEST.raw), lambda size: None)
    assert caught.value.codes == ("MANIFEST_INVALID",)
    assert len(registry.seen) == 1


def test_a_busy_registry_in_the_middle_of_an_upload_is_asked_where_it_is() -> None:
    script = in_turn(Said(202, {"Location": "/x"}), Said(503), Said(204, {"Location": "/y"}), Said(201))
    with scripted_server(script) as registry, connect(registry.address) as repository:
        repository.put(DESC, BytesReader(DATA), lambda size: None)
    assert [(seen.method, seen.target[:2]) for seen in registry.seen[1:]] == [
        ("PUT", "/x"),
        ("GET", "/x"),
        ("PUT", "/y"),
    ]
    assert [seen.body for seen in registry.seen if seen.method == "PUT"] == [DATA, DATA]


def test_a_token_that_expires_in_the_middle_of_an_upload_is_replaced() -> None:
    refused = [True]

    def script(seen: Seen) -> Said:
        realm = {"WWW-Authenticate": f'Bearer realm="http://{seen.headers["Host"]}/token"'}
        if seen.target.startswith("/token"):
            return Said(body=b'{"token":"t%d"}' % len(registry.seen))
        if "Authorization" not in seen.headers:
            return Said(401, realm)
        if seen.method == "PUT" and refused:
            refused.clear()
            return Said(401, realm)
        if seen.method == "GET":
            return Said(204, {"Range": "0-0"})
        return Said(202, {"Location": "/x"}) if seen.method == "POST" else Said(201)

    with scripted_server(script) as registry, connect(registry.address) as repository:
        repository.put(DESC, BytesReader(DATA), lambda size: None)
    tokens = [seen.headers.get("Authorization") for seen in registry.seen if seen.method == "PUT"]
    assert len(set(tokens)) == 2


def test_a_refusal_that_comes_before_the_body_was_sent_is_read() -> None:
    def impatient(connection: socket.socket) -> None:
        request = connection.recv(65536)
        if request.startswith(b"POST"):
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")
            connection.recv(65536)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass

    data = bytes(8 * 1024 * 1024)
    with raw_server(impatient) as address, connect(address) as repository, pytest.raises(RegistryError, match="413"):
        repository.put(Descriptor.of(data, BLOB), BytesReader(data), lambda count: None)


def test_deleting_that_is_switched_off() -> None:
    with scripted_server(lambda seen: Said(405)) as registry, connect(registry.address) as repository:
        with pytest.raises(RegistryError) as caught:
            repository.delete("v1")
        assert caught.value.hint == "it may delete by digest only"
        with pytest.raises(RegistryError) as caught:
            repository.delete(str(DESC.digest))
        assert caught.value.hint == "deleting may be switched off there"


def test_deleting_that_fails_otherwise() -> None:
    with (
        scripted_server(lambda seen: Said(409)) as registry,
        connect(registry.address) as repository,
        pytest.raises(RegistryError, match="409") as caught,
    ):
        repository.delete("v1")
    assert caught.value.hint is None


def test_a_refused_mount_goes_on_in_the_upload_that_it_opened() -> None:
    script = in_turn(Said(202, {"Location": "/session"}), Said(201))
    with scripted_server(script) as registry, connect(registry.address) as repository:
        assert not repository.mount(DESC, "other/model")
        repository.put(DESC, BytesReader(DATA), lambda size: None)
    assert [seen.method for seen in registry.seen] == ["POST", "PUT"]
    assert registry.seen[1].target.startswith("/session?digest=")
    assert registry.seen[1].body == DATA


def test_a_refused_mount_that_nothing_follows_is_closed() -> None:
    script = in_turn(Said(202, {"Location": "/session"}), Said(204))
    with scripted_server(script) as registry, connect(registry.address) as repository:
        assert not repository.mount(DESC, "other/model")
    assert [(seen.method, seen.target) for seen in registry.seen][1] == ("DELETE", "/session")
    assert "from=other/model" in registry.seen[0].target


def test_warnings_are_told_once() -> None:
    events: list[Event] = []
    headers = {"Warning": '299 - "this registry \x1b[31mcloses"'}
    with (
        scripted_server(lambda seen: Said(200, headers, DATA)) as registry,
        connect(registry.address, run=Run(observer=events.append)) as repository,
    ):
        repository.fetch(DESC)
        repository.fetch(DESC)
    told = [event.text for event in events if isinstance(event, Message) and event.level == "warning"]
    assert told == [f"{registry.address}: this registry \\x1b[31mcloses"]


def test_events_have_no_secrets() -> None:
    events: list[Event] = []
    with scripted_server(lambda seen: Said(body=DATA)) as storage:
        location = f"http://{storage.address}/x?X-Signature=topsecret"
        with (
            scripted_server(challenged(lambda seen: Said(307, {"Location": location}))) as registry,
            connect(registry.address, run=Run(observer=events.append)) as repository,
        ):
            repository.fetch(DESC)
    assert len(events) >= 3
    assert "topsecret" not in repr(events)
    assert "hunter2" not in repr(events)


# --- the network


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_connection_refused() -> None:
    with (
        connect(f"127.0.0.1:{free_port()}") as repository,
        pytest.raises(NetworkError, match="connection refused") as caught,
    ):
        repository.resolve("v1")
    assert "running" in (caught.value.hint or "")
    assert not caught.value.permanent


def test_a_host_that_does_not_exist() -> None:
    with connect("registry.invalid:5000") as repository, pytest.raises(NetworkError) as caught:
        repository.resolve("v1")
    assert "the name of the host is not known" in caught.value.message


def test_a_host_that_no_name_server_can_be_asked_for() -> None:
    location = {"Location": f"http://{'a' * 64}.example/x"}
    with (
        scripted_server(lambda seen: Said(307, location)) as registry,
        connect(registry.address) as repository,
        pytest.raises(NetworkError, match="not known"),
    ):
        repository.fetch_manifest("v1")


def test_a_server_that_never_answers() -> None:
    network = replace(QUICK, patience=replace(QUICK.patience, read=0.05))
    with (
        raw_server(lambda connection: time.sleep(0.3)) as address,
        connect(address, network=network) as repository,
        pytest.raises(NetworkError, match="no answer in time"),
    ):
        repository.resolve("v1")


def test_a_body_that_stalls() -> None:
    def stall(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nthe")
        connection.recv(1)

    network = replace(QUICK, patience=replace(QUICK.patience, read=0.05))
    with (
        raw_server(stall) as address,
        connect(address, network=network) as repository,
        pytest.raises(NetworkError, match="no answer in time"),
    ):
        repository.fetch(DESC)


def test_a_server_that_does_not_speak_http() -> None:
    def babble(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"\x15\x03\x03\x00\x02\x02\x46")

    with raw_server(babble) as address, connect(address) as repository, pytest.raises(NetworkError) as caught:
        repository.resolve("v1")
    assert "--plain-http" in (caught.value.hint or "")


def test_tls_spoken_to_a_plain_server_hints_at_plain_http() -> None:
    with (
        scripted_server(lambda seen: Said()) as registry,
        connect(registry.address, network=replace(QUICK, plain_http=False)) as repository,
        pytest.raises(NetworkError) as caught,
    ):
        repository.resolve("v1")
    assert "--plain-http" in (caught.value.hint or "")
    assert caught.value.permanent


def test_plain_http_spoken_to_a_tls_server_that_says_so() -> None:
    with (
        scripted_server(lambda seen: Said(400, body=b"Client sent an HTTP request to an HTTPS server.")) as registry,
        connect(registry.address) as repository,
        pytest.raises(RegistryError) as caught,
    ):
        repository.fetch_manifest("v1")
    assert "--plain-http" in (caught.value.hint or "")


def test_plain_http_spoken_to_a_tls_server_that_cannot_say_so() -> None:
    """The answer to a HEAD has no body."""
    with (
        scripted_server(lambda seen: Said(400)) as registry,
        connect(registry.address) as repository,
        pytest.raises(RegistryError) as caught,
    ):
        repository.resolve("v1")
    assert "--plain-http" in (caught.value.hint or "")


def test_an_idle_connection_that_was_closed_is_opened_again() -> None:
    with (
        scripted_server(lambda seen: Said(200, {"Connection": "close"}, DATA)) as registry,
        connect(registry.address) as repository,
    ):
        assert [repository.fetch(DESC) for _ in range(3)] == [DATA] * 3
    assert len(registry.seen) == 3


def test_a_connection_that_breaks_is_tried_again() -> None:
    calls: list[int] = []

    def flaky(connection: socket.socket) -> None:
        connection.recv(65536)
        calls.append(1)
        if len(calls) == 2:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n" + DATA)
            connection.recv(1)

    with raw_server(flaky) as address, connect(address) as repository:
        assert repository.fetch(DESC) == DATA


# --- logging in


@pytest.mark.parametrize("said", [Said(200, {"Content-Type": "text/html"}, b"<html>"), Said(404)])
def test_a_web_site_is_not_a_registry(said: Said) -> None:
    with scripted_server(lambda seen: said) as site, pytest.raises(RegistryError, match="not a registry"):
        check_login(site.address, BASIC, QUICK, Run())


def test_wrong_credentials_at_login() -> None:
    with (
        scripted_server(lambda seen: Said(401, {"WWW-Authenticate": 'Basic realm="x"'})) as registry,
        pytest.raises(AuthenticationError, match="logging in to") as caught,
    ):
        check_login(registry.address, BASIC, QUICK, Run())
    assert "password" in (caught.value.hint or "")


def test_a_registry_that_lets_everybody_in_takes_any_credentials() -> None:
    with scripted_server(lambda seen: Said()) as registry:
        assert check_login(registry.address, BASIC, QUICK, Run()) is None


# --- the end


def cancel_when(seen: Callable[[], bool], token: CancelToken) -> threading.Thread:
    def wait() -> None:
        deadline = time.monotonic() + 10
        while not seen() and time.monotonic() < deadline:
            time.sleep(0.005)
        token.cancel()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


PATIENT = Network(plain_http=True, patience=Patience(connect=60, read=60, commit=60, attempts=3, pause=30))


@pytest.mark.parametrize("where", ["head", "body", "upload", "wait", "tls"])
def test_cancelling_ends_at_once_wherever_it_waits(where: str) -> None:
    reached, over = threading.Event(), threading.Event()

    def converse(connection: socket.socket) -> None:
        request = connection.recv(65536)
        if where == "body":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nthe")
        elif where == "wait":
            connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        elif where == "upload" and request.startswith(b"POST"):
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")
            connection.recv(10)
        reached.set()
        over.wait(30)  # says and reads nothing more, so that both sides wait

    token = CancelToken()
    network = replace(PATIENT, plain_http=where != "tls")
    size = 64 * 1024 * 1024
    with raw_server(converse) as address, connect(address, network=network, run=Run(cancel=token)) as repository:
        upload = partial(
            repository.put, Descriptor(BLOB, Digest.of(b""), size), BytesReader(bytes(size)), lambda count: None
        )
        thread = cancel_when(reached.is_set, token)
        with pytest.raises(Cancelled):
            (upload if where == "upload" else partial(repository.fetch, DESC))()
        thread.join()
        over.set()


def test_nothing_begins_after_the_end_was_asked_for() -> None:
    token = CancelToken()
    with (
        scripted_server(lambda seen: Said(body=DATA)) as registry,
        connect(registry.address, run=Run(cancel=token)) as repository,
    ):
        token.cancel()
        with pytest.raises(Cancelled):
            repository.fetch(DESC)
    assert registry.seen == []


def test_cancelling_while_connecting(tmp_path: Path) -> None:
    # a full backlog: connecting neither succeeds nor fails
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            token = CancelToken()
            with connect(f"127.0.0.1:{port}", network=PATIENT, run=Run(cancel=token)) as repository:
                thread = cancel_when(lambda: True, token)
                with pytest.raises(Cancelled):
                    repository.fetch(DESC)
                thread.join()
            quick = replace(QUICK, patience=replace(QUICK.patience, connect=0.1, attempts=1))
            with (
                connect(f"127.0.0.1:{port}", network=quick) as repository,
                pytest.raises(NetworkError, match="no answer in time"),
            ):
                repository.fetch(DESC)
        finally:
            for filler in fillers:
                filler.close()


def test_many_threads_share_a_repository() -> None:
    blobs = [os.urandom(1000) for _ in range(40)]
    by_digest = {str(Digest.of(blob)): blob for blob in blobs}

    def script(seen: Seen) -> Said:
        return Said(body=by_digest[seen.target.rpartition("/")[2]])

    failures: list[BaseException] = []
    with scripted_server(challenged(script)) as registry, connect(registry.address) as repository:

        def fetch(part: list[bytes]) -> None:
            try:
                for blob in part:
                    assert repository.fetch(Descriptor.of(blob, BLOB)) == blob
            except (KitError, AssertionError) as error:
                failures.append(error)

        threads = [threading.Thread(target=fetch, args=(blobs[number::8],)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_not_found_names_the_reference() -> None:
    with (
        scripted_server(lambda seen: Said(404)) as registry,
        connect(registry.address) as repository,
        pytest.raises(NotFoundError, match=f"{registry.address}/team/model:v1"),
    ):
        repository.resolve("v1")


def test_the_script_sees_what_was_sent() -> None:
    with scripted_server(lambda seen: Said(body=DATA)) as registry, connect(registry.address) as repository:
        repository.fetch(DESC)
    assert isinstance(registry, Scripted)
    assert registry.sent("User-Agent") == ["kitops"]
    assert registry.sent("Accept-Encoding") == ["identity"]


# --- parts in chunks, which announce no length


def in_chunks(body: bytes) -> Callable[[Seen], Said]:
    """Every part that is asked for has ``body``, whatever its length."""

    def script(seen: Seen) -> Said:
        start, _, last = seen.headers["Range"].removeprefix("bytes=").partition("-")
        headers = {"Content-Range": f"bytes {start}-{last}/{DESC.size}", "Transfer-Encoding": "chunked"}
        data = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return Said(206, headers, data + b"0\r\n\r\n", length=-1)

    return script


def test_a_part_in_chunks_that_is_empty_is_not_asked_for_for_ever() -> None:
    with (
        scripted_server(in_chunks(b"")) as registry,
        connect(registry.address) as repository,
        repository.ranges(DESC, limit=0) as ranges,
        pytest.raises(NetworkError, match="after 0 of 5 bytes"),
    ):
        ranges.read_at(0, 5)
    assert len(registry.seen) == 3


def test_a_part_in_chunks_that_goes_on_and_on_is_left() -> None:
    with (
        scripted_server(in_chunks(DATA * 100_000)) as registry,
        connect(registry.address) as repository,
        repository.ranges(DESC, limit=0) as ranges,
    ):
        assert ranges.read_at(0, 5) == DATA[:5]


def test_a_part_in_chunks_that_comes_in_smaller_ones_is_put_together() -> None:
    with (
        scripted_server(in_chunks(b"ab")) as registry,
        connect(registry.address) as repository,
        repository.ranges(DESC, limit=0) as ranges,
    ):
        assert ranges.read_at(0, 5) == b"ababa"
    assert [seen.headers["Range"] for seen in registry.seen] == ["bytes=0-4", "bytes=2-4", "bytes=4-4"]
