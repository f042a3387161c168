"""Requests to one registry: signed in, tried again, redirected, and their refusals as errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from kitops.content.events import Message, Waiting
from kitops.errors import AuthenticationError, KitError, NetworkError, NotFoundError, RegistryError
from kitops.registry.authorizer import Authorizer
from kitops.registry.headers import parse_refusal, parse_warnings, retry_after
from kitops.registry.memory import Memory
from kitops.registry.transport import Answer, Body, Transport
from kitops.registry.urls import api_base, follow, origin, safe_url

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from kitops.content.protocols import Run
    from kitops.oci.digest import Digest
    from kitops.registry.auth import Scopes
    from kitops.registry.credentials import FindsCredential
    from kitops.registry.network import Network, Patience

EXTRA_CONNECTIONS: Final = 7
"""How many connections more than blobs at a time may be open, all downloads together."""
_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS: Final = 5
_ERROR_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to a registry.

    Args:
        method: the HTTP method.
        target: a path of the API (``/v2/…``), or the absolute URL that an answer gave.
        doing: for errors: ``"reading"``.
        what: for errors: what it is done to.
        scopes: what a token must allow.
        headers: more of them.
        body: bytes, or a stream that is sent once.
        ok: the statuses of success.
        wait: seconds until the answer begins; the network's read timeout when None.
    """

    method: str
    target: str
    doing: str
    what: str
    scopes: Scopes
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Body | None = None
    ok: Collection[int] = (200,)
    wait: float | None = None


