"""Answers that never end: a byte now and then would keep a timeout for each read waiting for ever.

An answer's bytes pass through here on their way from the socket. Once it began, the time that is spent waiting for it
is taken from what is allowed for one read, and comes back with the bytes, a second for each KiB. Its head has an end.
"""

from __future__ import annotations

import io
import time
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    import socket

SLOWEST: Final = 1024
"""Bytes a second."""
MAX_HEAD: Final = 1024 * 1024


class EndlessHeadError(HTTPException):
    """Status lines and headers go on and on."""


class PatientResponse(HTTPResponse):
    """An answer that must get on. A subclass says how long one read may take, in seconds."""

    seconds: ClassVar[float] = 60.0

    def __init__(self, sock: socket.socket, *args: Any, **values: Any) -> None:
        super().__init__(sock, *args, **values)
        self._tap = _Tap(sock, self.fp.detach(), self.seconds)
        self.fp = io.BufferedReader(self._tap)

    def begin(self) -> None:
        super().begin()
        self._tap.is_head = False


class _Tap(io.RawIOBase):
    """Reads a socket; ``opened`` is what its ``makefile`` counts as open."""

    def __init__(self, sock: socket.socket, opened: io.RawIOBase, seconds: float) -> None:
        self.is_head = True
        self._receive = sock.recv_into
        self._opened = opened
        self._most = self._rest = seconds
        self._head = 0
        self._began = False

    def readinto(self, buffer: Any, /) -> int:
        started = time.monotonic()
        count = self._receive(buffer)
        if self._began:
            self._rest -= time.monotonic() - started
        self._began = True  # how long an answer may take to begin is the socket's timeout, another for each request
        self._rest = min(self._rest + count / SLOWEST, self._most)
        if self._rest < 0:
            raise TimeoutError("the answer trickles")
        if self.is_head:
            self._head += count
            if self._head > MAX_HEAD:
                raise EndlessHeadError
        return count

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        super().close()
        self._opened.close()
