"""``kit cache``: what the store takes on the disk, what of it is temporary, and the Go tool's storage."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kitops.store import leftover, partial
from kitops.store.atomic import entries, remove_file
from kitops.store.lease import live_leases, now

if TYPE_CHECKING:
    from kitops.ops.place import Place
    from kitops.store.adopt import Adopted
    from kitops.store.usage import Usage


@dataclass(frozen=True, slots=True)
class Cleared:
    """Number of temporary files that were removed, and their bytes."""

    files: int
    size: int


def cache_info(place: Place) -> Usage:
    """What the store takes on the disk."""
    return place.store.usage()


def cache_clear(place: Place) -> Cleared:
    """Remove temporary files that no running process owns: unfinished downloads and uploads, and the digest cache.

    Raises:
        FileSystemError: something cannot be removed.
    """
    layout = place.store.layout
    if not layout.is_there:
        return Cleared(0, 0)
    now_ns = now(layout)
    live = {lease.id for lease in live_leases(layout, now_ns)}
    found = leftover.find_files(layout, now_ns) + leftover.find_uploads(layout, now_ns)
    found += partial.find_stale(layout, live, now_ns)
    leftover.remove(layout, [path for path, _ in found])
    for directory in (layout.packed, layout.members, layout.sent):
        for entry in entries(directory):
            if entry.is_dir(follow_symlinks=False):  # none of ours
                continue
            with suppress(FileNotFoundError):
                found.append((Path(entry.path), entry.stat().st_size))
                remove_file(entry.path)
    return Cleared(len(found), sum(size for _, size in found))


def cache_adopt(place: Place, go_storage: Path) -> Adopted:
    """Bring the ModelKits of the Go tool's ``storage/`` into the store; that storage stays as it is.

    Raises:
        NotFoundError: there is no such storage.
    """
    from kitops.store.adopt import adopt  # noqa: PLC0415 - rare

    return adopt(place.store, go_storage, place.run)
