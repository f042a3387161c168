"""A small internet: hosts by name, with TLS, that only a proxy on loopback knows the way to."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kitops.registry import Network
from kitops.registry.network import Patience
from scripted_server import Script, Scripted, Seen, raw_server, scripted_server
from tls_files import make_authority


@dataclass
class Web:
    """The way into it, and what its hosts saw.

    Args:
        network: goes through the proxy and trusts the hosts.
        reached: the first line of each request that the proxy got.
    """

    network: Network
    authority: Path
    proxy: str
    reached: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    hosts: dict[str, Scripted] = field(default_factory=dict)

    def seen(self, host: str) -> list[Seen]:
        """The requests that ``host:port`` got."""
        return self.hosts[host].seen

    def secrets(self, host: str) -> list[str]:
        """The ``Authorization`` headers that it got."""
        return [value for value in self.hosts[host].sent("Authorization") if value is not None]


@contextmanager
def small_web(directory: Path, hosts: Mapping[str, Script], *, proxy_user: str = "") -> Iterator[Web]:
    """Serve ``hosts`` (``name:port`` to script) until the block ends.

    Args:
        directory: for certificates.
        hosts: what each answers.
        proxy_user: ``user:password@`` in the proxy's URL.
    """
    authority = make_authority(directory)
    names = sorted({host.rpartition(":")[0] for host in hosts})
    files = authority.issue("web", *names)
    ways: dict[str, str] = {}
    reached: list[str] = []
    heads: list[bytes] = []

    def converse(client: socket.socket) -> None:
        head = read_head(client)
        if not head:
            return
        first = head.partition(b"\r\n")[0].decode()
        heads.append(head)
        reached.append(first)
        method, target, _ = first.split(" ")
        if method != "CONNECT" or target not in ways:
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        host, _, port = ways[target].rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            pump(client, server)

    with ExitStack() as stack:
        servers = {host: stack.enter_context(scripted_server(script, files)) for host, script in hosts.items()}
        ways.update({host: server.address for host, server in servers.items()})
        address = stack.enter_context(raw_server(converse))
        proxy = f"http://{proxy_user}{address}"
        patience = Patience(connect=5, read=5, commit=5, attempts=2, pause=0.001)
        network = Network(proxy=proxy, tls_certs=(authority.cert,), patience=patience)
        yield Web(network, authority.cert, proxy, reached, heads, servers)


def read_head(client: socket.socket) -> bytes:
    """What ``client`` sends up to the end of its headers, and what came with that; nothing when it hung up."""
    head = b""
    while b"\r\n\r\n" not in head:
        more = client.recv(4096)
        if not more:
            return b""
        head += more
    return head


def pump(one: socket.socket, two: socket.socket) -> None:
    """Carry bytes both ways until one side hangs up."""
    while True:
        ready, _, _ = select.select([one, two], [], [], 20)
        for source in ready:
            block = source.recv(65536)
            if not block:
                return
            (two if source is one else one).sendall(block)
        if not ready:
            return
