from __future__ import annotations

import base64
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from kitops.errors import AuthenticationError, KitError, RegistryError
from kitops.registry.auth import (
    Challenge,
    Scopes,
    Token,
    TokenAnswer,
    TokenRequest,
    basic_header,
    handshake,
    parse_challenges,
)
from kitops.registry.credentials import Credential

REGISTRY = "https://registry.example.com"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            'Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"',
            [("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull,push"})],
        ),
        (
            'Basic realm="x", BEARER Realm="https://b/t" , service=foo',
            [("basic", {"realm": "x"}), ("bearer", {"realm": "https://b/t", "service": "foo"})],
        ),
        ('Negotiate, Basic realm="a\\"b"', [("negotiate", {}), ("basic", {"realm": 'a"b'})]),
        ("Negotiate YWJj==, Bearer realm=https://x/y", [("negotiate", {}), ("bearer", {"realm": "https://x/y"})]),
        ("Bearer", [("bearer", {})]),
        ("", []),
        ("  ,, ", []),
        (',, Basic realm="q"', [("basic", {"realm": "q"})]),
        ('Bearer realm="unterminated', [("bearer", {})]),
        ('Bearer realm="first",realm="second"', [("bearer", {"realm": "first"})]),
        ("=====", []),
    ],
)
def test_challenges(value: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(found.scheme, dict(found.parameters)) for found in parse_challenges([value])] == expected


def test_a_long_challenge_takes_no_longer_than_its_length() -> None:
    started = time.process_time()
    assert [found.scheme for found in parse_challenges([f"Bearer a={'a' * 60_000} b"])] == ["bearer"]
    assert time.process_time() - started < 10


def test_challenges_of_several_headers_stand_one_after_the_other() -> None:
    found = parse_challenges(['Basic realm="a"', 'Bearer realm="b"'])
    assert [challenge.scheme for challenge in found] == ["basic", "bearer"]


def test_scopes_merge_by_resource_and_sort() -> None:
    scopes = Scopes.parse("repository:b:push repository:a:pull", "repository:b:pull,push", "registry:catalog:*")
    assert scopes.texts() == ["registry:catalog:*", "repository:a:pull", "repository:b:pull,push"]


def test_scopes_keep_a_port_in_the_resource() -> None:
    assert Scopes.parse("repository:host:5000/a:pull").texts() == ["repository:host:5000/a:pull"]


@pytest.mark.parametrize(
    ("have", "want", "covers"),
    [
        ("repository:a:pull,push", "repository:a:pull", True),
        ("repository:a:pull", "repository:a:pull,push", False),
        ("repository:a:*", "repository:a:delete", True),
        ("repository:a:pull", "repository:b:pull", False),
        ("repository:a:pull", "", True),
        ("", "repository:a:pull", False),
        ("admin", "admin", True),
    ],
)
def test_scopes_cover(have: str, want: str, covers: bool) -> None:
    assert Scopes.parse(have).covers(Scopes.parse(want)) is covers


def bearer(**parameters: str) -> Challenge:
    return Challenge("bearer", {"realm": "https://registry.example.com/token", **parameters})


def play(
    challenge: Challenge, credential: Credential | None, *answers: TokenAnswer
) -> tuple[list[TokenRequest], Token]:
    steps = handshake(challenge, credential, Scopes.parse("repository:a:pull repository:b:push"), REGISTRY)
    requests = [next(steps)]
    try:
        for answer in answers:
            requests.append(steps.send(answer))  # noqa: PERF401 - a generator would turn the end into an error
    except StopIteration as end:
        return requests, end.value
    raise AssertionError("the handshake wants more answers")


def test_an_anonymous_token_is_asked_for_by_get() -> None:
    (request,), token = play(bearer(service="reg"), None, TokenAnswer(200, b'{"token":"abc","expires_in":300}'))
    assert (request.method, request.body, request.headers) == ("GET", None, {})
    assert parse_qs(urlsplit(request.url).query) == {
        "service": ["reg"],
        "scope": ["repository:a:pull", "repository:b:push"],
        "client_id": ["kitops"],
    }
    assert token == Token("abc", 290.0)


