"""Remembers which files gave which layer, so that what did not change is not read again.

One small file an entry in ``packed/``, named after the fingerprint's key; written whole by a rename, so that processes
need no lock. A file that is damaged counts as missing: the worst is work done again.

An entry is believed only when that is certain:

- every file was older than the moment of hashing by :data:`MARGIN_NS`. The time stamps of a file system are coarse: a
  file that changed right after it was read may carry the same stamp as before;
- the layer is in the store, with the size that it had;
- all files are on file systems of this machine (:data:`kitops.store.filesystem.LOCAL_TYPES`): a network file system may
  show old time stamps from a cache.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kitops.content.mounts import is_local, read_mounts
from kitops.content.protocols import LayerRecord
from kitops.errors import InvalidValueError
from kitops.oci.digest import Digest
from kitops.store import trash
from kitops.store.atomic import entries, read_small, remove_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kitops.content.protocols import Fingerprint
    from kitops.store.layout import Layout

MARGIN_NS: Final = 2_000_000_000
KEEP_NS: Final = 90 * 24 * 3600 * 1_000_000_000
"""How long an entry that nobody asked for is kept: prune drops older ones."""


@dataclass(frozen=True, slots=True)
class _Entry:
    record: LayerRecord
    started_ns: int
    is_lasting: bool


@dataclass(frozen=True, slots=True)
class StoreDigestCache:
    """The cache of one store.

    Args:
        layout: the store.
        mounts: tells device numbers and types of the mounted file systems.
    """

    layout: Layout
    mounts: Callable[[], Mapping[int, str]] = field(default=read_mounts)

    def get(self, fingerprint: Fingerprint) -> LayerRecord | None:
        """The layer that these files gave, if that is known and certain; nothing is written.

        The caller then takes a lease on it (``blobs.hold``) before it relies on it.
        """
        record = self.recall(fingerprint)
        if record is None:
            return None
        path = trash.find_blob(self.layout, record.digest)
        try:
            return record if path is not None and os.stat(path).st_size == record.size else None
        except OSError:
            return None

    def recall(self, fingerprint: Fingerprint) -> LayerRecord | None:
        """As :meth:`get`, whether the layer is still in the store or not."""
        if not self._is_local(fingerprint):
            return None
        entry = self._read(self._path(fingerprint))
        if entry is None or fingerprint.newest_ns > entry.started_ns - MARGIN_NS:
            return None
        return entry.record

    def put(self, fingerprint: Fingerprint, record: LayerRecord, started_ns: int) -> None:
        """Remember ``record``, unless it could never be believed. A cache that cannot be written stays as it is."""
        if fingerprint.newest_ns > started_ns - MARGIN_NS or not self._is_local(fingerprint):
            return
        table = {
            "digest": str(record.digest),
            "size": record.size,
            "diffId": str(record.diff_id),
            "started": started_ns,
        }
        if not fingerprint.newest_ns:
            table["lasting"] = True
        with suppress(OSError):
            os.makedirs(self.layout.packed, exist_ok=True)
            replace_file(
                self.layout.temporary("packed"), self._path(fingerprint), json.dumps(table).encode(), durable=False
            )

    def stale(self, now_ns: int) -> list[str]:
        """The paths of entries that are of no use: damaged, their blob is gone, or older than :data:`KEEP_NS`.

        Where content, not files of a disk, gave the layer, that is true for good: a registry may have the blob.
        """
        found = []
        for item in entries(self.layout.packed):
            entry = self._read(item.path)
            if (
                entry is None
                or now_ns - entry.started_ns > KEEP_NS
                or (not entry.is_lasting and trash.find_blob(self.layout, entry.record.digest) is None)
            ):
                found.append(item.path)
        return found

    def drop_stale(self, now_ns: int) -> None:
        """Remove what :meth:`stale` finds."""
        for path in self.stale(now_ns):
            with suppress(OSError):
                remove_file(path)

    def _path(self, fingerprint: Fingerprint) -> str:
        return f"{self.layout.packed}/{fingerprint.key.hex()}"

    def _is_local(self, fingerprint: Fingerprint) -> bool:
        mounts = self.mounts()
        return all(is_local(device, mounts) for device in fingerprint.devices)

    def _read(self, path: str) -> _Entry | None:
        try:
            content = read_small(path)
            table = json.loads(content or b"{}")
            record = LayerRecord(Digest.parse(table["digest"]), int(table["size"]), Digest.parse(table["diffId"]))
            return _Entry(record, int(table["started"]), is_lasting=bool(table.get("lasting")))
        except (OSError, ValueError, KeyError, TypeError, InvalidValueError):
            return None
