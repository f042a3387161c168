"""Who may do what: challenges, scopes and the token handshake (RFC 9110 11.6, RFC 6749, docker token specification).

Nothing here does I/O: :func:`handshake` is a generator that yields the requests to send and is sent their answers.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from kitops.errors import AuthenticationError, RegistryError
from kitops.registry.credentials import Credential
from kitops.registry.headers import PROXY_LOGIN, one_line, parse_refusal
from kitops.registry.realms import check_realm
from kitops.registry.urls import safe_url

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

_LETTER = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_WORD = rf"{_LETTER}+"
_SCHEME = re.compile(rf"[\s,]*({_WORD})(?:\s+|$|(?=,))", re.ASCII)
_PARAMETER = re.compile(rf"\s*({_WORD})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|({_LETTER}[^\s,]*))\s*(?:,|$)", re.ASCII)
_TOKEN68 = re.compile(r"\s*[A-Za-z0-9._~+/-]+=*\s*(?:,|$)", re.ASCII)
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+", re.ASCII)
_DEFAULT_SECONDS: Final = 60.0
_MOST_SECONDS: Final = 86400.0
_MARGIN_SECONDS: Final = 10.0
CLIENT_ID: Final = "kitops"


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that a server offers; scheme and parameter names are lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(hash=False)


def parse_challenges(values: Iterable[str]) -> tuple[Challenge, ...]:
    """Read ``WWW-Authenticate`` headers. What cannot be read ends the reading of its header; it never raises."""
    return tuple(challenge for value in values for challenge in _parse_header(value))


def _parse_header(value: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = 0
    while match := _SCHEME.match(value, position):
        position = match.end()
        parameters: dict[str, str] = {}
        if not _PARAMETER.match(value, position) and (single := _TOKEN68.match(value, position)):
            position = single.end()
        while pair := _PARAMETER.match(value, position):
            key, quoted, bare = pair.groups()
            parameters.setdefault(key.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare)
            position = pair.end()
        found.append(Challenge(match.group(1).lower(), parameters))
    return found


@dataclass(frozen=True, slots=True)
class Scopes:
    """What a token allows: resources (``repository:team/model``) and actions, sorted."""

    rows: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def parse(cls, *texts: str) -> Scopes:
        """Read and merge: ``repository:x:pull`` and ``repository:x:push`` are ``repository:x:pull,push``."""
        found: dict[str, set[str]] = {}
        for scope in " ".join(texts).split():
            resource, colon, actions = scope.rpartition(":")
            if not colon:
                resource, actions = scope, ""
            found.setdefault(resource, set()).update(filter(None, actions.split(",")))
        return cls(tuple((resource, tuple(sorted(found[resource]))) for resource in sorted(found)))

    def covers(self, wanted: Scopes) -> bool:
        """Whether everything in ``wanted`` is in here."""
        own = dict(self.rows)
        return all(
            resource in own and ("*" in own[resource] or set(actions) <= set(own[resource]))
            for resource, actions in wanted.rows
        )

    def texts(self) -> list[str]:
        """One text a resource, as the protocol wants them."""
        return [f"{resource}:{','.join(actions)}" if actions else resource for resource, actions in self.rows]

    def __str__(self) -> str:
        return " ".join(self.texts())


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What to send to a token server."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False, hash=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """What it answered, and its ``Retry-After``."""

    status: int
    body: bytes = field(repr=False)
    retry_after: str | None = None


class TokenServerError(RegistryError):
    """A token server answered with something else than a token or a refusal of the credentials.

    Args:
        server: it, for people.
        retry_after: when it wants to be asked again, as it said it.
    """

    def __init__(
        self,
        message: str,
        *,
        server: str,
        status: int,
        codes: Sequence[str] = (),
        hint: str | None = None,
        retry_after: str | None = None,
    ) -> None:
        super().__init__(message, status=status, codes=codes, request=f"GET {server}", hint=hint)
        self.server = server
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token and how many seconds it may be used, our safety margin taken off.

    Args:
        value: the token.
        seconds: how long.
        others: what else came with it and is secret: a refresh token.
    """

    value: str = field(repr=False)
    seconds: float
    others: tuple[str, ...] = field(default=(), repr=False, compare=False)


def basic_header(credential: Credential) -> str:
    """The ``Authorization`` value of HTTP Basic."""
    pair = f"{credential.username}:{credential.password}".encode("utf-8", "surrogateescape")
    return f"Basic {base64.b64encode(pair).decode()}"


