"""``kit tag``: another name for a ModelKit of the local store, or for anything in a registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.errors import InvalidValueError, NotFoundError
from kitops.ops.locate import check_pointer, check_remote
from kitops.ops.location import Location

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.oci.descriptor import Descriptor
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place


@dataclass(frozen=True, slots=True)
class Tagged:
    """The ModelKit, and what it is called now."""

    desc: Descriptor
    references: tuple[Reference, ...]


def tag(place: Place, source: Reference, destinations: Sequence[Reference]) -> Tagged:
    """Give the ModelKit ``source`` the names ``destinations``.

    Raises:
        InvalidValueError: ``source`` has neither tag nor digest, or a destination has no tag.
        NotFoundError: there is no such ModelKit.
    """
    _check(source, destinations)
    with place.store.lease("tag") as lease:
        desc = place.store.refs.resolve(source)
        details = place.store.refs.details(source)
        if not place.store.repository(source, lease, absent=details.absent).exists(desc):
            remote = place.store.refs.find_remote(source, desc.digest)
            hint = f"kit pull {remote}" if remote else "pack it again"
            raise NotFoundError(f"{source} is not whole in the store", hint=hint)
        for destination in destinations:
            place.store.refs.tag(destination, desc, details, lease)
    return Tagged(desc, tuple(destinations))


def tag_remote(place: Place, source: Reference, destinations: Sequence[Reference]) -> Tagged:
    """Give what ``source`` is in its registry the names ``destinations`` in the same registry.

    In the same repository only the manifest is put again; to another one its blobs are mounted.

    Raises:
        InvalidValueError: a name lacks a tag, or is in another registry.
        NotFoundError: there is no such artifact.
        RegistryError: the registry does not allow it.
    """
    from kitops.ops.copy import copy_root  # noqa: PLC0415 - local tags need none of it
    from kitops.ops.ends import repository_origin  # noqa: PLC0415 - as above

    _check(source, destinations)
    for ref in (source, *destinations):
        check_remote(ref)
        if ref.registry != source.registry:
            raise InvalidValueError(f"{ref} is not in the registry of {source}", hint=f"kit copy {source} {ref}")
    with place.registry(source) as repository:  # what writes asks no mirror what a tag points to
        origin = repository_origin(repository, source, place.run)
        root = origin.resolve(Location("registry", (source,)))
        for destination in destinations:
            copy_root(place, origin, root, Location("registry", (destination,)))
    return Tagged(root.desc, tuple(destinations))


def _check(source: Reference, destinations: Sequence[Reference]) -> None:
    check_pointer(source)
    for destination in destinations:
        if destination.tag is None or destination.digest is not None:
            raise InvalidValueError(f"{destination} is not a name with a tag", hint="name it like team/model:v2")
