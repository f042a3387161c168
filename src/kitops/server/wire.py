"""One connection as HTTP/1.1: heads are parsed and framed by h11, large bodies go past it to the socket.

h11 is strict where a server has to be (request lines, header names and values, conflicting lengths, chunks, the size of
a head) and does no I/O, so deadlines are ours:

- A connection that says nothing is closed after ``idle_seconds``.
- A head that began has to be whole within ``head_seconds``, however steadily its bytes drip.
- A body has to come at ``slowest`` bytes a second on average, after a credit of ``idle_seconds``.
- A block of an answer (256 KiB) has to be taken within ``idle_seconds``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import h11

from kitops.server.body import Body, BrokenBodyError, ChunkedBody, MeasuredBody

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from kitops.server.answers import Reply

BLOCK: Final = 256 * 1024
_MAX_HEAD: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server waits for its clients.

    Args:
        idle_seconds: without a byte in either direction.
        head_seconds: from the first byte of a request's head to its last.
        handshake_seconds: for all of TLS's.
        slowest: bytes a second at which a body has to come on average.
    """

    idle_seconds: float = 60.0
    head_seconds: float = 20.0
    handshake_seconds: float = 10.0
    slowest: int = 1024


class BadRequestError(Exception):
    """What came is no request that can be trusted.

    Args:
        status: the HTTP status to answer with.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """A head, and a body that is still to be read. Header names are in lower case, repeated ones joined by commas."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: Body
    keeps_alive: bool


class Wire:
    """Reads requests and writes answers, one after the other. For one thread.

    Args:
        sock: connected, blocking; closed by the caller.
        patience: how long to wait.
    """

    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        self._sock = sock
        self._patience = patience
        self._early = b""
        self._parser = _new_parser()
        self._began = 0.0
        self._received = 0
        self._buffer: memoryview | None = None

    @property
    def buffer(self) -> memoryview:
        """A block for whoever moves bytes over this connection."""
        if self._buffer is None:
            self._buffer = memoryview(bytearray(BLOCK))
        return self._buffer

    def wait(self) -> bool:
        """Wait until the next request begins; whether one did."""
        if not self._early:
            self._sock.settimeout(self._patience.idle_seconds)
            self._early = self._sock.recv(_MAX_HEAD)
        return bool(self._early)

    def read_request(self) -> Request | None:
        """The request that began; None when the other side hung up.

        Raises:
            BadRequestError: it is none. The connection is of no more use.
            TimeoutError: its head did not come in time.
        """
        self._parser = _new_parser()
        self._began, self._received = time.monotonic(), 0
        try:
            self._parser.receive_data(self._early)
            while (event := self._parser.next_event()) is h11.NEED_DATA:
                left = self._began + self._patience.head_seconds - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the head of a request came too slowly")
                self._sock.settimeout(left)
                self._parser.receive_data(self._sock.recv(_MAX_HEAD))
            return self._open(event) if isinstance(event, h11.Request) else None
        except h11.RemoteProtocolError as error:
            raise BadRequestError(error.error_status_hint, str(error)) from error

    def _open(self, event: h11.Request) -> Request:
        headers: dict[str, str] = {}
        for raw_name, raw_value in event.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if "transfer-encoding" in headers and "content-length" in headers:
            raise BadRequestError(400, "both Transfer-Encoding and Content-Length")
        options = {option.strip().lower() for option in headers.get("connection", "").split(",")}
        keeps_alive = event.http_version == b"1.1" and "close" not in options
        return Request(
            event.method.decode("ascii"), event.target.decode("ascii"), headers, self._body(headers), keeps_alive
        )

    def _body(self, headers: Mapping[str, str]) -> Body:
        if "transfer-encoding" in headers:
            return ChunkedBody(self)
        size = int(headers.get("content-length", "0"))
        early, _ = self._parser.trailing_data
        self._early = early[size:]
        return MeasuredBody(self, size, early[:size])

    # --- the body, for whom it was made

    @property
    def is_awaited(self) -> bool:
        """Whether the client waits for a word before it sends its body (``Expect: 100-continue``)."""
        return self._parser.they_are_waiting_for_100_continue

    def let_send(self) -> None:
        """Say that word if it is waited for."""
        if self.is_awaited:
            event = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self.send(self._parser.send(event) or b"")

    def receive_into(self, room: memoryview) -> int:
        """Some bytes of the body; 0 when the other side hung up.

        Raises:
            BrokenBodyError: it comes too slowly, or the connection broke.
        """
        patience = self._patience
        left = self._began + patience.idle_seconds + self._received / patience.slowest - time.monotonic()
        if left <= 0:
            raise BrokenBodyError("the body came too slowly")
        try:
            self._sock.settimeout(min(left, patience.idle_seconds))
            count = self._sock.recv_into(room)
        except OSError as error:
            raise BrokenBodyError(str(error)) from error
        self._received += count
        return count

    def next_data(self) -> bytes | None:
        """The next bytes of a body in chunks, None at its end.

        Raises:
            BrokenBodyError: its framing is wrong, or it ended early.
        """
        try:
            while True:
                event = self._parser.next_event()
                if event is h11.NEED_DATA:
                    room = self.buffer
                    self._parser.receive_data(bytes(room[: self.receive_into(room)]))
                elif isinstance(event, h11.Data):
                    return bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self._early, _ = self._parser.trailing_data
                    return None
                else:
                    raise BrokenBodyError("the connection was closed")
        except h11.RemoteProtocolError as error:
            raise BrokenBodyError(str(error)) from error

    # --- the answer

    def send_reply(self, reply: Reply, *, closes: bool, has_body: bool = True) -> None:
        """Send status, headers and a body that is in memory; after :class:`BadRequestError` too.

        Raises:
            OSError: the other side is gone, or takes nothing.
        """
        headers = [
            *reply.headers,
            ("Docker-Distribution-API-Version", "registry/2.0"),
            ("Server", "kitops"),
            ("Date", formatdate(usegmt=True)),
        ]
        if reply.status != 204:
            headers.append(("Content-Length", str(reply.length)))
        if closes:
            headers.append(("Connection", "close"))
        reason = HTTPStatus(reply.status).phrase.encode()
        head = self._parser.send(h11.Response(status_code=reply.status, headers=headers, reason=reason)) or b""
        self.send(head + reply.body if has_body else head)

    def send(self, data: bytes | memoryview) -> None:
        """Send all of ``data``, a block at most.

        Raises:
            OSError: the other side is gone, or did not take it in time.
        """
        self._sock.settimeout(self._patience.idle_seconds)
        self._sock.sendall(data)


def _new_parser() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
