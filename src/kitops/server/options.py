"""How a registry is served. A value only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kitops.server.access import Access, OpenAccess
from kitops.server.wire import Patience

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a registry is served.

    Args:
        host: the address to listen on.
        port: 0 takes a free one.
        access: who may use it; everybody by default.
        tls_cert: PEM file with the server's certificate and its chain; None serves plain HTTP.
        tls_key: PEM file with its key; None when it stands in ``tls_cert``.
        tls_client_ca: PEM file with the authorities of the client certificates that are then demanded.
        read_only: refuse every change.
        has_referrers: offer the list of referrers, as 1.1 asks; an older registry does not.
        grace_seconds: how long requests may go on after :meth:`RegistryServer.stop`.
        tidy_seconds: how often the disk is tidied, and once at the start; never by default.
        patience: how long to wait for clients.
        most_connections: at a time; fewer where the system does not allow so many.
    """

    host: str = "127.0.0.1"
    port: int = 0
    access: Access = field(default_factory=OpenAccess)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    read_only: bool = False
    has_referrers: bool = True
    grace_seconds: float = 2.0
    tidy_seconds: float | None = None
    patience: Patience = field(default_factory=Patience)
    most_connections: int = 512
