"""From what a person names to the tree that is imported."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.importers.location import Location
    from kitops.importers.tree import Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How to reach a source.

    Args:
        revision: a branch, tag, commit or version; empty is the source's default.
        token: for a source that is not public; None leaves it to the source's own client and its login.
        endpoint: of another Hugging Face hub; None leaves it to the client.
        user_agent: what to say of ourselves.
    """

    revision: str = ""
    token: str | None = None
    endpoint: str | None = None
    user_agent: str = "kitops"


@contextmanager
def open_source(location: Location, options: SourceOptions) -> Iterator[Tree]:
    """The tree of ``location``, while the block runs.

    Raises:
        SourceError: it is missing, closed, or has no such revision.
        NetworkError: it cannot be reached.
        InvalidValueError: two revisions are asked for.
    """
    if location.revision and options.revision and location.revision != options.revision:
        raise InvalidValueError(
            f"{location.where} is asked for at {location.revision!r} and at {options.revision!r}",
            hint="leave one of them out",
        )
    revision = location.revision or options.revision
    if location.kind == "huggingface":
        from kitops.importers.hub import HubOptions, open_hub  # noqa: PLC0415 - each source costs its own client

        hub = HubOptions(token=options.token, endpoint=options.endpoint, user_agent=options.user_agent)
        yield open_hub(location, revision or "main", hub)
        return
    raise InvalidValueError(f"{location.kind} cannot be imported from yet")
