"""``kit remove``: ModelKits leave the store, or a registry."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kitops.content.events import Message
from kitops.errors import FileSystemError, InvalidValueError, NotFoundError, RegistryError, StoreError
from kitops.ops.ends import repository_origin
from kitops.ops.locate import check_pointer, check_remote
from kitops.ops.referrers import collect_referrers
from kitops.store.gc import Freed, free
from kitops.store.shelf import overlook

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place
    from kitops.registry.repository import Repository
    from kitops.store.refs import Refs


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed.

    Args:
        untagged: references that were untagged.
        deleted: manifests that were deleted.
        freed: bytes that came free.
        in_use: bytes that something running still reads: :func:`kitops.ops.prune.prune` frees them afterwards.
    """

    untagged: tuple[Reference, ...]
    deleted: tuple[Reference, ...]
    freed: int
    in_use: int = 0


@dataclass(frozen=True, slots=True)
class _Doomed:
    """What is to be removed from one repository of the store.

    Args:
        ref: as it was found.
        desc: what that points to.
        how: take the tag away, and the ModelKit with its last one; release it unless it has a tag; or delete it with
            all its tags.
    """

    ref: Reference
    desc: Descriptor
    how: Literal["untag", "release", "delete"]


def remove(place: Place, references: Sequence[Reference], *, force: bool = False) -> Removed:
    """Remove ModelKits from the local store.

    A tag is taken away, and the ModelKit with its last one; a digest in a repository, or ``force``, deletes the
    ModelKit with all its tags there. A bare digest names a ModelKit without tags; with ``force`` whatever has it. What
    refers to a ModelKit in its repository, and has no tag, goes with it.

    Raises:
        InvalidValueError: a reference has neither tag nor digest, or is the bare digest of a ModelKit that has tags.
        NotFoundError: there is no such ModelKit.
    """
    for ref in references:
        check_pointer(ref)
    refs = place.store.refs
    return _remove(place, [doomed for ref in references for doomed in _find(refs, ref, force=force)])


def _find(refs: Refs, ref: Reference, *, force: bool) -> list[_Doomed]:
    """What a reference means; all of several are looked up before any goes."""
    desc = refs.resolve(ref)
    if not ref.is_unnamed:
        return [_Doomed(ref, desc, "delete" if force or ref.digest is not None else "untag")]
    homes = refs.homes(desc.digest)
    if force:
        return [_Doomed(home, desc, "delete") for home in homes]
    tags = {home: refs.tags_of(home, desc.digest) for home in homes}
    untagged = [_Doomed(home, desc, "release") for home in homes if not tags[home]]
    if not untagged:
        names = [str(home.with_tag(tag)) for home in homes for tag in tags[home]]
        raise InvalidValueError(
            f"{ref} is the digest of {', '.join(names)}",
            hint=f"`kit remove {names[0]}` takes a name away, `kit remove --force {ref}` all of them",
        )
    return untagged


def remove_all(place: Place, *, force: bool = False) -> Removed:
    """Remove every untagged ModelKit of the store but what refers to one that stays; with ``force`` every ModelKit."""
    rows = place.store.refs.list()
    subjects = {row.desc.digest: row.row.subject for row in rows}
    staying = {row.desc.digest for row in rows if row.reference.tag is not None}
    doomed = dict.fromkeys(
        _Doomed(row.reference.with_digest(row.desc.digest), row.desc, "delete" if force else "release")
        for row in rows
        if force or (row.reference.tag is None and _last_subject(row.desc.digest, subjects) not in staying)
    )
    return _remove(place, list(doomed))


def _remove(place: Place, doomed: Sequence[_Doomed]) -> Removed:
    """Remove what was found; what another process removes first is not counted."""
    untagged: list[Reference] = []
    deleted: list[Reference] = []
    with place.store.refs.batch() as refs:
        for one in doomed:
            place.run.cancel.check()
            by_digest = one.ref.with_digest(one.desc.digest)
            if by_digest in deleted:  # another of its tags was named before
                continue
            if one.how == "delete":
                with suppress(NotFoundError):
                    untagged += [one.ref.with_tag(tag) for tag in refs.remove_root(by_digest)]
                    deleted.append(by_digest)
                continue
            if one.how == "untag":
                if not refs.untag(one.ref, one.desc):
                    continue
                untagged.append(one.ref)
            if refs.release(by_digest, one.desc.digest):
                deleted.append(by_digest)
        deleted += _release_referrers(refs, deleted)
    freed = _free(place, [ref.digest for ref in deleted if ref.digest is not None])
    return Removed(tuple(untagged), tuple(deleted), freed.size, freed.in_use)


