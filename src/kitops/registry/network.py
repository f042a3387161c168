"""How the network is reached: options, and which proxy serves which host. Values only, no I/O."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from kitops.errors import InvalidValueError

if TYPE_CHECKING:
    from pathlib import Path

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_METADATA: Final = frozenset(ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200"))
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait and how often to try, in seconds.

    Args:
        connect: for one address to accept a connection, and for one step of a TLS handshake.
        read: for the next bytes, in either direction.
        commit: for the answer to an upload's last byte: registries with object storage copy the blob then.
        attempts: tries of one request in all.
        first_attempts: of those, tries of a host that never answered: it is more likely misspelt than restarting.
        pause: before the second try; doubled each time.
        longest_pause: what ``Retry-After`` may ask for at most; more is an error at once.
        stall: for the next bytes of a part of a blob, before another connection is tried; doubled each time.
    """

    connect: float = 10.0
    read: float = 60.0
    commit: float = 600.0
    attempts: int = 5
    first_attempts: int = 2
    pause: float = 0.25
    longest_pause: float = 60.0
    stall: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How to reach registries.

    Args:
        plain_http: speak HTTP without TLS, for registries on loopback or in a lab.
        plain_hosts: with these only, written as references have them (``localhost:5000``).
        tls_verify: check certificates.
        tls_certs: PEM files with more certificate authorities to trust, besides the system's.
        client_cert: PEM file with a client certificate (mutual TLS).
        client_key: PEM file with its key; None when it stands in ``client_cert``.
        proxy: URL of a proxy for everything; overrules the next three, loopback included.
        http_proxy: URL of a proxy for ``http`` URLs.
        https_proxy: URL of a proxy for ``https`` URLs.
        no_proxy: hosts reached directly, comma separated, as ``NO_PROXY`` has them.
        user_agent: what we say we are.
        patience: timeouts and tries.
    """

    plain_http: bool = False
    plain_hosts: tuple[str, ...] = ()
    tls_verify: bool = True
    tls_certs: tuple[Path, ...] = ()
    client_cert: Path | None = None
    client_key: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    http_proxy: str | None = field(default=None, repr=False)
    https_proxy: str | None = field(default=None, repr=False)
    no_proxy: str = ""
    user_agent: str = "kitops"
    patience: Patience = Patience()

    def is_plain(self, registry: str) -> bool:
        """Whether ``registry`` is spoken to without TLS."""
        return self.plain_http or registry.lower() in self.plain_hosts

    def proxy_for(self, scheme: str, host: str, port: int) -> str | None:
        """The URL of the proxy for a host, or None for a direct connection.

        As Go's tools do it: the proxies of the environment never serve ``localhost`` and loopback addresses.

        Raises:
            InvalidValueError: the proxy that would be used is not a URL that we can use.
        """
        if self.proxy:
            return check_proxy(self.proxy)
        chosen = self.https_proxy if scheme == "https" else self.http_proxy
        if not chosen or is_loopback(host) or _is_excluded(self.no_proxy, host, port):
            return None
        return check_proxy(chosen)


def check_proxy(text: str) -> str:
    """The URL of a proxy; ``host:port`` means ``http://host:port``.

    Raises:
        InvalidValueError: it is not one, or of a kind that is not supported.
    """
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("", "http", "https"):
        raise InvalidValueError(
            f"proxy scheme {parts.scheme!r} is not supported", hint="use an http:// or https:// proxy"
        )
    if not host:
        raise InvalidValueError("the proxy's URL is not valid", hint="a proxy looks like http://proxy.example.com:3128")
    return url


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine by name or address."""
    if host.lower().rstrip(".") == "localhost":
        return True
    address = address_of(host)
    return address is not None and address.is_loopback


def address_of(host: str) -> Address | None:
    """The address that ``host`` is, in any way of writing that a connection would take, or None for a name.

    An IPv4 address within an IPv6 one is that IPv4 address; ``127.1``, ``0x7f000001`` and ``2130706433`` are 127.0.0.1.
    """
    bare = host.strip("[]").partition("%")[0].rstrip(".")
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        with suppress(OSError):
            return ipaddress.ip_address(socket.inet_aton(bare))
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return found.ipv4_mapped
        if found in _NAT64:
            return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found


def is_off_limits(host: str, sender: str) -> bool:
    """Whether an answer of ``sender`` must not lead to ``host``.

    Off limits are the addresses that mean something else on each machine: this machine itself (but on behalf of a
    registry on it), link-local ones, among them the metadata services of clouds, and unspecified and multicast ones.
    """
    if host == sender:
        return False
    if is_loopback(host) or host.endswith(".localhost"):
        return not is_loopback(sender)
    address = address_of(host)
    return address is not None and (
        address.is_link_local or address.is_unspecified or address.is_multicast or address in _METADATA
    )


def _is_excluded(no_proxy: str, host: str, port: int) -> bool:
    bare = host.strip("[]").lower().rstrip(".")
    return any(_matches(entry.strip().lower(), bare, port) for entry in no_proxy.split(",") if entry.strip())


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return _in_network(entry, host)
    entry, entry_port = _split_port(entry)
    if entry_port is not None and entry_port != port:
        return False
    try:
        return ipaddress.ip_address(entry) == ipaddress.ip_address(host)
    except ValueError:
        pass
    entry = entry.removeprefix("*").rstrip(".")
    if entry.startswith("."):  # only hosts below it, as Go and curl read it
        return host.endswith(entry)
    return host == entry or host.endswith(f".{entry}")


def _in_network(entry: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        bare, _, rest = entry[1:].partition("]")
        return bare, int(rest[1:]) if rest[1:].isdecimal() else None
    if entry.count(":") == 1:
        bare, _, port = entry.partition(":")
        return bare, int(port) if port.isdecimal() else None
    return entry, None
