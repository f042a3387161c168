"""Writing a big file to the disk, in a thread of its own, so that what makes the bytes need not wait for the disk.

Where the file system takes it, the body goes past the page cache (``O_DIRECT``): it costs no memory and a fraction of
the processor's time, pushes nothing that others need out of memory, and leaves nothing to flush. Elsewhere what must
be durable is flushed while it is written. A small body is written at once, and left to whoever flushes it.
"""

from __future__ import annotations

import errno
import mmap
import os
import queue
import sys
import threading
from typing import TYPE_CHECKING, Final, Self

from kitops.content.mounts import read_mounts, takes_direct_writes
from kitops.content.write import flush_file, write_all

if TYPE_CHECKING:
    from kitops.content.cancel import CancelToken

STEP: Final = 2 << 20
"""Bytes of one write past the page cache: the system splits it into several that the disk does at once."""
BIG: Final = 32 << 20
"""Bytes from which on a body is not worth a place in the page cache."""
FLUSH_EVERY: Final = 64 << 20
"""Bytes from one flush to the next, where the page cache is used."""
_STEPS: Final = 3
BEHIND: Final = (_STEPS + 1) * STEP
"""Bytes that were taken and may not be in the file yet."""
_BLOCK: Final = 4096
"""What memory, places and sizes are multiples of in direct writes; disks ask for 512 or 4096 (open(2), O_DIRECT)."""
_PATIENCE: Final = 0.2
_SMALLEST: Final = 64 << 10


class BodyWriter:
    """Writes what it is given into an empty file; a context manager, whose end everything is written at.

    Args:
        descriptor: the file, at its beginning.
        size: bytes that will come; None where that is not known.
        cancel: watched while waiting for the disk.
        durable: flush now and then, where the page cache is used.
    """

    def __init__(self, descriptor: int, size: int | None, cancel: CancelToken, *, durable: bool = True) -> None:
        self._descriptor = descriptor
        self._cancel = cancel
        self._durable = durable
        self._direct_from = 0 if size is not None and size >= BIG else BIG
        self._is_direct = False
        self._may_be_direct = True
        self._written = 0
        self._unflushed = 0
        self._step = memoryview(mmap.mmap(-1, STEP if size is None else min(max(size, _SMALLEST), STEP)))
        self._used = 0
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None

    def write(self, content: memoryview | bytes) -> None:
        """Take bytes; they may change afterwards.

        Raises:
            OSError: earlier ones could not be written.
            Cancelled: the end was asked for.
        """
        done = 0
        while done < len(content):
            if self._used == len(self._step):
                self._pass_on()
            count = min(len(content) - done, len(self._step) - self._used)
            self._step[self._used : self._used + count] = content[done : done + count]
            self._used += count
            done += count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._finish()
        else:  # what was written does not matter any more
            self._failure = self._failure or OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            self._end()

    def _finish(self) -> None:
        if self._thread is None:
            write_all(self._descriptor, self._step[: self._used])
            return
        self._full.put(self._step[: self._used])
        self._end()
        if self._failure is not None:
            raise self._failure

    def _end(self) -> None:
        if self._thread is not None:
            self._full.put(None)
            self._thread.join()
            self._thread = None
        self._leave_direct()

    def _pass_on(self) -> None:
        """Give the full step to the thread, and take an empty one."""
        if self._thread is None:
            for _ in range(_STEPS - 1):
                self._free.put(memoryview(mmap.mmap(-1, len(self._step))))
            self._thread = threading.Thread(target=self._work, name="kitops-write", daemon=True)
            self._thread.start()
        self._full.put(self._step)
        while True:
            self._cancel.check()
            if self._failure is not None:
                raise self._failure
            try:
                self._step, self._used = self._free.get(timeout=_PATIENCE), 0
            except queue.Empty:
                continue
            return

    def _work(self) -> None:
        while (step := self._full.get()) is not None:
            if self._failure is None:
                try:
                    self._put(step)
                except OSError as error:
                    self._failure = error
            self._free.put(step)

    def _put(self, step: memoryview) -> None:
        rest = self._put_direct(step) if self._written >= self._direct_from and self._may_be_direct else step
        if rest:
            write_all(self._descriptor, rest)
            self._unflushed += len(rest)
            if self._durable and self._unflushed >= FLUSH_EVERY:
                flush_file(self._descriptor)
                self._unflushed = 0
        self._written += len(step)

    def _put_direct(self, step: memoryview) -> memoryview:
        """Write whole blocks past the page cache; what is left to be written through it."""
        whole = len(step) // _BLOCK * _BLOCK
        if not self._is_direct and not self._enter_direct():
            return step
        done = 0
        try:
            while done < whole:
                done += os.write(self._descriptor, step[done:whole])
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._may_be_direct = False  # blocks of another size, or none that are written directly
        if done < len(step):
            self._leave_direct()
        return step[done:]

    def _enter_direct(self) -> bool:
        if takes_direct_writes(os.fstat(self._descriptor).st_dev, read_mounts()):
            self._is_direct = _set_direct(self._descriptor, on=True)
        self._may_be_direct = self._is_direct
        return self._is_direct

    def _leave_direct(self) -> None:
        if self._is_direct:
            self._is_direct = False
            _set_direct(self._descriptor, on=False)


def _set_direct(descriptor: int, *, on: bool) -> bool:
    """Switch ``O_DIRECT``; False where the system or the file system has no such thing."""
    if sys.platform != "linux":
        return False
    import fcntl  # noqa: PLC0415 - not on every platform

    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT if on else flags & ~os.O_DIRECT)
    except OSError:
        return False
    return True
