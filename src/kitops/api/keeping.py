"""What keeps a machine in order: credentials, and the space of the local store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.api.settings import Settings, make_place

if TYPE_CHECKING:
    from kitops.store.gc import Collected


def login(registry: str, password: str, *, username: str = "", settings: Settings | None = None) -> None:
    """Keep credentials for ``registry``, once it has taken them; a password without a user is an identity token.

    Raises:
        KitError: see :func:`kitops.ops.login.login`.
    """
    from kitops.ops.login import login as work  # noqa: PLC0415 - each verb costs what it needs
    from kitops.registry.credentials import Credential  # noqa: PLC0415 - as above

    work(make_place(settings), registry, Credential.of_login(username, password))


def logout(registry: str, *, settings: Settings | None = None) -> None:
    """Forget what is kept for ``registry``.

    Raises:
        NotFoundError: nothing is.
    """
    from kitops.ops.logout import logout as work  # noqa: PLC0415 - as above

    work(make_place(settings), registry)


def prune(*, dry_run: bool = False, settings: Settings | None = None) -> Collected:
    """Free what no ModelKit of the store needs; with ``dry_run`` only tell what would come free."""
    from kitops.ops.prune import prune as work  # noqa: PLC0415 - as above

    return work(make_place(settings), dry_run=dry_run)
