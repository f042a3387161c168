"""``kit save``: any number of ModelKits, with what refers to them, in one file that crosses any gap."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.content.copy import copy as copy_graph
from kitops.content.copy import list_graph
from kitops.content.events import Message
from kitops.errors import InvalidValueError, NotFoundError
from kitops.formats.modelkit import read_modelkit
from kitops.layout.write import create_archive, plan_archive, write_stream
from kitops.ops.ends import add_up, open_origin
from kitops.ops.locate import check_pointer
from kitops.ops.location import Location
from kitops.ops.parents import MAX_CHAIN, parent_reference
from kitops.ops.referrers import collect_referrers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kitops.content.copy import Copied
    from kitops.content.protocols import Run, Source
    from kitops.layout.write import Plan
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.oci.reference import Reference
    from kitops.ops.ends import Origin, Root
    from kitops.ops.place import Place


@dataclass(frozen=True, slots=True)
class Saved:
    """What was saved: what each ModelKit is called and its manifest, how many referrers, bytes of the file."""

    kits: tuple[tuple[str | None, Descriptor], ...]
    referrers: tuple[Descriptor, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Item:
    """A manifest that goes into an archive: where it is, and what it is to be called."""

    source: Source
    desc: Descriptor
    name: str | None


@dataclass(frozen=True, slots=True)
class SaveOptions:
    """How to save.

    Args:
        remote: from the registries, not from the store where that has it.
        referrers: with what refers to the ModelKits.
        parents: with the ModelKits that they take their models from.
    """

    remote: bool = False
    referrers: bool = True
    parents: bool = True


def save(
    place: Place,
    references: Sequence[Reference],
    output: str | Callable[[bytes | memoryview], None],
    options: SaveOptions | None = None,
) -> Saved:
    """Write ``references`` into one archive, an OCI image layout in a tar; its bytes depend on its content alone.

    Args:
        place: where they are: the store, else their registry.
        references: each with a tag or digest.
        output: a file, which appears whole or not at all; or what writes all of the bytes that it is given.
        options: what goes with them.

    Raises:
        InvalidValueError: a reference has neither tag nor digest, or there is none.
        NotFoundError: there is no such ModelKit.
        FileSystemError: the file cannot be written.
    """
    options = options or SaveOptions()
    if not references:
        raise InvalidValueError("there is nothing to save")
    with ExitStack() as stack:
        roots = list(_open_roots(place, references, options, stack))
        items = [Item(origin.source, root.desc, root.name) for origin, root in roots]
        referrers: dict[Digest, Descriptor] = {}
        for origin, root in roots if options.referrers else ():
            for one in collect_referrers(origin, root.desc, place.run):
                if one.desc.digest not in referrers:
                    referrers[one.desc.digest] = one.desc
                    items.append(Item(origin.source, one.desc, None))
        if isinstance(output, str):
            write_archive(output, items, place.run, verb="save")
            size = os.path.getsize(output)
        else:
            plan, homes = _plan(items, place.run)
            write_stream(plan, lambda desc: homes[desc.digest], output, place.run)
            size = plan.size
    return Saved(tuple((root.name, root.desc) for _, root in roots), tuple(referrers.values()), size)


def write_archive(path: str, items: Sequence[Item], run: Run, *, verb: str) -> Copied:
    """Write an archive with ``items`` and everything below them.

    Raises:
        KitError: a source fails, or the file cannot be written; there is no file then.
    """
    plan, _ = _plan(items, run)
    with create_archive(path, plan, run) as file:
        copied = [copy_graph(item.source, file, item.desc, run, verb=verb) for item in items]
        file.publish()
    return add_up(copied)


def _plan(items: Sequence[Item], run: Run) -> tuple[Plan, dict[Digest, Source]]:
    """The archive of ``items``, and where each blob is."""
    homes: dict[Digest, Source] = {}
    blobs: dict[Digest, Descriptor] = {}
    for item in items:
        manifests: dict[Descriptor, bytes] = {}
        for desc in [*list_graph(item.source, item.desc, manifests, run), *manifests]:
            homes.setdefault(desc.digest, item.source)
            blobs.setdefault(desc.digest, desc)
    return plan_archive([(item.desc, item.name) for item in items], blobs.values()), homes


def _open_roots(
    place: Place, references: Sequence[Reference], options: SaveOptions, stack: ExitStack
) -> Iterator[tuple[Origin, Root]]:
    """Each reference once, then the parents of its ModelKit."""
    seen: set[str] = set()
    for ref in references:
        check_pointer(ref)
        wanted: Reference | None = ref
        count = 0
        while wanted is not None and str(wanted) not in seen:
            seen.add(str(wanted))
            if count > MAX_CHAIN:
                raise InvalidValueError(f"model.path: more than {MAX_CHAIN} ModelKits follow {ref}, last {wanted}")
            if count:
                place.run.observer(Message("info", f"With {wanted}, which {ref} takes its model from"))
            origin, root = _open_root(place, wanted, options, stack)
            yield origin, root
            wanted = _parent(origin, root) if options.parents else None
            count += 1


def _open_root(place: Place, ref: Reference, options: SaveOptions, stack: ExitStack) -> tuple[Origin, Root]:
    if not options.remote or ref.is_local:
        location = Location.parse(f"local://{ref}")
        try:
            origin = stack.enter_context(open_origin(place, location))
            return origin, origin.resolve(location)
        except NotFoundError:
            if ref.is_local:
                raise
    location = Location.parse(f"remote://{ref}")
    origin = stack.enter_context(open_origin(place, location))
    return origin, origin.resolve(location)


def _parent(origin: Origin, root: Root) -> Reference | None:
    """The ModelKit that this one takes its model from; what is no ModelKit has none."""
    try:
        return parent_reference(read_modelkit(origin.source, root.desc).kitfile)
    except InvalidValueError:
        return None
