"""``kit pull``: a ModelKit, and those that it takes its model from, come into the local store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.content.copy import copy
from kitops.content.events import Message
from kitops.errors import InvalidValueError
from kitops.formats.modelkit import read_modelkit
from kitops.ops.locate import check_remote, complete
from kitops.ops.parents import MAX_CHAIN, parent_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.content.copy import Copied
    from kitops.formats.modelkit import ModelKit
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place


@dataclass(frozen=True, slots=True)
class Pulled:
    """What was pulled: its descriptor, under which references, and how much was moved."""

    desc: Descriptor
    references: tuple[Reference, ...]
    copied: Copied


def pull(place: Place, references: Sequence[Reference]) -> tuple[Pulled, ...]:
    """Pull each of ``references``, and the chain of parents that their models come from.

    Raises:
        InvalidValueError: a reference names no registry, or parents refer to one another in a circle.
        NotFoundError: there is no such ModelKit.
        IntegrityError: the registry sent something else than it promised.
    """
    for ref in references:
        check_remote(ref)
    return tuple(_pull_chain(place, complete(ref, place.run)) for ref in references)


def _pull_chain(place: Place, ref: Reference) -> Pulled:
    pulled, kit = pull_one(place, ref)
    seen = [pulled.desc.digest]
    while (parent := parent_reference(kit.kitfile)) is not None:
        if len(seen) > MAX_CHAIN:
            raise InvalidValueError(f"model.path: more than {MAX_CHAIN} ModelKits refer to one another, last {parent}")
        place.run.observer(Message("info", f"Pulling {parent}, which {ref} takes its model from"))
        found, kit = pull_one(place, parent)
        if found.desc.digest in seen:
            raise InvalidValueError(f"model.path: {parent} refers back to a ModelKit that refers to it")
        seen.append(found.desc.digest)
    return pulled


def pull_one(place: Place, ref: Reference) -> tuple[Pulled, ModelKit]:
    """Pull one ModelKit without its parents.

    Raises:
        KitError: as :func:`pull`.
    """
    check_remote(ref)
    with place.registry(ref, mirrored=True) as source, place.store.lease("pull") as lease:
        desc = source.resolve(ref.pointer)
        lease.add(desc.digest)
        sink = place.store.repository(ref, lease)
        kit = read_modelkit(source, desc)
        copied = copy(source, sink, desc, place.run, verb="pull")
        if ref.tag is None or ref.digest is not None:
            sink.keep(desc)
        else:
            sink.tag(desc, ref.tag)
    return Pulled(desc, (ref,), copied), kit
