"""``kit registry serve``: a registry over a directory or the local store, as long as somebody wants it."""

from __future__ import annotations

import ipaddress
import os
import select
import socket
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.errors import Cancelled, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kitops.content.cancel import CancelToken
    from kitops.content.protocols import Run
    from kitops.server import RegistryServer
    from kitops.server.shelf import Shelf

TIDY_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What is served, and how.

    Args:
        directory: content of its own; None serves the local store.
        host: the address to listen on.
        port: 0 takes a free one.
        tls_cert: PEM file with the certificate and its chain; None serves plain HTTP.
        tls_key: PEM file with its key; None when it stands in ``tls_cert``.
        htpasswd: password file (bcrypt); None lets everybody in.
        insecure: listen on other addresses than loopback even so.
        read_only: refuse every change.
        frees: also free blobs that no manifest lists, a day after they came.
        grace_seconds: how long running requests may go on at the end.
    """

    directory: Path | None
    host: str = "127.0.0.1"
    port: int = 5000
    tls_cert: Path | None = None
    tls_key: Path | None = None
    htpasswd: Path | None = None
    insecure: bool = False
    read_only: bool = False
    frees: bool = False
    grace_seconds: float = 10.0


def serve(
    home: Path, options: ServeOptions, run: Run, *, on_request: Callable[[str, str, int], None]
) -> RegistryServer:
    """Begin to serve; whoever is given the server stops it.

    Args:
        home: the root of storage; its store is served where ``options`` name no directory.
        options: what, and how.
        run: of what is done with the store.
        on_request: told method, target and status of every request.

    Raises:
        InvalidValueError: the options do not fit together, or would let anybody on the network in.
        NetworkError: the address cannot be listened on.
        FileSystemError: a file cannot be read, or the directory not be made.
        StoreError: another process serves the directory.
    """
    from kitops.server import OpenAccess, RegistryServer, ServerOptions  # noqa: PLC0415 - only who serves needs it
    from kitops.server.htpasswd import HtpasswdAccess  # noqa: PLC0415 - as above

    if options.tls_key is not None and options.tls_cert is None:
        raise InvalidValueError("a TLS key without a certificate", hint="give `--tls-cert` too")
    if options.htpasswd is None and not options.insecure and not is_loopback(options.host):
        raise InvalidValueError(
            f"{options.host} can be reached by others, and nobody would be asked for a password",
            hint="give `--htpasswd FILE`, or `--insecure` if everybody there may read and write",
        )
    terms = ServerOptions(
        host=options.host,
        port=options.port,
        access=OpenAccess() if options.htpasswd is None else HtpasswdAccess(options.htpasswd),
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
        read_only=options.read_only,
        grace_seconds=options.grace_seconds,
        tidy_seconds=TIDY_SECONDS,
    )
    return RegistryServer(_open_shelf(home, options, run), terms, on_request=on_request)


def wait_for_end(cancel: CancelToken) -> None:
    """Return when the end is asked for, or was; sleeps until then."""
    near, far = socket.socketpair()
    with closing(near), closing(far), suppress(Cancelled), cancel.closing(lambda: _wake(far)):
        while not cancel.is_cancelled:
            select.select([near], [], [], 60.0)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``: every address that it stands for is loopback.

    Raises:
        InvalidValueError: there is no such host.
    """
    try:
        found = {str(row[4][0]) for row in socket.getaddrinfo(host or "0.0.0.0", None)}  # noqa: S104 - asked, not bound
    except (OSError, UnicodeError) as error:
        raise InvalidValueError(f"{host!r} is no address to listen on") from error
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found)


def _open_shelf(home: Path, options: ServeOptions, run: Run) -> Shelf:
    if options.directory is not None:
        from kitops.server import DirectoryShelf  # noqa: PLC0415 - only who serves needs it

        if options.read_only and not options.directory.is_dir():
            raise InvalidValueError(f"{os.fspath(options.directory)!r} is no directory to serve read-only")
        return DirectoryShelf(options.directory, durable=True, frees=options.frees)
    from kitops.server.store_shelf import StoreShelf  # noqa: PLC0415 - as above
    from kitops.store import open_store  # noqa: PLC0415 - as above

    return StoreShelf(home / "store", open_store(home / "store", go_storage=home / "storage", run=run))


def _wake(sock: socket.socket) -> None:
    try:
        sock.send(b"x")
    except OSError:  # it is over already
        return
