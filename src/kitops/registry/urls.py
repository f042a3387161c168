"""URLs of the distribution protocol: where a registry is, where an answer points to, what may be shown. No I/O."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit, urlunsplit

from kitops.errors import RegistryError, printable
from kitops.registry.network import DEFAULT_PORTS, is_off_limits

DOCKER_HUB: Final = "docker.io"
MAX_REDIRECTS: Final = 5
_SECRET_LENGTH: Final = 12
_HUB_ALIASES: Final = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
_PLACE: Final = re.compile(r"(?:[^@\\]*@)?(?:[a-z0-9._-]+|\[[0-9a-f:.]*:[0-9a-f:.]*\])(?::[0-9]*)?", re.ASCII)
"""What a URL has for user, host and port, in small letters, where all parsers of URLs see the same host in it."""
_PASSED_OVER: Final = frozenset("\t\r\n")
"""Characters that Python's parser takes out of a URL, and others do not."""
_SHOWN: Final = frozenset({"digest", "n", "last", "mount", "from", "scope", "service", "artifactType", "ns"})


def api_base(registry: str, *, plain_http: bool) -> str:
    """Where the API of a registry is: ``https://host[:port]``, without a slash at the end."""
    host = "registry-1.docker.io" if registry in _HUB_ALIASES else registry
    return f"{'http' if plain_http else 'https'}://{host}"


def api_repository(registry: str, repository: str) -> str:
    """The repository as the API of ``registry`` wants it: Docker Hub's own images are in ``library/``."""
    return f"library/{repository}" if is_docker_hub(registry) and "/" not in repository else repository


def is_docker_hub(registry: str) -> bool:
    """Whether ``registry`` is one of the names of Docker Hub."""
    return registry in _HUB_ALIASES


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what credentials are bound to.

    Raises:
        ValueError: it is not an http(s) URL with a host, or the host has characters that parsers of URLs disagree on.
    """
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if scheme not in DEFAULT_PORTS or not _PLACE.fullmatch(parts.netloc.lower()) or not _PASSED_OVER.isdisjoint(url):
        raise ValueError(f"{safe_url(url)} is not an http URL")
    return scheme, host.rstrip("."), parts.port or DEFAULT_PORTS[scheme]


def is_http(url: str) -> bool:
    """Whether ``url`` has an :func:`origin`."""
    try:
        origin(url)
    except ValueError:
        return False
    return True


def follow(url: str, location: str) -> str:
    """Where an answer of ``url`` with ``location`` leads: relative or absolute, without the fragment.

    Raises:
        RegistryError: it is missing, not http, carries a user, leaves TLS, or leads to an address that is off limits.
    """
    if not location:
        raise RegistryError(f"{safe_url(url)}: the answer has no Location")
    try:
        target = urlunsplit(urlsplit(urljoin(url, location))._replace(fragment=""))
        scheme, host, _ = origin(target)
        user = urlsplit(target).username
    except ValueError as error:
        raise RegistryError(f"{safe_url(url)}: the answer's Location is not usable") from error
    if user is not None:
        raise RegistryError(f"{safe_url(url)}: the answer's Location carries a user name")
    if is_off_limits(host, origin(url)[1]):
        raise RegistryError(f"{safe_url(url)}: the answer leads to {host}, an address of this machine or its network")
    if scheme == "http" and urlsplit(url).scheme == "https":
        raise RegistryError(
            f"{safe_url(url)}: the answer leads from https to {safe_url(target)}",
            hint="the registry behind its proxy must be told that it is served by https",
        )
    return target


def is_redirect(method: str, status: int, *, is_replayable: bool = True) -> bool:
    """Whether a request is to be sent again, as it is, to where its answer points (RFC 9110, 15.4).

    Args:
        method: of the request.
        status: of the answer.
        is_replayable: whether there is a body that could not be sent again.
    """
    return (status in (307, 308) and is_replayable) or (status in (301, 302, 303) and method in ("GET", "HEAD"))


def add_query(url: str, key: str, value: str) -> str:
    """``url``, otherwise verbatim, with one more query parameter."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{key}={quote(value, safe='')}"


def safe_url(url: str) -> str:
    """``url`` for people and logs: no user, no password, no query but what the protocol itself puts there."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        shown = [(key, value) for key, value in parse_qsl(parts.query) if key in _SHOWN]
        query = urlencode(shown, safe=":/,")
        return printable(urlunsplit((parts.scheme, host, parts.path, query, "")))
    except ValueError:
        return "a URL that does not parse"


def hidden_values(url: str) -> list[str]:
    """The values in the query of ``url`` that :func:`safe_url` leaves out, if they are long enough to be secret."""
    query = urlsplit(url).query
    return [value for key, value in parse_qsl(query) if key not in _SHOWN and len(value) >= _SECRET_LENGTH]
