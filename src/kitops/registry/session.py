"""Requests to one registry: signed in, tried again, redirected, and their refusals as errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from kitops.content.events import Message, Waiting
from kitops.errors import AuthenticationError, KitError, NetworkError, NotFoundError, RegistryError
from kitops.registry.auth import TokenServerError
from kitops.registry.authorizer import Authorizer
from kitops.registry.headers import MAYBE_TLS, PROXY_LOGIN, Refusal, parse_refusal, parse_warnings, retry_after
from kitops.registry.known_secrets import KnownSecrets
from kitops.registry.memory import Memory
from kitops.registry.transport import Answer, Body, Transport
from kitops.registry.urls import MAX_REDIRECTS, api_base, follow, hidden_values, is_redirect, origin, safe_url

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
        where: what to look at where it is not found.
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
    where: str = "check the name"


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
        self.base = api_base(registry, plain_http=network.is_plain(registry))
        self._home = origin(self.base)
        self._patience = network.patience
        self._transport = Transport(network, run.cancel, run.concurrency + 2 + EXTRA_CONNECTIONS)
        self._secrets = KnownSecrets()
        for proxy in (network.proxy, network.http_proxy, network.https_proxy):
            self._secrets.add_proxy(proxy)
        self._authorizer = Authorizer(
            self.base,
            registry,
            lambda: credentials.find(registry, repository, cancel=run.cancel),
            lambda offered: credentials.pinned_realm(registry, offered),
            self._transport,
            secrets=self._secrets,
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
                last = last or (attempt >= self._patience.first_attempts and not self._reached)
                if last or error.permanent or _is_spent(request.body):
                    raise
                self.run.cancel.wait(pause)
            except TokenServerError as error:
                found = _Rejection(error, error.status, error.retry_after, f"token server {error.server}")
                self._put_off(request, found, pause, last=last)
            else:
                if answer.status in request.ok:
                    return answer
                with answer:
                    refusal = self._refusal(request, answer)
                found = _Rejection(refusal, answer.status, answer.header("Retry-After"), self.registry)
                self._put_off(request, found, pause, last=last)
            pause = min(pause * 2, self._patience.longest_pause)
        raise AssertionError("the last attempt returns or raises")

    def _put_off(self, request: Request, found: _Rejection, pause: float, *, last: bool) -> None:
        """Wait until ``request`` may be sent again after a refusal.

        Args:
            request: what was refused.
            found: how.
            pause: seconds to wait where nothing else is asked for.
            last: whether there is no other try.

        Raises:
            KitError: waiting does not help, or it is too long.
            PutOffError: it was waited, and whoever has the body sends it again.
        """
        asked = retry_after(found.retry_after, datetime.now(UTC)) if found.status in _AGAIN else None
        if asked is not None and asked > self._patience.longest_pause:
            raise _with_more(found.refusal, f"; it asks to wait {asked:.0f} s")
        if found.status not in _AGAIN or (last and not _is_spent(request.body)):
            raise found.refusal
        seconds = pause if asked is None else asked
        if seconds >= 1:
            why = f"answered {found.status}: trying again in {seconds:.0f} s"
            why = why if asked is None else f"asks for {seconds:.0f} s of patience"
            self.run.observer(Waiting(f"{found.server}, which {why}"))
        self.run.cancel.wait(seconds)
        if _is_spent(request.body):
            raise PutOffError(str(found.refusal), status=found.status, hint=found.refusal.hint)

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
            said = self._read_refusal(answer).text
        header = self._authorizer.answer_challenges(challenges, request.scopes, used, said)
        if _is_spent(request.body):
            raise PutOffError(f"{request.doing} {request.what}: the token expired on the way", status=401)
        return self._send_following(request, url, header)

    def _send_following(self, request: Request, url: str, authorization: str | None) -> Answer:
        is_replayable = request.body is None or isinstance(request.body, bytes)
        for _ in range(MAX_REDIRECTS + 1):
            headers = dict(request.headers)
            if authorization is not None:
                headers["Authorization"] = authorization
            answer = self._transport.send(
                request.method, url, headers=headers, body=request.body, read_seconds=request.wait
            )
            self._reached = True
            self._tell(answer)
            if not is_redirect(request.method, answer.status, is_replayable=is_replayable):
                return answer
            with answer:
                target = follow(url, answer.header("Location") or "")
            if origin(target) != origin(url):
                authorization = None  # and never again on this way, even if it leads back
            url = target
        raise RegistryError(f"{request.doing} {request.what}: more than {MAX_REDIRECTS} redirects")

    def _is_home(self, url: str) -> bool:
        return origin(url) == self._home

    def _tell(self, answer: Answer) -> None:
        self.run.observer(Message("debug", f"{answer.method} {safe_url(answer.url)}: {answer.status}"))
        for text in parse_warnings(answer.headers("Warning"), self._secrets.hide):
            if self.memory.is_news(told := f"{self.registry}: {text}"):
                self.run.observer(Message("warning", told))

    def _read_refusal(self, answer: Answer) -> Refusal:
        """What an answer says, without what it knows of us: some quote the request, or what they were to sign."""
        return parse_refusal(answer.read_some(_ERROR_BYTES), self._secrets.hiding(*hidden_values(answer.url)))

    def _refusal(self, request: Request, answer: Answer) -> KitError:
        body = self._read_refusal(answer)
        said = f": {body.text}" if body.text else ""
        doing = f"{request.doing} {request.what}"
        if answer.status == 404:
            return NotFoundError(f"{doing}: not found{said}", hint=f"{request.where}, and `kit login` if it is private")
        if answer.status in (401, 403) and self._is_home(answer.url):
            return AuthenticationError(f"{doing}: {self.registry} refused{said}", hint=self._authorizer.hint())
        host = self.registry if self._is_home(answer.url) else origin(answer.url)[1]
        hint = None
        if answer.status == 407:
            host, hint = "the proxy", PROXY_LOGIN
        if answer.status == 400 and self._home[0] == "http" and "HTTPS" in body.text.upper():
            hint = "the registry serves TLS: leave --plain-http out, or name who has none: --plain-http=HOST"
        elif answer.status == 400 and self._home[0] == "http" and not body.text:  # HEAD: why has no place
            hint = MAYBE_TLS
        return RegistryError(
            f"{doing}: {host} answered {answer.status}{said}",
            status=answer.status,
            codes=body.codes,
            request=f"{answer.method} {safe_url(answer.url)}",
            hint=hint,
        )


@dataclass(frozen=True, slots=True)
class _Rejection:
    """A refusal, its status, its ``Retry-After``, and whose it is."""

    refusal: KitError
    status: int
    retry_after: str | None
    server: str


def _with_more(error: KitError, more: str) -> KitError:
    if not isinstance(error, RegistryError):
        return error
    return RegistryError(
        error.message + more, status=error.status, codes=error.codes, request=error.request, hint=error.hint
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
