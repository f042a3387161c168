"""Listings that come in pages (distribution-spec, "Listing Tags" and "Listing Referrers"; RFC 8288)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kitops.errors import RegistryError
from kitops.registry.headers import next_link
from kitops.registry.urls import follow, origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.registry.session import Request, Session
    from kitops.registry.transport import Answer

MAX_PAGE: Final = 32 * 1024 * 1024
"""Bytes of one page that we read into memory."""
_MAX_PAGES: Final = 10_000


def read_pages(session: Session, first: Request) -> Iterator[Answer]:
    """The answer to ``first``, then those that ``Link: <…>; rel="next"`` leads to, each open until the next is asked.

    Raises:
        RegistryError: the pages never end, or lead to another host.
    """
    request: Request | None = first
    seen: set[str] = set()
    while request is not None:
        if request.target in seen or len(seen) >= _MAX_PAGES:
            raise RegistryError(f"{first.doing} {first.what}: the pages never end")
        seen.add(request.target)
        with session.send(request) as answer:
            yield answer
            request = _next(first, answer)


def _next(first: Request, answer: Answer) -> Request | None:
    link = next_link(answer.headers("Link"))
    if link is None:
        return None
    target = follow(answer.url, link)
    if origin(target) != origin(answer.url):
        raise RegistryError(f"{first.doing} {first.what}: the next page is on another host")
    return replace(first, target=target)
