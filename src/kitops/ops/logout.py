"""``kit logout``: forget the credentials of a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.errors import NotFoundError

if TYPE_CHECKING:
    from kitops.ops.place import Place


def logout(place: Place, registry: str) -> None:
    """Forget what is kept for ``registry``.

    Raises:
        NotFoundError: nothing is.
    """
    if not place.connection().credentials.erase(registry):
        raise NotFoundError(f"no credentials for {registry} are kept", hint="kit login " + registry)
