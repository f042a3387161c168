"""The layers of an import: what the store has is used, what it lacks is fetched, each file once.

Every file goes to its place in its layer as it comes, whether the layer is the file itself or an archive of many: it is
nowhere else on the disk, and a killed import goes on with what came. Files that an earlier import brought are taken
from its layers. What comes is compared with what the source calls it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from kitops.content.events import Advanced, Message, Planned
from kitops.content.parallel import run_all
from kitops.content.protocols import LayerRecord
from kitops.errors import IntegrityError
from kitops.importers.tree import OnDisk
from kitops.oci.descriptor import Descriptor
from kitops.ops.bring import Bringing, DamagedError, Target
from kitops.ops.layer_work import MEDIA_TYPE
from kitops.ops.reuse import Reuse
from kitops.store.atomic import remove_file, told
from kitops.store.filesystem import check_room
from kitops.store.lease import live_leases, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kitops.content.protocols import Run
    from kitops.formats.build import PackedLayer
    from kitops.importers.tree import RemoteFile, Tree
    from kitops.oci.digest import Digest
    from kitops.ops.layer_work import LayerWork
    from kitops.ops.through import Opener
    from kitops.store import Store
    from kitops.store.lease import Lease

    Elsewhere = Callable[[Descriptor], bool]

_TOGETHER: Final = 16
"""Places that the same file goes to at once, each in an open layer: a process has so many open files. Those beyond take
it from the layers that are done by then."""


class Gathering:
    """The files of one import on their way into layers.

    Args:
        store: takes blobs.
        tree: has the files.
        lease: holds the blobs.
        run: whom to tell, what to watch, how many files at a time.
        elsewhere: whether a blob is where the import goes to, if that is not the store. What is there need not be
            here, and raw layers whose digest the source tells stay where they are, to go there from there.

    Attributes:
        openers: by digest, how each layer that stayed at the source is read.
    """

    def __init__(self, store: Store, tree: Tree, lease: Lease, run: Run, *, elsewhere: Elsewhere | None = None) -> None:
        self.openers: dict[Digest, Opener] = {}
        self._store = store
        self._tree = tree
        self._lease = lease
        self._run = run
        self._elsewhere = elsewhere
        self._reuse = Reuse(store, run.cancel)
        self._bringing = Bringing(store, tree, lease, self._reuse)

    @property
    def fetched_size(self) -> int:
        """Bytes that came from the source."""
        return self._bringing.fetched_size

    def count(self, size: int) -> None:
        """So many bytes more came from the source: of layers that stayed there."""
        self._bringing.count(size)

    def make_layers(self, work: Sequence[LayerWork]) -> list[PackedLayer]:
        """The layers of ``work``, in its order.

        Raises:
            KitError: see :func:`kitops.ops.import_.import_`.
        """
        rest = [layer for layer in work if not self._is_there(layer)]
        unique = list({layer.known.digest if layer.known else layer: layer for layer in rest}.values())
        wanted = {path: file for layer in unique for path, file in layer.files.items()}
        self._run.observer(Planned("import", len(wanted), sum(file.size for file in wanted.values())))
        self._check_space(unique)
        if isinstance(self._tree, OnDisk):
            self._tree.prepare([file for file in wanted.values() if not self._reuse.has(file)], self._run)
            for layer in unique:
                layer.measure(self._tree.path_of)
        self._fetch_all(unique)
        for layer in rest:
            if layer.record is None:  # its file is that of another one
                self._is_there(layer)
        for layer in work:
            layer.recall_digests(self._store, self._run.cancel)
        return [layer.packed() for layer in work]

    def _is_there(self, layer: LayerWork) -> bool:
        """Whether a layer need not be made: the store has it, or it goes elsewhere and is there, or is read then."""
        known = layer.known
        if known is not None:
            record: LayerRecord | None = LayerRecord(known.digest, known.size, known.digest)
        else:
            record = None if layer.stamp is None else self._store.digest_cache.recall(layer.stamp)
        if record is None:
            return False
        if not self._store.blobs.hold(record.digest, record.size, self._lease):
            if self._elsewhere is None:
                return False
            if known is not None and not isinstance(self._tree, OnDisk):
                self.openers[known.digest] = partial(self._tree.open, next(iter(layer.files.values())))
            elif not self._elsewhere(Descriptor(MEDIA_TYPE, record.digest, record.size)):
                return False
        layer.record = record
        return True

    def _check_space(self, layers: Iterable[LayerWork]) -> None:
        """Refuse before the first byte when it will not fit.

        Raises:
            FileSystemError: with both numbers.
        """
        layout = self._store.layout
        layout.prepare()
        live = {lease.id for lease in live_leases(layout, now(layout))}
        needed = 0
        for layer in layers:
            if not isinstance(self._tree, OnDisk):
                needed += layer.needed(self._store, live)
                continue
            coming = (file for file in layer.files.values() if not self._tree.path_of(file).exists())
            needed += sum(file.size for file in coming) + (layer.outline.size if layer.outline.is_archive else 0)
        check_room(layout.root, needed, "importing to")

    def _fetch_all(self, layers: Sequence[LayerWork]) -> None:
        """Have all layers here. A file that came damaged is fetched once more, when the others have let go of it."""
        damaged: set[str] = set()
        while rest := [layer for layer in layers if layer.record is None]:
            try:
                self._fetch_once(rest)
            except DamagedError as error:
                file = error.file
                if file.path in damaged:
                    what = f"{file.path} of {self._tree.origin.uri}"
                    raise IntegrityError(what, file.identity, error.actual) from error
                damaged.add(file.path)
                self._drop(file)
                self._run.observer(Advanced(file.path, -file.size))
                self._run.observer(Message("warning", f"{file.path} came damaged; fetching it again"))

    def _drop(self, file: RemoteFile) -> None:
        """Remove what the source's own client keeps of a damaged file: it would be taken for the file again."""
        if isinstance(self._tree, OnDisk):
            path = str(self._tree.path_of(file))
            with told("removing", path):
                remove_file(path)

    def _fetch_once(self, layers: Sequence[LayerWork]) -> None:
        jobs: list[Callable[[Run], None]] = []
        places: dict[str, list[Target]] = {}
        for layer in sorted(layers, key=lambda layer: (layer.outline.is_archive, -layer.outline.size)):
            layer.forget()
            if isinstance(self._tree, OnDisk) and not layer.outline.is_archive:
                jobs.append(partial(self._bringing.take, layer))
                continue
            for number in range(len(layer.outline.parts)):
                target = Target(layer, number)
                identity = target.file.identity if target.file is not None else ""
                if len(places.get(identity, ())) in range(1, _TOGETHER):
                    places[identity].append(target)
                    continue
                targets = [target]
                if identity:
                    places[identity] = targets
                jobs.append(partial(self._bringing.bring, targets))
        try:
            run_all(jobs, self._run, workers=self._run.concurrency)
        finally:
            for layer in layers:
                layer.close()
