"""``kit login``: check credentials with a registry and keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.oci.reference import check_registry

if TYPE_CHECKING:
    from kitops.ops.place import Place
    from kitops.registry.credentials import Credential


def login(place: Place, registry: str, credential: Credential) -> None:
    """Keep ``credential`` for ``registry`` once the registry has taken it, and which token server it may be sent to.

    Raises:
        InvalidValueError: that is no host.
        AuthenticationError: the registry does not.
        NetworkError: it cannot be reached.
    """
    from kitops.registry.login import check_login  # noqa: PLC0415 - only this verb pays for urllib3

    check_registry(registry)
    connection = place.connection()
    pinned = connection.credentials.pinned_realm(registry)
    realm = check_login(registry, credential, connection.network, place.run, pinned=pinned)
    connection.credentials.save(registry, credential, realm=realm)
