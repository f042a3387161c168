"""What the environment says, read here and passed on: places, proxies, certificates, credential files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kitops.ops.place import Connection


class NetworkFlags(NamedTuple):
    """The network options of one command line."""

    plain_http: bool = False
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
    from kitops.ops.place import default_home  # completion and version do without it

    return default_home(environ, sys.platform)
