"""``kit push``: a ModelKit of the local store goes to a registry."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from kitops.content.copy import copy
from kitops.errors import NotFoundError
from kitops.ops.locate import check_remote, complete, locate
from kitops.ops.neighbours import Neighbours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.content.copy import Copied
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.reference import Reference
    from kitops.ops.locate import Located
    from kitops.ops.place import Place


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
        check_remote(target)
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
        copied = copy(located.source, sink, located.desc, place.run, verb="push", neighbours=neighbours.find)
        for target in targets:
            if target.tag is not None:
                sink.tag(located.desc, target.tag)
        return copied
