"""``kit list``: the ModelKits of the local store, or of a repository in a registry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kitops.content.parallel import run_all
from kitops.errors import InvalidValueError, NotFoundError
from kitops.ops.locate import check_remote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kitops.content.protocols import Run
    from kitops.oci.gojson import Json
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place
    from kitops.registry.repository import Repository
    from kitops.store import RefDetails


@dataclass(frozen=True, slots=True)
class Listed:
    """One ModelKit of one repository.

    Args:
        repo: the repository as people see it; "" for the unnamed one.
        digest: of the manifest.
        tags: none for a kit that is known by its digest only.
        name: of the package, or "".
        author: the first one, or "".
        size: bytes of all layers.
    """

    repo: str
    digest: str
    tags: tuple[str, ...]
    name: str
    author: str
    size: int

    def to_json(self) -> dict[str, Json]:
        """The row with plain values; ``size`` in bytes."""
        return {
            "repo": self.repo,
            "digest": self.digest,
            "tags": list(self.tags),
            "modelName": self.name,
            "size": self.size,
            "author": self.author,
        }


def list_(place: Place, repository: Reference | None = None) -> list[Listed]:
    """The ModelKits of the store, or with ``repository`` of that repository in its registry; sorted.

    Raises:
        InvalidValueError: ``repository`` names no registry.
        NotFoundError: the registry has no such repository.
    """
    if repository is None:
        return _group(
            (listing.reference.locator, str(listing.desc.digest), listing.reference.tag, listing.row)
            for listing in place.store.refs.list()
        )
    return _list_remote(place, repository)


def _list_remote(place: Place, repository: Reference) -> list[Listed]:
    check_remote(repository)
    with place.registry(repository) as source:
        tags = [repository.tag] if repository.tag else source.tags()
        jobs = [partial(_describe_remote, source, tag) for tag in tags]
        found = run_all(jobs, place.run, workers=place.run.concurrency) if jobs else []
    return _group(
        (repository.repository, digest, tag, details) for row in found if row for digest, tag, details in [row]
    )


def _describe_remote(source: Repository, tag: str, run: Run) -> tuple[str, str, RefDetails] | None:
    """One row; None where the tag is gone meanwhile, or points to something that is no ModelKit."""
    from kitops.ops.details import describe  # noqa: PLC0415 - local listings open no manifest

    run.cancel.check()
    try:
        desc = source.resolve(tag)
        return str(desc.digest), tag, describe(source, desc)
    except (InvalidValueError, NotFoundError):
        return None


def _group(rows: Iterable[tuple[str, str, str | None, RefDetails]]) -> list[Listed]:
    """One entry a repository and digest, with all its tags."""
    tags: dict[tuple[str, str], list[str]] = {}
    details: dict[tuple[str, str], RefDetails] = {}
    for repo, digest, tag, detail in rows:
        key = (repo, digest)
        tags.setdefault(key, [])
        details[key] = detail
        if tag is not None:
            tags[key].append(tag)
    return [
        Listed(
            repo,
            digest,
            tuple(sorted(found)),
            details[repo, digest].name,
            details[repo, digest].author,
            details[repo, digest].size,
        )
        for (repo, digest), found in sorted(tags.items(), key=lambda item: (item[0][0], item[1], item[0][1]))
    ]
