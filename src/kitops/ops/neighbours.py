"""Which repositories of a registry may have a blob, by what the local store knows of them."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from itertools import takewhile
from typing import TYPE_CHECKING

from kitops.content.copy import children_of, is_manifest
from kitops.errors import AuthenticationError, KitError, RegistryError
from kitops.oci.reference import Reference
from kitops.store.shelf import overlook

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.ops.place import Place
    from kitops.registry.repository import Repository
    from kitops.store import Store


class Neighbours:
    """The repositories of one registry and their blobs. Thread-safe; the store is read when first asked.

    Args:
        store: its refs say which repository has which manifest, and it knows what went through this machine; some may
            be there no more, or not yet.
        target: the repository that wants the blobs.
        sure: repositories that have all of them.
    """

    def __init__(self, store: Store, target: Reference, sure: Iterable[Reference] = ()) -> None:
        self._store = store
        self._target = target
        self._sure = next((ref.locator for ref in sure if self._is_neighbour(ref)), None)
        self._known: dict[Digest, set[str]] | None = None
        self._lock = threading.Lock()

    def find(self, digest: Digest) -> tuple[str, ...]:
        """The repository that most likely has a blob: none or one, for each refusal would cost a request."""
        if self._sure is not None:
            return (self._sure,)
        with self._lock:
            if self._known is None:
                self._known = self._read()
        found = self._known.get(digest, ())
        return tuple(sorted(found, key=self._distance)[:1])

    def _read(self) -> dict[Digest, set[str]]:
        known: dict[Digest, set[str]] = {}
        for desc, locators in self._manifests().items():
            for child in self._children(desc):
                known.setdefault(child, set()).update(locators)
        for blob, sent_to in self._store.sent.find(self._target.registry).items():
            if others := sent_to - {self._target.locator}:
                known.setdefault(blob, set()).update(others)
        return known

    def _manifests(self) -> dict[Descriptor, set[str]]:
        found: dict[Descriptor, set[str]] = {}
        for row in self._store.refs.list(damaged=overlook):
            if self._is_neighbour(row.reference):
                found.setdefault(row.desc, set()).add(row.reference.locator)
        return found

    def _children(self, desc: Descriptor) -> list[Digest]:
        try:
            children = children_of(desc, self._store.blobs.fetch(desc))
        except KitError:  # it may be gone, or nothing we know: then it is no help
            return []
        return [child.digest for child in children if not is_manifest(child)]

    def _is_neighbour(self, ref: Reference) -> bool:
        return (
            not ref.is_unnamed and ref.registry == self._target.registry and ref.repository != self._target.repository
        )

    @property
    def are_sure(self) -> bool:
        """Whether there is one that has all of them."""
        return self._sure is not None

    def _distance(self, locator: str) -> tuple[int, str]:
        """Near names first: they are more likely ours to read."""
        pairs = zip(locator.split("/"), self._target.locator.split("/"), strict=False)
        return -len(list(takewhile(lambda pair: pair[0] == pair[1], pairs))), locator


class Lenders:
    """Whether other repositories of a registry have a blob that one of them wants. Thread-safe; a context manager.

    Args:
        place: the way to the registry.
        target: the repository that wants blobs.
        served: repositories that will have all of them by then.
    """

    def __init__(self, place: Place, target: Reference, served: Iterable[Reference] = ()) -> None:
        self._place = place
        self._target = target
        self._neighbours = Neighbours(place.store, target, served)
        self._stack = ExitStack()
        self._open: dict[str, Repository] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def have(self, desc: Descriptor) -> bool:
        """Whether the repository has a blob that a push would take it over from."""
        found = self._neighbours.find(desc.digest)
        return self._neighbours.are_sure or any(self.has(locator, desc) for locator in found)

    def has(self, locator: str, desc: Descriptor) -> bool:
        """Whether the repository ``locator`` is of the same registry, is ours to read, and has a blob."""
        registry, _, repository = locator.partition("/")
        if registry != self._target.registry or not repository or locator == self._target.locator:
            return False
        with self._lock:
            if locator not in self._open:
                self._open[locator] = self._stack.enter_context(self._place.registry(Reference.parse(locator)))
        try:
            return self._open[locator].exists(desc)
        except (AuthenticationError, RegistryError):
            return False
