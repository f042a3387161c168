"""``kit push``: a ModelKit of the local store goes to a registry."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from kitops.content.copy import copy
from kitops.content.events import Message
from kitops.errors import NotFoundError, RegistryError
from kitops.ops.locate import check_destination, complete, locate
from kitops.ops.neighbours import Neighbours
from kitops.ops.plan import read_labels
from kitops.store.referrers import find_referrers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.content.copy import Copied
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.reference import Reference
    from kitops.ops.locate import Located
    from kitops.ops.place import Place
    from kitops.registry.repository import Repository


@dataclass(frozen=True, slots=True)
class Pushed:
    """What was pushed: its descriptor, where to, and how much was moved to each repository."""

    desc: Descriptor
    references: tuple[Reference, ...]
    copied: tuple[Copied, ...]


def push(place: Place, source: Reference, destinations: Sequence[Reference] = ()) -> Pushed:
    """Push ``source`` of the local store to ``destinations`` (to its own registry and tag without any).

    Raises:
        NotFoundError: the store has no such ModelKit.
        InvalidValueError: a destination names no registry.
    """
    named, source = source, complete(source, place.run)
    others = [source if target == named else complete(target, place.run) for target in destinations]
    targets = tuple(others) or (source,)
    for target in targets:
        check_destination(source, target)
    with locate(place, source, "local") as located:
        copied: dict[Reference, Copied] = {}
        for _, group in groupby(sorted(targets, key=lambda ref: ref.locator), lambda ref: ref.locator):
            tags = list(group)
            neighbours = Neighbours(place.store, tags[0], sure=copied)
            copied[tags[0]] = _push_to(place, located, tags, neighbours)
    return Pushed(located.desc, targets, tuple(copied.values()))


def _push_to(place: Place, located: Located, targets: Sequence[Reference], neighbours: Neighbours) -> Copied:
    """Copy the graph once and point every tag of one repository at it."""
    with place.registry(targets[0]) as sink:
        for target in targets:
            if target.digest is not None and target.digest != located.desc.digest:
                raise NotFoundError(f"{located.ref} is {located.desc.digest}, not {target.digest}")
        label = read_labels(located.source, located.desc)
        copied = copy(
            located.source, sink, located.desc, place.run, verb="push", neighbours=neighbours.find, label=label
        )
        for target in targets:
            if target.tag is not None:
                sink.tag(located.desc, target.tag)
        _push_referrers(place, located, sink)
        return copied


def _push_referrers(place: Place, located: Located, sink: Repository) -> None:
    """What is said of the ModelKit in the store (where it came from, who signed it) goes along.

    A registry that takes the ModelKit and not these is told of, and no reason to fail.
    """
    if not find_referrers(place.store, located.desc.digest):
        return
    from kitops.ops.ends import open_origin  # noqa: PLC0415 - most ModelKits have none
    from kitops.ops.location import Location  # noqa: PLC0415 - as above
    from kitops.ops.referrers import collect_referrers  # noqa: PLC0415 - as above

    with open_origin(place, Location.parse(f"local://{located.ref}")) as origin:
        for one in collect_referrers(origin, located.desc, place.run):
            try:
                copy(origin.source, sink, one.desc, place.run, verb="push")
                sink.keep(one.desc)
            except RegistryError as error:
                text = f"{sink.locator} does not take {one.desc.artifact_type} {one.desc.digest}: {error.message}"
                place.run.observer(Message("warning", text))
