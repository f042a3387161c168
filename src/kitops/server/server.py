"""A registry in threads of this process."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import ssl
import tempfile
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kitops.errors import FileSystemError, InvalidValueError, KitError, NetworkError, printable
from kitops.server.directory import DirectoryShelf
from kitops.server.endpoints import Endpoints
from kitops.server.listener import Listener
from kitops.server.options import ServerOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from kitops.server.shelf import Shelf


def _ignore_request(method: str, target: str, status: int) -> None:
    """Look away."""


class RegistryServer:
    """A registry, serving from construction to :meth:`stop`; a context manager.

    Args:
        content: a directory, or another shelf; None is a temporary directory that ends with the server.
        options: how.
        on_request: told method, target and status of every request, from the threads that answer them. The status is
            0 where the client broke off.

    Raises:
        NetworkError: the address cannot be listened on.
        InvalidValueError: the TLS files are not usable.
        FileSystemError: the directory cannot be made.
        StoreError: another process serves the directory.
    """

    def __init__(
        self,
        content: Path | Shelf | None = None,
        options: ServerOptions | None = None,
        *,
        on_request: Callable[[str, str, int], None] = _ignore_request,
    ) -> None:
        options = options or ServerOptions()
        self._options = options
        context = None if options.tls_cert is None else _server_context(options, options.tls_cert)
        self._stopping = threading.Event()
        with ExitStack() as stack:
            self._shelf = _open_shelf(content, stack)
            stack.callback(self._shelf.close)
            if not options.read_only:
                self._shelf.hold()
            endpoints = Endpoints(self._shelf, read_only=options.read_only, has_referrers=options.has_referrers)
            try:
                self._listener = Listener(options, endpoints, context, on_request)
            except (OSError, OverflowError) as error:
                raise _cannot_listen(options, error) from error
            self._tidier = threading.Thread(target=self._tidy, name="registry tidy", daemon=True)
            self._tidier.start()
            self._closing = stack.pop_all()

    @property
    def root(self) -> Path:
        """The directory that is served."""
        return self._shelf.root

    @property
    def address(self) -> str:
        """``host:port``, as references have it."""
        host, port = self._listener.host, self._listener.port
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return ipaddress.ip_address(self._listener.host.partition("%")[0]).is_loopback

    def stop(self) -> None:
        """Stop serving: requests that run may finish within the grace. Every thread is joined. May be called twice."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._listener.stop(self._options.grace_seconds)
        self._tidier.join()
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _tidy(self) -> None:
        seconds = self._options.tidy_seconds
        while seconds is not None and not self._options.read_only:
            with suppress(KitError, OSError):  # the next time may have more luck
                self._shelf.tidy()
            if self._stopping.wait(seconds):
                return


def _open_shelf(content: Path | Shelf | None, stack: ExitStack) -> Shelf:
    if content is None:
        return DirectoryShelf(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kitops-registry-"))))
    return DirectoryShelf(content, durable=True) if isinstance(content, Path) else content


def _cannot_listen(options: ServerOptions, error: OSError | OverflowError) -> NetworkError:
    number = (error.errno or 0) if isinstance(error, OSError) else 0
    reason = os.strerror(number) if number > 0 else str(error.args[-1])  # asyncio adds words of its own
    is_host = number == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror)
    return NetworkError(
        f"listening on {options.host}:{options.port}: {reason}".lower(),
        permanent=True,
        hint="give `--host` an address of this machine" if is_host else "another `--port`, or 0 for a free one",
    )


def _server_context(options: ServerOptions, cert: Path) -> ssl.SSLContext:
    key = options.tls_key
    files = ", ".join(printable(file) for file in (cert, key) if file is not None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
        if options.tls_client_ca is not None:
            context.load_verify_locations(options.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except ssl.SSLError as error:
        raise InvalidValueError(
            f"TLS files {files} are not usable",
            hint=None if key else "give `--tls-key`, or a file that holds the key too",
        ) from error
    except OSError as error:
        raise FileSystemError.wrap(error, "reading TLS files", files) from error
    return context
