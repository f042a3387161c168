"""``kit du``: what each ModelKit of the local store occupies; what several share is counted once in the total."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kitops.content.events import Message
from kitops.errors import IntegrityError, InvalidValueError, NotFoundError
from kitops.ops.locate import complete, tell_damaged
from kitops.store import graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.oci.digest import Digest
    from kitops.oci.gojson import Json
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place


@dataclass(frozen=True, slots=True)
class Occupied:
    """What one ModelKit occupies.

    Args:
        digest: of its manifest.
        references: its tags in the store; without tags its repository, or nothing.
        size: bytes of all its blobs that are here.
        own: bytes that no other ModelKit of the store has: what removing it frees.
    """

    digest: Digest
    references: tuple[str, ...]
    size: int
    own: int

    @property
    def shared(self) -> int:
        """Bytes that another ModelKit has too."""
        return self.size - self.own

    def to_json(self) -> dict[str, Json]:
        """As ``--format json`` prints it."""
        return {
            "digest": str(self.digest),
            "references": list(self.references),
            "size": self.size,
            "own": self.own,
            "shared": self.shared,
        }


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """What ModelKits occupy, the largest first.

    Args:
        kits: one row a manifest.
        size: bytes of the blobs of all rows, each blob once.
        store_size: bytes of all blobs in the store, also those that nothing refers to.
        unfinished: bytes of unfinished downloads and of files being written.
        trash: bytes on their way out.
        cache: bytes of the digest cache.
    """

    kits: tuple[Occupied, ...]
    size: int
    store_size: int
    unfinished: int
    trash: int
    cache: int

    def to_json(self) -> dict[str, Json]:
        """As ``--format json`` prints it."""
        return {
            "kits": [kit.to_json() for kit in self.kits],
            "size": self.size,
            "store": self.store_size,
            "unfinished": self.unfinished,
            "trash": self.trash,
            "cache": self.cache,
        }


def du(place: Place, refs: Sequence[Reference] = ()) -> DiskUsage:
    """Add up the blobs below each ModelKit of the store.

    Args:
        place: has the store.
        refs: only these; all without.

    Raises:
        NotFoundError: one of ``refs`` is not in the store.
    """
    store = place.store
    names: dict[Digest, list[str]] = {}
    trees: dict[Digest, dict[Digest, int]] = {}
    for row in store.refs.list(damaged=partial(tell_damaged, place.run)):
        place.run.cancel.check()
        digest = row.desc.digest
        shown = names.setdefault(digest, [])
        if row.reference.tag is not None or not row.reference.is_unnamed:
            shown.append(str(row.reference))
        if digest in trees:
            continue
        tree = trees[digest] = {}
        try:
            for blob in graph.walk(store.blobs, row.desc):
                if store.blobs.exists(blob.digest):
                    tree[blob.digest] = blob.size
        except (NotFoundError, IntegrityError, InvalidValueError) as error:
            place.run.observer(Message("warning", f"{row.desc.digest}: {error.message}"))
    holders = Counter(blob for tree in trees.values() for blob in tree)
    wanted = {store.refs.resolve(complete(ref, place.run)).digest for ref in refs} if refs else set(trees)
    kits = [
        Occupied(
            digest,
            tuple(sorted(names[digest])),
            sum(tree.values()),
            sum(size for blob, size in tree.items() if holders[blob] == 1),
        )
        for digest, tree in trees.items()
        if digest in wanted
    ]
    kits.sort(key=lambda kit: (-kit.size, kit.references))
    once = {blob: size for digest in wanted for blob, size in trees.get(digest, {}).items()}
    usage = store.usage()
    return DiskUsage(
        tuple(kits), sum(once.values()), usage.blobs_size, usage.partial_size, usage.trash_size, usage.packed_size
    )
