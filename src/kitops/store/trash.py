"""The trash: where a blob is between being found unheld and being deleted, and how it is taken back.

Every sweep has a directory of its own in ``trash/``, so that a path there is filled at most once: whoever deletes it
knows that it judged this very file. Everything is a rename, so a blob is always in exactly one place, and whoever loses
a race for it finds it in the other.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from kitops.store.atomic import entries, remove_file
from kitops.store.names import encode_digest

if TYPE_CHECKING:
    from kitops.oci.digest import Digest
    from kitops.store.layout import Layout

_TRIES = 20


def find_blob(layout: Layout, digest: Digest) -> str | None:
    """The path of a blob, in its place or in the trash; None when it is in neither.

    Nothing is written: this is for readers. A blob on its way between the two places is looked for again.
    """
    path = layout.blob(digest)
    if os.path.exists(path):
        return path
    for trashed in _in_trash(layout, digest):
        return trashed
    return path if os.path.exists(path) else None


def rescue_blob(layout: Layout, digest: Digest) -> bool:
    """Whether a blob is in its place, taken back from the trash when it is there.

    Whoever asks holds it (by a lease or ref that is visible): a sweep that takes it away after this puts it back.

    Raises:
        OSError: it is in the trash and cannot be moved.
    """
    path = layout.blob(digest)
    for _ in range(_TRIES):
        if os.path.exists(path):
            return True
        trashed = _in_trash(layout, digest)
        if not trashed:
            return os.path.exists(path)
        for candidate in trashed:
            restore(candidate, path)
    return os.path.exists(path)


def restore(trashed: str, path: str) -> bool:
    """Move a file of the trash to its place; False when another process was faster.

    If both names are links of one file, a rename does nothing: the one in the trash goes then.
    """
    try:
        os.replace(trashed, path)
    except FileNotFoundError:
        return False
    with suppress(OSError):
        remove_file(trashed)
    return True


def _in_trash(layout: Layout, digest: Digest) -> list[str]:
    name = encode_digest(digest)
    found = [f"{entry.path}/{name}" for entry in entries(layout.trash)]
    return [path for path in found if os.path.exists(path)]
