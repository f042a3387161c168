"""What is left behind: files in ``ingest/`` of killed processes, leases that nobody touches, uploads nobody ended."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kitops.errors import FileSystemError
from kitops.store.atomic import entries, remove_file
from kitops.store.lease import LIFE, is_local_store, now, read_leases
from kitops.store.process import is_alive

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kitops.store.layout import Layout

ABANDONED_SECONDS: Final = 24 * 3600.0
"""How long after its last byte an upload to a served store can be continued."""


def find_files(layout: Layout, now_ns: int) -> list[tuple[Path, int]]:
    """Path and bytes of the files in ``ingest/`` whose owners are dead.

    A file whose owner's lease is there and dead is of no use to anybody, whatever its age. One without a lease (of a
    ref or lease being written) goes when its process is certainly gone, else when it is older than a lease lives.
    """
    local = is_local_store(layout)
    leases = {lease.id: lease.is_live(now_ns, local=local) for lease in read_leases(layout)}
    found = []
    for entry in entries(layout.ingest):
        owner, _, rest = entry.name.partition(".")
        with suppress(FileNotFoundError):
            stamp = entry.stat()
            live = leases.get(owner, is_alive(rest.partition(".")[0]) if local else None)
            if live is None:
                live = now_ns - stamp.st_mtime_ns <= LIFE * 1_000_000_000
            if not live:
                found.append((Path(entry.path), stamp.st_size))
    return found


def find_uploads(layout: Layout, now_ns: int) -> list[tuple[Path, int]]:
    """Path and bytes of the uploads in ``incoming/`` that can no longer be continued; no server need run."""
    found = []
    for entry in entries(layout.incoming):
        with suppress(FileNotFoundError):
            stamp = entry.stat(follow_symlinks=False)
            if now_ns - stamp.st_mtime_ns > ABANDONED_SECONDS * 1_000_000_000:
                found.append((Path(entry.path), stamp.st_size))
    return found


def remove(layout: Layout, paths: Iterable[Path]) -> None:
    """Remove what was found; a directory (an unfinished download) by way of ``ingest/``, so that it goes as a whole."""
    import shutil  # noqa: PLC0415 - brings every archive format with it; hardly ever needed

    for path in paths:
        doomed = str(path)
        with suppress(OSError):  # claimed by a download meanwhile: then it has another name
            if not path.is_dir():
                remove_file(doomed)
                continue
            if path.parent != Path(layout.ingest):
                doomed = layout.temporary("doomed")
                os.rename(path, doomed)
            shutil.rmtree(doomed)


def remove_leases(layout: Layout, now_ns: int) -> None:
    """Remove the leases whose owners are dead; one that was only suspended writes its lease again."""
    local = is_local_store(layout)
    for lease in read_leases(layout):
        if not lease.is_live(now_ns, local=local):
            with suppress(OSError):
                remove_file(f"{layout.leases}/{lease.id}")


def clear_dead(layout: Layout) -> None:
    """Clear away what killed writers left, so that the rerun of a killed pack leaves nothing of the first.

    Done whenever work begins that writes; cheap when there is nothing. A store that cannot be written is left alone.
    """
    if not entries(layout.ingest) and not entries(layout.leases):
        return
    with suppress(FileSystemError):
        now_ns = now(layout)
        remove(layout, [path for path, _ in find_files(layout, now_ns)])
        remove_leases(layout, now_ns)
