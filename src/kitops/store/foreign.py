"""Directories that another program fills (git-lfs, MLflow's client), kept for the next try when it did not get on.

They are in ``partial/`` as unfinished downloads are, and belong to one lease each: nobody works where another does. Who
finds an orphan, whose owner's lease is dead, renames it to a name of its own and goes on with what is in it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kitops.oci.digest import Digest
from kitops.store.atomic import told
from kitops.store.lease import live_leases, now
from kitops.store.partial import claim_orphans, name_partial

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.store.layout import Layout
    from kitops.store.lease import Lease


@contextmanager
def open_foreign(layout: Layout, what: str, lease: Lease) -> Iterator[Path]:
    """A directory for what another program fetches of ``what``, with what an earlier attempt left.

    It is gone after the block, unless the block fails and there is something in it.

    Args:
        layout: the store.
        what: names the source and its state: the same name, the same files.
        lease: owns the directory while the block runs.

    Raises:
        FileSystemError: it cannot be made.
    """
    key = Digest.of(what.encode())
    layout.prepare()
    lease.add()
    live = {found.id for found in live_leases(layout, now(layout))}
    orphans = sorted(claim_orphans(layout, key, lease, live), key=_count)
    path = Path(orphans.pop() if orphans else name_partial(layout, key, lease.id))
    for orphan in orphans:
        shutil.rmtree(orphan, ignore_errors=True)
    with told("writing", str(path)):
        os.makedirs(path, exist_ok=True)
    try:
        yield path
        shutil.rmtree(path, ignore_errors=True)
    finally:
        if not _count(str(path)):
            shutil.rmtree(path, ignore_errors=True)


def _count(directory: str) -> int:
    """How many files are below a directory."""
    count = 0
    with suppress(OSError):
        for _, _, files in os.walk(directory):
            count += len(files)
    return count
