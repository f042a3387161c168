"""A web server on loopback that answers as a test scripts it, over real sockets."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(frozen=True)
class Seen:
    """A request as it came; ``body`` only when the script is a plain function."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False, default=b"")


@dataclass(frozen=True)
class Said:
    """An answer. ``body`` may be shorter than ``length``: the connection is then closed."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None


Script = Callable[[Seen], Said]


@dataclass
class Scripted:
    """A running server: its address and what it saw."""

    address: str
    seen: list[Seen]

    def sent(self, header: str) -> list[str | None]:
        """The values of a header in every request."""
        return [request.headers.get(header) for request in self.seen]


@contextmanager
def scripted_server(script: Script, tls: tuple[Path, Path] | None = None) -> Iterator[Scripted]:
    """Serve ``script`` until the block ends; ``tls`` has the files of its certificate and key."""
    seen: list[Seen] = []

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            request = Seen(self.command, self.path, {key.title(): value for key, value in self.headers.items()}, body)
            seen.append(request)
            said = script(request)
            self.send_response(said.status)
            for key, value in said.headers.items():
                self.send_header(key, value)
            length = len(said.body) if said.length is None else said.length
            if length >= 0:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said.body)
            if length != len(said.body) and self.command != "HEAD":
                self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

        def log_message(self, *args: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    listener.handle_error = lambda *args: None  # type: ignore[method-assign]
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        listener.socket = context.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Scripted(f"127.0.0.1:{listener.server_address[1]}", seen)
    finally:
        listener.shutdown()
        listener.daemon_threads = True
        listener.server_close()
        thread.join()


@contextmanager
def raw_server(converse: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[str]:
    """Accept connections and give each to ``converse`` in a thread; its address."""
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        threads: list[threading.Thread] = []
        connections: list[socket.socket] = []

        def talk(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                converse(connection)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connections.append(connection)
                threads.append(threading.Thread(target=talk, args=(connection,)))
                threads[-1].start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield f"{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for connection in connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
