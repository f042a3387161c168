"""Flushing a big file to the disk while it is still written, in a thread of its own.

A flush waits for the disk and uses no processor, so neither the thread that copies nor the one that hashes should wait
for it. The writer is held back only when the disk is two steps behind: then the last flush is short, and so is the wait
of an interrupt.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kitops.content.cancel import CancelToken

STEP: Final = 64 << 20
"""Bytes from one flush to the next."""
_PATIENCE: Final = 0.2


class Flusher:
    """Flushes ``descriptor`` after every 64 MiB that the writer tells of; a file below that is not flushed at all.

    Args:
        descriptor: the file; it stays open until :meth:`close` came back.
        cancel: watched while the writer waits.
    """

    def __init__(self, descriptor: int, cancel: CancelToken) -> None:
        self._descriptor = descriptor
        self._cancel = cancel
        self._unflushed = 0
        self._wanted = threading.Semaphore(0)
        self._done = threading.Semaphore(1)
        self._thread: threading.Thread | None = None
        self._ended = False
        self._failure: OSError | None = None

    def advance(self, size: int) -> None:
        """``size`` more bytes were written.

        Raises:
            OSError: an earlier flush failed.
            Cancelled: the end was asked for.
        """
        self._unflushed += size
        if self._unflushed < STEP:
            return
        self._unflushed = 0
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="kitops-flush", daemon=True)
            self._thread.start()
        while not self._done.acquire(timeout=_PATIENCE):
            self._cancel.check()
        self._check()
        self._wanted.release()

    def close(self) -> None:
        """Wait for the flush that is under way.

        Raises:
            OSError: a flush failed.
        """
        if self._thread is not None:
            self._ended = True
            self._wanted.release()
            self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while True:
            self._wanted.acquire()
            if self._ended:
                return
            try:
                os.fdatasync(self._descriptor)
            except OSError as error:
                self._failure = error
            self._done.release()
