"""``kit status``: does a directory still look like what was unpacked there? Stamps are compared, no file is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.layers.codec import Codec
from kitops.layers.index import Index
from kitops.layers.stamps import read_tree
from kitops.layers.untar import parse_path
from kitops.layers.write import Format
from kitops.ops.tracked import Compared, find_extra, open_tracked
from kitops.ops.unpack_record import read_record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kitops.layers.stamps import Stamp, Tree
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place
    from kitops.ops.tracked import TrackedLayer
    from kitops.ops.unpack_record import Record


def status(place: Place, directory: Path, ref: Reference | None = None) -> Compared:
    """Compare ``directory`` with the record that ``kit unpack`` left, or by names and sizes with ``ref``.

    Args:
        place: has the store, where ``ref`` is looked for first.
        directory: what was unpacked.
        ref: the ModelKit; what the record says without.

    Raises:
        NotFoundError: there is no record and no ``ref``, or no such ModelKit.
        FileSystemError: the directory cannot be read.
    """
    record = read_record(directory)
    if record is not None and ref is None:
        return _compare_with_record(record, read_tree(directory, place.run))
    with open_tracked(place, directory, ref) as tracked:
        tree = read_tree(directory, place.run)
        if tracked.record is not None:
            return _compare_with_record(tracked.record, tree)
        look = _Look(tree)
        blind = []
        unknown = [
            "the content of files: no record tells of an unpack of this ModelKit, so names and sizes are compared"
        ]
        for layer in tracked.layers:
            sizes = _list_sizes(place, layer)
            if sizes is None:
                blind.append(layer.content.path)
                unknown.append(f"what is in {layer.recorded.label}: its layer is not in the store")
            else:
                look.at_sizes(sizes)
        if tracked.kitfile is not None:
            look.at_sizes([("Kitfile", len(tracked.kitfile))])
        return look.result(tracked.ref, tracked.desc, blind=blind, unknown=unknown)


def _compare_with_record(record: Record, tree: Tree) -> Compared:
    look = _Look(tree)
    blind = []
    for layer in record.layers:
        if layer.members is None:
            blind.append(layer.content.path)
        else:
            look.at_stamps((member.path, member.stamp) for member in layer.members)
    if record.kitfile is not None:
        look.at_stamps([("Kitfile", record.kitfile.stamp)])
    return look.result(record.ref, record.desc, blind=blind, unknown=[])


def _list_sizes(place: Place, layer: TrackedLayer) -> list[tuple[str, int | None]] | None:
    """Paths in a layer with their bytes (None: a directory; -1: not known); None where that costs more than a look."""
    content = layer.content
    if content.form is Format.RAW:
        path = parse_path(content.path.encode(), content.what)
        return [(path, content.desc.size if content.codec is Codec.NONE else -1)]
    if content.codec is not Codec.NONE:
        return None
    if not place.store.blobs.exists(content.desc.digest):
        return None
    with place.store.blobs.path(content.desc.digest).open("rb") as blob:
        members = Index().read(blob.fileno(), content.base, content.what, content.within)
        return [(member.path, None if member.is_dir else member.size) for member in members]


class _Look:
    """Gathers what differs in ``tree``."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._known: set[str] = set()
        self._files: set[str] = set()
        self._changed: set[str] = set()
        self._missing: set[str] = set()
        self._touched: set[str] = set()

    def at_stamps(self, members: Iterable[tuple[str, Stamp | None]]) -> None:
        """Compare files with the stamps that they had; directories have none."""
        files = self._tree.files
        for path, stamp in members:
            found = files.get(path)
            if stamp is not None and found == stamp:
                self._known.add(path)
                self._files.add(path)
            elif self._is_there(path, is_dir=stamp is None) and stamp is not None and found is not None:
                (self._touched if found.size == stamp.size else self._changed).add(path)

    def at_sizes(self, members: Iterable[tuple[str, int | None]]) -> None:
        """Compare files with their sizes in bytes."""
        for path, size in members:
            is_there = self._is_there(path, is_dir=size is None)
            if is_there and size not in (None, -1) and size != self._tree.files[path].size:
                self._changed.add(path)

    def result(self, ref: Reference, desc: Descriptor, *, blind: list[str], unknown: list[str]) -> Compared:
        """What was gathered."""
        return Compared(
            ref,
            desc,
            len(self._files),
            tuple(sorted(self._changed)),
            tuple(sorted(self._missing)),
            tuple(find_extra(self._tree, self._known, blind=blind)),
            tuple(sorted(self._touched)),
            unknown=tuple(unknown),
        )

    def _is_there(self, path: str, *, is_dir: bool) -> bool:
        self._known.add(path)
        if not is_dir:
            self._files.add(path)
        if path in (self._tree.directories if is_dir else self._tree.files):
            return True
        (self._changed if self._tree.has(path) else self._missing).add(path)
        return False
