"""Where and how the public functions work, and what that comes to on this machine."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kitops.content.events import ignore_events
from kitops.content.protocols import Run
from kitops.errors import FileSystemError
from kitops.oci.reference import Reference
from kitops.ops.choices import list_texts
from kitops.ops.place import Connection, Place, default_home, open_place, user_home

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kitops.content.cancel import CancelToken
    from kitops.content.events import Observer
    from kitops.registry.network import Network

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where and how to work; what is None comes from the environment.

    Args:
        home: the root of storage (``$KITOPS_HOME``).
        network: options of the connections to registries.
        observer: told what happens (see :mod:`kitops.content.events`).
        cancel: ends the work from another thread.
        concurrency: blobs moved at a time.
    """

    home: PathLike | None = None
    network: Network | None = None
    observer: Observer = ignore_events
    cancel: CancelToken | None = None
    concurrency: int = 5


def read_connection(
    home: Path, network: Network | None, environ: Mapping[str, str], warn: Callable[[str], None] = lambda _: None
) -> Connection:
    """How registries are reached from here.

    Proxies and certificate authorities of the environment; credentials of ``home``, docker and podman; mirrors.

    Args:
        home: the root of storage.
        network: options that were chosen; the environment's proxies and authorities are added to them.
        environ: environment variables.
        warn: told about a credential file of another tool that cannot be used, and of settings that nobody knows.
    """
    from kitops.registry.credentials import CredentialStore, default_config_paths  # noqa: PLC0415 - costs urllib3
    from kitops.registry.environment import complete_network, read_mirrors, read_plain_hosts  # noqa: PLC0415 - as above
    from kitops.registry.network import Network  # noqa: PLC0415 - as above

    chosen = complete_network(network or Network(), environ)
    settings = home / "settings.toml"
    chosen = replace(chosen, plain_hosts=(*chosen.plain_hosts, *read_plain_hosts(settings, warn)))
    mirrors = read_mirrors(settings, environ)
    user: Path | None = None
    with suppress(FileSystemError):  # then there are no credentials of other tools there
        user = user_home(environ)
    files = default_config_paths(environ, user)
    return Connection(chosen, CredentialStore(home / "credentials.json", files, warn=warn), mirrors)


def make_place(settings: Settings | None = None) -> Place:
    """The place that ``settings`` describe, for the functions of :mod:`kitops.ops`."""
    settings = settings or Settings()
    home = Path(settings.home) if settings.home else default_home(os.environ, sys.platform)
    run = Run(settings.observer, concurrency=settings.concurrency)
    if settings.cancel is not None:
        run = replace(run, cancel=settings.cancel)
    return open_place(home, connection=partial(read_connection, home, settings.network, os.environ), run=run)


def parse_all(texts: str | Sequence[str] | None) -> tuple[Reference, ...]:
    """The references of one text or several; each may have several tags."""
    if texts is None:
        return ()
    return tuple(ref for text in list_texts(texts) for ref in Reference.parse_tags(text))
