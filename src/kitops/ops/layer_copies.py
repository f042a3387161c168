"""Where the layers that a directory should hold can be read: the store, unless its copy is damaged, else a registry."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kitops.content.events import Message
from kitops.errors import FileSystemError, IntegrityError, NotFoundError
from kitops.layers.codec import PIECE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kitops.content.protocols import Reader
    from kitops.oci.digest import Digest
    from kitops.ops.place import Place
    from kitops.ops.tracked import TrackedLayer


class Copies:
    """The copies of layers. Thread-safe.

    Args:
        place: has the store and the way to registries.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._damaged: dict[Digest, bool] = {}  # what was read of the store's copies

    def path(self, layer: TrackedLayer) -> Path | None:
        """The store's copy of a layer; None where it has none, or a damaged one."""
        digest = layer.content.desc.digest
        blobs = self._place.store.blobs
        return None if self._damaged.get(digest) or not blobs.exists(digest) else blobs.path(digest)

    @contextmanager
    def open(self, layer: TrackedLayer) -> Iterator[Reader]:
        """The bytes of a layer, unverified: from the store, else from its registry.

        Raises:
            NotFoundError: it is nowhere.
            NetworkError: its registry cannot be reached.
        """
        desc, ref = layer.content.desc, layer.recorded.ref
        if self.path(layer) is not None:
            with self._place.store.blobs.stream(desc) as reader:
                yield reader
        elif layer.located is not None and not layer.located.is_local:
            with layer.located.source.stream(desc) as reader:
                yield reader
        elif ref.is_local:
            where = "is damaged in the store" if self._damaged.get(desc.digest) else "is not in the store"
            raise NotFoundError(f"{layer.content.what} {where}", hint="pack the ModelKit again")
        else:
            with self._place.registry(ref, mirrored=True) as repository, repository.stream(desc) as reader:
                yield reader

    def vouch(self, layer: TrackedLayer) -> None:
        """Note that the copy that :meth:`open` gave was read to its end and is whole."""
        if self.path(layer) is not None:
            self._damaged[layer.content.desc.digest] = False

    def is_damaged(self, layer: TrackedLayer) -> bool:
        """Whether the store has a copy of a layer and it is damaged: read once to find out, and told to people."""
        if self.path(layer) is None:
            return self._damaged.get(layer.content.desc.digest, False)
        desc, run = layer.content.desc, self._place.run
        with self._lock:
            if desc.digest not in self._damaged:
                self._damaged[desc.digest] = not self._is_whole(layer)
                if self._damaged[desc.digest]:
                    run.observer(Message("warning", self._tell(layer)))
        return self._damaged[desc.digest]

    def _tell(self, layer: TrackedLayer) -> str:
        ref, path = layer.recorded.ref, self._place.store.blobs.path(layer.content.desc.digest)
        again = "pack the ModelKit again" if ref.is_local else f"`kit pull {ref}`"
        what = f"the store's own copy of {layer.content.what} is damaged (the directory is judged without it)"
        return f"{what}: remove {path}, then {again}"

    def _is_whole(self, layer: TrackedLayer) -> bool:
        buffer = memoryview(bytearray(PIECE))
        try:
            with self._place.store.blobs.open(layer.content.desc) as reader:
                while reader.readinto(buffer):
                    self._place.run.cancel.check()
        except (IntegrityError, FileSystemError, OSError):
            return False
        return True
