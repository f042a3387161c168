"""Parent ModelKits: a Kitfile whose ``model.path`` is a reference takes its model from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.errors import InvalidValueError, NotFoundError
from kitops.formats.modelkit import read_modelkit
from kitops.kitfile.schema import model_reference
from kitops.ops.locate import locate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import ExitStack

    from kitops.formats.modelkit import ModelKit
    from kitops.kitfile.schema import Kitfile
    from kitops.oci.reference import Reference
    from kitops.ops.locate import Located
    from kitops.ops.place import Place

MAX_CHAIN: Final = 10
"""How many parents may follow one another, as in the Go tool."""


@dataclass(frozen=True, slots=True)
class Parent:
    """A parent ModelKit, readable while the stack that it was opened on is."""

    ref: Reference
    located: Located
    kit: ModelKit


def parent_reference(kitfile: Kitfile) -> Reference | None:
    """The ModelKit that ``kitfile`` takes its model from, if any."""
    return None if kitfile.model is None else model_reference(kitfile.model)


def open_parents(place: Place, kitfile: Kitfile, stack: ExitStack) -> Iterator[Parent]:
    """The parents of ``kitfile``, nearest first; each found in the local store, else in its registry.

    Args:
        place: where to look.
        kitfile: the child's.
        stack: keeps the parents open.

    Raises:
        InvalidValueError: the chain is a cycle, or longer than ten.
        NotFoundError: a parent is nowhere.
    """
    seen: list[str] = []
    ref = parent_reference(kitfile)
    while ref is not None:
        try:
            located = stack.enter_context(locate(place, ref))
        except NotFoundError as error:
            raise NotFoundError(f"model.path: {error.message}", hint=error.hint) from error
        if str(located.desc.digest) in seen:
            raise InvalidValueError(f"model.path: {ref} refers back to a ModelKit that refers to it")
        seen.append(str(located.desc.digest))
        if len(seen) > MAX_CHAIN:
            raise InvalidValueError(f"model.path: more than {MAX_CHAIN} ModelKits refer to one another, last {ref}")
        kit = read_modelkit(located.source, located.desc)
        yield Parent(ref, located, kit)
        ref = parent_reference(kit.kitfile)


def list_paths(parents: Iterable[Parent]) -> list[str]:
    """The paths that the layers of parents take: what is there is theirs."""
    return [layer.path for parent in parents for layer in parent.kit.layers if layer.path]
