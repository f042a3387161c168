"""Registries for tests: real sockets on loopback, gone when the block ends.

::

    with ThrowAwayRegistry() as registry:
        kitops.push(str(registry.reference("team/model:v1")), network=registry.network)
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import parse_qs, urlsplit

from kitops.content.protocols import Run
from kitops.oci.reference import Reference
from kitops.registry.auth import Scopes
from kitops.registry.credentials import Credential, FixedCredential
from kitops.registry.network import Network
from kitops.server import BasicAccess, BearerAccess, DirectoryShelf, OpenAccess, RegistryServer, ServerOptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from kitops.registry.repository import Repository
    from kitops.server import Access


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that the registry answered."""

    method: str
    target: str
    status: int


class ThrowAwayRegistry:
    """A registry over a temporary directory; a context manager. ``asked`` lists the requests it answered.

    Args:
        root: a directory to keep content in instead.
        users: passwords by user name; None lets everybody in.
        access: a rule of access instead of ``users``.
        tls_cert: PEM file with a certificate; None serves plain HTTP.
        tls_key: PEM file with its key.
        tls_client_ca: PEM file with the authorities of client certificates, which are then demanded.
        has_referrers: offer the list of referrers; an older registry does not.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        users: Mapping[str, str] | None = None,
        access: Access | None = None,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        tls_client_ca: Path | None = None,
        has_referrers: bool = True,
    ) -> None:
        self.asked: list[Asked] = []
        options = ServerOptions(
            access=access or (OpenAccess() if users is None else BasicAccess(users)),
            tls_cert=tls_cert,
            tls_key=tls_key,
            tls_client_ca=tls_client_ca,
            has_referrers=has_referrers,
        )
        self._server = RegistryServer(
            None if root is None else DirectoryShelf(root),
            options,
            on_request=lambda method, target, status: self.asked.append(Asked(method, target, status)),
        )
        self.network = Network(plain_http=tls_cert is None)

    @property
    def address(self) -> str:
        """``127.0.0.1:port``."""
        return self._server.address

    @property
    def root(self) -> Path:
        """Where its content is."""
        return self._server.root

    def reference(self, text: str) -> Reference:
        """The reference of ``repository:tag`` in this registry."""
        return Reference.parse(f"{self.address}/{text}")

    def repository(
        self,
        text: str,
        *,
        network: Network | None = None,
        credential: Credential | None = None,
        run: Run | None = None,
    ) -> Repository:
        """An open repository of this registry; close it."""
        from kitops.registry.repository import open_repository  # noqa: PLC0415 - importing this module stays cheap

        return open_repository(self.reference(text), network or self.network, FixedCredential(credential), run or Run())

    def stop(self) -> None:
        """Stop it; what it held is gone unless ``root`` was given."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class TokenServer:
    """A token server (docker's GET and OAuth2's POST) on loopback; a context manager.

    Args:
        users: passwords by user name.
        identity_tokens: refresh tokens that are taken.
        anonymous_pull: whether everybody may get a token to pull.
        seconds: how long a token lives.
        has_oauth: whether POST is offered; else it answers 404.
    """

    def __init__(
        self,
        users: Mapping[str, str],
        *,
        identity_tokens: frozenset[str] = frozenset(),
        anonymous_pull: bool = False,
        seconds: int = 300,
        has_oauth: bool = True,
    ) -> None:
        self.users = dict(users)
        self.identity_tokens = identity_tokens
        self.anonymous_pull = anonymous_pull
        self.seconds = seconds
        self.has_oauth = has_oauth
        self.asked: list[tuple[str, str]] = []
        self._granted: dict[str, Scopes] = {}
        answers = type("_TokenAnswers", (_TokenAnswers,), {"desk": self})
        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), answers)
        self._listener.daemon_threads = False
        self._thread = threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def realm(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._listener.server_address[1]}/token"

    def access(self, service: str = "registry.test") -> BearerAccess:
        """The rule of access of a registry that trusts this server's tokens."""
        return BearerAccess(self.realm, service, self.is_valid)

    def is_valid(self, token: str, scope: str) -> bool:
        """Whether ``token`` was granted and allows ``scope``."""
        granted = self._granted.get(token)
        return granted is not None and granted.covers(Scopes.parse(scope))

    def revoke_all(self) -> None:
        """Let every token be worthless from now on."""
        self._granted.clear()

    def grant(self, scopes: Scopes) -> dict[str, object]:
        """A new token for ``scopes``, as the protocol answers."""
        token = secrets.token_urlsafe(24)
        self._granted[token] = scopes
        return {"token": token, "access_token": token, "expires_in": self.seconds}

    def stop(self) -> None:
        """Stop it and join its threads."""
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _TokenAnswers(BaseHTTPRequestHandler):
    desk: ClassVar[TokenServer]

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        scopes = Scopes.parse(*query.get("scope", []))
        self.desk.asked.append(("GET", str(scopes)))
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(encoded).decode().partition(":") if scheme == "Basic" else ("", "", "")
        known = self.desk.users.get(user) == password if user else False
        only_pull = all(set(actions) <= {"pull"} for _, actions in scopes.rows)
        if known or password in self.desk.identity_tokens or (not user and self.desk.anonymous_pull and only_pull):
            self._tell(200, self.desk.grant(scopes))
        else:
            self._tell(401, {"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]})

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        scopes = Scopes.parse(*form.get("scope", []))
        self.desk.asked.append(("POST", str(scopes)))
        if not self.desk.has_oauth:
            self._tell(404, {})
        elif form.get("grant_type") == ["refresh_token"] and form["refresh_token"][0] in self.desk.identity_tokens:
            self._tell(200, self.desk.grant(scopes))
        else:
            self._tell(401, {"error": "invalid_grant"})

    def _tell(self, status: int, table: object) -> None:
        body = json.dumps(table).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""
