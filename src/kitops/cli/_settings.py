"""What the environment says, read here and passed on: places, proxies, certificates, credential files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kitops.ops.place import Connection
    from kitops.registry.network import Network


class NetworkFlags(NamedTuple):
    """The network options of one command line; ``plain_http`` may be the hosts that it is for."""

    plain_http: bool | tuple[str, ...] = False
    tls_verify: bool = True
    tls_cert: tuple[str, ...] = ()
    cert: str | None = None
    key: str | None = None
    proxy: str | None = None
    concurrency: int = 5


def read_home(chosen: str | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The root of storage: ``--config``, else what the environment says."""
    if chosen:
        return Path(chosen)
    from kitops.ops.place import default_home  # `kit version` does without it

    return default_home(environ, sys.platform)


def build_network(flags: NetworkFlags, environ: Mapping[str, str] = os.environ) -> Network:
    """What the flags say; ``KITOPS_CLIENT_CERT`` and ``KITOPS_CLIENT_KEY`` win over them, as in the Go tool."""
    from kitops import __version__
    from kitops.registry.network import Network

    cert = environ.get("KITOPS_CLIENT_CERT") or flags.cert
    key = environ.get("KITOPS_CLIENT_KEY") or flags.key
    return Network(
        plain_http=flags.plain_http is True,
        plain_hosts=flags.plain_http if isinstance(flags.plain_http, tuple) else (),
        tls_verify=flags.tls_verify,
        tls_certs=tuple(Path(path) for path in flags.tls_cert),
        client_cert=Path(cert) if cert else None,
        client_key=Path(key) if key else None,
        proxy=flags.proxy,
        user_agent=f"kitops/{__version__}",
    )


def connect(
    home: Path, flags: NetworkFlags, warn: Callable[[str], None], environ: Mapping[str, str] = os.environ
) -> Connection:
    """How registries are reached and where credentials are: the flags, and what the environment says besides."""
    from kitops.api.settings import read_connection

    return read_connection(home, build_network(flags, environ), environ, warn)
