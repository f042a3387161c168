"""The free space and the own clock of the file system that the store is on, and errors of writing to it."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from kitops.errors import FileSystemError
from kitops.store.atomic import FILE_MODE, NEW_FILE, READ_ONLY

if TYPE_CHECKING:
    from collections.abc import Iterator


def free_space(path: str) -> int | None:
    """Bytes free for us where ``path`` is; None where the system does not tell."""
    try:
        found = os.statvfs(path)
    except (OSError, AttributeError):
        return None
    return found.f_bavail * found.f_frsize


def nearest(path: str) -> str:
    """``path``, or the nearest directory above it that exists."""
    path = os.path.abspath(path)
    while not os.path.exists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def check_room(root: str, needed: int, doing: str) -> None:
    """Refuse before the first byte what will not fit.

    Args:
        root: where it is to go; it need not exist.
        needed: bytes.
        doing: for the message (``"writing to"``).

    Raises:
        FileSystemError: the disk is too full; the message has both numbers.
    """
    free = free_space(nearest(root))
    if free is not None and free < needed:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise FileSystemError.wrap(full, doing, root, needed=needed, free=free)


def clock_ns(probe: str) -> int | None:
    """Now, in nanoseconds since 1970, by the clock that stamps files there: that of a fresh file ``probe``.

    Returns:
        None when nothing can be written there.
    """
    try:
        descriptor = os.open(probe, NEW_FILE, FILE_MODE)
    except OSError as error:
        if error.errno in READ_ONLY or isinstance(error, FileNotFoundError):
            return None
        raise
    try:
        return os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)
        with suppress(OSError):
            os.unlink(probe)


@contextmanager
def writing_to(root: str, size: int | None = None) -> Iterator[None]:
    """An OSError of the block becomes FileSystemError, with both numbers (``size`` needed) when space is short."""
    try:
        yield
    except OSError as error:
        raise FileSystemError.wrap(error, "writing to", root, needed=size, free=free_space(root)) from error
