"""Registries that keep a client waiting, or busy, for ever: each ends, and says why. Real sockets."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from kitops.content.events import Event, Waiting
from kitops.content.protocols import Run
from kitops.errors import IntegrityError, KitError, NetworkError, RegistryError
from kitops.oci.descriptor import Descriptor
from kitops.oci.reference import Reference
from kitops.registry import Credential, Network, Repository, open_repository
from kitops.registry.credentials import FixedCredential
from kitops.registry.network import Patience
from scripted_server import Said, Seen, raw_server, scripted_server
from small_web import read_head

DATA = b"the bytes of a blob"
DESC = Descriptor.of(DATA, "application/octet-stream")
PATIENCE = Patience(connect=2, read=0.4, commit=2, attempts=1, pause=0.001, stall=0.4)


def connect(
    address: str, patience: Patience = PATIENCE, run: Run | None = None, credential: Credential | None = None
) -> Repository:
    network = Network(plain_http=True, patience=patience)
    ref = Reference.parse(f"{address}/team/model:v1")
    return open_repository(ref, network, FixedCredential(credential), run or Run())


def trickling(before: bytes, drop: bytes) -> Callable[[socket.socket], None]:
    """After ``before``, one ``drop`` every 50 ms: each read gets something, nothing ever ends."""

    def converse(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(before)
        pause = threading.Event()
        while not pause.wait(0.05):
            connection.sendall(drop)

    return converse


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("before", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        (HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (HEAD + b"\r\n", b"x"),
    ],
    ids=["status", "header", "body", "chunks", "until-close"],
)
def test_a_registry_that_trickles(before: bytes, drop: bytes) -> None:
    with (
        raw_server(trickling(before, drop)) as address,
        connect(address) as repository,
        pytest.raises(NetworkError, match="no answer in time"),
    ):
        repository.fetch_manifest("v1")


def flooding(before: bytes, wave: bytes) -> Callable[[socket.socket], None]:
    def converse(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(before)
        while True:
            connection.sendall(wave)

    return converse


@pytest.mark.parametrize(
    ("before", "wave", "says"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, "headers never end"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Many: 1\r\n" * 1000, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 65536, "not HTTP"),
        (b"", b"x" * 65536, "not HTTP"),
        (HEAD + b"\r\n", b"x" * 1_000_000, "more than"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n", "more than"),
    ],
    ids=["continue", "many-headers", "long-header", "no-http", "endless-body", "endless-chunks"],
)
def test_a_registry_that_floods(before: bytes, wave: bytes, says: str) -> None:
    with (
        raw_server(flooding(before, wave)) as address,
        connect(address) as repository,
        pytest.raises((NetworkError, RegistryError), match=says),
    ):
        repository.fetch_manifest("v1")


def test_redirects_in_a_circle() -> None:
    def script(seen: Seen) -> Said:
        return Said(307, {"Location": f"{seen.target}x"})

    with scripted_server(script) as registry, connect(registry.address) as repository:
        with pytest.raises(RegistryError, match="more than 5 redirects"):
            repository.fetch_manifest("v1")
        assert len(registry.seen) == 6


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (Said(body=DATA, length=len(DATA) + 5), IntegrityError),
        (Said(body=DATA[:5], length=len(DATA)), NetworkError),
        (Said(body=DATA[:5]), IntegrityError),
        (Said(body=DATA + b"more"), IntegrityError),
    ],
    ids=["announces-more", "truncated", "shorter", "longer"],
)
def test_lengths_that_lie(said: Said, error: type[Exception]) -> None:
    with (
        scripted_server(lambda seen: said) as registry,
        connect(registry.address) as repository,
        pytest.raises(error),
    ):
        repository.fetch(DESC)


def test_a_length_that_is_none_leaves_the_digest_to_decide() -> None:
    said = Said(headers={"Content-Length": "-1", "Connection": "close"}, body=DATA, length=-1)
    with scripted_server(lambda seen: said) as registry, connect(registry.address) as repository:
        assert repository.fetch(DESC) == DATA


def test_bytes_behind_an_answer_are_not_the_next_answer() -> None:
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

    def converse(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA) + DATA + evil)
        read_head(connection)

    with raw_server(converse) as address, connect(address, replace(PATIENCE, attempts=2)) as repository:
        for _ in range(3):
            assert repository.fetch(DESC) == DATA


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_heeded_and_told(as_date: bool) -> None:
    waits: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, Waiting):
            waits.append(event.what)

    later = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True) if as_date else "1"
    answers = [Said(429, {"Retry-After": later}), Said(503, {"Retry-After": "0"}), Said(body=DATA)]
    with scripted_server(lambda seen: answers.pop(0)) as registry:
        with connect(registry.address, Patience(attempts=3, pause=0.001), Run(watch)) as repository:
            assert repository.fetch(DESC) == DATA
        assert len(registry.seen) == 3
    assert len(waits) == 1
    assert "of patience" in waits[0]


@pytest.mark.parametrize("status", [500, 502])
def test_a_pause_of_our_own_is_not_told_as_the_registrys_wish(status: int) -> None:
    waits: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, Waiting):
            waits.append(event.what)

    answers = [Said(status), Said(body=DATA)]
    with scripted_server(lambda seen: answers.pop(0)) as registry:
        with connect(registry.address, Patience(attempts=2, pause=1), Run(watch)) as repository:
            assert repository.fetch(DESC) == DATA
        assert waits == [f"{registry.address}, which answered {status}: trying again in 1 s"]


def tokens_then(*answers: Said, method: str = "GET") -> Callable[[Seen], Said]:
    """A registry whose token server gives ``answers`` in turn, then a token."""
    left = list(answers)

    def script(seen: Seen) -> Said:
        if seen.target.startswith("/token"):
            assert seen.method == method
            return left.pop(0) if left else Said(body=b'{"token":"good"}')
        if seen.headers.get("Authorization") != "Bearer good":
            return Said(401, {"WWW-Authenticate": f'Bearer realm="http://{seen.headers["Host"]}/token"'})
        return Said(body=DATA)

    return script


@pytest.mark.parametrize("credential", [None, Credential(identity_token="refresh-me")], ids=["anonymous", "identity"])
def test_a_busy_token_server_is_waited_for(credential: Credential | None) -> None:
    waits: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, Waiting):
            waits.append(event.what)

    script = tokens_then(Said(503, {"Retry-After": "1"}), Said(429), method="POST" if credential else "GET")
    patience = Patience(attempts=3, pause=0.001)
    with scripted_server(script) as registry:
        with connect(registry.address, patience, Run(watch), credential) as repository:
            assert repository.fetch(DESC) == DATA
        assert waits == [f"token server http://{registry.address}/token, which asks for 1 s of patience"]


@pytest.mark.parametrize(
    ("said", "tries", "says"),
    [
        (Said(503), 3, "answered 503"),
        (
            Said(429, {"Retry-After": "3600"}, b'{"message":"slow down"}'),
            1,
            "answered 429: slow down; it asks to wait 3600",
        ),
        (Said(400, body=b'{"error":"invalid_scope"}'), 1, "refused an anonymous user: invalid_scope"),
        (Said(418), 1, "answered 418"),
    ],
)
def test_a_token_server_that_does_not_want(said: Said, tries: int, says: str) -> None:
    with scripted_server(tokens_then(*[said] * 9)) as registry:
        with (
            connect(registry.address, Patience(attempts=3, pause=0.001)) as repository,
            pytest.raises(KitError, match=says),
        ):
            repository.fetch(DESC)
        assert len([seen for seen in registry.seen if seen.target.startswith("/token")]) == tries


def test_a_token_server_that_leads_in_a_circle() -> None:
    def script(seen: Seen) -> Said:
        if seen.target.startswith("/token"):
            return Said(307, {"Location": seen.target})
        return tokens_then()(seen)

    with (
        scripted_server(script) as registry,
        connect(registry.address) as repository,
        pytest.raises(RegistryError, match="more than 5 redirects"),
    ):
        repository.fetch(DESC)


@pytest.mark.parametrize(
    "later",
    ["100000", "99999999999999999999", format_datetime(datetime.now(UTC) + timedelta(days=9), usegmt=True)],
    ids=["a day", "absurd", "a date"],  # the same in every worker, whatever the time
)
def test_retry_after_is_capped(later: str) -> None:
    with scripted_server(lambda seen: Said(429, {"Retry-After": later})) as registry:
        with (
            connect(registry.address, Patience(attempts=3)) as repository,
            pytest.raises(RegistryError, match="asks to"),
        ):
            repository.fetch(DESC)
        assert len(registry.seen) == 1


@pytest.mark.parametrize("later", ["soon", "-5", "", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_retry_after_that_says_nothing_is_our_own_pause(later: str) -> None:
    answers = [Said(503, {"Retry-After": later}), Said(body=DATA)]
    patience = Patience(attempts=2, pause=0.001)
    with scripted_server(lambda seen: answers.pop(0)) as registry, connect(registry.address, patience) as repository:
        assert repository.fetch(DESC) == DATA


@pytest.mark.parametrize("status", [400, 404, 405, 409, 413, 418, 501])
def test_what_will_not_change_is_not_asked_again(status: int) -> None:
    with scripted_server(lambda seen: Said(status)) as registry:
        says = str(status) if status != 404 else "not found"
        with connect(registry.address, Patience(pause=0.001)) as repository, pytest.raises(KitError, match=says):
            repository.fetch(DESC)
        assert len(registry.seen) == 1


def test_requests_leave_nothing_in_the_logs_of_others(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def converse(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\nno header\r\n\r\n" + DATA)

    with raw_server(converse) as storage:
        location = {"Location": f"http://{storage}/bucket?X-Amz-Signature=sesame"}
        with scripted_server(lambda seen: Said(307, location)) as registry, connect(registry.address) as repository:
            assert repository.fetch(DESC) == DATA
    assert "sesame" not in caplog.text
    assert "no header" not in caplog.text
