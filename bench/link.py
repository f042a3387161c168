"""A link between a client and a server on loopback: a delay both ways, a rate for each connection, and what went up.

    python bench/link.py HOST:PORT [SECONDS OF A ROUND TRIP] [BYTES A SECOND OF A CONNECTION]

prints its address; to each line of input it prints the sizes of the requests since the last, and the bytes that came
down, as JSON. It is a process of its own so that its memory is not counted with what is measured. Without a rate it
remembers what goes up.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Queue

_BLOCK = 256 * 1024
_AHEAD = 64
"""Blocks that may be under way in one direction of a connection, as in a window of TCP."""
_REQUEST = re.compile(rb"(?=(?:HEAD|GET|POST|PUT|PATCH|DELETE) /v2/)")


@dataclass
class Link:
    """A listener that passes everything on to ``target``.

    Args:
        target: host and port of the server.
        delay: seconds of a round trip.
        rate: bytes a second that the server sends on one connection; 0: as many as it likes.
        keep: remember what went up, for :meth:`requests`; small things only.
    """

    target: tuple[str, int]
    delay: float = 0.0
    rate: float = 0.0
    keep: bool = False
    went_up: list[bytearray] = field(default_factory=list)
    came_down: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def take(self) -> dict[str, object]:
        """Since the last call: bytes of every request (head and body), and of all answers."""
        requests = [len(text) for sent in self.went_up for text in _REQUEST.split(bytes(sent)) if text]
        self.went_up.clear()
        down, self.came_down = self.came_down, 0
        return {"requests": requests, "down": down}

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.create_connection(self.target)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            kept = bytearray()
            if self.keep:
                self.went_up.append(kept)
            self._carry(near, far, 0.0, kept if self.keep else None)
            self._carry(far, near, self.rate, None)

    def _carry(self, source: socket.socket, target: socket.socket, rate: float, kept: bytearray | None) -> None:
        """Carry one direction, in two threads: what comes in, and what is due to go out."""
        under_way: Queue[tuple[float, bytes]] = Queue(_AHEAD)

        def take() -> None:
            due = 0.0
            block = _BLOCK if not rate else max(1, min(_BLOCK, int(rate / 200)))
            data = b"x"
            while data:
                try:
                    data = source.recv(block)
                except OSError:
                    data = b""
                if kept is not None:
                    kept.extend(data)
                else:
                    self.came_down += len(data)
                now = time.monotonic()
                due = max(due, now) + (len(data) / rate if rate else 0.0)
                under_way.put((due + self.delay / 2, data))

        def give() -> None:
            data = b"x"
            while data:
                due, data = under_way.get()
                if (wait := due - time.monotonic()) > 0:
                    time.sleep(wait)
                try:
                    if data:
                        target.sendall(data)
                    else:
                        target.shutdown(socket.SHUT_WR)
                except OSError:
                    with suppress(OSError):
                        source.shutdown(socket.SHUT_RDWR)
                    while data:  # let the other thread end
                        _, data = under_way.get()

        for work in (take, give):
            threading.Thread(target=work, daemon=True).start()


def main() -> None:
    """Pass on until there is no more input."""
    host, _, port = sys.argv[1].partition(":")
    delay, rate = map(float, sys.argv[2:] or ("0", "0"))
    link = Link((host, int(port)), delay, rate, keep=not rate)
    print(link.address, flush=True)
    for _ in sys.stdin:
        print(json.dumps(link.take()), flush=True)


if __name__ == "__main__":
    main()
