"""Blobs that are coming: a file each, that grows with every request, and the digest of what came so far.

The file is the truth: after a restart an upload is as far as its file is long. Its digest is then made again, beside
the bytes that still come.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from kitops.content.cancel import CancelToken
from kitops.content.write import flush_file, write_all
from kitops.oci.digest import Digest
from kitops.store.leftover import ABANDONED_SECONDS
from kitops.store.receive import BIG, FLUSH_EVERY, GrowingDigest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from hashlib import _Hash

_BLOCK: Final = 256 * 1024
_UPLOAD_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


class ReadsInto(Protocol):
    """Where the bytes of a request come from."""

    @property
    def size(self) -> int | None:
        """Bytes in all, where that is known."""
        ...

    def readinto(self, buffer: memoryview, /) -> int: ...


class Upload:
    """A blob that is coming. One request at a time may work on it: hold ``lock``.

    Args:
        path: its file, which is made if need be.
        algorithm: what its digest will probably be made with.
        durable: flush what was taken, now and then and at the end.
    """

    def __init__(self, path: str, identity: str, algorithm: str, *, durable: bool) -> None:
        self.path = path
        self.id = identity
        self.lock = threading.Lock()
        self.is_over = False
        self._durable = durable
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        self.size = os.stat(path).st_size
        self._hashed = 0
        self._hasher: _Hash = Digest(algorithm, "").new_hasher()

    def append(self, reader: ReadsInto, digest: Digest | None = None) -> None:
        """Add what ``reader`` gives. Where that breaks off, what came before stays.

        Args:
            reader: gives the bytes.
            digest: what the whole is going to have, where that is known.
        """
        if digest is not None and digest.algorithm != self._hasher.name:
            self._forget(digest.algorithm)
        with open(self.path, "r+b", buffering=0) as file:
            os.truncate(file.fileno(), self.size)  # what a full disk took the half of
            file.seek(self.size)
            if self._hashed == self.size and reader.size is not None and reader.size < BIG:
                self._fill(file.fileno(), reader, self._take)
            else:
                self._append_big(file.fileno(), reader)
            if self._durable and digest is not None:
                flush_file(file.fileno())

    def digest(self, algorithm: str) -> str:
        """The hex digest of what came so far."""
        if self._hasher.name != algorithm or self._hashed != self.size:
            self._forget(algorithm)
            with open(self.path, "r+b", buffering=0) as file:
                self._append_big(file.fileno(), _Nothing())
        return self._hasher.hexdigest()

    def _append_big(self, descriptor: int, reader: ReadsInto) -> None:
        growing = GrowingDigest(descriptor, self._hasher, CancelToken(), start=self._hashed)
        growing.advance(self.size - self._hashed)
        try:
            self._fill(descriptor, reader, lambda piece: growing.advance(len(piece)))
        finally:
            try:
                growing.finish()
            except BaseException:
                self._forget(self._hasher.name)
                raise
            self._hashed = self.size

    def _fill(self, descriptor: int, reader: ReadsInto, written: Callable[[memoryview], None]) -> None:
        buffer = memoryview(bytearray(min(_BLOCK, reader.size or _BLOCK)))
        flushed = self.size
        while count := reader.readinto(buffer):
            write_all(descriptor, buffer[:count])
            self.size += count
            written(buffer[:count])
            if self._durable and self.size - flushed >= FLUSH_EVERY:
                flush_file(descriptor)
                flushed = self.size

    def _take(self, piece: memoryview) -> None:
        self._hasher.update(piece)
        self._hashed += len(piece)

    def _forget(self, algorithm: str) -> None:
        self._hasher = Digest(algorithm, "").new_hasher()
        self._hashed = 0


class _Nothing:
    size = 0

    def readinto(self, buffer: memoryview, /) -> int:  # noqa: ARG002
        return 0


class Uploads:
    """The uploads of a server, in this life and earlier ones. Thread-safe.

    Args:
        durable: flush what was taken.
    """

    def __init__(self, *, durable: bool) -> None:
        self._durable = durable
        self._known: dict[str, Upload] = {}
        self._lock = threading.Lock()

    def start(self, prefix: str, algorithm: str) -> Upload:
        """A new upload, whose file is ``prefix`` and 32 hex digits."""
        identity = secrets.token_hex(16)
        os.makedirs(os.path.dirname(prefix), exist_ok=True)
        upload = Upload(prefix + identity, identity, algorithm, durable=self._durable)
        with self._lock:
            self._known[upload.path] = upload
        return upload

    def find(self, prefix: str, identity: str) -> Upload | None:
        """The upload ``identity`` below ``prefix``."""
        if not _UPLOAD_ID.fullmatch(identity):
            return None
        path = prefix + identity
        with self._lock:
            upload = self._known.get(path)
            if upload is None and os.path.exists(path):
                upload = self._known[path] = Upload(path, identity, "sha256", durable=self._durable)
            return upload

    def forget(self, upload: Upload) -> None:
        """It is over: its file has another name by now, or is not wanted."""
        upload.is_over = True
        with self._lock:
            self._known.pop(upload.path, None)
        with suppress(FileNotFoundError):
            os.unlink(upload.path)

    def drop_abandoned(self, paths: Iterable[str], *, older: float = ABANDONED_SECONDS) -> None:
        """Remove the uploads at ``paths`` whose last byte came more than ``older`` seconds ago."""
        before = time.time() - older
        for path in paths:
            with suppress(FileNotFoundError):
                if os.stat(path).st_mtime >= before:
                    continue
                upload = self.find(path[:-32], path[-32:])
                if upload is not None and upload.lock.acquire(blocking=False):
                    try:
                        self.forget(upload)
                    finally:
                        upload.lock.release()
