"""Content in an OCI registry.

Importing this package imports no network code: what is named here is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kitops.registry.credentials import Credential, CredentialStore, default_config_paths
    from kitops.registry.login import check_login
    from kitops.registry.network import Network
    from kitops.registry.repository import Repository, open_repository

__all__ = [
    "Credential",
    "CredentialStore",
    "Network",
    "Repository",
    "check_login",
    "default_config_paths",
    "open_repository",
]

_HOMES = {
    "Credential": "credentials",
    "CredentialStore": "credentials",
    "Network": "network",
    "Repository": "repository",
    "check_login": "login",
    "default_config_paths": "credentials",
    "open_repository": "repository",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
