"""One connection: requests in, replies out, until the other side hangs up or the server stops."""

from __future__ import annotations

import errno
import socket
import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Final

from kitops.errors import KitError
from kitops.server.answers import RefusedError, Reply
from kitops.server.body import BrokenBodyError, drain
from kitops.server.call import parse_call
from kitops.server.wire import BLOCK, BadRequestError, Request, Wire

if TYPE_CHECKING:
    from typing import BinaryIO

    from kitops.server.listener import Listener

_LINGER_SECONDS: Final = 1.0
_FRESH_SECONDS: Final = 1.0
"""In which the first request of a new connection is surely on its way."""
_DRAINED: Final = 1024 * 1024
_LINGERED: Final = 256 * 1024 * 1024
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Conversation:
    """Talks with one client, in a thread of its own.

    Args:
        sock: the accepted connection; closed at the end.
        listener: who accepted it.
    """

    def __init__(self, sock: socket.socket, listener: Listener) -> None:
        self._sock = sock
        self._listener = listener
        self.idle_since: float | None = time.monotonic() + _FRESH_SECONDS
        """From when on it waits in vain for the head of a request (it may be in the future); None while it answers."""

    def run(self) -> None:
        """Talk until it is over. A connection that broke, or was cut, is nothing to tell."""
        try:
            with suppress(OSError):
                self._secure()
                self._talk(Wire(self._sock, self._listener.patience))
        finally:
            _let_read(self._sock)
            self._sock.close()

    def cut(self) -> None:
        """Break it off, from another thread: what it reads or writes ends at once."""
        with suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def _secure(self) -> None:
        """TLS, where it is spoken. The handshake is ours, so that a slow one keeps nobody else waiting."""
        context = self._listener.context
        if context is not None:
            secured = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
            self._sock = secured
            secured.settimeout(self._listener.patience.handshake_seconds)
            secured.do_handshake()

    def _talk(self, wire: Wire) -> None:
        while not self._listener.is_stopping and wire.wait():
            try:
                request = wire.read_request()
                self.idle_since = None  # only now: else heads that never end would take all the room
                if request is None or not self._converse(wire, request):
                    return
            except BadRequestError as error:
                reply = RefusedError(error.status, "UNSUPPORTED", f"not a valid request: {error}").reply()
                wire.send_reply(reply, closes=True)
                return
            finally:
                self.idle_since = time.monotonic()

    def _converse(self, wire: Wire, request: Request) -> bool:
        """Answer one request; whether another may follow."""
        try:
            reply = self._answer(request)
        except BrokenBodyError:  # it broke off in the middle: nobody is there to be answered
            self._listener.told(request.method, request.target, 0)
            return False
        self._listener.told(request.method, request.target, reply.status)  # before the client knows it
        with suppress(BrokenBodyError):
            return self._send(wire, request, reply)
        return False

    def _answer(self, request: Request) -> Reply:
        try:
            return self._listener.endpoints.answer(parse_call(request, self._listener.access))
        except RefusedError as refused:
            return refused.reply()
        except OSError as error:
            return _explain(error).reply()
        except KitError as error:
            cause = error.__cause__
            known = _explain(cause) if isinstance(cause, OSError) else RefusedError(500, "UNKNOWN", error.message)
            return known.reply()

    def _send(self, wire: Wire, request: Request, reply: Reply) -> bool:
        body = request.body
        with reply.file or nullcontext():
            if not wire.is_awaited and (body.size or 0) <= _DRAINED:
                drain(body, _DRAINED)  # so that the connection can go on
            closes = not (request.keeps_alive and body.is_ended) or self._listener.is_stopping
            has_body = request.method != "HEAD"
            unread = not (body.is_ended or wire.is_awaited)
            wire.send_reply(reply, closes=closes, has_body=has_body)
            if reply.file is not None and has_body and not _send_file(wire, reply.file, reply):
                return False
        if unread:
            drain(body, _LINGERED)  # closing on unread bytes would reset the connection before the reply was read
        return not closes


def _send_file(wire: Wire, file: BinaryIO, reply: Reply) -> bool:
    buffer = wire.buffer
    left = reply.size
    file.seek(reply.start)
    while left:
        count = file.readinto(buffer[: min(left, BLOCK)])  # type: ignore[attr-defined]  # unbuffered: it has it
        if not count:
            return False
        wire.send(buffer[:count])
        left -= count
    return True


def _explain(error: OSError) -> RefusedError:
    what = error.strerror or type(error).__name__
    if error.errno in _FULL:
        return RefusedError(507, "UNKNOWN", f"the server's disk is full: {what}")
    return RefusedError(500, "UNKNOWN", f"the server cannot do that: {what}")


def _let_read(sock: socket.socket) -> None:
    """Give the other side time to read what was said last: closing on bytes that it sent already resets the connection.

    For TLS too: an alert is lost otherwise.
    """
    # the base class's methods: there is no TLS on it
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_WR)
        deadline = time.monotonic() + _LINGER_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)
            if not socket.socket.recv(sock, BLOCK):
                return
