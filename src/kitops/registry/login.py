"""Trying credentials out before they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.content.events import Message
from kitops.errors import AuthenticationError
from kitops.registry.ping import ping
from kitops.registry.session import Session

if TYPE_CHECKING:
    from kitops.content.cancel import CancelToken
    from kitops.content.protocols import Run
    from kitops.registry.credentials import Credential
    from kitops.registry.network import Network


def check_login(
    registry: str, credential: Credential, network: Network, run: Run, *, pinned: str | None = None
) -> str | None:
    """See that ``registry`` takes ``credential``: ``GET /v2/``, with a token where it wants one.

    A registry that lets everybody in takes any. A token server on a host that is not known to be the registry's own is
    told to the observer before the credential goes there: logging in is to trust it.

    Args:
        registry: host and port.
        credential: what is tried.
        network: how it is reached.
        run: told of that token server.
        pinned: the one that an earlier login recorded, which is not worth a word.

    Returns:
        The origin of such a token server, to be recorded; None where there is none.

    Raises:
        AuthenticationError: it does not.
        RegistryError: it is not a registry.
        NetworkError: it cannot be reached; the hint says what may help.
    """
    attempt = _Attempt(registry, credential, run, pinned)
    session = Session(registry, "", network, attempt, run)
    try:
        ping(session)
    except AuthenticationError as error:
        raise AuthenticationError(
            f"logging in to {registry}: {error.message}", hint="check the user name and the password or token"
        ) from error
    finally:
        session.close()
    return attempt.realm


class _Attempt:
    """The credential that is tried, and the token server that it went to (a ``FindsCredential``)."""

    def __init__(self, registry: str, credential: Credential, run: Run, pinned: str | None) -> None:
        self.realm: str | None = None
        self._pinned = pinned
        self._registry = registry
        self._credential = credential
        self._run = run

    def find(self, host: str, repository: str = "", *, cancel: CancelToken | None = None) -> Credential:  # noqa: ARG002
        return self._credential

    def pinned_realm(self, host: str, offered: str) -> str:  # noqa: ARG002 - the host is the registry's
        if self.realm is None:
            self.realm = offered
            if offered != self._pinned:
                was = f" (it was {self._pinned})" if self._pinned else ""
                text = (
                    f"the credentials for {self._registry} go to its token server {offered}{was}, now and from now on"
                )
                self._run.observer(Message("warning", text))
        return self.realm
