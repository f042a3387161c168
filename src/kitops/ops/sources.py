"""From what a person names to the tree that is imported."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kitops.errors import InvalidValueError
from kitops.importers.token import parse_token
from kitops.store.atomic import told
from kitops.store.foreign import open_foreign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.importers.location import Location
    from kitops.importers.tree import Tree
    from kitops.ops.place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How to reach a source.

    Args:
        revision: a branch, tag, commit or version; empty is the source's default.
        token: for a source that is not public; None leaves it to the source's own client and its login.
        endpoint: of another Hugging Face hub; None leaves it to the client.
        submodules: of git: take them in.
        user_agent: what to say of ourselves.
    """

    revision: str = ""
    token: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    submodules: bool = False
    user_agent: str = "kitops"


@contextmanager
def open_source(place: Place, location: Location, options: SourceOptions) -> Iterator[Tree]:
    """The tree of ``location``, while the block runs.

    Args:
        place: where what a source's own client fetches is kept meanwhile.
        location: the source.
        options: how to reach it.

    Raises:
        SourceError: it is missing, closed, or has no such revision.
        NetworkError: it cannot be reached.
        InvalidValueError: the source does not have what is asked for; or the token is none; or it is a directory,
            which is here already.
    """
    location.check_asked(revision=options.revision, token=options.token, submodules=options.submodules)
    revision = location.revision or options.revision
    options = replace(options, token=parse_token(options.token))
    if location.kind == "git":
        with _clone(place, location, revision, options) as tree:
            yield tree
        return
    if location.kind == "mlflow":
        with _mlflow(place, location.where) as tree:
            yield tree
        return
    if location.kind == "huggingface":
        from kitops.importers.hub import HubOptions, open_hub  # noqa: PLC0415 - each source costs its own client

        hub = HubOptions(token=options.token, endpoint=options.endpoint, user_agent=options.user_agent)
        yield open_hub(location, revision or "main", hub, place.run)
        return
    raise InvalidValueError(
        f"{location.where} is a directory, which is here already", hint=f"`kit init {location.where}` describes it"
    )


@contextmanager
def _clone(place: Place, location: Location, revision: str, options: SourceOptions) -> Iterator[Tree]:
    """A clone that goes with the block; what git-lfs fetched stays when it fails, for the next try."""
    from kitops.importers.git import GitOptions, open_git  # noqa: PLC0415 - as above

    layout = place.store.layout
    with place.store.lease("clone") as lease:
        lease.add()
        directory = Path(layout.temporary(lease.id))
        try:
            with told("writing", str(directory)):
                directory.mkdir(parents=True)
            with open_foreign(layout, f"git-lfs {location.where}", lease) as kept:
                git = GitOptions(
                    revision=revision,
                    token=options.token,
                    submodules=options.submodules,
                    lfs_storage=kept / "lfs",
                    network=lambda: place.connection().network,
                )
                with open_git(location, directory, git, place.run) as tree:
                    yield tree
        finally:
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _mlflow(place: Place, uri: str) -> Iterator[Tree]:
    """A model or run of MLflow; its files stay when the block fails, for the next try of the same version or run.

    Of a run that has not ended they do not: the next try would mix them with what the run made since.
    """
    from kitops.importers.mlflow import open_mlflow  # noqa: PLC0415 - as above

    found = open_mlflow(uri, Path(), place.run)
    layout = place.store.layout
    with place.store.lease("mlflow") as lease:
        what = f"mlflow {found.origin.uri}" + (f" {lease.id}" if found.is_changing else "")
        with open_foreign(layout, what, lease) as kept:
            yield replace(found, directory=kept)
