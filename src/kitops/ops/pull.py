"""``kit pull``: a ModelKit, and those that it takes its model from, come into the local store.

So does any other artifact, an index with everything below it, as it is.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kitops.content.copy import copy
from kitops.content.events import Advanced, Finished, Message, Planned, Started
from kitops.content.parallel import run_all
from kitops.errors import InvalidValueError, NotFoundError
from kitops.formats.parts import Kind
from kitops.formats.select import NoPartError, is_kitfile_selected, select_layers
from kitops.ops.locate import check_remote, complete
from kitops.ops.parents import MAX_CHAIN, parent_reference
from kitops.ops.plan import Wanted, check_space, label_by, list_items, list_labels, plan_wanted
from kitops.ops.reading import read_if_kit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kitops.content.copy import Copied
    from kitops.content.protocols import Run
    from kitops.formats.modelkit import KitLayer
    from kitops.formats.select import Filter
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place
    from kitops.ops.plan import Plan
    from kitops.store.lease import Lease


@dataclass(frozen=True, slots=True)
class Pulled:
    """What was pulled: its descriptor, under which references, and how much was moved.

    Args:
        desc: the manifest.
        references: its names.
        copied: of this ModelKit, without its parents.
        left_out: layers that the filters left out.
    """

    desc: Descriptor
    references: tuple[Reference, ...]
    copied: Copied
    left_out: tuple[Digest, ...] = ()


def pull(
    place: Place, references: Sequence[Reference], filters: Sequence[Filter] = (), *, verify: bool = False
) -> tuple[Pulled, ...]:
    """Pull each of ``references``, and the chain of parents that their models come from.

    Manifests and configs are read first; nothing is written before it is known that everything fits.

    Args:
        place: where to.
        references: what.
        filters: leave out the layers that none of them asks for; what is here of those stays.
        verify: read what is here already, and fetch again what is damaged; else it is known by its length.

    Raises:
        InvalidValueError: a reference names no registry, or parents refer to one another in a circle.
        NotFoundError: there is no such ModelKit, or no part fits the filters.
        FileSystemError: the disk is too full.
        IntegrityError: the registry sent something else than it promised, twice.
    """
    with ExitStack() as stack:
        wanted = _list_wanted(place, references, filters, stack)
        if verify:
            _drop_damaged(place, wanted)
        plan = plan_wanted(place, wanted)
        check_space(plan, place)
        lease = stack.enter_context(place.store.lease("pull"))
        lease.add(*(item.digest for item in plan.items if item.state != "left-out"))
        pulled = [_pull_one(place, one, lease) for one in wanted]
    return tuple(found for one, found in zip(wanted, pulled, strict=True) if one.child is None)


def plan_pull(place: Place, references: Sequence[Reference], filters: Sequence[Filter] = ()) -> Plan:
    """What a pull would move, and whether it fits. Nothing is changed.

    Raises:
        KitError: as :func:`pull`.
    """
    with ExitStack() as stack:
        return plan_wanted(place, _list_wanted(place, references, filters, stack))


def _list_wanted(
    place: Place, references: Sequence[Reference], filters: Sequence[Filter], stack: ExitStack
) -> list[Wanted]:
    """The ModelKits of ``references``, each with its parents, understood from manifest and config."""
    for ref in references:
        check_remote(ref)
    found = [one for ref in references for one in _list_chain(place, complete(ref, place.run), filters, stack)]
    if filters and not is_kitfile_selected(filters) and not any(_select(one, filters) for one in found):
        raise NoPartError(references[0], f"kit info --remote {references[0]}")
    return found


def _list_chain(place: Place, ref: Reference, filters: Sequence[Filter], stack: ExitStack) -> Iterator[Wanted]:
    child = _look_up(place, ref, None, filters, stack)
    yield child
    seen = [child.desc.digest]
    current = child
    while current.kit is not None and (parent := parent_reference(current.kit.kitfile)) is not None:
        if len(seen) > MAX_CHAIN:
            raise InvalidValueError(f"model.path: more than {MAX_CHAIN} ModelKits refer to one another, last {parent}")
        if parent.is_local:
            _tell_local(place, current.ref, parent)
            return
        current = _look_up(place, parent, ref, filters, stack)
        if current.desc.digest in seen:
            raise InvalidValueError(f"model.path: {parent} refers back to a ModelKit that refers to it")
        yield current
        seen.append(current.desc.digest)


def _tell_local(place: Place, child: Reference, parent: Reference) -> None:
    """No registry has the parent: what is pulled is of use where the parent is in the store already."""
    try:
        place.store.refs.resolve(parent)
    except NotFoundError:
        text = f"{child} takes its model from {parent}, which names no registry and is not in the local store"
        place.run.observer(Message("warning", text))


def _look_up(
    place: Place, ref: Reference, child: Reference | None, filters: Sequence[Filter], stack: ExitStack
) -> Wanted:
    check_remote(ref)
    source = stack.enter_context(place.registry(ref, mirrored=True))
    desc = source.resolve(ref.pointer)
    kit = read_if_kit(source, desc)
    one = Wanted(ref, source, desc, kit, child=child)
    if not filters:
        return one
    if kit is None:
        raise InvalidValueError(f"{ref} has no parts that a filter could ask for", hint=f"kit pull {ref}")
    chosen = {layer.desc.digest for layer in _select(one, filters)}
    absent = dict.fromkeys(layer.desc.digest for layer in kit.layers if layer.desc.digest not in chosen)
    return Wanted(ref, source, desc, kit, tuple(absent), child)


def _select(one: Wanted, filters: Sequence[Filter]) -> list[KitLayer]:
    """The layers that are asked for; of a parent only its model, which is all that an unpack takes from there."""
    if one.kit is None:
        return []
    layers = select_layers(one.kit, filters)
    return [layer for layer in layers if one.child is None or layer.kind in (Kind.MODEL, Kind.MODEL_PART)]


def _drop_damaged(place: Place, wanted: Sequence[Wanted]) -> None:
    """Remove what is here of ``wanted`` and is not what it should be."""
    store, run = place.store, place.run
    found = [item for one in wanted for item in list_items(one.source, one.desc, one.kit, run)]
    here = {desc.digest: (desc, label) for desc, label in found if store.blobs.exists(desc.digest)}
    run.observer(Planned("verify", len(here), sum(desc.size for desc, _ in here.values())))

    def check(desc: Descriptor, label: str, run: Run) -> None:
        item = str(desc.digest)
        run.observer(Started(item, label, desc.size))
        if store.blobs.drop_damaged(desc, lambda size: run.observer(Advanced(item, size))):
            run.observer(Message("warning", f"{label} is damaged in the store: {desc.digest} is fetched again"))
        run.observer(Finished(item, "done"))

    run_all([partial(check, *one) for one in here.values()], run, workers=os.cpu_count() or 1)


def _pull_one(place: Place, one: Wanted, lease: Lease) -> Pulled:
    if one.child is not None:
        place.run.observer(Message("info", f"Pulling {one.ref}, which {one.child} takes its model from"))
    sink = place.store.repository(one.ref, lease, absent=one.absent)
    label = label_by(partial(list_labels, one.kit))
    copied = copy(one.source, sink, one.desc, place.run, verb="pull", skip=one.absent, label=label)
    if one.ref.tag is None or one.ref.digest is not None:
        sink.keep(one.desc)
    else:
        sink.tag(one.desc, one.ref.tag)
    return Pulled(one.desc, (one.ref,), copied, one.absent)
