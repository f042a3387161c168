"""One HTTP exchange at a time, over pooled connections: no redirects, no retries, no authentication.

This is the only module that knows urllib3.
"""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import contextmanager
from http.client import HTTPException
from http.client import HTTPResponse as RawResponse
from typing import TYPE_CHECKING, ClassVar, Protocol
from urllib.parse import unquote, urlsplit

from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

from kitops.errors import NetworkError, RegistryError
from kitops.registry.auth import basic_header
from kitops.registry.credentials import Credential
from kitops.registry.dial import Line, shut_down
from kitops.registry.headers import parse_length
from kitops.registry.link_errors import explain
from kitops.registry.network import Network
from kitops.registry.tls import build_context
from kitops.registry.trickle import PatientResponse
from kitops.registry.urls import origin, safe_url

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from kitops.content.cancel import CancelToken

__all__ = ["BLOCK", "Answer", "Body", "Network", "Transport"]

BLOCK = 256 * 1024


class Body(Protocol):
    """What a request sends, with its length known before."""

    size: int

    def __iter__(self) -> Iterator[memoryview]: ...


class Answer:
    """Status, headers and body of an answer; a context manager that gives its connection back.

    ``readinto`` reads the raw body: no decoding, and NetworkError when it ends before the announced length.
    """

    def __init__(self, response: BaseHTTPResponse, method: str, url: str, cancel: CancelToken) -> None:
        self.status = response.status
        self.method = method
        self.url = url
        self._response = response
        self._cancel = cancel
        raw = getattr(response, "_fp", None)
        # http.client's own readinto copies each byte once less than urllib3's
        self._raw = raw if isinstance(raw, RawResponse) else None
        self.size = _content_length(response, method)
        self._count = 0
        self._ended = False
        self.on_break: Callable[[], None] | None = None
        """Called when the body breaks off."""

    def header(self, key: str) -> str | None:
        """The value of a header, several joined by commas, or None."""
        return self._response.headers.get(key)

    def headers(self, key: str) -> list[str]:
        """The values of a header, each as it came."""
        return list(self._response.headers.getlist(key))

    def readinto(self, buffer: memoryview, /) -> int:
        self._cancel.check()
        try:
            count = (self._raw or self._response).readinto(buffer)
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            self._cancel.check()
            raise self._broken(explain(error, f"reading {safe_url(self.url)}")) from error
        self._cancel.check()
        if count:
            self._count += count
            return count
        if self.size is not None and self._count < self.size:
            raise self._broken(
                NetworkError(
                    f"reading {safe_url(self.url)}: the connection ended after {self._count} of {self.size} bytes"
                )
            )
        self._ended = True
        return 0

    def _broken(self, error: NetworkError) -> NetworkError:
        if self.on_break is not None:
            self.on_break()
        return error

    def read(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            RegistryError: it has more than ``limit`` bytes.
        """
        found = bytearray()
        buffer = memoryview(bytearray(min(BLOCK, limit + 1)))
        while count := self.readinto(buffer):
            found += buffer[:count]
            if len(found) > limit:
                raise RegistryError(f"reading {safe_url(self.url)}: the answer has more than {limit} bytes")
        return bytes(found)

    def read_some(self, limit: int) -> bytes:
        """The first ``limit`` bytes of the body, or what can be had of them."""
        found = bytearray(limit)
        view = memoryview(found)
        count = 0
        try:
            while count < limit and (more := self.readinto(view[count:])):
                count += more
        except NetworkError:
            pass
        return bytes(view[:count])

    def give_up(self) -> None:
        """As :meth:`abort`, because nothing comes: that counts as a break at once, before whoever reads has woken."""
        if self.on_break is not None:
            self.on_break()
        self.abort()

    def abort(self) -> None:
        """Break the connection: whoever reads from it in another thread wakes with NetworkError. Never raises."""
        if (sock := _socket_of(self._response)) is not None:
            shut_down(sock)

    def close(self) -> None:
        """Give the connection back if the body was read, else close it. May be called twice."""
        if not self._ended and self.method != "HEAD" and self._count != self.size:
            self._response.close()
        elif self._raw is not None:
            self._raw.close()
        self._response.release_conn()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Transport:
    """The connections of one run under one :class:`Network`. Thread-safe.

    Args:
        network: how hosts are reached.
        cancel: asked to end, it breaks every connection.
        connections: idle connections that are kept for each host.
    """

    def __init__(self, network: Network, cancel: CancelToken, connections: int) -> None:
        self._network = network
        self._cancel = cancel
        self._connections = connections
        self._line = Line(cancel, network.patience.connect)
        self._pools: dict[str | None, PoolManager] = {}
        self._context: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        self._closing = cancel.closing(self._line.hang_up)
        self._closing.__enter__()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | Body | None = None,
        read_seconds: float | None = None,
    ) -> Answer:
        """One request and the head of its answer.

        Args:
            method: the HTTP method.
            url: absolute.
            headers: all but ``Host``, ``User-Agent``, ``Accept-Encoding`` and ``Content-Length``.
            body: what is sent.
            read_seconds: how long the answer may take to begin; the network's read timeout when None.

        Raises:
            NetworkError: no answer came.
            Cancelled: the end was asked for.
        """
        self._cancel.check()
        patience = self._network.patience
        own = {"User-Agent": self._network.user_agent, "Accept-Encoding": "identity", **headers}
        if body is not None or method in ("POST", "PUT", "PATCH"):
            own["Content-Length"] = str(0 if body is None else len(body) if isinstance(body, bytes) else body.size)
        try:
            with _quiet():
                response = self._pool(url).urlopen(
                    method,
                    url,
                    body=body,  # an iterable of buffers, which http.client takes
                    headers=own,
                    timeout=Timeout(connect=patience.read, read=read_seconds or patience.read),
                    retries=False,
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                )
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            self._cancel.check()
            raise explain(error, f"{method} {safe_url(url)}") from error
        if read_seconds is not None and (sock := _socket_of(response)) is not None:
            sock.settimeout(patience.read)  # it has begun
        return Answer(response, method, url, self._cancel)

    def close(self) -> None:
        """Close every connection."""
        self._closing.__exit__(None, None, None)
        with self._lock:
            managers, self._pools = list(self._pools.values()), {}
        for manager in managers:
            for key in manager.pools.keys():  # noqa: SIM118 - it cannot be iterated
                if (pool := manager.pools.get(key)) is not None:
                    pool.close()  # else whoever holds an error of it holds its connections too
            manager.clear()

    def _pool(self, url: str) -> PoolManager:
        scheme, host, port = origin(url)
        proxy = self._network.proxy_for(scheme, host, port)
        with self._lock:
            if self._context is None and (scheme == "https" or (proxy or "").startswith("https:")):
                self._context = build_context(self._network)
                self._pools.clear()  # made without a context; their open connections close when they are given back
            pool = self._pools.get(proxy)
            if pool is None:
                pool = self._pools[proxy] = self._open_pool(proxy)
            return pool

    def _open_pool(self, proxy: str | None) -> PoolManager:
        pool: PoolManager
        if proxy is None:
            pool = PoolManager(
                num_pools=32, maxsize=self._connections, block=False, blocksize=BLOCK, ssl_context=self._context
            )
        else:
            pool = ProxyManager(
                _without_user(proxy),
                num_pools=32,
                maxsize=self._connections,
                blocksize=BLOCK,
                ssl_context=self._context,
                proxy_ssl_context=self._context,
                proxy_headers=_proxy_headers(proxy),
            )
        pool.pool_classes_by_scheme = _pool_classes(self._line, self._network.patience.read)
        return pool


class _Talk(threading.local):
    """Whether this thread's requests are none of urllib3's log's business: URLs may be signed."""

    is_ours = False

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - all of them name the URL, or nobody needs them
        return not self.is_ours


_TALK = _Talk()
for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_TALK.filter)


