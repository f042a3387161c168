"""Find what a reference names: in the local store first, else in its registry."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kitops.content.events import Message
from kitops.errors import InvalidValueError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.content.protocols import Run, Source
    from kitops.errors import KitError
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place

Where = Literal["local", "remote", "local-first"]


@dataclass(frozen=True, slots=True)
class Located:
    """Content that a reference named.

    Args:
        ref: the reference.
        desc: what it points to now.
        source: where the content can be read, while the block that gave it runs.
        is_local: whether that is the local store.
    """

    ref: Reference
    desc: Descriptor
    source: Source
    is_local: bool


@contextmanager
def locate(place: Place, ref: Reference, where: Where = "local-first") -> Iterator[Located]:
    """Find ``ref``. What is read from the local store stays there while the block runs, whoever removes it.

    Raises:
        NotFoundError: it is not there.
        InvalidValueError: it names no registry and ``where`` is ``"remote"``.
    """
    if where != "remote":
        with place.store.lease("read", optional=True) as lease:
            try:
                desc = place.store.refs.hold(ref, lease)
            except NotFoundError:
                if where == "local" or ref.is_local:
                    raise
            else:
                yield Located(ref, desc, place.store.repository(ref, lease), is_local=True)
                return
    check_remote(ref)
    with place.registry(ref, mirrored=True) as repository:
        yield Located(ref, repository.resolve(ref.pointer), repository, is_local=False)


def complete(ref: Reference, run: Run) -> Reference:
    """``ref`` with the default tag where it has neither tag nor digest; that it was added is told."""
    completed = ref.with_default_tag()
    if completed is not ref:
        run.observer(Message("info", f"{ref} has no tag: using {completed}"))
    return completed


def complete_name(ref: Reference, run: Run) -> Reference:
    """The name that something is to get, with the default tag where it has none.

    Raises:
        InvalidValueError: it has a digest.
    """
    check_name(ref)
    return complete(ref, run)


def check_name(ref: Reference) -> None:
    """Raise InvalidValueError where ``ref``, the name of what is yet to be made, has a digest."""
    if ref.digest is not None:
        raise InvalidValueError(f"{ref} is no name to give: the digest is what comes out", hint="name it with a tag")


def check_remote(ref: Reference, *, hint: str | None = None) -> None:
    """Raise InvalidValueError unless ``ref`` names a registry; ``hint`` is what to type instead."""
    if ref.is_local:
        whole = f"registry.example.com/{'team/model:tag' if ref.is_unnamed else ref}"
        raise InvalidValueError(
            f"{str(ref)!r} names no registry", hint=hint or f"put the registry's host in front: {whole}"
        )


def check_destination(source: Reference, target: Reference) -> None:
    """Raise InvalidValueError unless ``target``, which ``source`` is to be pushed to, names a registry."""
    is_named = source == target and not target.is_unnamed
    check_remote(target, hint=f"kit push {source} registry.example.com/{target}" if is_named else None)


def check_pointer(ref: Reference) -> None:
    """Raise InvalidValueError unless ``ref`` has a tag or a digest."""
    if ref.tag is None and ref.digest is None:
        there = f"--filter repo={ref.repository}" if ref.is_local else str(ref)
        hint = f"say which, as {ref.with_default_tag()}; `kit list {there}` shows what there is"
        raise InvalidValueError(f"{ref} has neither tag nor digest", hint=hint)


def tell_damaged(run: Run, error: KitError) -> None:
    """Warn of a ref that cannot be read and is left out."""
    hint = f" ({error.hint})" if error.hint else ""
    run.observer(Message("warning", f"left out: {error.message}{hint}"))
