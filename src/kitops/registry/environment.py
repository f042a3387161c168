"""What a machine says about the way to registries: variables of its environment, given as a mapping, and settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kitops.errors import FileSystemError, InvalidValueError, naming, printable
from kitops.oci.reference import check_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kitops.registry.mirror import Mirror
    from kitops.registry.network import Network

_AUTHORITIES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")

_TABLES: Final = ("registry", "mirror")
"""What the settings are made of."""


def complete_network(network: Network, environ: Mapping[str, str]) -> Network:
    """``network`` with the environment's proxies where it names none, and its certificate authorities besides.

    Read are ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY``, small letters first, and ``SSL_CERT_FILE``,
    ``SSL_CERT_DIR`` (several, as in ``PATH``) and ``REQUESTS_CA_BUNDLE``: files and directories of PEM certificates
    that are trusted besides the system's.
    """

    def read(name: str) -> str | None:
        return environ.get(name.lower()) or environ.get(name) or None

    separator = ";" if environ.get("OS") == "Windows_NT" else ":"
    paths = [
        Path(path)
        for name in _AUTHORITIES
        for path in (environ.get(name, "").split(separator) if name.endswith("_DIR") else [environ.get(name, "")])
        if path
    ]
    return replace(
        network,
        tls_certs=tuple(dict.fromkeys((*network.tls_certs, *paths))),
        http_proxy=network.http_proxy or read("HTTP_PROXY"),
        https_proxy=network.https_proxy or read("HTTPS_PROXY"),
        no_proxy=network.no_proxy or read("NO_PROXY") or "",
    )


def read_mirrors(settings: Path, environ: Mapping[str, str]) -> tuple[Mirror, ...]:
    """The mirrors of ``$KITOPS_MIRRORS``, which may be empty for none, else those in the file ``settings`` (TOML).

    Raises:
        InvalidValueError: they do not parse.
        FileSystemError: the file cannot be read.
    """
    text = environ.get("KITOPS_MIRRORS")
    if text is not None:
        from kitops.registry.mirror import parse_mirrors  # noqa: PLC0415 - costs urllib3, and few have mirrors

        return parse_mirrors(text)
    with naming(f"settings file {printable(settings)}"):
        tables = _read_settings(settings).get("mirror")
        if tables is None:
            return ()
        from kitops.registry.mirror import read_mirror_tables  # noqa: PLC0415 - as above

        return read_mirror_tables(tables)


def read_plain_hosts(settings: Path, warn: Callable[[str], None] = lambda _: None) -> tuple[str, ...]:
    """The hosts in the ``[[registry]]`` tables of the file ``settings`` that have ``plain_http = true``.

    Args:
        settings: the file (TOML).
        warn: told of what is no setting: of a later release, or misspelt.

    Raises:
        InvalidValueError: a table is something else than ``host`` and ``plain_http``.
        FileSystemError: the file cannot be read.
    """
    with naming(f"settings file {printable(settings)}"):
        found = _read_settings(settings)
        for key in found.keys() - set(_TABLES):
            known = " and ".join(f"[[{table}]]" for table in _TABLES)
            warn(f"settings file {printable(settings)}: {key!r} is not a setting; there are {known}")
        return _plain_hosts(found.get("registry", []))


def _plain_hosts(tables: object) -> tuple[str, ...]:
    if not isinstance(tables, list):
        raise InvalidValueError("registries are written as [[registry]] tables")
    found = []
    for table in tables:
        if not isinstance(table, dict) or table.keys() - {"host", "plain_http"}:
            raise InvalidValueError("a [[registry]] has host and plain_http, and nothing else")
        host, is_plain = table.get("host"), table.get("plain_http", False)
        if not isinstance(host, str) or not isinstance(is_plain, bool):
            raise InvalidValueError("a [[registry]] has host as text, and plain_http as true or false")
        check_registry(host)
        found += [host.lower()] if is_plain else []
    return tuple(found)


def _read_settings(path: Path) -> Mapping[str, object]:
    """The settings; none where there is no such file."""
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise FileSystemError.wrap(error, "reading settings from", path) from error
    import tomllib  # noqa: PLC0415 - few have the file

    try:
        return tomllib.loads(raw.decode())
    except ValueError as error:
        raise InvalidValueError(f"not valid TOML: {error}") from error
