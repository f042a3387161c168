"""A file that is on the disk already becomes a blob, without a copy where the file system can link."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from kitops.content.write import flush_file
from kitops.errors import IntegrityError
from kitops.oci.digest import Digest
from kitops.store.atomic import READ_FILE, remove_file, told

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kitops.content.protocols import Run
    from kitops.store.blobs import Blobs
    from kitops.store.lease import Lease

_BUFFER: Final = 256 * 1024


def take_file(
    blobs: Blobs, path: Path, lease: Lease, run: Run, *, expected: Digest | None = None, moved: Callable[[int], None]
) -> tuple[Digest, int]:
    """Make a blob of the file ``path``, which nobody may change from now on.

    Args:
        blobs: takes it.
        path: the file; it stays, as another name of the blob where the file system can link.
        lease: holds the blob.
        run: its cancel token is watched.
        expected: what its digest must be.
        moved: told the number of bytes of each step of hashing.

    Returns:
        The digest, and the size in bytes.

    Raises:
        IntegrityError: it is not what was expected.
        FileSystemError: it cannot be read, or the store not be written.
    """
    blobs.layout.prepare()
    lease.add()
    name = blobs.layout.temporary(lease.id)
    try:
        with told("writing", name):
            os.makedirs(blobs.layout.ingest, exist_ok=True)
            try:
                os.link(path, name)
            except OSError:  # another file system, or one without links
                shutil.copyfile(path, name)
        with told("reading", str(path)):
            descriptor = os.open(name, READ_FILE)
            try:
                found, size = _hash(descriptor, run, moved)
                flush_file(descriptor)
            finally:
                os.close(descriptor)
        if expected is not None and found != expected:
            raise IntegrityError(str(path), expected, found)
        if not blobs.hold(found, size, lease):
            blobs.publish(name, found)
    finally:
        with suppress(OSError):
            remove_file(name)
    return found, size


def _hash(descriptor: int, run: Run, moved: Callable[[int], None]) -> tuple[Digest, int]:
    hasher = hashlib.sha256()
    buffer = memoryview(bytearray(_BUFFER))
    size = 0
    while count := os.readv(descriptor, [buffer]):
        run.cancel.check()
        hasher.update(buffer[:count])
        size += count
        moved(count)
    return Digest.from_hasher(hasher), size