class PutOffError(NetworkError):
    """A request whose body was begun was answered: try again. That was waited for already.

    Args:
        status: what it was answered with: 401 when the token had expired, else that the registry is busy.
    """

    def __init__(self, message: str, *, status: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Session:
    """A registry that is being talked to. Thread-safe.

    Args:
        registry: host and port as references have them.
        repository: for path-scoped credentials; may be empty.
        network: how it is reached.
        credentials: asked once, when the registry wants to know who we are.
        run: told of warnings and waits; its token ends everything.
        memory: what the process remembers of registries; its own without.
    """

    def __init__(
        self,
        registry: str,
        repository: str,
        network: Network,
        credentials: FindsCredential,
        run: Run,
        *,
        memory: Memory | None = None,
    ) -> None:
        self.registry = registry
        self.run = run
        self.memory = memory or Memory()
        self.base = api_base(registry, plain_http=network.plain_http)
        self._home = origin(self.base)
        self._patience = network.patience
        self._transport = Transport(network, run.cancel, run.concurrency + 2 + EXTRA_CONNECTIONS)
        self._authorizer = Authorizer(
            self.base,
            registry,
            lambda: credentials.find(registry, repository, cancel=run.cancel),
            lambda offered: credentials.pinned_realm(registry, offered),
            self._transport,
        )
        self._reached = False

    @property
    def patience(self) -> Patience:
        """Timeouts and tries."""
        return self._patience

    @property
    def commit_seconds(self) -> float:
        """How long the end of an upload may take the registry."""
        return self._patience.commit

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def doubt(self, digest: Digest) -> bool:  # noqa: ARG002 - a registry has no other place to ask
        """Tell that the bytes which came for ``digest`` were not it; whether asking again may give others."""
        return False

    def send(self, request: Request) -> Answer:
        """Send ``request``, again where that can help, and give its successful answer, which the caller closes.

        Raises:
            NotFoundError: 404.
            AuthenticationError: 401 or 403.
            RegistryError: another refusal, or one that outlasted every try.
            NetworkError: no answer. A request whose body was begun is not sent again: the caller has to open its
                source afresh.
        """
        pause = self._patience.pause
        for attempt in range(1, self._patience.attempts + 1):
            last = attempt == self._patience.attempts
            try:
                answer = self._send_authorized(request)
            except NetworkError as error:
                # who never answered is more likely misspelt than restarting: two tries for those
                if last or error.permanent or _is_spent(request.body) or (attempt > 1 and not self._reached):
                    raise
                self.run.cancel.wait(pause)
            else:
                self._reached = True
                if answer.status in request.ok:
                    return answer
                with answer:
                    if answer.status not in _AGAIN or (last and not _is_spent(request.body)):
                        raise self._refusal(request, answer)
                    asked = retry_after(answer.header("Retry-After"), datetime.now(UTC))
                    if asked is not None and asked > self._patience.longest_pause:
                        raise self._refusal(request, answer, f"; it asks to wait {asked:.0f} s")
                    refusal = self._refusal(request, answer)
                self._wait(pause if asked is None else asked)
                if _is_spent(request.body):
                    raise PutOffError(str(refusal), status=answer.status, hint=refusal.hint)
            pause = min(pause * 2, self._patience.longest_pause)
        raise AssertionError("the last attempt returns or raises")

    def _wait(self, seconds: float) -> None:
        if seconds >= 1:
            self.run.observer(Waiting(f"{self.registry}, which asks for {seconds:.0f} s of patience"))
        self.run.cancel.wait(seconds)

    def _send_authorized(self, request: Request) -> Answer:
        url = self.base + request.target if request.target.startswith("/") else request.target
        if not self._is_home(url):  # credentials are the registry's own; an upload's Location may be anybody's
            return self._send_following(request, url, None)
        used = self._authorizer.header(request.scopes)
        answer = self._send_following(request, url, used)
        if answer.status != 401 or not self._is_home(answer.url):
            return answer
        with answer:
            challenges = answer.headers("WWW-Authenticate")
            said = parse_refusal(answer.read_some(_ERROR_BYTES)).text
        header = self._authorizer.answer_challenges(challenges, request.scopes, used, said)
        if _is_spent(request.body):
            raise PutOffError(f"{request.doing} {request.what}: the token expired on the way", status=401)
        return self._send_following(request, url, header)

    def _send_following(self, request: Request, url: str, authorization: str | None) -> Answer:
        for _ in range(_MAX_REDIRECTS + 1):
            headers = dict(request.headers)
            if authorization is not None:
                headers["Authorization"] = authorization
            answer = self._transport.send(
                request.method, url, headers=headers, body=request.body, read_seconds=request.wait
            )
            self._tell(answer)
            if answer.status not in _REDIRECTS or request.method not in ("GET", "HEAD"):
                return answer
            with answer:
                target = follow(url, answer.header("Location") or "")
            if origin(target) != origin(url):
                authorization = None  # and never again on this way, even if it leads back
            url = target
        raise RegistryError(f"{request.doing} {request.what}: more than {_MAX_REDIRECTS} redirects")

    def _is_home(self, url: str) -> bool:
        return origin(url) == self._home

    def _tell(self, answer: Answer) -> None:
        self.run.observer(Message("debug", f"{answer.method} {safe_url(answer.url)}: {answer.status}"))
        for text in parse_warnings(answer.headers("Warning")):
            if self.memory.is_news(told := f"{self.registry}: {text}"):
                self.run.observer(Message("warning", told))

    def _refusal(self, request: Request, answer: Answer, more: str = "") -> KitError:
        body = parse_refusal(answer.read_some(_ERROR_BYTES))
        said = f": {body.text}" if body.text else ""
        doing = f"{request.doing} {request.what}"
        if answer.status == 404:
            return NotFoundError(f"{doing}: not found{said}", hint="check the name, and `kit login` if it is private")
        if answer.status in (401, 403) and self._is_home(answer.url):
            return AuthenticationError(f"{doing}: {self.registry} refused{said}", hint=self._authorizer.hint())
        host = self.registry if self._is_home(answer.url) else origin(answer.url)[1]
        hint = None
        if answer.status == 400 and self._home[0] == "http" and "HTTPS" in body.text.upper():
            hint = "the registry serves TLS: leave --plain-http out"
        elif answer.status == 400 and self._home[0] == "http" and not body.text:  # HEAD: why has no place
            hint = "if the registry serves TLS, leave --plain-http out"
        return RegistryError(
            f"{doing}: {host} answered {answer.status}{said}{more}",
            status=answer.status,
            codes=body.codes,
            request=f"{answer.method} {safe_url(answer.url)}",
            hint=hint,
        )


def _is_spent(body: bytes | Body | None) -> bool:
    """Whether a body cannot be sent again because its first bytes were taken from its source."""
    return isinstance(body, Spendable) and body.is_spent


class Spendable:
    """A body that is read from a source once.

    Args:
        size: bytes in all.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.is_spent = False

    def __iter__(self) -> Iterator[memoryview]:
        raise NotImplementedError
