"""What of an import is here already: blobs by their digest, and files in layers of earlier imports."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from kitops.errors import FileSystemError, NotFoundError
from kitops.importers.tree import RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from hashlib import _Hash

    from kitops.content.cancel import CancelToken
    from kitops.layers.outline import Part
    from kitops.oci.digest import Digest
    from kitops.store import Store
    from kitops.store.members import LayerFile

    ReadAt = Callable[[int, memoryview], int]
    """Fills a buffer with the bytes of a file from an offset on; how many came."""

BUFFER: Final = 256 * 1024


class ContentHash:
    """The bytes of a file, compared with what its source calls them.

    Args:
        file: the file.
        by_git: whether the id of its git object is that of these bytes: a work tree may have them converted.
    """

    def __init__(self, file: RemoteFile, *, by_git: bool) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._git = git_hasher(file) if by_git and file.digest is None else None

    def update(self, chunk: memoryview) -> None:
        self._sha256.update(chunk)
        if self._git is not None:
            self._git.update(chunk)

    @property
    def sha256(self) -> str:
        """Of the bytes so far, in hex."""
        return self._sha256.hexdigest()

    @property
    def actual(self) -> str:
        """What the bytes are, by the algorithm that the source uses."""
        return f"sha256:{self.sha256}" if self._git is None else f"gitBlob:{self._git.hexdigest()}"

    @property
    def is_right(self) -> bool:
        """Whether they are what the source said, where it said something."""
        if self._git is None and self._file.digest is None:
            return True
        return self.actual == self._file.identity


def git_hasher(file: RemoteFile) -> _Hash | None:
    """What computes the id of a file's git object (git-hash-object(1)); None where the source tells none."""
    if not file.git_blob:
        return None
    hasher = hashlib.sha1(usedforsecurity=False) if len(file.git_blob) == 40 else hashlib.sha256()
    hasher.update(b"blob %d\0" % file.size)
    return hasher


def hash_content(content: ContentHash, read_at: ReadAt, size: int, cancel: CancelToken) -> bool:
    """Hash ``size`` bytes; False when there are fewer."""
    buffer = memoryview(bytearray(BUFFER))
    position = 0
    while position < size:
        cancel.check()
        count = read_at(position, buffer[: size - position])
        if not count:
            return False
        content.update(buffer[:count])
        position += count
    return True


def hash_parts(store: Store, layer: Digest, parts: Sequence[Part], cancel: CancelToken) -> dict[str, str]:
    """The SHA-256 of the files of an uncompressed layer, by path; nothing where the layer is not here."""
    descriptor = _open(store, layer)
    if descriptor is None:
        return {}
    try:
        found = {}
        for part in parts:
            content = ContentHash(RemoteFile(part.path, part.size), by_git=False)
            if hash_content(content, _reader(descriptor, part.content), part.size, cancel):
                found[part.path] = content.sha256
        return found
    finally:
        os.close(descriptor)


class Reuse:
    """The files that the store has. Thread-safe; where files are in layers is read when first asked.

    Args:
        store: the store.
        cancel: watched while hashing.
    """

    def __init__(self, store: Store, cancel: CancelToken) -> None:
        self._store = store
        self._cancel = cancel
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Digest, LayerFile]] | None = None

    def has(self, file: RemoteFile) -> bool:
        """Whether it seems to be here; its bytes are not looked at."""
        return any(self._store.blobs.exists(digest) for digest, _ in self._candidates(file))

    def add(self, layer: Digest, files: Sequence[LayerFile]) -> None:
        """A layer is here now."""
        self._store.members.put(layer, files)
        with self._lock:
            if self._known is not None:
                self._known |= {f"sha256:{file.sha256}": (layer, file) for file in files}
                self._known |= {f"gitBlob:{file.git_blob}": (layer, file) for file in files if file.git_blob}

    @contextmanager
    def opened(self, file: RemoteFile) -> Iterator[tuple[ReadAt, str] | None]:
        """The bytes of a file that is here, which were hashed just now, and their SHA-256; None where it is not."""
        for digest, offset in self._candidates(file):
            descriptor = _open(self._store, digest)
            if descriptor is None:
                continue
            try:
                read_at = _reader(descriptor, offset)
                content = ContentHash(file, by_git=True)
                if hash_content(content, read_at, file.size, self._cancel) and content.is_right:
                    yield read_at, content.sha256
                    return
            finally:
                os.close(descriptor)
        yield None

    def _candidates(self, file: RemoteFile) -> list[tuple[Digest, int]]:
        """Blobs that should hold the file, and where in them."""
        found = [] if file.digest is None else [(file.digest, 0)]
        if file.identity:
            with self._lock:
                if self._known is None:
                    self._known = self._store.members.find_all()
                place = self._known.get(file.identity)
            if place is not None and place[1].size == file.size:
                found.append((place[0], place[1].offset))
        return found


def _open(store: Store, digest: Digest) -> int | None:
    """A descriptor of a blob; None where it is not here."""
    try:
        return os.open(store.blobs.path(digest), os.O_RDONLY | os.O_CLOEXEC)
    except (NotFoundError, FileNotFoundError):
        return None
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", f"blob {digest}") from error


def _reader(descriptor: int, start: int) -> ReadAt:
    def read_at(offset: int, buffer: memoryview) -> int:
        try:
            return os.preadv(descriptor, [buffer], start + offset)
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", "a blob of the store") from error

    return read_at