def _free(place: Place, gone: Sequence[Digest]) -> Freed:
    """Free what was removed; it is gone from the store's names whether that works or not."""
    try:
        return free(place.store, gone, place.run)
    except (StoreError, FileSystemError) as error:
        hint = f" ({error.hint})" if error.hint else ""
        place.run.observer(Message("warning", f"the space of what was removed is not free yet: {error.message}{hint}"))
        return Freed()


def _release_referrers(refs: Refs, deleted: Sequence[Reference]) -> list[Reference]:
    """Give up what has no tag and refers, in the end, to what was deleted from the same repository."""
    released: list[Reference] = []
    for locator in {ref.locator for ref in deleted}:
        gone = {ref.digest for ref in deleted if ref.locator == locator}
        repository = next(ref for ref in deleted if ref.locator == locator)
        rows = refs.list(repository, damaged=overlook)
        subjects = {row.desc.digest: row.row.subject for row in rows}
        for row in rows:
            is_referrer = row.reference.tag is None and row.row.subject is not None
            if is_referrer and _last_subject(row.desc.digest, subjects) in gone:
                by_digest = repository.with_digest(row.desc.digest)
                if refs.release(by_digest, row.desc.digest):
                    released.append(by_digest)
    return released


def _last_subject(digest: Digest, subjects: Mapping[Digest, Digest | None]) -> Digest:
    """What a manifest refers to in the end; itself where it refers to nothing."""
    while (subject := subjects.get(digest)) is not None:
        digest = subject
    return digest


def remove_remote(
    place: Place, references: Sequence[Reference], *, force: bool = False, referrers: bool = False
) -> Removed:
    """Remove ModelKits from their registry: a tag is taken away; a digest, or ``force``, deletes the manifest.

    Args:
        place: the way to registries.
        references: each with a tag or digest.
        force: delete the manifest, and with it every tag that points to it.
        referrers: delete what refers to a deleted manifest too; else it stays, and it is told.

    Raises:
        InvalidValueError: a reference names no registry, or has neither tag nor digest.
        NotFoundError: there is no such ModelKit.
        RegistryError: the registry does not allow it.
    """
    untagged: list[Reference] = []
    deleted: list[Reference] = []
    for ref in references:
        check_remote(ref)
        check_pointer(ref)
    with ExitStack() as stack:
        repositories: dict[str, Repository] = {}
        for ref in references:
            if ref.locator not in repositories:
                repositories[ref.locator] = stack.enter_context(place.registry(ref))
        resolved = [(ref, repositories[ref.locator].resolve(ref.pointer)) for ref in references]
        for ref, desc in resolved:  # all are there, or none goes
            if ref.with_digest(desc.digest) in deleted:  # another of its tags was named before
                continue
            repository = repositories[ref.locator]
            if force or ref.digest is not None:
                deleted += _delete(place, repository, ref, desc, referrers=referrers)
            else:
                _untag(repository, ref)
                untagged.append(ref)
    return Removed(tuple(untagged), tuple(deleted), 0)


def _delete(
    place: Place, repository: Repository, ref: Reference, desc: Descriptor, *, referrers: bool
) -> list[Reference]:
    """Delete a manifest, after what refers to it: killed in between, nothing refers to what is gone."""
    doomed = [desc.digest]
    if referrers:
        origin = repository_origin(repository, ref, place.run)
        doomed += [one.desc.digest for one in collect_referrers(origin, desc, place.run)]
    else:
        _tell_referrers(place, repository, ref, desc)
    for digest in reversed(doomed):
        repository.delete(str(digest))
    return [ref.with_digest(digest) for digest in doomed]


def _tell_referrers(place: Place, repository: Repository, ref: Reference, desc: Descriptor) -> None:
    try:
        found = repository.referrers(desc.digest)
    except (RegistryError, InvalidValueError) as error:
        place.run.observer(Message("debug", f"what refers to {ref} is not known: {error.message}"))
        return
    if found:
        kinds = ", ".join(sorted({one.artifact_type or one.media_type for one in found}))
        text = f"what refers to {ref} stays ({len(found)}: {kinds}); --referrers deletes it too"
        place.run.observer(Message("warning", text))


def _untag(repository: Repository, ref: Reference) -> None:
    try:
        repository.delete(ref.pointer)
    except RegistryError as error:
        if error.status not in (400, 405, 501):
            raise
        raise RegistryError(
            f"taking the tag from {ref}: the registry does not do that",
            status=error.status,
            codes=error.codes,
            request=error.request,
            hint=f"`kit remove --remote --force {ref}` deletes the ModelKit with all its tags",
        ) from error
