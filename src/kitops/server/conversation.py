"""One connection: requests in, replies out, over the standard library's HTTP/1.1 parser."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from kitops.server.answers import RefusedError, Reply
from kitops.server.body import BadBodyError, RequestBody
from kitops.server.endpoints import parse_call

if TYPE_CHECKING:
    from pathlib import Path

    from kitops.server.listener import Listener

_BLOCK = 256 * 1024
_ALERT_SECONDS = 1.0
_DRAINED = 1024 * 1024
_LINGERED = 256 * 1024 * 1024


class Conversation(BaseHTTPRequestHandler):
    """Reads requests until the other side hangs up, or the server stops."""

    protocol_version = "HTTP/1.1"
    server_version = "kitops"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = 60  # seconds without a byte in either direction
    server: Listener
    is_idle = True

    def setup(self) -> None:
        super().setup()
        self.server.began(self)
        if isinstance(self.connection, ssl.SSLSocket):
            try:
                self.connection.do_handshake()
            except BaseException:
                self.finish()  # which the base class calls only after a set-up that succeeded
                _let_read(self.connection)
                raise

    def finish(self) -> None:
        self.server.ended(self)
        super().finish()

    def parse_request(self) -> bool:
        self.is_idle = False
        return super().parse_request()

    def _converse(self) -> None:
        status = 0
        try:
            body = RequestBody(self.rfile, self.headers)
        except BadBodyError:
            self._end_with(RefusedError(400, "UNSUPPORTED", "the request's framing is not valid"))
            return
        try:
            reply = self._answer(body)
            status = reply.status
            self._send(reply, body)
            body.drain(_LINGERED)  # closing on unread bytes would reset the connection before the reply was read
        except BadBodyError:
            self.close_connection = True  # it broke off in the middle: nobody is there to be answered
        finally:
            self.server.told(self.command, self.path, status)
            self.is_idle = True
            if self.server.is_stopping:
                self.close_connection = True

    # the base class's names
    do_GET = do_HEAD = do_DELETE = _converse  # noqa: N815
    do_POST = do_PUT = do_PATCH = _converse  # noqa: N815

    def _answer(self, body: RequestBody) -> Reply:
        try:
            call = parse_call(self.command, self.path, self.headers, body)  # type: ignore[arg-type]
            challenge = self.server.access.challenge(self.headers.get("Authorization"), call.scope)
            if challenge is not None:
                raise RefusedError(401, "UNAUTHORIZED", "who are you?", {"WWW-Authenticate": challenge})
            return self.server.endpoints.answer(call)
        except RefusedError as refused:
            return refused.reply()
        except OSError as error:
            return RefusedError(500, "UNKNOWN", f"the server cannot do that: {error.strerror}").reply()

    def _send(self, reply: Reply, body: RequestBody) -> None:
        if not body.is_ended:
            body.drain(_DRAINED)
            self.close_connection = self.close_connection or not body.is_ended
        length = reply.size if reply.path is not None else len(reply.body)
        self.send_response(reply.status)
        for key, value in reply.headers.items():
            self.send_header(key, value)
        if reply.status != 204:
            self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        if reply.path is None:
            self.wfile.write(reply.body)
        else:
            self._send_file(reply, reply.path)

    def _send_file(self, reply: Reply, path: Path) -> None:
        buffer = memoryview(bytearray(min(_BLOCK, max(reply.size, 1))))
        left = reply.size
        with open(path, "rb", buffering=0) as file:
            file.seek(reply.start)
            while left:
                count = file.readinto(buffer[: min(left, len(buffer))])
                if not count:
                    self.close_connection = True
                    return
                self.connection.sendall(buffer[:count])
                left -= count

    def _end_with(self, refused: RefusedError) -> None:
        reply = refused.reply()
        self.close_connection = True
        self.send_response(reply.status)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """The library is silent; ``RegistryServer(on_request=…)`` is told instead."""


def _let_read(connection: socket.socket) -> None:
    """Give the other side the time to read TLS's alert: closing on what it sent already would reset the connection."""
    # the base class's methods: there is no TLS on it
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_WR)
        connection.settimeout(_ALERT_SECONDS)
        while socket.socket.recv(connection, _BLOCK):
            pass
