"""A registry in a thread."""

from __future__ import annotations

import ssl
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from kitops.errors import FileSystemError, InvalidValueError, NetworkError, printable
from kitops.server.endpoints import Endpoints
from kitops.server.listener import Listener, OpenAccess
from kitops.server.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from kitops.server.access import Access


def _ignore_request(method: str, target: str, status: int) -> None:
    """Look away."""


class RegistryServer:
    """A registry over a directory, serving from construction to :meth:`stop`; a context manager.

    Args:
        root: where content is kept; None is a temporary directory that ends with the server.
        host: the address to listen on.
        port: 0 takes a free one.
        access: who may use it; None lets everybody.
        tls_cert: PEM file with the server's certificate and its chain; None serves plain HTTP.
        tls_key: PEM file with its key; None when it stands in ``tls_cert``.
        tls_client_ca: PEM file with the authorities of the client certificates that are then demanded.
        on_request: told method, target and status of every request, from the threads that answer them.

    Raises:
        NetworkError: the address cannot be listened on.
        InvalidValueError: the TLS files are not usable.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        access: Access | None = None,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        tls_client_ca: Path | None = None,
        on_request: Callable[[str, str, int], None] = _ignore_request,
    ) -> None:
        context = _server_context(tls_cert, tls_key, tls_client_ca) if tls_cert is not None else None
        self._temporary = tempfile.TemporaryDirectory(prefix="kitops-registry-") if root is None else None
        self.root = Path(self._temporary.name) if self._temporary is not None else Path(root or ".")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            endpoints = Endpoints(Shelf(self.root))
            self._listener = Listener((host, port), endpoints, access or OpenAccess(), context, on_request)
        except (OSError, OverflowError) as error:
            self._clean_up()
            raise NetworkError(f"listening on {host}:{port}: {error}".lower(), permanent=True) from error
        self._stopped = False
        self._thread = threading.Thread(
            target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}, name="registry server", daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """``host:port``, as references have it."""
        host = self._listener.server_name
        return f"[{host}]:{self._listener.server_port}" if ":" in host else f"{host}:{self._listener.server_port}"

    def stop(self) -> None:
        """Stop serving and join every thread; takes at most some seconds. May be called twice."""
        if self._stopped:
            return
        self._stopped = True
        self._listener.end()
        self._thread.join()
        self._clean_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _clean_up(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()


def _server_context(cert: Path, key: Path | None, client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except ssl.SSLError as error:
        raise InvalidValueError(f"TLS files {printable(cert)}, {printable(key or cert)} are not usable") from error
    except OSError as error:
        raise FileSystemError.wrap(error, "reading TLS files", cert) from error
    return context
