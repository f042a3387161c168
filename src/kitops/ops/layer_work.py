"""One layer of an import: what it will be made of, and how far it is."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kitops.content.protocols import Fingerprint, LayerRecord
from kitops.errors import FileSystemError
from kitops.formats.build import PackedLayer
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.ops.reuse import hash_parts
from kitops.store.landing import Assembly, open_assembly, open_landing
from kitops.store.members import LayerFile
from kitops.store.partial import find_orphans

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from kitops.content.cancel import CancelToken
    from kitops.formats.plan import PlannedLayer
    from kitops.importers.tree import RemoteFile
    from kitops.layers.outline import Outline
    from kitops.store import Store
    from kitops.store.landing import StoreLanding
    from kitops.store.lease import Lease

MEDIA_TYPE: Final = "application/octet-stream"
_EMPTY: Final = hashlib.sha256().hexdigest()


class LayerWork:
    """A layer whose bytes come from many places. Thread-safe.

    Args:
        planned: what was asked for.
        outline: how it is laid out.
        files: those in it, by path.

    Attributes:
        record: what it is, once that is known.
        digests: the SHA-256 of its files, by path, as far as they are known.
    """

    def __init__(self, planned: PlannedLayer, outline: Outline, files: Mapping[str, RemoteFile]) -> None:
        self.planned = planned
        self.outline = outline
        self.files = files
        self.record: LayerRecord | None = None
        self.digests = {path: file.digest.encoded for path, file in files.items() if file.digest is not None}
        self.digests |= {path: _EMPTY for path, file in files.items() if not file.size}
        self.stamp = _fingerprint(planned, outline, files)
        self._known = None if outline.is_archive else next(iter(files.values())).digest
        self._key = self._known or (Digest("sha256", self.stamp.key.hex()) if self.stamp else Digest.of(os.urandom(16)))
        self._left = set(range(len(outline.parts)))
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._landing: StoreLanding | None = None
        self._started_ns = time.time_ns()

    @property
    def known(self) -> Descriptor | None:
        """What its blob is, where the source tells: a raw layer is the file."""
        return None if self._known is None else Descriptor(MEDIA_TYPE, self._known, self.outline.size)

    def packed(self) -> PackedLayer:
        """The layer, now that it is known."""
        if self.record is None:
            raise AssertionError("a layer is asked for when it is there")
        if self.outline.is_archive:
            return PackedLayer(self.planned, self.record)
        return PackedLayer(self.planned, self.record, mode=self.outline.members[0].mode, file_size=self.record.size)

    def needed(self, store: Store, live: Collection[str]) -> int:
        """Bytes of disk that it will take, less what an earlier attempt left."""
        orphans = find_orphans(store.layout, self._key, live)
        return max(0, self.outline.size - max((one.allocated for one in orphans if one.is_free), default=0))

    # --- while it is put together

    def open(self, store: Store, lease: Lease) -> StoreLanding:
        """Where its bytes go; open until :meth:`close`."""
        with self._lock:
            if self._landing is None:
                open_it = open_landing if self._known is not None else open_assembly
                desc = Descriptor(MEDIA_TYPE, self._key, self.outline.size)
                self._landing = self._stack.enter_context(open_it(store.blobs, desc, lease))
            return self._landing

    def close(self) -> None:
        """Let go of it; what came stays for the next attempt unless it was finished."""
        self._stack.close()
        self._landing = None

    def note(self, number: int, sha256: str) -> bool:
        """The part ``number`` is here, its file's SHA-256 in hex; whether it was the last one."""
        part = self.outline.parts[number]
        with self._lock:
            if part.path:
                self.digests[part.path] = sha256
            self._left.discard(number)
            return not self._left

    def forget(self) -> None:
        """Begin to count the parts anew: they are looked at again."""
        self._left = set(range(len(self.outline.parts)))

    def finish(self, store: Store) -> LayerRecord:
        """Make a blob of what came.

        Raises:
            IntegrityError: the bytes are not what the source said.
            FileSystemError: it cannot be written.
        """
        landing = self._landing
        if isinstance(landing, Assembly):
            digest = landing.finish_as_found()
        elif landing is not None and self._known is not None:
            landing.finish()
            digest = self._known
        else:
            raise AssertionError("a layer is opened before it is finished")
        self.close()
        return self.settle(store, LayerRecord(digest, self.outline.size, digest))

    def settle(self, store: Store, record: LayerRecord) -> LayerRecord:
        """It is ``record``, which is in the store."""
        if not self.outline.is_archive:
            self.digests[self.outline.parts[0].path] = record.digest.encoded
        if self.stamp is not None:
            store.digest_cache.put(self.stamp, record, self._started_ns)
        self.record = record
        return record

    def members(self) -> list[LayerFile]:
        """Where its files are."""
        parts = [part for part in self.outline.parts if part.path]
        return [
            LayerFile(part.path, part.content, part.size, self.digests[part.path], self.files[part.path].git_blob)
            for part in parts
        ]

    def measure(self, path_of: Callable[[RemoteFile], Path]) -> None:
        """Take the sizes of files that are on the disk now from there: not every source lists them right.

        Raises:
            FileSystemError: a file cannot be looked at.
        """
        sizes = {}
        for path, file in self.files.items():
            if file.digest is None:
                try:
                    sizes[path] = path_of(file).stat().st_size
                except OSError as error:
                    raise FileSystemError.wrap(error, "reading", path_of(file)) from error
        if any(self.files[path].size != size for path, size in sizes.items()):
            self.files = {path: replace(file, size=sizes.get(path, file.size)) for path, file in self.files.items()}
            self.outline = self.outline.resized(sizes)

    def recall_digests(self, store: Store, cancel: CancelToken) -> None:
        """Have the digests of the files of a layer that was there already, if it is here.

        Raises:
            FileSystemError: it cannot be read.
        """
        parts = [part for part in self.outline.parts if part.path]
        if self.record is None or self.digests.keys() >= {part.path for part in parts}:
            return
        if not self.outline.is_archive:
            self.digests[parts[0].path] = self.record.digest.encoded
            return
        self.digests |= {file.path: file.sha256 for file in store.members.read(self.record.digest)}
        if not self.digests.keys() >= {part.path for part in parts}:
            self.digests |= hash_parts(store, self.record.digest, parts, cancel)


def _fingerprint(planned: PlannedLayer, outline: Outline, files: Mapping[str, RemoteFile]) -> Fingerprint | None:
    """What it is made of, by the names that the source has for the bytes; None where it has none."""
    hasher = hashlib.sha256(f"import\0{planned.form.value}\0{planned.codec.value}".encode())
    for member in outline.members:
        identity = ""
        if member.size:
            identity = files[member.name.decode()].identity
            if not identity:
                return None
        stamps = (member.mode, member.is_dir, member.size, identity.encode())
        hasher.update(b"\0%b\0%o %d %d %b" % (member.name, *stamps))
    return Fingerprint(hasher.digest(), 0, frozenset())
