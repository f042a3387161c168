"""``kit list``: the ModelKits of the local store, or of a repository in a registry."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from kitops.content.events import Message
from kitops.content.parallel import run_all
from kitops.errors import InvalidValueError, KitError, NotFoundError
from kitops.oci import mediatype
from kitops.oci.manifest import Manifest
from kitops.oci.reference import LOCAL_REGISTRY, UNNAMED, Reference, check_registry
from kitops.oci.subject import is_fallback_tag
from kitops.ops.left_out import UNREADABLE, LeftOut
from kitops.ops.list_filter import EVERYTHING
from kitops.ops.locate import check_remote, tell_damaged
from kitops.store.records import merge_absent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kitops.content.protocols import Run, Source
    from kitops.formats.modelkit import ModelKit
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.gojson import Json
    from kitops.ops.list_filter import ListFilter
    from kitops.ops.place import Place
    from kitops.registry.repository import Repository
    from kitops.store import RefDetails

    _Row = tuple[str, str, str | None, RefDetails | None]
    """Repository, digest, tag, and what the config says; None where that cannot be read."""

_OPEN: Final = 16
"""Repositories of a catalog that are open at a time: each has connections of its own."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One ModelKit of one repository.

    Args:
        repo: the repository as people see it; "" for the unnamed one.
        digest: of the manifest.
        tags: none for a kit that is known by its digest only.
        name: of the package, or ""; None where its config cannot be read.
        author: the first one, or ""; None as above.
        size: bytes of all layers; None as above.
        partial: whether some of them are not here: a filtered pull left them out.
    """

    repo: str
    digest: str
    tags: tuple[str, ...]
    name: str | None
    author: str | None
    size: int | None
    partial: bool = False

    def to_json(self) -> dict[str, Json]:
        """The row with plain values; ``size`` in bytes; ``partial`` only where it is true."""
        found: dict[str, Json] = {
            "repo": self.repo,
            "digest": self.digest,
            "tags": list(self.tags),
            "modelName": self.name,
            "size": self.size,
            "author": self.author,
        }
        return found | {"partial": True} if self.partial else found


def list_(place: Place, repository: Reference | None = None, *, wanted: ListFilter = EVERYTHING) -> list[Listed]:
    """The ModelKits of the store, or with ``repository`` of that repository in its registry; sorted.

    What only refers to a ModelKit, as a signature does, is not one: see :func:`kitops.ops.referrers.referrers`.

    Args:
        place: where to look.
        repository: in a registry; its tag, if it has one, is the only one that is looked at.
        wanted: shows only some of them.

    What the registry refuses to show, or has damaged, is left out and told.

    Raises:
        InvalidValueError: ``repository`` names no registry.
        NotFoundError: the registry has no such repository.
        KitError: nothing can be read: why the first tag cannot.
    """
    if repository is None:
        return _list_local(place, wanted)
    tag = f" --filter tag={repository.tag}" if repository.tag else ""
    here = f"`kit list --filter repo={repository.repository}{tag}`"
    check_remote(repository, hint=f"put the registry's host in front, or list what is here: {here}")
    with place.registry(repository, mirrored=True) as source:
        tags = [repository.tag] if repository.tag else source.tags()
        left_out = LeftOut()
        rows = _describe([(repository.repository, source, tag) for tag in tags], place.run, wanted, left_out)
    left_out.tell(place.run)
    return rows


def list_catalog(place: Place, registry: str, *, wanted: ListFilter = EVERYTHING) -> list[Listed]:
    """The ModelKits of every repository that ``registry`` tells of and lets us read; what it does not is told.

    Raises:
        RegistryError: it does not tell its repositories.
        KitError: nothing can be read: why the first repository or tag cannot.
    """
    from kitops.registry.catalog import list_repositories  # noqa: PLC0415 - local listings need no network code

    connection = place.connection()
    names = list_repositories(registry, connection.network, connection.credentials, place.run)
    names = [name for name in names if wanted.is_match(repo=name)]
    rows: list[Listed] = []
    left_out = LeftOut()
    for start in range(0, len(names), _OPEN):
        with ExitStack() as stack:
            sources = [
                (name, stack.enter_context(place.registry(Reference(registry, name), mirrored=True)))
                for name in names[start : start + _OPEN]
            ]
            jobs = [partial(_list_tags, name, source) for name, source in sources]
            tags = run_all(jobs, place.run, workers=place.run.concurrency)
            found = []
            for (name, _), one in zip(sources, tags, strict=True):
                found += one if isinstance(one, list) else left_out.keep(name, one) or []
            rows += _describe(found, place.run, wanted, left_out, is_catalog=True)
    left_out.tell(place.run)
    return rows


def parse_host(text: str) -> str | None:
    """The registry that ``text`` names if it names no repository of it: ``registry.example.com``, ``localhost:5000/``.

    Raises:
        InvalidValueError: it is a host followed by a slash, but not a host.
    """
    host = text.removesuffix("/")
    name, colon, port = host.partition(":")  # of a repository it is a tag
    is_host = host.startswith("[") or (port.isdecimal() if colon else "." in name or name == LOCAL_REGISTRY)
    if "/" in host or not (text.endswith("/") or is_host):
        return None
    check_registry(host)
    return Reference.parse(f"{host}/x").registry


def _list_local(place: Place, wanted: ListFilter) -> list[Listed]:
    store = place.store
    rows = [
        row
        for row in store.refs.list(damaged=partial(tell_damaged, place.run))
        if (row.row.subject is None or row.reference.tag is not None)
        and wanted.is_match(
            repo=row.reference.locator, tag=row.reference.tag or "", name=row.row.name, author=row.row.author
        )
    ]
    if wanted.parts:
        with store.lease("read", optional=True) as lease:
            source = store.repository(UNNAMED, lease)
            unique = {row.desc.digest: row.desc for row in rows}
            having = {digest for digest, desc in unique.items() if _has_part(source, desc, wanted)}
        rows = [row for row in rows if row.desc.digest in having]
    return _group(
        (
            row.reference.locator,
            str(row.desc.digest),
            row.reference.tag,
            merge_absent(row.row, store.blobs.exists) if row.row.absent else row.row,
        )
        for row in rows
    )


def _has_part(source: Source, desc: Descriptor, wanted: ListFilter) -> bool:
    from kitops.formats.modelkit import read_modelkit  # noqa: PLC0415 - listings without filters open no manifest

    try:
        return wanted.has_part(read_modelkit(source, desc))
    except (InvalidValueError, NotFoundError):
        return False


def _list_tags(name: str, source: Repository, run: Run) -> list[tuple[str, Repository, str]] | KitError:
    """The tags of one repository of a catalog; none where it is empty by now; why it cannot be read."""
    run.cancel.check()
    try:
        return [(name, source, tag) for tag in source.tags()]
    except NotFoundError:
        return []
    except UNREADABLE as error:
        return error


def _describe(
    tags: Sequence[tuple[str, Repository, str]],
    run: Run,
    wanted: ListFilter,
    left_out: LeftOut,
    *,
    is_catalog: bool = False,
) -> list[Listed]:
    """The ModelKits at these tags: a request a tag, and one more for each ModelKit, several at a time.

    A catalog is full of images that have nothing to do with models: there only those with a Kitfile are told. One whose
    config cannot be read is told as a warning, and listed where no filter asks for what only the config says.
    """
    from kitops.formats.shape import Shape, shape_of  # noqa: PLC0415 - as above
    from kitops.ops.details import details_of  # noqa: PLC0415 - as above

    asked = [row for row in tags if not is_fallback_tag(row[2]) and wanted.is_match(repo=row[0], tag=row[2])]
    manifests = run_all([partial(_fetch, source, tag) for _, source, tag in asked], run, workers=run.concurrency)
    found = [
        (repo, source, tag, manifest)
        for (repo, source, tag), one in zip(asked, manifests, strict=True)
        if (manifest := left_out.keep(f"{repo}:{tag}", one)) is not None
    ]
    unique = {(repo, manifest.descriptor.digest): (source, manifest) for repo, source, _, manifest in found}
    kits = run_all([partial(_understand, *pair) for pair in unique.values()], run, workers=run.concurrency)
    known = dict(zip(unique, kits, strict=True))
    rows: list[_Row] = []
    for repo, _, tag, manifest in found:
        kit = known[repo, manifest.descriptor.digest]
        if is_catalog and shape_of(manifest) is Shape.IMAGE and (isinstance(kit, KitError) or not kit.is_authored):
            continue
        if isinstance(kit, KitError):
            run.observer(Message("warning", f"{repo}:{tag} cannot be read: {kit.message}"))
            if not (wanted.parts or wanted.globs.keys() & {"name", "author"}):
                rows.append((repo, str(manifest.descriptor.digest), tag, None))
        elif wanted.has_part(kit):
            details = details_of(kit)
            if wanted.is_match(name=details.name, author=details.author):
                rows.append((repo, str(kit.desc.digest), tag, details))
    return _group(rows)


def _fetch(source: Repository, tag: str, run: Run) -> Manifest | KitError | None:
    """The manifest of a model at ``tag``; None where the tag is gone meanwhile, or points to something else.

    An error says why nobody knows.
    """
    from kitops.formats.modelkit import is_model_artifact  # noqa: PLC0415 - as above

    run.cancel.check()
    try:
        desc, raw = source.fetch_manifest(tag)
        if desc.media_type not in mediatype.MANIFESTS:
            return None
        manifest = Manifest.parse(raw, f"manifest {desc.digest}")
    except (InvalidValueError, NotFoundError):
        return None
    except UNREADABLE as error:
        return error
    return manifest if is_model_artifact(manifest) else None


def _understand(source: Repository, manifest: Manifest, run: Run) -> ModelKit | KitError:
    """The ModelKit, or why it is none."""
    from kitops.formats.modelkit import fetch_config, understand  # noqa: PLC0415 - as above

    run.cancel.check()
    try:
        return understand(manifest.descriptor, manifest, fetch_config(source, manifest))
    except (InvalidValueError, NotFoundError, *UNREADABLE) as error:
        return error


def _group(rows: Iterable[_Row]) -> list[Listed]:
    """One entry a repository and digest, with all its tags."""
    tags: dict[tuple[str, str], list[str]] = {}
    details: dict[tuple[str, str], RefDetails | None] = {}
    for repo, digest, tag, detail in rows:
        key = (repo, digest)
        tags.setdefault(key, [])
        details[key] = detail
        if tag is not None:
            tags[key].append(tag)
    rows_by_key = sorted(tags.items(), key=lambda item: (item[0][0], item[1], item[0][1]))
    return [_listed(repo, digest, found, details[repo, digest]) for (repo, digest), found in rows_by_key]


def _listed(repo: str, digest: str, tags: Iterable[str], row: RefDetails | None) -> Listed:
    names = tuple(sorted(tags))
    if row is None:
        return Listed(repo, digest, names, None, None, None)
    return Listed(repo, digest, names, row.name, row.author, row.size, partial=bool(row.absent))