def bearer_header(token: str) -> str:
    """The ``Authorization`` value of a bearer token."""
    return f"Bearer {token}"


def handshake(
    challenge: Challenge,
    credential: Credential | None,
    scopes: Scopes,
    registry_url: str,
    pinned: str | None = None,
    *,
    hide: Callable[[str], str] = str,
) -> Generator[TokenRequest, TokenAnswer, Token]:
    """Get a token: yields requests, is sent answers, returns the token.

    Args:
        challenge: a ``bearer`` one.
        credential: None asks as anonymous.
        scopes: what the token shall allow.
        registry_url: on whose behalf.
        pinned: the token server that a login recorded for it.
        hide: takes out of what it says what is not to be shown.

    Raises:
        AuthenticationError: the credentials were refused, or must not be sent there.
        TokenServerError: the token server answered something else.
        RegistryError: what it gave is no token.
    """
    realm = challenge.parameters.get("realm", "")
    check_realm(realm, registry_url, secret=credential is not None, pinned=pinned)
    service = challenge.parameters.get("service", "")
    if credential is not None and credential.identity_token:
        answer = yield _refresh_request(realm, service, scopes, credential.identity_token)
        if answer.status not in (404, 405):
            return _read_token(answer, realm, hide, anonymous=False)
        credential = Credential(credential.username or "<token>", credential.identity_token)
    answer = yield _basic_request(realm, service, scopes, credential)
    return _read_token(answer, realm, hide, anonymous=credential is None)


def _basic_request(realm: str, service: str, scopes: Scopes, credential: Credential | None) -> TokenRequest:
    query = [("service", service)] if service else []
    query += [("scope", text) for text in scopes.texts()]
    query.append(("client_id", CLIENT_ID))
    headers = {"Authorization": basic_header(credential)} if credential else {}
    return TokenRequest("GET", f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(query)}", headers)


def _refresh_request(realm: str, service: str, scopes: Scopes, identity_token: str) -> TokenRequest:
    form = {
        "grant_type": "refresh_token",
        "service": service,
        "client_id": CLIENT_ID,
        "scope": str(scopes),
        "refresh_token": identity_token,
    }
    return TokenRequest(
        "POST",
        realm,
        {"Content-Type": "application/x-www-form-urlencoded"},
        urlencode(form, errors="surrogateescape").encode("ascii"),
    )


def _read_token(answer: TokenAnswer, realm: str, hide: Callable[[str], str], *, anonymous: bool) -> Token:
    where = safe_url(urlsplit(realm)._replace(query="").geturl())
    if answer.status in (400, 401, 403):
        said = parse_refusal(answer.body, hide).text
        what = "an anonymous user" if anonymous else "the credentials"
        raise AuthenticationError(f"token server {where} refused {what}{': ' if said else ''}{said}")
    if answer.status != 200:
        refusal = parse_refusal(answer.body, hide)
        who = "the proxy" if answer.status == 407 else f"token server {where}"
        raise TokenServerError(
            f"{who} answered {answer.status}{': ' if refusal.text else ''}{refusal.text}",
            server=where,
            status=answer.status,
            codes=refusal.codes,
            hint=PROXY_LOGIN if answer.status == 407 else None,
            retry_after=answer.retry_after,
        )
    try:
        table = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise RegistryError(f"token server {where} did not answer with JSON", status=answer.status) from error
    token = (table.get("token") or table.get("access_token")) if isinstance(table, dict) else None
    if not isinstance(token, str) or not _HEADER_VALUE.fullmatch(token):
        raise RegistryError(f"token server {where} answered without a token", status=answer.status)
    others = [value for key in ("access_token", "refresh_token") if isinstance(value := table.get(key), str)]
    return Token(token, _lifetime(table.get("expires_in")), tuple(others))


def _lifetime(value: object) -> float:
    """Seconds to use a token for; its ``issued_at`` is left aside because clocks differ."""
    seconds = _DEFAULT_SECONDS
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        seconds = float(min(value, _MOST_SECONDS))  # in this order: not every number of JSON is a float
    return seconds - min(_MARGIN_SECONDS, seconds / 4)


def describe_challenges(challenges: Sequence[Challenge], hide: Callable[[str], str] = str) -> str:
    """The schemes on offer, for an error."""
    return one_line(hide(", ".join(sorted({challenge.scheme for challenge in challenges})))) or "nothing"
