"""What kind of file system something is on, and what it does well."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL_TYPES: Final = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "bcachefs", "f2fs", "jfs", "tmpfs", "ramfs", "overlay"}
    | {"squashfs", "erofs", "iso9660"}
)
"""Types whose time stamps are made by this machine's kernel, finer than a second. Everything else, and what is not
known, counts as remote: a network file system may answer from a cache or stamp with another machine's clock."""
_PREALLOCATING: Final = frozenset({"ext4", "xfs", "btrfs", "f2fs", "tmpfs"})
_DIRECT: Final = frozenset({"ext4", "xfs", "overlay"})
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


def takes_direct_writes(device: int, mounts: Mapping[int, str]) -> bool:
    """Whether large writes past the page cache are worth a try there: each is one answer of a disk of this machine."""
    return mounts.get(device) in _DIRECT


def claim(descriptor: int, size: int) -> None:
    """Have the file system lay out ``size`` bytes for an empty file, where that is one cheap call.

    The file is ``size`` bytes long afterwards or still empty: who then writes fewer truncates it.

    Raises:
        OSError: there is no room for them.
    """
    if not can_preallocate(os.fstat(descriptor).st_dev, read_mounts()):
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
