"""What kind of file system something is on, its own clock, and its free space."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from kitops.errors import FileSystemError
from kitops.store.atomic import FILE_MODE, NEW_FILE, READ_ONLY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOCAL_TYPES: Final = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "bcachefs", "f2fs", "jfs", "tmpfs", "ramfs", "overlay"}
    | {"squashfs", "erofs", "iso9660"}
)
"""Types whose time stamps are made by this machine's kernel, finer than a second. Everything else, and what is not
known, counts as remote: a network file system may answer from a cache or stamp with another machine's clock."""
_PREALLOCATING: Final = frozenset({"ext4", "xfs", "btrfs", "f2fs", "tmpfs"})
_MOUNTS: Final = "/proc/self/mountinfo"


def read_mounts(path: str = _MOUNTS) -> Mapping[int, str]:
    """Device number to type of the mounted file systems; empty where the system does not tell (no ``/proc``).

    Source: proc(5), ``/proc/pid/mountinfo``: third field ``major:minor``, the type follows the separator ``-``.
    """
    found: dict[int, str] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                before, _, after = line.partition(" - ")
                major, _, minor = before.split()[2].partition(":")
                found[os.makedev(int(major), int(minor))] = after.split()[0]
    except (OSError, ValueError, IndexError):
        return {}
    return found


def is_local(device: int, mounts: Mapping[int, str]) -> bool:
    """Whether the file system with this ``st_dev`` is certainly of this machine.

    btrfs gives each subvolume a device number of its own that no mount has; an unknown one with major 0 is taken for
    such a subvolume when a btrfs is mounted.
    """
    known = mounts.get(device)
    if known is not None:
        return known in LOCAL_TYPES
    return os.major(device) == 0 and "btrfs" in mounts.values()


def can_preallocate(device: int, mounts: Mapping[int, str]) -> bool:
    """Whether reserving space is one cheap call there (elsewhere the C library writes zeros)."""
    return hasattr(os, "posix_fallocate") and mounts.get(device) in _PREALLOCATING


def free_space(path: str) -> int | None:
    """Bytes free for us where ``path`` is; None where the system does not tell."""
    try:
        found = os.statvfs(path)
    except (OSError, AttributeError):
        return None
    return found.f_bavail * found.f_frsize


def check_room(root: str, needed: int, doing: str) -> None:
    """Refuse before the first byte what will not fit.

    Args:
        root: where it is to go.
        needed: bytes.
        doing: for the message (``"writing to"``).

    Raises:
        FileSystemError: the disk is too full; the message has both numbers.
    """
    free = free_space(root)
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
