"""What a pull or push would move: what is new, what is there, and how much disk it takes. Nothing is changed."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Final, Literal

from kitops.content.copy import is_manifest, list_graph
from kitops.content.parallel import run_all
from kitops.content.spans import WORTH_LANDING
from kitops.errors import FileSystemError, KitError
from kitops.ops.locate import check_destination, complete, locate
from kitops.ops.neighbours import Lenders
from kitops.ops.reading import read_if_kit
from kitops.store.filesystem import free_space, nearest
from kitops.store.lease import live_leases
from kitops.store.partial import find_orphans

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from kitops.content.protocols import Run, Source
    from kitops.formats.modelkit import ModelKit
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.oci.gojson import Json
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place
    from kitops.registry.repository import Repository
    from kitops.store import Store

State = Literal["new", "partial", "exists", "mountable", "left-out", "missing"]
_BLOCK: Final = 4096


@dataclass(frozen=True, slots=True)
class Item:
    """One blob or manifest of a plan.

    Args:
        digest: what it is.
        label: what to call it in front of people.
        size: in bytes.
        state: ``new``; ``partial``: an earlier attempt left some of it; ``exists`` where it would go; ``mountable``:
            another repository of the registry has it; ``left-out`` by a filter; ``missing``: to be pushed, but left
            out of the store by a filtered pull.
        present: bytes of it that need not be moved.
        disk: bytes that it will take beyond what it takes now.
    """

    digest: Digest
    label: str
    size: int
    state: State
    present: int = 0
    disk: int = 0

    def to_json(self) -> dict[str, Json]:
        """The item with plain values; sizes in bytes."""
        return {
            "digest": str(self.digest),
            "label": self.label,
            "size": self.size,
            "state": self.state,
            "present": self.present,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be moved.

    Args:
        verb: ``pull`` or ``push``.
        references: what is pulled, parents included, or where it is pushed to.
        items: each digest once, in the order of the manifests.
        needed: bytes of disk that it takes here; None for a push.
        free: bytes that are free there; None where the system does not tell, and for a push.
    """

    verb: Literal["pull", "push"]
    references: tuple[Reference, ...]
    items: tuple[Item, ...]
    needed: int | None = None
    free: int | None = None

    @property
    def transfer(self) -> int:
        """Bytes that would be moved."""
        return sum(item.size - item.present for item in self.items if item.state in ("new", "partial"))

    def size_of(self, *states: State) -> int:
        """Bytes of the items in one of these states."""
        return sum(item.size for item in self.items if item.state in states)

    @property
    def fits(self) -> bool:
        """Whether there is room for it, as far as is known."""
        return self.needed is None or self.free is None or self.needed <= self.free

    def to_json(self) -> dict[str, Json]:
        """The plan with plain values; sizes in bytes."""
        found: dict[str, Json] = {
            "verb": self.verb,
            "references": [str(ref) for ref in self.references],
            "transfer": self.transfer,
            "exists": self.size_of("exists"),
            "mountable": self.size_of("mountable"),
            "leftOut": self.size_of("left-out"),
            "missing": self.size_of("missing"),
            "items": [item.to_json() for item in self.items],
        }
        if self.needed is not None:
            found["disk"] = {"needed": self.needed, "free": self.free, "fits": self.fits}
        return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """A ModelKit, or anything else, that is to be pulled.

    Args:
        ref: its reference.
        source: its repository, open.
        desc: what the reference points to.
        kit: what that is; None for what can only be moved.
        absent: the layers that are left out.
        child: the reference that takes its model from it, if it is a parent.
    """

    ref: Reference
    source: Repository
    desc: Descriptor
    kit: ModelKit | None
    absent: tuple[Digest, ...] = ()
    child: Reference | None = None


def plan_wanted(place: Place, wanted: Sequence[Wanted]) -> Plan:
    """The plan of a pull of ``wanted``. Reads the store, changes nothing."""
    items: dict[Digest, Item] = {}
    for one in wanted:
        for desc, label in list_items(one.source, one.desc, one.kit, place.run):
            item = _plan_here(place.store, desc, label, one.absent)
            if desc.digest not in items or items[desc.digest].state == "left-out":
                items[desc.digest] = item
    needed = sum(item.disk for item in items.values())
    free = free_space(nearest(place.store.layout.root))
    return Plan("pull", tuple(one.ref for one in wanted), tuple(items.values()), needed, free)


def check_space(plan: Plan, place: Place) -> None:
    """Refuse a plan that will not fit.

    Raises:
        FileSystemError: the disk is too full; the message has both numbers.
    """
    if not plan.fits:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        root = place.store.layout.root
        raise FileSystemError.wrap(full, "pulling into", root, needed=plan.needed, free=plan.free)


