"""Sockets that can be given up at once.

A name lookup cannot be interrupted and a blocked read only by shutting its socket down, so lookups run in a thread
of their own, connecting polls the cancel token, and every open socket is known to whoever cancels.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kitops.content.cancel import CancelToken

_SLICE = 0.05
_LOOKUP_SECONDS = 30.0
_PENDING = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, errno.EINTR})


class Line:
    """Opens connections and remembers them as long as they live."""

    def __init__(self, cancel: CancelToken, connect_seconds: float) -> None:
        self._cancel = cancel
        self._connect_seconds = connect_seconds
        self._live: set[weakref.ref[socket.socket]] = set()

    def connect(self, host: str, port: int, options: Iterable[tuple[int, int, int | bytes]]) -> socket.socket:
        """A connected socket that blocks up to the connect timeout.

        Raises:
            OSError: ``socket.gaierror`` where the name is not known, TimeoutError, or what connecting gave.
            Cancelled: the end was asked for.
        """
        last: OSError = OSError(errno.EADDRNOTAVAIL, "no address")
        for family, kind, protocol, _, address in self._look_up(host.strip("[]"), port):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in options:
                    sock.setsockopt(*option)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                self._reach(sock, address)
            except OSError as error:
                sock.close()
                last = error
            except BaseException:
                sock.close()
                raise
            else:
                sock.settimeout(self._connect_seconds)
                return sock
        raise last

    def watch(self, sock: socket.socket) -> None:
        """Shut ``sock`` down when :meth:`hang_up` is called, as long as it lives."""
        self._live.add(weakref.ref(sock, self._live.discard))

    def hang_up(self) -> None:
        """Wake everything that is blocked on a socket. May be called from a signal handler and any thread."""
        for found in tuple(self._live):
            sock = found()
            if sock is not None:
                shut_down(sock)

    def _reach(self, sock: socket.socket, address: tuple[object, ...]) -> None:
        sock.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        code = sock.connect_ex(address)
        deadline = time.monotonic() + self._connect_seconds
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        while code in _PENDING:
            self._cancel.check()
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            if poll.poll(_SLICE * 1000):
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                break
        if code:
            raise OSError(code, os.strerror(code))

    def _look_up(self, host: str, port: int) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
        found: list[list[tuple[int, int, int, str, tuple[object, ...]]] | OSError] = []

        def ask() -> None:
            try:
                found.append(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
            except (OSError, UnicodeError) as error:
                found.append(error if isinstance(error, OSError) else socket.gaierror(socket.EAI_NONAME, str(error)))

        thread = threading.Thread(target=ask, name=f"look up {host}", daemon=True)
        thread.start()
        deadline = time.monotonic() + _LOOKUP_SECONDS
        while thread.is_alive():
            thread.join(_SLICE)
            self._cancel.check()
            if time.monotonic() > deadline:
                raise socket.gaierror(socket.EAI_AGAIN, "no answer from the name servers")
        if isinstance(found[0], OSError):
            raise found[0]
        return found[0]


def shut_down(sock: socket.socket) -> None:
    """End both directions, so that whoever is blocked on it wakes; never raises."""
    with suppress(OSError):
        # the base class's: the TLS subclass would also drop its session, and a reader in another thread get ciphertext
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
