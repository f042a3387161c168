"""``kit prune``: free what nothing in the store refers to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.store.gc import collect

if TYPE_CHECKING:
    from kitops.ops.place import Place
    from kitops.store.gc import Collected


def prune(place: Place, *, dry_run: bool = False) -> Collected:
    """Free unreferenced blobs and stale partial transfers; with ``dry_run`` only tell what would come free."""
    return collect(place.store, dry_run=dry_run, run=place.run)