def test_a_password_is_sent_by_basic_and_a_realms_own_query_is_kept() -> None:
    challenge = Challenge("bearer", {"realm": "https://registry.example.com/token?account=x"})
    (request,), token = play(challenge, Credential("me", "pässword"), TokenAnswer(200, b'{"access_token":"abc"}'))
    assert request.headers == {"Authorization": "Basic " + base64.b64encode("me:pässword".encode()).decode()}
    assert request.url.startswith("https://registry.example.com/token?account=x&scope=")
    assert token == Token("abc", 50.0)  # sixty seconds where nothing is said


def test_an_identity_token_is_exchanged_by_post() -> None:
    credential = Credential(identity_token="refresh&me")
    (request,), token = play(bearer(service="reg"), credential, TokenAnswer(200, b'{"access_token":"abc"}'))
    assert (request.method, request.url) == ("POST", "https://registry.example.com/token")
    assert parse_qs((request.body or b"").decode()) == {
        "grant_type": ["refresh_token"],
        "service": ["reg"],
        "client_id": ["kitops"],
        "scope": ["repository:a:pull repository:b:push"],
        "refresh_token": ["refresh&me"],
    }
    assert token.value == "abc"


@pytest.mark.parametrize("status", [404, 405])
def test_where_there_is_no_post_an_identity_token_goes_as_a_password(status: int) -> None:
    credential = Credential(identity_token="refresh")
    requests, token = play(bearer(), credential, TokenAnswer(status, b""), TokenAnswer(200, b'{"token":"abc"}'))
    assert [request.method for request in requests] == ["POST", "GET"]
    assert requests[1].headers == {"Authorization": basic_header(Credential("<token>", "refresh"))}
    assert token.value == "abc"


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (
            TokenAnswer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}'),
            AuthenticationError,
            "UNAUTHORIZED: no",
        ),
        (TokenAnswer(403, b""), AuthenticationError, "refused the credentials"),
        (TokenAnswer(500, b"<html>oops</html>"), RegistryError, "answered 500: oops"),
        (TokenAnswer(200, b"not json"), KitError, "JSON"),
        (TokenAnswer(200, b"<html>log in</html>"), RegistryError, "JSON"),
        (TokenAnswer(200, b'{"token":"abc","expires_in":%b}' % (b"9" * 5000)), RegistryError, "JSON"),
        (TokenAnswer(200, b"[]"), RegistryError, "without a token"),
        (TokenAnswer(200, b'{"token": 7}'), RegistryError, "without a token"),
        (TokenAnswer(200, b'{"token": "a\\r\\nX-Evil: 1"}'), RegistryError, "without a token"),
    ],
)
def test_a_token_server_that_gives_none(answer: TokenAnswer, error: type[KitError], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        play(bearer(), Credential("me", "secret-password"), answer)
    assert "secret-password" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("1", 0.75), ("40", 30.0), ("-5", 50.0), ("true", 50.0), ('"300"', 50.0), ("1e99", 86390.0), ("null", 50.0),
        ("9" * 400, 86390.0), ("-" + "9" * 400, 50.0), ("1e999", 86390.0), ("-1e999", 50.0), ("NaN", 50.0),
        ('"' + "9" * 400 + '"', 50.0), ("[1]", 50.0), ("0", 50.0),
    ],
)  # fmt: skip
def test_lifetimes_are_bounded(said: str, seconds: float) -> None:
    _, token = play(bearer(), None, TokenAnswer(200, b'{"token":"abc","expires_in":%s}' % said.encode()))
    assert token.seconds == seconds


def test_secrets_do_not_show() -> None:
    credential = Credential("me", "hunter2", "identity", "registry-token")
    (request,), token = play(bearer(), Credential("me", "hunter2"), TokenAnswer(200, b'{"token":"t0ps3cret"}'))
    shown = repr((credential, request, token, TokenAnswer(200, b"t0ps3cret")))
    for secret in ("hunter2", "identity", "registry-token", "t0ps3cret", basic_header(Credential("me", "hunter2"))):
        assert secret not in shown.replace("identity_token", "")
