"""Files that share their blocks: a copy that takes no time and no space, where the file system has them.

XFS, Btrfs, bcachefs and some network file systems do. A shared block is copied by the file system when one of its
owners is written to, so the two files are as independent as copies are.
"""

from __future__ import annotations

import sys
from typing import Final

_FICLONE: Final = 0x40049409
"""ioctl_ficlone(2): the whole of one file."""


def share(source: int, target: int) -> bool:
    """Give the empty file ``target`` the content of ``source`` by sharing its blocks.

    What the blocks hold is not looked at: whoever promises a digest reads ``target`` afterwards.

    Args:
        source: a descriptor open for reading.
        target: a descriptor open for writing, of another file of the same file system.

    Returns:
        False, with ``target`` still empty, where that cannot be done: then copy.
    """
    if sys.platform != "linux":
        return False
    import fcntl  # noqa: PLC0415 - not on every platform

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:  # another file system, one without reflinks, a full one: the copy tells what matters
        return False
    return True
