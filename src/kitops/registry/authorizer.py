"""The credentials and tokens of one registry while it is talked to."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from kitops.errors import AuthenticationError, RegistryError
from kitops.registry.auth import (
    Challenge,
    Scopes,
    TokenAnswer,
    TokenRequest,
    basic_header,
    bearer_header,
    describe_challenges,
    handshake,
    parse_challenges,
)
from kitops.registry.realms import is_of_registry, realm_origin
from kitops.registry.urls import MAX_REDIRECTS, follow, is_http, is_redirect, origin, safe_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kitops.registry.credentials import Credential
    from kitops.registry.known_secrets import KnownSecrets
    from kitops.registry.transport import Transport

_MAX_TOKEN_ANSWER = 1024 * 1024


class Authorizer:
    """Answers a registry's challenges and remembers the tokens that it got. Thread-safe.

    Args:
        base: the registry's API, which credentials and tokens are bound to.
        registry: its name, for people.
        find: gives the credential; called once, and only when the registry asks.
        pinned: gives the token server on another host that may be sent the credential, told which one is offered.
        transport: reaches the token server.
        secrets: told of each credential and token.
    """

    def __init__(
        self,
        base: str,
        registry: str,
        find: Callable[[], Credential | None],
        pinned: Callable[[str], str | None],
        transport: Transport,
        *,
        secrets: KnownSecrets,
    ) -> None:
        self._base = base
        self._registry = registry
        self._find = find
        self._pinned = pinned
        self._transport = transport
        self._secrets = secrets
        self._lock = threading.RLock()
        self._credential: Credential | None = None
        self._found = False
        self._basic: str | None = None
        self._bearer: Challenge | None = None
        self._tokens: list[tuple[Scopes, str, float]] = []

    def header(self, scopes: Scopes) -> str | None:
        """The ``Authorization`` value for ``scopes``, a fresh token where the way to it is known, or None."""
        with self._lock:
            if self._basic is not None:
                return self._basic
            if (known := self._known(scopes)) or self._bearer is None:
                return known
            return self._ask(self._bearer, scopes)

    def answer_challenges(self, values: Iterable[str], scopes: Scopes, used: str | None, said: str) -> str:
        """The ``Authorization`` value that answers a 401.

        Args:
            values: its ``WWW-Authenticate`` headers.
            scopes: what the request needs.
            used: the value that was refused, or None.
            said: the refusal in words.

        Raises:
            AuthenticationError: there is none.
        """
        challenges = parse_challenges(values)
        with self._lock:
            self._tokens = [row for row in self._tokens if row[1] != used]
            now_known = self._basic or self._known(scopes)
            if now_known is not None and now_known != used:  # another thread got it meanwhile
                return now_known
            bearer = next((one for one in challenges if one.scheme == "bearer"), None)
            if bearer is not None:
                self._bearer = bearer
                return self._ask(bearer, Scopes.parse(str(scopes), bearer.parameters.get("scope", "")))
            credential = self._credential_once()
            if any(one.scheme == "basic" for one in challenges):
                if credential is None or not credential.password or self._basic is not None:
                    raise self._refused(said)
                self._basic = basic_header(credential)
                return self._basic
        if not challenges:
            raise self._refused(said)
        offer = describe_challenges(challenges, self._secrets.hide)
        raise AuthenticationError(f"{self._registry} wants a kind of login that is not supported: {offer}")

    def hint(self) -> str:
        """What to type when a registry refused."""
        login = f"kit login {self._registry}{' --plain-http' if self._base.startswith('http:') else ''}"
        if self._found and self._credential is not None:
            return f"the account in use may not do this; `{login}` with another"
        return login

    def _refused(self, said: str) -> AuthenticationError:
        why = "the credentials were refused" if self._basic is not None else "it wants to know who you are"
        return AuthenticationError(f"{self._registry}: {why}{': ' if said else ''}{said}", hint=self.hint())

    def _known(self, scopes: Scopes) -> str | None:
        now = time.monotonic()
        self._tokens = [row for row in self._tokens if row[2] > now]
        return next((header for own, header, _ in self._tokens if own.covers(scopes)), None)

    def _ask(self, challenge: Challenge, scopes: Scopes) -> str:
        credential = self._credential_once()
        if credential is not None and credential.registry_token:
            return bearer_header(credential.registry_token)
        pinned = self._pinned_for(challenge, credential)
        steps = handshake(challenge, credential, scopes, self._base, pinned, hide=self._secrets.hide)
        started = time.monotonic()
        try:
            request = next(steps)
            while True:
                request = steps.send(self._send(request))
        except StopIteration as end:
            self._secrets.add(end.value.value, *end.value.others)
            header = bearer_header(end.value.value)
            self._tokens.append((scopes, header, started + end.value.seconds))
            return header
        except AuthenticationError as error:
            raise AuthenticationError(error.message, hint=error.hint or self.hint()) from error

    def _pinned_for(self, challenge: Challenge, credential: Credential | None) -> str | None:
        realm = challenge.parameters.get("realm", "")
        if credential is None or not is_http(realm) or is_of_registry(realm, self._base):
            return None
        return self._pinned(realm_origin(realm))

    def _send(self, request: TokenRequest) -> TokenAnswer:
        """Ask a token server, which may send us elsewhere on its own host, port and scheme, and nowhere else."""
        url = request.url
        for _ in range(MAX_REDIRECTS + 1):
            with self._transport.send(request.method, url, headers=request.headers, body=request.body) as answer:
                if is_redirect(request.method, answer.status):
                    target = follow(url, answer.header("Location") or "")
                    if origin(target) == origin(url):
                        url = target
                        continue
                return TokenAnswer(answer.status, answer.read(_MAX_TOKEN_ANSWER), answer.header("Retry-After"))
        raise RegistryError(f"asking token server {safe_url(request.url)}: more than {MAX_REDIRECTS} redirects")

    def _credential_once(self) -> Credential | None:
        if not self._found:
            self._credential = self._find()
            self._found = True
            if self._credential is not None:
                self._secrets.add_credential(self._credential)
        return self._credential
