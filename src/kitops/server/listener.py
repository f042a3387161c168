"""The listening socket, a thread a connection, and their end.

There is room for so many connections. When it is full, the one that has been idle longest makes room; while none is
idle, who comes next waits in the system's queue.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from kitops.server.conversation import Conversation

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from kitops.server.endpoints import Endpoints
    from kitops.server.options import ServerOptions

_BACKLOG: Final = 512
_MOST_PORT: Final = 65535
_STEP: Final = 0.05
_SPARE_DESCRIPTORS: Final = 64


class Listener:
    """Accepts connections and gives each a :class:`Conversation` in a thread.

    Args:
        options: where to listen, who may come, how long to wait for them.
        endpoints: answer requests.
        context: for TLS; None speaks plain HTTP.
        told: method, target and status of every request.

    Raises:
        OSError, OverflowError: the address cannot be listened on.
    """

    def __init__(
        self,
        options: ServerOptions,
        endpoints: Endpoints,
        context: ssl.SSLContext | None,
        told: Callable[[str, str, int], None],
    ) -> None:
        self.endpoints = endpoints
        self.access = options.access
        self.patience = options.patience
        self.context = context
        self.told = told
        self.is_stopping = False
        self._conversations: dict[Conversation, threading.Thread] = {}
        self._lock = threading.Lock()
        self._most = _room(options.most_connections)
        if not 0 <= options.port <= _MOST_PORT:
            raise OverflowError(f"{options.port} is not a port")
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        self._socket = socket.create_server((options.host, options.port), family=family, backlog=_BACKLOG)
        self._socket.settimeout(0.5)
        name = self._socket.getsockname()
        self.host, self.port = str(name[0]), int(name[1])
        self._acceptor = threading.Thread(target=self._accept, name="registry server", daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while not self.is_stopping:
            if not self._has_room():
                time.sleep(_STEP)
                continue
            try:
                sock, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:  # no descriptor left, or the client was gone before it was accepted; or our end
                time.sleep(_STEP)
                continue
            self._begin(sock)

    def stop(self, grace_seconds: float) -> None:
        """Accept no more, let what is running finish, then break it off; every thread is joined."""
        self.is_stopping = True
        with suppress(OSError):  # wakes the acceptor; where it does not, its time-out does
            self._socket.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._socket.close()
        deadline = time.monotonic() + grace_seconds
        threads = list(self._running().values())
        while running := self._running():
            late = time.monotonic() > deadline
            for conversation in running:
                if late or conversation.idle_since is not None:
                    conversation.cut()
            time.sleep(_STEP / 5)
        for thread in threads:
            thread.join()

    def _begin(self, sock: socket.socket) -> None:
        with suppress(OSError):  # macOS refuses it where the client is gone already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # so that a client that vanished is noticed
        conversation = Conversation(sock, self)
        thread = threading.Thread(target=self._run, args=(conversation,), name="registry client", daemon=True)
        with self._lock:
            self._conversations[conversation] = thread
        try:
            thread.start()
        except RuntimeError:  # no thread left
            self._forget(conversation)
            sock.close()

    def _run(self, conversation: Conversation) -> None:
        try:
            conversation.run()
        finally:
            self._forget(conversation)

    def _forget(self, conversation: Conversation) -> None:
        with self._lock:
            self._conversations.pop(conversation, None)

    def _running(self) -> dict[Conversation, threading.Thread]:
        with self._lock:
            return dict(self._conversations)

    def _has_room(self) -> bool:
        if len(self._conversations) < self._most:
            return True
        before = time.monotonic()
        idle = [(since, each) for each in self._running() if (since := each.idle_since) is not None and since < before]
        if idle:
            min(idle, key=lambda pair: pair[0])[1].cut()
        return False


def _room(most: int) -> int:
    """How many connections there is room for, ``most`` at most: each takes two descriptors."""
    if sys.platform == "win32":
        return most
    import resource  # noqa: PLC0415 - not on Windows

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return most
    return min(most, max(8, (limit - _SPARE_DESCRIPTORS) // 2))
