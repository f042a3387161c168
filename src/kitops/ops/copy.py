"""``kit copy``: artifacts from one place to another: registries, the store, OCI image layouts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.content.copy import copy as copy_graph
from kitops.content.copy import list_graph
from kitops.content.events import Message
from kitops.errors import InvalidValueError, NotFoundError
from kitops.ops.ends import MountingSink, add_up, open_origin, open_target
from kitops.ops.referrers import collect_referrers
from kitops.ops.save import Item, write_archive
from kitops.store.filesystem import check_room

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kitops.content.copy import Copied
    from kitops.oci.descriptor import Descriptor
    from kitops.ops.ends import Origin, Root, Target
    from kitops.ops.location import Location
    from kitops.ops.place import Place


@dataclass(frozen=True, slots=True)
class Transferred:
    """What was copied.

    Args:
        desc: the manifest or index.
        names: what it is called where it went to.
        referrers: what went with it.
        copied: how much was moved, in all.
        mounted: blobs that the registry took over from another repository of its own.
    """

    desc: Descriptor
    names: tuple[str, ...]
    referrers: tuple[Descriptor, ...]
    copied: Copied
    mounted: int


def copy(place: Place, source: Location, destination: Location, *, recursive: bool = False) -> Transferred:
    """Copy an artifact of any type, an index with everything below it, from ``source`` to ``destination``.

    Args:
        place: where the store and the way to registries are.
        source: one artifact.
        destination: where to; without a tag it gets that of the source, without a name its own.
        recursive: with what refers to it, and what refers to that.

    Raises:
        NotFoundError: there is no such artifact.
        InvalidValueError: a destination cannot be written to like that.
        IntegrityError: a blob is damaged.
    """
    with open_origin(place, source) as origin:
        return copy_root(place, origin, origin.resolve(source), destination, recursive=recursive)


def copy_all(
    place: Place, source: Location, destination: Location, *, recursive: bool = False
) -> tuple[Transferred, ...]:
    """Copy everything that has a tag in the repository of ``source``, or a name in that layout, under the same tag.

    Raises:
        NotFoundError: there is nothing.
        InvalidValueError: a tag or name was given, or ``destination`` is an archive.
    """
    for location in (source, destination):
        if location.name is not None or any(ref.tag or ref.digest for ref in location.references):
            raise InvalidValueError("with all tags, source and destination are named without one")
    if destination.kind == "archive":
        raise InvalidValueError("several artifacts cannot be copied into one archive", hint="kit save REF... -o FILE")
    with open_origin(place, source) as origin:
        tags = sorted(origin.list_tags())
        if not tags:
            raise NotFoundError("there is nothing to copy: nothing has a tag")
        return tuple(
            copy_root(place, origin, origin.resolve(source.with_tag(tag)), destination, recursive=recursive)
            for tag in tags
        )


def copy_root(
    place: Place, origin: Origin, root: Root, destination: Location, *, recursive: bool = False
) -> Transferred:
    """As :func:`copy`, of what was looked up in an origin that is open."""
    run = place.run
    found = collect_referrers(origin, root.desc, run) if recursive else ()
    referrers = tuple(one.desc for one in found)
    if destination.kind == "archive":
        if os.path.lexists(destination.path):
            raise InvalidValueError(f"{destination.path} is there already", hint="kit save REF... -o FILE replaces it")
        name = destination.name or root.name
        items = [Item(origin.source, root.desc, name), *(Item(origin.source, desc, None) for desc in referrers)]
        return Transferred(root.desc, (name or str(root.desc.digest),), referrers,
                           write_archive(destination.path, items, run, verb="copy"), 0)  # fmt: skip
    with open_target(place, destination, root, origin) as target:
        if destination.kind in ("store", "directory"):
            where = place.store.layout.root if destination.kind == "store" else str(destination.path)
            _check_room(place, origin, target, (root.desc, *referrers), where)
        copied = [] if target.is_same else [
            copy_graph(origin.source, target.sink, desc, run) for desc in (root.desc, *referrers)
        ]  # fmt: skip
        for desc in referrers:  # before the root has its name: who looks for it then finds its signatures
            target.sink.keep(desc)
        target.finish(root.desc)
    return Transferred(root.desc, target.names, referrers, add_up(copied), _tell_mounts(place, target))


def _check_room(place: Place, origin: Origin, target: Target, roots: Iterable[Descriptor], where: str) -> None:
    """Refuse before the first blob what will not fit."""
    blobs = {blob.digest: blob for root in roots for blob in list_graph(origin.source, root, {}, place.run)}
    check_room(where, sum(blob.size for blob in blobs.values() if not target.sink.exists(blob)), "copying into")


def _tell_mounts(place: Place, target: Target) -> int:
    mounted = target.sink.mounted if isinstance(target.sink, MountingSink) else 0
    if mounted:
        place.run.observer(Message("info", f"{mounted} blobs were taken over within the registry"))
    return mounted
