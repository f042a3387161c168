"""Bytes that come in: written by one thread while another hashes the growing file.

A body of some MiB is hashed in the loop that writes it. For a big one hashing would cost as much time as receiving:
there the caller's thread reads and writes, and a second reads the file behind it, out of the page cache.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.content.write import flush_file, write_all
from kitops.errors import IntegrityError
from kitops.store.filesystem import writing_to

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash

    from kitops.content.cancel import CancelToken
    from kitops.content.protocols import Reader
    from kitops.oci.descriptor import Descriptor

BUFFER: Final = 256 * 1024
BIG: Final = 8 * 1024 * 1024
"""Bytes from which on a second thread pays."""
FLUSH_EVERY: Final = 128 * 1024 * 1024
"""Bytes between two flushes of a body that is still coming: the last flush then has little left to do."""
_WAIT = 0.2


def _note_nothing(size: int, digest: str) -> None:
    """Nobody wants to know."""


class GrowingDigest:
    """Hashes a file that another thread is still writing, up to what that thread says is there.

    Args:
        descriptor: the open file; read with ``pread``, so its position does not move.
        hasher: takes the bytes.
        cancel: watched between two buffers.
        start: how many bytes ``hasher`` has taken already.
        every: bytes between two notes; 0 for none.
        note: told, every so many bytes, how many were hashed and their digest so far, from the hashing thread.
    """

    def __init__(
        self,
        descriptor: int,
        hasher: _Hash,
        cancel: CancelToken,
        *,
        start: int = 0,
        every: int = 0,
        note: Callable[[int, str], None] = _note_nothing,
    ) -> None:
        self._descriptor = descriptor
        self._hasher = hasher
        self._cancel = cancel
        self._every = every
        self._note = note
        self._written = start
        self._done = start
        self._asked = False
        self._ended = False
        self.failure: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="hash", daemon=True)
        self._thread.start()

    def advance(self, size: int) -> None:
        """``size`` more bytes are in the file."""
        with self._changed:
            self._written += size
            self._changed.notify()

    def ask(self) -> None:
        """Have a note made soon, however little was hashed since the last one."""
        with self._changed:
            self._asked = True
            self._changed.notify()

    def finish(self) -> str:
        """The hexadecimal digest of everything, once the thread has read it.

        Raises:
            Cancelled: the work was asked to stop.
            OSError: the file could not be read.
        """
        self._stop()
        if self.failure is not None:
            raise self.failure
        return self._hasher.hexdigest()

    def abandon(self) -> tuple[int, str]:
        """End the thread before everything was hashed; how many bytes were, and their digest."""
        with self._changed:
            self._written = 0
        self._stop()
        return self._done, self._hasher.hexdigest()

    def _stop(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._hash()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that asks for the digest
            self.failure = error

    def _hash(self) -> None:
        buffer = memoryview(bytearray(BUFFER))
        noted = self._done
        while True:
            with self._changed:
                while self._written <= self._done and not self._ended and not self._asked:
                    self._changed.wait(_WAIT)
                    self._cancel.check()
                end, is_last = self._written, self._ended
                is_asked, self._asked = self._asked, False
            if is_last and end <= self._done:
                return
            while self._done < end:
                self._cancel.check()
                count = os.preadv(self._descriptor, [buffer[: end - self._done]], self._done)
                if not count:
                    raise OSError("the file became shorter while it was read")
                self._hasher.update(buffer[:count])
                self._done += count
                if self._every and self._done - noted >= self._every:
                    noted = self._tell()
            if is_asked and self._done > noted:
                noted = self._tell()

    def _tell(self) -> int:
        self._note(self._done, self._hasher.copy().hexdigest())
        return self._done


def receive(
    descriptor: int,
    desc: Descriptor,
    reader: Reader,
    moved: Callable[[int], None],
    *,
    cancel: CancelToken,
    root: str,
) -> None:
    """Write what ``reader`` gives to an empty file and check that it is what ``desc`` says.

    Args:
        descriptor: the file, open for reading and writing.
        desc: what must come.
        reader: gives the bytes.
        moved: told the number of bytes of each step.
        cancel: watched between two buffers.
        root: names the place in errors.

    Raises:
        IntegrityError: other bytes came, or more, or fewer.
        FileSystemError: the file could not be written.
    """
    hasher = desc.digest.new_hasher()
    target = _Target(descriptor, desc, root)
    if desc.size < BIG or not hasattr(os, "preadv"):
        target.fill(reader, moved, cancel, hasher.update)
        found = hasher.hexdigest()
    else:
        growing = GrowingDigest(descriptor, hasher, cancel)
        try:
            target.fill(reader, moved, cancel, lambda chunk: growing.advance(len(chunk)))
        except BaseException:
            growing.abandon()
            raise
        with writing_to(root):
            found = growing.finish()
    if found != desc.digest.encoded:
        raise IntegrityError(f"blob {desc.digest}", desc.digest, f"{desc.digest.algorithm}:{found}")


@dataclass(frozen=True, slots=True)
class _Target:
    descriptor: int
    desc: Descriptor
    root: str

    def fill(
        self,
        reader: Reader,
        moved: Callable[[int], None],
        cancel: CancelToken,
        written: Callable[[memoryview], None],
    ) -> None:
        """Write everything; ``written`` is given each piece once it is in the file."""
        what = f"blob {self.desc.digest}"
        buffer = memoryview(bytearray(BUFFER))
        done = flushed = 0
        while True:
            cancel.check()
            count = reader.readinto(buffer)
            if not count:
                break
            done += count
            if done > self.desc.size:
                raise IntegrityError(what, f"{self.desc.size} bytes", "more")
            with writing_to(self.root, self.desc.size):
                write_all(self.descriptor, buffer[:count])
                if done - flushed >= FLUSH_EVERY:
                    flush_file(self.descriptor)
                    flushed = done
            written(buffer[:count])
            moved(count)
        if done != self.desc.size:
            raise IntegrityError(what, f"{self.desc.size} bytes", f"{done} bytes")