def plan_push(place: Place, source: Reference, destinations: Sequence[Reference] = ()) -> Plan:
    """What a push of ``source`` to ``destinations`` (to its own registry without any) would send.

    Raises:
        NotFoundError: the store has no such ModelKit.
        InvalidValueError: a destination names no registry.
    """
    source = complete(source, place.run)
    targets = tuple(complete(target, place.run) for target in destinations) or (source,)
    for target in targets:
        check_destination(source, target)
    items: list[Item] = []
    with locate(place, source, "local") as located:
        wanted = list_items(located.source, located.desc, read_if_kit(located.source, located.desc), place.run)
        served: list[Reference] = []
        for target in {target.locator: target for target in targets}.values():
            with place.registry(target) as sink, Lenders(place, target, served) as lenders:
                items += _plan_there(place, sink, lenders, wanted, located.ref.locator)
            served.append(target)
    return Plan("push", targets, tuple(items))


def list_items(source: Source, desc: Descriptor, kit: ModelKit | None, run: Run) -> list[tuple[Descriptor, str]]:
    """Everything that is moved, and what to call it."""
    if kit is None:
        manifests: dict[Descriptor, bytes] = {}
        blobs = list_graph(source, desc, manifests, run)
        return [*((item, "manifest") for item in manifests), *((blob, blob.digest.short) for blob in blobs)]
    labels = list_labels(kit)
    layers = [(layer, labels.get(layer.digest, layer.digest.short)) for layer in kit.manifest.layers]
    return [(kit.desc, "manifest"), (kit.manifest.config, "config"), *layers]


def list_labels(kit: ModelKit | None) -> dict[Digest, str]:
    """What to call the blobs of ``kit`` in front of people; nothing for what can only be moved."""
    if kit is None:
        return {}
    return {kit.manifest.config.digest: "config"} | {layer.desc.digest: layer.label for layer in kit.layers}


def label_by(labels: Callable[[], Mapping[Digest, str]]) -> Callable[[Digest], str]:
    """What to call a blob: by ``labels``, which are made when the first is asked for; else by its digest."""
    made = cache(labels)
    return lambda digest: made().get(digest, digest.short)


def read_labels(source: Source, desc: Descriptor) -> Callable[[Digest], str]:
    """As :func:`list_labels`, of what ``source`` has; nothing where it cannot be read: moving it tells why."""

    def read() -> Mapping[Digest, str]:
        try:
            return list_labels(read_if_kit(source, desc))
        except KitError:
            return {}

    return label_by(read)


def _plan_here(store: Store, desc: Descriptor, label: str, absent: Collection[Digest]) -> Item:
    if store.blobs.exists(desc.digest) and store.blobs.size(desc.digest) == desc.size:
        return Item(desc.digest, label, desc.size, "exists", present=desc.size)
    if desc.digest in absent:
        return Item(desc.digest, label, desc.size, "left-out")
    disk = -(-desc.size // _BLOCK) * _BLOCK
    if desc.size >= WORTH_LANDING:
        live = {lease.id for lease in live_leases(store.layout, time.time_ns())}
        orphans = find_orphans(store.layout, desc.digest, live)
        present = max((orphan.size for orphan in orphans), default=0)
        if present:
            allocated = max((orphan.allocated for orphan in orphans if orphan.is_free), default=0)
            return Item(desc.digest, label, desc.size, "partial", present, max(0, disk - allocated))
    return Item(desc.digest, label, desc.size, "new", disk=disk)


def _plan_there(
    place: Place, sink: Repository, lenders: Lenders, wanted: Iterable[tuple[Descriptor, str]], locator: str
) -> list[Item]:
    """What a push to ``sink`` would send; what is not here can only come from ``locator``, its own repository."""

    def look(desc: Descriptor, label: str, run: Run) -> Item:
        run.cancel.check()
        if sink.exists(desc):
            return Item(desc.digest, label, desc.size, "exists", present=desc.size)
        is_here = place.store.blobs.exists(desc.digest)
        if not is_manifest(desc) and (lenders.have(desc) if is_here else lenders.has(locator, desc)):
            return Item(desc.digest, label, desc.size, "mountable", present=desc.size)
        return Item(desc.digest, label, desc.size, "new" if is_here else "missing")

    unique = {desc.digest: (desc, label) for desc, label in wanted}
    jobs = [partial(look, desc, label) for desc, label in unique.values()]
    return run_all(jobs, place.run, workers=place.run.concurrency)
