"""Whether a host is a registry, and lets us in (distribution-spec end-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.errors import NotFoundError, RegistryError
from kitops.registry.auth import Scopes
from kitops.registry.headers import media_type
from kitops.registry.session import Request

if TYPE_CHECKING:
    from kitops.registry.session import Session


def ping(session: Session) -> None:
    """``GET /v2/``: a registry answers 200.

    Raises:
        RegistryError: what answers is not a registry.
    """
    request = Request(method="GET", target="/v2/", doing="asking", what=session.registry, scopes=Scopes())
    try:
        with session.send(request) as answer:
            kind = media_type(answer.header("Content-Type"))
    except NotFoundError as error:
        raise RegistryError(
            f"{session.registry} is not a registry: GET /v2/ answered 404",
            status=404,
            request=f"GET {session.base}/v2/",
        ) from error
    if kind == "text/html":
        raise RegistryError(f"{session.registry} is not a registry: GET /v2/ answered with a web page", status=200)
