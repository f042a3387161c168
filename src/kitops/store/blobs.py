"""Blobs by digest: put whole and verified or not at all, read verified.

**What is flushed when.** A new blob's content is flushed (``fdatasync``) before it gets its name; the names in
``blobs/`` are flushed when a ref is written that relies on them (:mod:`kitops.store.refs`), not one by one. So after a
power cut a name in ``blobs/`` always has its whole content, and a ref that was there has everything below it. Writers
of big files have the disk keep up with them, so that the last flush is short.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kitops.content.mounts import claim
from kitops.content.verify import VerifyingReader, check_bytes
from kitops.content.write import flush_file, write_all
from kitops.errors import FileSystemError, IntegrityError, NotFoundError, StoreError
from kitops.oci.descriptor import Descriptor
from kitops.store import trash
from kitops.store.atomic import FILE_MODE, NEW_FILE, READ_FILE, read_small, remove_file, told
from kitops.store.filesystem import check_room, writing_to
from kitops.store.receive import receive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kitops.content.protocols import Reader, Run
    from kitops.oci.digest import Digest
    from kitops.store.layout import Layout
    from kitops.store.lease import Lease

WORTH_RESERVING: Final = 1024 * 1024
_BUFFER: Final = 1024 * 1024
_MENDED_BY: Final = "`kit pull --verify` fetches what is damaged again, `kit pack --no-cache` makes it again"


@dataclass(slots=True)
class NewBlob:
    """A file that is to become a blob.

    Args:
        fd: the empty file, open for reading and writing; closed by the block that gave it.
        path: its name until then.
    """

    fd: int
    path: str
    _blobs: Blobs
    _lease: Lease
    _committed: bool = field(default=False)

    def reserve(self, size: int) -> None:
        """Make sure that ``size`` bytes fit, and have the file system lay them out in one piece where that is cheap.

        The file is ``size`` bytes long afterwards or still empty: who then writes fewer truncates it.

        Raises:
            FileSystemError: the disk is too full; the message has both numbers.
        """
        check_room(self._blobs.layout.root, size, "writing to")
        if size >= WORTH_RESERVING:
            with writing_to(self._blobs.layout.root, size):
                claim(self.fd, size)

    def commit(self, digest: Digest, size: int, *, replace: bool = False) -> None:
        """Make it the blob ``digest``. The caller has hashed it; the length is checked here.

        If the store has that blob already, this file is dropped and the old one is touched: a file that another
        machine reads over NFS must not be replaced, and one may share its space with files elsewhere.

        Args:
            digest: of its content.
            size: bytes.
            replace: it takes the place of the old one all the same, which may be damaged.

        Raises:
            IntegrityError: the file has another length.
            StoreError: the file was taken away (this process was suspended so long that it was given up for dead).
            FileSystemError: it could not be written.
        """
        actual = os.fstat(self.fd).st_size
        if actual != size:
            raise IntegrityError(f"new blob {digest}", f"{size} bytes", f"{actual} bytes")
        if self._blobs.hold(digest, size, self._lease) and not replace:
            return
        with writing_to(self._blobs.layout.root, size):
            flush_file(self.fd)
        self._blobs.publish(self.path, digest)
        self._committed = True

    def close(self) -> None:
        """Close the file, and remove it unless it became a blob."""
        os.close(self.fd)
        if not self._committed:
            with suppress(OSError):
                remove_file(self.path)


@dataclass(frozen=True, slots=True)
class Blobs:
    """The blobs of one store."""

    layout: Layout
    run: Run

    def path(self, digest: Digest) -> Path:
        """Where the blob is.

        Raises:
            NotFoundError: it is not there.
        """
        return Path(self._find(digest))

    def exists(self, digest: Digest) -> bool:
        return trash.find_blob(self.layout, digest) is not None

    def size(self, digest: Digest) -> int:
        """Its length in bytes.

        Raises:
            NotFoundError: it is not there.
        """
        with told("reading", self.layout.blob(digest)), self._opened(digest) as descriptor:
            return os.fstat(descriptor).st_size

    @contextmanager
    def open(self, desc: Descriptor) -> Iterator[Reader]:
        """Its bytes; reading them to the end raises IntegrityError unless they are what ``desc`` says.

        Raises:
            NotFoundError: it is not there.
        """
        with self._opened(desc.digest) as descriptor, open(descriptor, "rb", buffering=0, closefd=False) as file:
            yield VerifyingReader(file, desc, f"blob {desc.digest} of the store", hint=_MENDED_BY)

    @contextmanager
    def stream(self, desc: Descriptor) -> Iterator[Reader]:
        """Its bytes as they are, unverified: for a sink, which verifies.

        Raises:
            NotFoundError: it is not there.
        """
        with self._opened(desc.digest) as descriptor, open(descriptor, "rb", buffering=0, closefd=False) as file:
            yield file

    def fetch(self, desc: Descriptor) -> bytes:
        """A small blob, verified.

        Raises:
            NotFoundError: it is not there.
            IntegrityError: it is not what ``desc`` says.
        """
        path = self.layout.blob(desc.digest)
        with told("reading", path), self._opened(desc.digest) as descriptor:
            actual = os.fstat(descriptor).st_size
            if actual != desc.size:
                raise IntegrityError(
                    f"blob {desc.digest} of the store", f"{desc.size} bytes", f"{actual} bytes", hint=_MENDED_BY
                )
            with open(descriptor, "rb", buffering=0, closefd=False) as file:
                content = file.read()
        check_bytes(content, desc, f"blob {desc.digest} of the store", hint=_MENDED_BY)
        return content

    def hold(self, digest: Digest, size: int, lease: Lease) -> bool:
        """Whether the blob is there with this size; if so, it stays while ``lease`` lives, and counts as new.

        A blob of another length is damaged (by a disk, not by us): it counts as missing, and is replaced.

        Raises:
            FileSystemError: the lease cannot be written, or the blob not be taken back from the trash.
        """
        lease.add(digest)
        path = self.layout.blob(digest)
        with told("reading", path):
            if not trash.rescue_blob(self.layout, digest):
                return False
            try:
                found = os.stat(path)
            except FileNotFoundError:  # on its way to the trash and back: whoever moved it sees the lease
                return trash.rescue_blob(self.layout, digest)
        if found.st_size != size:
            return False
        if found.st_nlink == 1:  # else its time stamp belongs to the Go tool's storage too; the lease holds it
            with suppress(OSError):  # somebody else's file in a shared store
                os.utime(path)
        return True

    def drop_damaged(self, desc: Descriptor, moved: Callable[[int], None] = lambda _: None) -> bool:
        """Read the blob, and remove it unless it is what ``desc`` says: then it counts as missing, and is put again.

        Args:
            desc: what it should be.
            moved: told the number of bytes of each step.

        Returns:
            Whether it was removed; False where it is whole, or not there.

        Raises:
            FileSystemError: it cannot be read or removed.
        """
        path = self.layout.blob(desc.digest)
        try:
            with told("reading", path), self._opened(desc.digest) as descriptor:
                found = os.fstat(descriptor)
                try:
                    self._drain(descriptor, desc, moved)
                except IntegrityError:
                    if not os.path.samestat(found, os.stat(path)):  # it was put again meanwhile
                        return False
                    return remove_file(path)
        except NotFoundError:
            pass
        return False

    def _drain(self, descriptor: int, desc: Descriptor, moved: Callable[[int], None]) -> None:
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            reader = VerifyingReader(file, desc, f"blob {desc.digest} of the store")
            buffer = memoryview(bytearray(_BUFFER))
            while count := reader.readinto(buffer):
                self.run.cancel.check()
                moved(count)

    @contextmanager
    def create(self, lease: Lease) -> Iterator[NewBlob]:
        """A new file to write; it is removed when the block ends without :meth:`NewBlob.commit`.

        Raises:
            FileSystemError: it cannot be made.
        """
        self.layout.prepare()
        lease.add()
        path = self.layout.temporary(lease.id)
        with told("writing to", self.layout.root):
            os.makedirs(self.layout.ingest, exist_ok=True)
            descriptor = os.open(path, NEW_FILE, FILE_MODE)
        blob = NewBlob(descriptor, path, self, lease)
        try:
            yield blob
        finally:
            blob.close()

    def publish(self, path: str, digest: Digest) -> None:
        """Rename a whole, verified, flushed and leased file of the same file system to its blob."""
        target = self.layout.blob(digest)
        with told("writing", target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            try:
                os.replace(path, target)
            except FileNotFoundError as error:
                raise StoreError(
                    f"the file that was to become {digest} was taken away", hint="run the same command again"
                ) from error

    def put(self, desc: Descriptor, reader: Reader, moved: Callable[[int], None], lease: Lease) -> None:
        """Take a blob from ``reader``; it exists afterwards, whole and verified, or nothing of it does.

        Args:
            desc: what it is.
            reader: its bytes.
            moved: told the number of bytes of each step.
            lease: holds it from now on.

        Raises:
            IntegrityError: other bytes came.
            FileSystemError: it could not be written.
        """
        with self.create(lease) as new:
            new.reserve(desc.size)
            receive(new.fd, desc, reader, moved, cancel=self.run.cancel, root=self.layout.root)
            new.commit(desc.digest, desc.size)

    def put_bytes(self, content: bytes, media_type: str, lease: Lease) -> Descriptor:
        """Take a small blob; a damaged one of the same digest is replaced.

        Raises:
            FileSystemError: it could not be written.
        """
        desc = Descriptor.of(content, media_type)
        with told("reading", self.layout.blob(desc.digest)):
            if self.hold(desc.digest, desc.size, lease) and read_small(self.layout.blob(desc.digest)) == content:
                return desc
        with self.create(lease) as new:
            with writing_to(self.layout.root, desc.size):
                write_all(new.fd, content)
                flush_file(new.fd)
            self.publish(new.path, desc.digest)
        return desc

    @contextmanager
    def _opened(self, digest: Digest) -> Iterator[int]:
        """A descriptor of the blob: once open, its bytes stay readable whatever happens to its name."""
        for _ in range(3):
            path = self._find(digest)
            try:
                with told("reading", path):
                    descriptor = os.open(path, READ_FILE)
                break
            except FileSystemError as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise
        else:
            raise _not_found(digest)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StoreError(f"blob {digest} of the store is not a file", hint=f"remove {path} and pull again")
            yield descriptor
        finally:
            os.close(descriptor)

    def _find(self, digest: Digest) -> str:
        path = trash.find_blob(self.layout, digest)
        if path is None:
            expected = self.layout.blob(digest)
            try:
                os.stat(expected)
            except (FileNotFoundError, NotADirectoryError):
                raise _not_found(digest) from None
            except OSError as error:  # it may well be there
                raise FileSystemError.wrap(error, "reading", expected) from error
            return expected  # by now
        return path


def _not_found(digest: Digest) -> NotFoundError:
    return NotFoundError(f"blob {digest} is not in the store", hint="`kit pull` it again")
