"""Locks of the system on what is open. They end with the process, however it ends; without locks all may go on."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.content.cancel import CancelToken

_STEP_SECONDS: Final = 0.05
_TRIES: Final = 200


def try_lock(descriptor: int) -> bool:
    """Lock an open file or directory until it is closed; False when another process has it."""
    if sys.platform == "win32":
        return True
    import fcntl  # noqa: PLC0415 - not on Windows

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


@contextmanager
def alone_in(directory: str, cancel: CancelToken) -> Iterator[None]:
    """In the block, nobody else is in such a block of ``directory``, as far as a lock can see to that.

    Waits for who is; for no more than ten seconds, so that who hangs keeps nobody from going on.

    Raises:
        OSError: the directory cannot be opened.
        Cancelled: the end was asked for.
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            if try_lock(descriptor):
                break
            cancel.wait(_STEP_SECONDS)
        yield
    finally:
        os.close(descriptor)
