"""Locks of the system on what is open. They end with the process, however it ends; without locks all may go on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
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


def wait_for_lock(descriptor: int, cancel: CancelToken) -> None:
    """As :func:`try_lock`, but waits; for no more than ten seconds, so that who hangs keeps nobody from going on.

    Raises:
        Cancelled: the end was asked for.
    """
    for _ in range(_TRIES):
        if try_lock(descriptor):
            return
        cancel.wait(_STEP_SECONDS)
