"""Which repositories of a registry may have a blob, by what the local store knows of them."""

from __future__ import annotations

import threading
from itertools import takewhile
from typing import TYPE_CHECKING

from kitops.content.copy import children_of, is_manifest
from kitops.errors import KitError
from kitops.store.shelf import overlook

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.oci.reference import Reference
    from kitops.store import Store


class Neighbours:
    """The repositories of one registry and their blobs. Thread-safe; the store is read when first asked.

    Args:
        store: its refs say which repository has which manifest; some may be there no more, or not yet.
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

    def _distance(self, locator: str) -> tuple[int, str]:
        """Near names first: they are more likely ours to read."""
        pairs = zip(locator.split("/"), self._target.locator.split("/"), strict=False)
        return -len(list(takewhile(lambda pair: pair[0] == pair[1], pairs))), locator
