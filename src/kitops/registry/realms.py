"""Which token server may be asked on behalf of a registry, and which may be sent its credentials.

The realm of a challenge is the registry's own word, and whoever forges one challenge would be sent a password. So
credentials go to the registry's own host, to the token servers that public registries are known to have, and to one
that a login was shown and recorded; to others never. Tokens for anonymous visitors may come from anywhere over TLS.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kitops.errors import AuthenticationError
from kitops.registry.network import DEFAULT_PORTS, is_loopback, is_off_limits
from kitops.registry.secret_files import read_table, write_table
from kitops.registry.urls import origin, safe_url

if TYPE_CHECKING:
    from pathlib import Path

_KNOWN: Final = tuple(
    (re.compile(registry), re.compile(realm))
    for registry, realm in (
        (r"registry-1\.docker\.io", r"auth\.docker\.io"),
        (r"registry\.gitlab\.com", r"gitlab\.com"),
        (r"nvcr\.io", r"authn\.nvidia\.com"),
        (r"registry\.digitalocean\.com", r"api\.digitalocean\.com"),
        (r"registry\.ollama\.ai", r"ollama\.com"),
        (r"docker\.elastic\.co", r"docker-auth\.elastic\.co"),
        (r"registry\.(suse|rancher)\.com", r"scc\.suse\.com"),
        (r"rg\.[a-z0-9-]+\.scw\.cloud", r"api\.scaleway\.com"),
        (r"([a-z0-9-]+\.)+aliyuncs\.com", r"dockerauth[a-z0-9-]*\.[a-z]{2}-[a-z0-9-]+\.aliyuncs\.com"),
    )
)
"""Hosts of public registries and of their token servers, both on port 443. Others have theirs on their own host.

Where the label before ``aliyuncs.com`` is no region (``cn-hangzhou``) but ``oss-…``, the first is a customer's bucket.
"""


def realm_origin(realm: str) -> str:
    """Scheme, host and port of a token server as one text: what is pinned.

    Raises:
        ValueError: it is not an http URL.
    """
    scheme, host, port = origin(realm)
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" if port == DEFAULT_PORTS[scheme] else f"{scheme}://{shown}:{port}"


def is_of_registry(realm: str, registry_url: str) -> bool:
    """Whether the token server at ``realm`` belongs to a registry: on the same host, or a known pair.

    Both may be on loopback, by plain HTTP too.
    """
    scheme, host, port = origin(realm)
    own_scheme, own_host, own_port = origin(registry_url)
    if host == own_host or (is_loopback(host) and is_loopback(own_host)):
        return True
    if (scheme, port, own_scheme, own_port) != ("https", 443, "https", 443):
        return False
    return any(registry.fullmatch(own_host) and known.fullmatch(host) for registry, known in _KNOWN)


def check_realm(realm: str, registry_url: str, *, secret: bool, pinned: str | None = None) -> None:
    """Raise unless the token server at ``realm`` may be asked on behalf of a registry.

    Args:
        realm: its URL, as the challenge has it.
        registry_url: on whose behalf.
        secret: whether credentials would go there.
        pinned: the :func:`realm_origin` that a login recorded for the registry.

    Raises:
        AuthenticationError: it may not.
    """
    registry = safe_url(registry_url)
    try:
        scheme, host, port = origin(realm)
        user = urlsplit(realm).username
    except ValueError as error:
        raise AuthenticationError(f"{registry} names a token server that is not an http URL") from error
    if user is not None:
        raise AuthenticationError(f"{registry} names a token server with a user in its URL")
    own_scheme, own_host, own_port = origin(registry_url)
    if is_off_limits(host, own_host):
        raise AuthenticationError(
            f"{registry} names {host} as its token server, an address of this machine or its network"
        )
    if scheme == "http" and not (
        own_scheme == "http" and ((host, port) == (own_host, own_port) or (is_loopback(host) and is_loopback(own_host)))
    ):
        what = "send the credentials" if secret else "ask for a token"
        raise AuthenticationError(
            f"will not {what} for {registry} over plain HTTP to {_shown(realm)}",
            hint="the registry's token server must be served over TLS",
        )
    if secret and not is_of_registry(realm, registry_url) and pinned != realm_origin(realm):
        was = f"; it was {pinned} when you logged in" if pinned else ""
        raise AuthenticationError(
            f"will not send the credentials for {registry} to {_shown(realm)}, a token server on another host{was}",
            hint=f"if that is its token server, log in to let it be: kit login {urlsplit(registry_url).netloc}",
        )


def _shown(realm: str) -> str:
    return safe_url(urlsplit(realm)._replace(query="").geturl())


class RealmPins:
    """The token servers on other hosts that logins recorded: a file of its own beside the credentials, mode 0600.

    Args:
        path: a JSON object, registry to origin of its token server; need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, registry: str) -> str | None:
        """What is recorded for ``registry``.

        Raises:
            InvalidValueError: the file is damaged.
            FileSystemError: the file cannot be read.
        """
        found = (read_table(self._path, "token servers") or {}).get(registry)
        return found if isinstance(found, str) else None

    def pin(self, registry: str, realm: str | None) -> None:
        """Record the origin ``realm`` for ``registry``, or that there is none."""
        table = read_table(self._path, "token servers") or {}
        if table.get(registry) == realm:
            return
        table.pop(registry, None)
        if realm is not None:
            table[registry] = realm
        write_table(self._path, table, "token servers")
