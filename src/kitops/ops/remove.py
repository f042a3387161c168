"""``kit remove``: ModelKits leave the store, or a registry."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.errors import NotFoundError
from kitops.ops.locate import check_pointer, check_remote
from kitops.store.gc import free

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed: references that were untagged, manifests that were deleted, bytes that came free."""

    untagged: tuple[Reference, ...]
    deleted: tuple[Reference, ...]
    freed: int


def remove(place: Place, references: Sequence[Reference], *, force: bool = False) -> Removed:
    """Remove ModelKits from the local store.

    A tag is taken away, and the ModelKit with its last one; a digest, or ``force``, deletes the ModelKit with all its
    tags in that repository.

    Raises:
        InvalidValueError: a reference has neither tag nor digest.
        NotFoundError: there is no such ModelKit.
    """
    for ref in references:
        check_pointer(ref)
    refs = place.store.refs
    return _remove(place, [(ref, refs.resolve(ref)) for ref in references], force=force)  # all are there, or none goes


def remove_all(place: Place, *, force: bool = False) -> Removed:
    """Remove every untagged ModelKit of the store; with ``force`` every ModelKit."""
    doomed = dict.fromkeys(
        (row.reference.with_digest(row.desc.digest), row.desc)
        for row in place.store.refs.list()
        if force or row.reference.tag is None
    )
    return _remove(place, list(doomed), force=True)


def _remove(place: Place, doomed: Sequence[tuple[Reference, Descriptor]], *, force: bool) -> Removed:
    """Remove what was found under these references; what another process removes first is not counted."""
    untagged: list[Reference] = []
    deleted: list[Reference] = []
    gone: list[Digest] = []
    with place.store.refs.batch() as refs:
        for ref, desc in doomed:
            place.run.cancel.check()
            by_digest = ref.with_digest(desc.digest)
            if by_digest in deleted:  # another of its tags was named before
                continue
            if force or ref.digest is not None:
                with suppress(NotFoundError):
                    untagged += [ref.with_tag(tag) for tag in refs.remove_root(by_digest)]
                    deleted.append(by_digest)
                    gone.append(desc.digest)
            elif refs.untag(ref, desc):
                untagged.append(ref)
                if refs.release(by_digest, desc.digest):
                    deleted.append(by_digest)
                    gone.append(desc.digest)
    return Removed(tuple(untagged), tuple(deleted), free(place.store, gone, place.run))


def remove_remote(place: Place, references: Sequence[Reference], *, force: bool = False) -> Removed:
    """Remove ModelKits from their registry: a tag is taken away; a digest, or ``force``, deletes the manifest.

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
    for ref in references:
        with place.registry(ref) as repository:
            desc = repository.resolve(ref.pointer)
            if force or ref.digest is not None:
                repository.delete(str(desc.digest))
                deleted.append(ref.with_digest(desc.digest))
            else:
                repository.delete(ref.pointer)
                untagged.append(ref)
    return Removed(tuple(untagged), tuple(deleted), 0)
