"""Writing all of some bytes to a file, in steps that the page cache takes fast; having them on the disk."""

from __future__ import annotations

import os
from typing import Final

STEP: Final = 32 * 1024
"""Bytes of one write.

A file system with large folios (XFS, ext4 since Linux 6.16) takes the memory for one write in one block where it can.
Up to eight pages come from a list that each processor keeps; more are looked for, compacted, or asked back from a
virtual machine's host: writing 4 GiB in steps of 256 KiB then costs one to five seconds of the processor, in these
0.9, every time (``bench/``).
"""


def write_all(descriptor: int, content: memoryview | bytes) -> None:
    """Write every byte where the file's position is.

    A short write (a disk that fills up) is continued until the system says why.

    Raises:
        OSError: it cannot be written.
    """
    view = memoryview(content)
    done = 0
    while done < len(view):
        done += os.write(descriptor, view[done : done + STEP])


def write_at(descriptor: int, content: memoryview | bytes, offset: int) -> None:
    """Write every byte at ``offset``; as :func:`write_all`."""
    view = memoryview(content)
    done = 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done : done + STEP], offset + done)


def flush_file(descriptor: int) -> None:
    """Return when the content and size of an open file are on the disk."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)
