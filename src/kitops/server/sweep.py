"""Freeing the disk below a served directory, beside running requests.

Always: files that a killed server was writing, and blobs that no repository has any more.
Where that is asked for (``--gc``): first, in each repository, blobs that none of its manifests lists.

Both wait a day after a file was last written or a blob last pushed, mounted, or asked for by HEAD: a push of a big
ModelKit sends its manifest last, perhaps hours after its first blob, and what is there already it only asks for.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

GRACE_SECONDS: Final = 24 * 3600.0
_LINKS: Final = ("_blobs", "_manifests")


def sweep(
    root: str, repositories: Sequence[str], lock: threading.Lock, *, frees: bool, grace: float = GRACE_SECONDS
) -> None:
    """Remove what nobody needs.

    Args:
        root: the served directory.
        repositories: their names.
        lock: held by whoever links a blob to a repository, or touches the link.
        frees: whether blobs that no manifest lists go too.
        grace: seconds for which everything stays.
    """
    before = time.time() - grace
    tops = [f"{root}/repositories/{name}" for name in repositories]
    for top in tops:
        if frees:
            _unlink_unlisted(root, top, before, lock)
        _remove_temporary(top, before)
    for algorithm in _listed(f"{root}/blobs"):
        for entry in _old(algorithm.path, before):
            name = f"{algorithm.name}-{entry.name}"
            with lock, suppress(FileNotFoundError):
                if os.stat(entry.path).st_mtime < before and not _is_linked(tops, name):
                    os.unlink(entry.path)


def _is_linked(tops: Sequence[str], name: str) -> bool:
    return any(os.path.exists(f"{top}/{kind}/{name}") for top in tops for kind in _LINKS)


def _unlink_unlisted(root: str, top: str, before: float, lock: threading.Lock) -> None:
    doomed = [entry.path for entry in _old(f"{top}/_blobs", before)]
    if not doomed:
        return
    try:
        listed = _list_children(root, top)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # a damaged manifest: nobody knows what it lists
        return
    for path in doomed:
        if os.path.basename(path) not in listed:
            with lock, suppress(FileNotFoundError):  # it may have been asked for meanwhile
                if os.stat(path).st_mtime < before:
                    os.unlink(path)


def _list_children(root: str, top: str) -> set[str]:
    """The names of the links to everything that the manifests of a repository list."""
    found = set()
    for entry in _listed(f"{top}/_manifests"):
        algorithm, _, encoded = entry.name.partition("-")
        with open(f"{root}/blobs/{algorithm}/{encoded}", "rb") as file:
            table = json.load(file)
        for child in (table.get("config"), *(table.get("layers") or ()), *(table.get("manifests") or ())):
            if child:
                found.add(child["digest"].replace(":", "-"))
    return found


def _remove_temporary(top: str, before: float) -> None:
    for kind in (*_LINKS, "_tags"):
        for entry in _listed(f"{top}/{kind}"):
            with suppress(FileNotFoundError):
                if entry.name.startswith(".") and entry.stat().st_mtime < before:
                    os.unlink(entry.path)


def _old(directory: str, before: float) -> Iterator[os.DirEntry[str]]:
    for entry in _listed(directory):
        with suppress(FileNotFoundError):
            if entry.stat().st_mtime < before:
                yield entry


def _listed(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return list(found)
    except FileNotFoundError:
        return []
