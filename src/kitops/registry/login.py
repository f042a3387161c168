"""Trying credentials out before they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.errors import AuthenticationError
from kitops.registry.credentials import Credential, FixedCredential
from kitops.registry.repository import ping
from kitops.registry.session import Session

if TYPE_CHECKING:
    from kitops.content.protocols import Run
    from kitops.registry.network import Network


def check_login(registry: str, credential: Credential, network: Network, run: Run) -> None:
    """See that ``registry`` takes ``credential``: ``GET /v2/``, with a token where it wants one.

    A registry that lets everybody in takes any.

    Raises:
        AuthenticationError: it does not.
        RegistryError: it is not a registry.
        NetworkError: it cannot be reached; the hint says what may help.
    """
    session = Session(registry, "", network, FixedCredential(credential), run)
    try:
        ping(session)
    except AuthenticationError as error:
        raise AuthenticationError(
            f"logging in to {registry}: {error.message}", hint="check the user name and the password or token"
        ) from error
    finally:
        session.close()
