"""Unfinished uploads, kept for the next process: where each goes on, a small file for each blob and repository.

The file is the claim: whoever renames it to a name with his own process in it has the upload, and nobody else. Killed,
he leaves it under that name, and the next who looks takes it from the dead. Should two processes share one upload all
the same (on a file system that does not keep its word), the registry finds the digest wrong and both begin anew.

The URLs may be signed, so the files are for their owner only, and nothing of them is told to anybody.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from kitops.content.write import write_all
from kitops.errors import FileSystemError
from kitops.store.atomic import entries, read_small, unique_name
from kitops.store.process import is_alive, this_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.store.layout import Layout

LIFE: Final = 7 * 24 * 3600.0
"""Seconds after which no registry still has an upload that nobody went on with."""
SILENCE: Final = 600.0
"""Seconds after which an owner counts as dead where processes cannot be looked up."""
_MODE: Final = 0o600
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


class StoreUploads:
    """The unfinished uploads of one store. What cannot be read or written is done without.

    Args:
        layout: the store.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @contextmanager
    def claim(self, blob: str) -> Iterator[StoreUpload]:
        """The upload of ``blob`` (registry, repository and digest in one line), which is nobody else's.

        It stays for the next process unless it is forgotten before the block ends.
        """
        key = hashlib.sha256(blob.encode()).hexdigest()[:32]
        found = StoreUpload(self._layout, key)
        found.take(self._list(key))
        try:
            yield found
        finally:
            found.release()

    def _list(self, key: str) -> list[str]:
        """The files of one upload that nobody uses; those of any upload that are too old are removed."""
        found = []
        now = time.time()
        for entry in _entries(self._layout.uploads):
            name, *owner = entry.name.split(".")
            with suppress(OSError):
                age = now - entry.stat(follow_symlinks=False).st_mtime
                if owner and _is_alive(owner[0], age):
                    continue
                if age > LIFE:
                    os.unlink(entry.path)
                elif name == key:
                    found.append(entry.path)
        return found


class StoreUpload:
    """One unfinished upload, claimed."""

    def __init__(self, layout: Layout, key: str) -> None:
        self.location: str | None = None
        self._directory = layout.uploads
        self._free = f"{layout.uploads}/{key}"
        self._own = f"{self._free}.{this_process()}.{unique_name()}"
        self._is_kept = False

    def take(self, paths: list[str]) -> None:
        """Make one of these files ours, if nobody else is faster."""
        for path in paths:
            try:
                os.rename(path, self._own)
                content = read_small(self._own)
            except OSError:
                continue
            self.location = _parse(content)
            self._is_kept = True
            if self.location is not None:
                return

    def save(self, location: str) -> None:
        """It goes on at ``location``, should this process end."""
        temporary = f"{self._own}.new"
        with suppress(OSError):
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            descriptor = os.open(temporary, _NEW, _MODE)
            try:
                write_all(descriptor, json.dumps({"location": location}).encode())
                os.replace(temporary, self._own)
                self._is_kept = True
            except OSError:  # a full disk: the next may have more luck
                os.unlink(temporary)
            finally:
                os.close(descriptor)

    def forget(self) -> None:
        """It is over."""
        self._is_kept = False
        with suppress(OSError):
            os.unlink(self._own)

    def release(self) -> None:
        """Leave it to whoever comes next."""
        if self._is_kept:
            with suppress(OSError):
                os.replace(self._own, self._free)


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        return entries(path)
    except FileSystemError:
        return []


def _is_alive(owner: str, age: float) -> bool:
    alive = is_alive(owner)
    return age < SILENCE if alive is None else alive


def _parse(content: bytes | None) -> str | None:
    """The location in a file, or None where it has none."""
    try:
        location = json.loads(content or b"")["location"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return location if isinstance(location, str) else None
