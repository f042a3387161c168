"""The repositories of a registry, where it tells them (``GET /v2/_catalog``, of docker's distribution)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kitops.content.events import Message
from kitops.errors import AuthenticationError, InvalidValueError, NotFoundError, RegistryError
from kitops.oci.reference import Reference
from kitops.registry.auth import Scopes
from kitops.registry.headers import one_line
from kitops.registry.pages import MAX_PAGE, read_pages
from kitops.registry.session import Request, Session

if TYPE_CHECKING:
    from kitops.content.protocols import Run
    from kitops.registry.credentials import FindsCredential
    from kitops.registry.network import Network

_PAGE = 1000


def list_repositories(registry: str, network: Network, credentials: FindsCredential, run: Run) -> list[str]:
    """The names of all repositories of ``registry``, without its host, page after page.

    Raises:
        RegistryError: it does not tell its repositories, or what it tells is no list. A name that none can have is
            left out, and told.
        AuthenticationError: it tells them to others only.
    """
    session = Session(registry, "", network, credentials, run)
    request = Request(
        method="GET",
        target=f"/v2/_catalog?n={_PAGE}",
        doing="listing repositories of",
        what=registry,
        scopes=Scopes.parse("registry:catalog:*"),
    )
    hint = f"name a repository: kit list {registry}/REPOSITORY"
    try:
        found: dict[str, None] = {}
        for answer in read_pages(session, request):
            found |= dict.fromkeys(_parse(answer.read(MAX_PAGE), registry))
        return [name for name in found if _is_repository(registry, name, run)]
    except AuthenticationError as error:
        raise AuthenticationError(error.message, hint=f"{error.hint}; or {hint}" if error.hint else hint) from error
    except (NotFoundError, RegistryError) as error:
        status = error.status if isinstance(error, RegistryError) else 404
        if status not in (400, 404, 405, 501):
            raise
        text = f"{registry} does not tell its repositories: it answered {status}"
        raise RegistryError(text, status=status, request="GET /v2/_catalog", hint=hint) from error
    finally:
        session.close()


def _parse(data: bytes, registry: str) -> list[str]:
    try:
        names = json.loads(data)["repositories"] or []
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise RegistryError(f"listing repositories of {registry}: the answer is not a list of them") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RegistryError(f"listing repositories of {registry}: the answer is not a list of them")
    return names


def _is_repository(registry: str, name: str, run: Run) -> bool:
    try:
        is_name = Reference.parse(f"{registry}/{name}").repository == name
    except InvalidValueError:
        is_name = False
    if not is_name:
        run.observer(Message("warning", f"{one_line(name)!r} is left out: no repository can have that name"))
    return is_name
