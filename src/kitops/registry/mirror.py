"""Mirrors of registries: hosts nearby that have the same content, or fetch it when told whose it is (``ns=``).

Content that is asked for by digest comes from a mirror where one has it, because the digest decides whether it is
right; wrong bytes, breaks and refusals lead back to the registry, with one warning a mirror. What a tag points to is
the registry's own word: a mirror is asked only when the registry is out of reach, or first where it is trusted with
tags. Each mirror has credentials of its own. Writing never sees a mirror.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kitops.content.events import Message
from kitops.errors import InvalidValueError, KitError, NetworkError, NotFoundError, RegistryError
from kitops.registry.auth import Scopes
from kitops.registry.session import Request, Session
from kitops.registry.urls import add_query, is_docker_hub, origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kitops.content.protocols import Run
    from kitops.oci.digest import Digest
    from kitops.registry.credentials import FindsCredential
    from kitops.registry.memory import Memory
    from kitops.registry.network import Network
    from kitops.registry.transport import Answer

_CONTENT: Final = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>blobs|manifests)/(?P<pointer>[^/?]+)")
_PREFIX: Final = re.compile(r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)*", re.ASCII)
_EVERY: Final = "*"
_CONNECT_SECONDS: Final = 5.0
_HEAD_SECONDS: Final = 5.0
"""How long an answer may take to begin."""
_ATTEMPTS: Final = 2
_LONGEST_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """One mirror.

    Args:
        registry: whose content it has, as references name it; ``*`` stands for every registry.
        host: where it is, with its port.
        prefix: what stands before the repository there (``hub-cache``); may be empty.
        plain_http: whether it is reached without TLS.
        tags: whether it is asked first what a tag points to, and believed.
    """

    registry: str
    host: str
    prefix: str = ""
    plain_http: bool = False
    tags: bool = False

    def __str__(self) -> str:
        return f"{self.host}/{self.prefix}" if self.prefix else self.host

    @classmethod
    def parse(cls, registry: str, url: str, *, tags: bool = False) -> Mirror:
        """Read ``https://host[:port][/prefix]``; without a scheme it is ``https``.

        Raises:
            InvalidValueError: it is not such a URL.
        """
        full = url if "://" in url else f"https://{url}"
        try:
            scheme, _, _ = origin(full)
            parts = urlsplit(full)
        except ValueError as error:
            raise InvalidValueError(f"mirror {_shown(url)} of {registry!r} is not an http URL", hint=_HINT) from error
        path = parts.path.rstrip("/")
        if "@" in parts.netloc or parts.query or parts.fragment or not _PREFIX.fullmatch(path) or not registry:
            raise InvalidValueError(f"mirror {_shown(url)} of {registry!r} is more than a host and a path", hint=_HINT)
        return cls(
            registry=registry,
            host=parts.netloc.lower(),
            prefix=path.removeprefix("/"),
            plain_http=scheme == "http",
            tags=tags,
        )

    def place(self, repository: str) -> str:
        """The name that ``repository`` has here."""
        return f"{self.prefix}/{repository}" if self.prefix else repository

    def serves(self, registry: str) -> bool:
        """Whether this is a mirror of ``registry``, and not the registry itself."""
        if registry == self.host:
            return False
        if is_docker_hub(registry):
            return self.registry == _EVERY or is_docker_hub(self.registry)
        return self.registry in (_EVERY, registry)


_HINT: Final = "a mirror looks like docker.io=https://mirror.example.com/hub-cache"


def _shown(url: str) -> str:
    """A URL that is refused, for people: without a user and a password, wherever they end."""
    return repr(url.rpartition("@")[2])


def parse_mirrors(text: str) -> tuple[Mirror, ...]:
    """Read ``REGISTRY=URL`` pairs, comma separated (``$KITOPS_MIRRORS``), in the order in which they are asked.

    Raises:
        InvalidValueError: it is something else.
    """
    found = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        registry, sign, url = entry.partition("=")
        if not sign:
            raise InvalidValueError(f"mirror {_shown(entry)} names no registry", hint=_HINT)
        found.append(Mirror.parse(registry.strip(), url.strip()))
    return tuple(found)


def read_mirror_tables(tables: object) -> tuple[Mirror, ...]:
    """The mirrors in the ``[[mirror]]`` tables of the settings: ``registry``, ``url``, and ``tags`` where wanted.

    Raises:
        InvalidValueError: a table is something else.
    """
    if not isinstance(tables, list):
        raise InvalidValueError("mirrors are written as [[mirror]] tables")
    found = []
    for table in tables:
        if not isinstance(table, dict) or table.keys() - {"registry", "url", "tags"}:
            raise InvalidValueError("a [[mirror]] has registry, url and tags, and nothing else")
        registry, url, tags = table.get("registry"), table.get("url"), table.get("tags", False)
        if not isinstance(registry, str) or not isinstance(url, str) or not isinstance(tags, bool):
            raise InvalidValueError("a [[mirror]] has registry and url as text, and tags as true or false")
        found.append(Mirror.parse(registry, url, tags=tags))
    return tuple(found)


class MirroredSession(Session):
    """A registry that is read from, with the mirrors that are asked before it. Thread-safe.

    Args:
        registry: host and port as references have them.
        repository: for path-scoped credentials.
        network: how registry and mirrors are reached.
        credentials: of the registry and of the mirrors, each by its own host.
        run: told of warnings and waits.
        mirrors: those of this registry.
        memory: what the process remembers of registries.
    """

    def __init__(
        self,
        registry: str,
        repository: str,
        network: Network,
        credentials: FindsCredential,
        run: Run,
        *,
        mirrors: Sequence[Mirror],
        memory: Memory | None = None,
    ) -> None:
        super().__init__(registry, repository, network, credentials, run, memory=memory)
        self._mirrors = [
            _Peer(mirror, registry, _open(mirror, repository, network, credentials, run)) for mirror in mirrors
        ]
        self._givers: dict[str, list[_Peer]] = {}
        self._mirror_lock = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        for peer in self._mirrors:
            peer.session.close()
        super().close()

    def send(self, request: Request) -> Answer:
        """As :meth:`Session.send`, from a mirror where that will do.

        Raises:
            KitError: the registry's own refusal, when no mirror helps.
        """
        content = _CONTENT.fullmatch(request.target) if request.method in ("GET", "HEAD") else None
        if content is None:
            return super().send(request)
        by_digest = ":" in content["pointer"]
        first = [peer for peer in self._mirrors if by_digest or peer.mirror.tags]
        if (answer := self._ask(first, request, content)) is not None:
            return answer
        try:
            return super().send(request)
        except (NetworkError, RegistryError) as error:
            if by_digest or not _is_away(error):
                raise
            rest = [peer for peer in self._mirrors if not peer.mirror.tags]
            if (answer := self._ask(rest, request, content)) is None:
                raise
            said = f"{error.message}; a mirror says what {content['pointer']} points to"
            self.run.observer(Message("warning", said))
            return answer

    def doubt(self, digest: Digest) -> bool:
        """As :meth:`Session.doubt`: a mirror that gave it is not asked for it again."""
        givers = self._givers.get(str(digest), [])
        for peer in givers:
            peer.doubt(str(digest))
            self._tell_once(peer, f"sent other bytes than {digest}")
        return bool(givers)

    def _ask(self, peers: Iterable[_Peer], request: Request, content: re.Match[str]) -> Answer | None:
        pointer = content["pointer"]
        for peer in peers:
            if peer.is_off or pointer in peer.doubted:
                continue
            try:
                answer = peer.session.send(peer.translate(request, content))
            except KitError as error:
                peer.is_off |= not isinstance(error, NotFoundError)  # another thread may have found it off
                self._tell_once(peer, error.message)
            else:
                self._note(peer, pointer)
                answer.on_break = partial(self._break, peer, pointer)
                return answer
        return None

    def _note(self, peer: _Peer, pointer: str) -> None:
        with self._mirror_lock:
            givers = self._givers.setdefault(pointer, [])
            if peer not in givers:
                givers.append(peer)

    def _break(self, peer: _Peer, pointer: str) -> None:
        peer.doubt(pointer)
        self._tell_once(peer, f"broke off in the middle of {pointer}")

    def _tell_once(self, peer: _Peer, what: str) -> None:
        with self._mirror_lock:
            if peer.was_told:
                return
            peer.was_told = True
        self.run.observer(Message("warning", f"mirror {peer.mirror}: {what}; going on with {self.registry}"))


class _Peer:
    """One mirror during a run: its session, and what it is not asked for any more."""

    def __init__(self, mirror: Mirror, registry: str, session: Session) -> None:
        self.mirror = mirror
        self.session = session
        self.is_off = False
        self.was_told = False
        self.doubted: set[str] = set()
        self._registry = registry

    def doubt(self, pointer: str) -> None:
        """Ask it no more for this, and for nothing when it failed with other content, too."""
        self.doubted.add(pointer)
        self.is_off |= len(self.doubted) > 1

    def translate(self, request: Request, content: re.Match[str]) -> Request:
        """The request as this mirror wants it."""
        repository = self.mirror.place(content["repository"])
        target = f"/v2/{repository}/{content['kind']}/{content['pointer']}"
        return replace(
            request,
            target=add_query(target, "ns", self._registry),
            scopes=Scopes.parse(f"repository:{repository}:pull"),
            headers={**request.headers, "OCI-Namespace": self._registry},
            ok=[status for status in request.ok if status < 400],
            wait=min(self.session.patience.read, _HEAD_SECONDS),
        )


def _open(mirror: Mirror, repository: str, network: Network, credentials: FindsCredential, run: Run) -> Session:
    """A session with a mirror, which is given up sooner than a registry would be."""
    patience = replace(
        network.patience,
        attempts=min(network.patience.attempts, _ATTEMPTS),  # the second for a connection that lay idle too long
        first_attempts=1,
        connect=min(network.patience.connect, _CONNECT_SECONDS),
        longest_pause=min(network.patience.longest_pause, _LONGEST_PAUSE),
    )
    reached = replace(network, plain_http=mirror.plain_http, plain_hosts=(), patience=patience)
    return Session(mirror.host, mirror.place(repository), reached, credentials, run)


def mirrors_of(registry: str, mirrors: Iterable[Mirror]) -> list[Mirror]:
    """Those of ``mirrors`` that have the content of ``registry``, in their order."""
    return [mirror for mirror in mirrors if mirror.serves(registry)]


def _is_away(error: NetworkError | RegistryError) -> bool:
    return isinstance(error, NetworkError) or error.status >= 500 or error.status == 429
