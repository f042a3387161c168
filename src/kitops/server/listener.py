"""The listening socket, a thread a connection, and their end."""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING

from kitops.server.conversation import Conversation

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from kitops.server.access import Access
    from kitops.server.endpoints import Endpoints

_GRACE_SECONDS = 2.0


class OpenAccess:
    """Everybody may do everything."""

    def challenge(self, authorization: str | None, scope: str) -> str | None:  # noqa: ARG002
        """Nothing has to be answered."""
        return None


class Listener(ThreadingHTTPServer):
    """Accepts connections and gives each a :class:`Conversation` in a thread."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        endpoints: Endpoints,
        access: Access,
        context: ssl.SSLContext | None,
        on_request: Callable[[str, str, int], None],
    ) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.endpoints = endpoints
        self.access = access
        self.told = on_request
        self.is_stopping = False
        self._context = context
        self._conversations: set[Conversation] = set()
        self._lock = threading.Lock()
        super().__init__(address, Conversation)

    def server_bind(self) -> None:
        # without the base class's look-up of our own name, which may ask a name server
        socket_server_bind(self)

    def get_request(self) -> tuple[socket.socket, object]:
        sock, address = super().get_request()
        if self._context is None:
            return sock, address
        try:
            # no I/O here: the handshake is the conversation's, so that a slow one keeps nobody waiting
            return self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), address
        except (OSError, ValueError) as error:
            sock.close()
            raise OSError(str(error)) from error

    def began(self, conversation: Conversation) -> None:
        """Know a conversation, to end it."""
        with self._lock:
            self._conversations.add(conversation)

    def ended(self, conversation: Conversation) -> None:
        """Forget it."""
        with self._lock:
            self._conversations.discard(conversation)

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that broke is nothing to tell; anything else is a defect and comes up as one."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def end(self) -> None:
        """Accept no more, let what is running finish for two seconds, then break it off; every thread is joined."""
        self.is_stopping = True
        self.shutdown()
        deadline = time.monotonic() + _GRACE_SECONDS
        while running := self._running():
            late = time.monotonic() > deadline
            for conversation in running:
                if conversation.is_idle or late:
                    with suppress(OSError):
                        socket.socket.shutdown(conversation.connection, socket.SHUT_RDWR)
            time.sleep(0.01)
        self.server_close()

    def _running(self) -> list[Conversation]:
        with self._lock:
            return list(self._conversations)


def socket_server_bind(listener: Listener) -> None:
    """Bind as ``socketserver.TCPServer`` does, and name the server by its address."""
    listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.socket.bind(listener.server_address)
    listener.server_address = listener.socket.getsockname()
    listener.server_name, listener.server_port = str(listener.server_address[0]), int(listener.server_address[1])