@contextmanager
def _quiet() -> Iterator[None]:
    _TALK.is_ours = True
    try:
        yield
    finally:
        _TALK.is_ours = False


def _pool_classes(line: Line, read_seconds: float) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's pools, with connections that are opened and watched by ``line``, and answers that must get on."""

    class Response(PatientResponse):
        seconds = read_seconds

    class PlainConnection(_Watched, HTTPConnection):
        response_class = Response

    class SecureConnection(_Watched, HTTPSConnection):
        response_class = Response

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

        def _validate_conn(self, conn: HTTPConnection) -> None:  # type: ignore[override]
            if conn.is_closed:  # urllib3's own also warns of certificates that were left unchecked on demand
                conn.connect()

    PlainConnection.line = line
    SecureConnection.line = line
    return {"http": PlainPool, "https": SecurePool}


class _Watched(HTTPConnection):
    line: ClassVar[Line]

    _spare: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        sock = self.line.connect(self._dns_host, self.port, self.socket_options or ())
        # TLS takes the descriptor away from this object: a second one can end the connection during its handshake
        self._spare = sock.dup()
        self.line.watch(self._spare)
        return sock

    def connect(self) -> None:
        try:
            super().connect()
            self.sock.settimeout(self.timeout)
        except BaseException:
            self._drop_spare()
            raise
        if isinstance(self.sock, socket.socket):  # else TLS within a proxy's TLS: the spare goes on watching
            self.line.watch(self.sock)
            self._drop_spare()

    def close(self) -> None:
        super().close()
        self._drop_spare()

    def _drop_spare(self) -> None:
        if self._spare is not None:
            self._spare.close()
            self._spare = None


def _socket_of(response: BaseHTTPResponse) -> socket.socket | None:
    sock = getattr(getattr(response, "connection", None), "sock", None)
    return sock if isinstance(sock, socket.socket) else None


def _content_length(response: BaseHTTPResponse, method: str) -> int | None:
    if method == "HEAD" or response.status in (204, 304):
        return 0
    if response.headers.get("Transfer-Encoding"):
        return None
    return parse_length(response.headers.get("Content-Length"))


def _without_user(proxy: str) -> str:
    return parse_url(proxy)._replace(auth=None).url


def _proxy_headers(proxy: str) -> dict[str, str]:
    auth = parse_url(proxy).auth
    if auth is None:
        return {}
    parts = urlsplit(proxy)
    user, password = (unquote(text or "", errors="surrogateescape") for text in (parts.username, parts.password))
    return {"proxy-authorization": basic_header(Credential(user, password))}
