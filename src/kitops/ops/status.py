"""``kit status``: does a directory still look like what was unpacked there? Stamps are compared, hardly a file is read.

A file whose content has its old time, but of which something else is newer (its permission bits, its names; or somebody
wrote it and set the time back) may have changed. Where that costs little, its layer is made again from the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from kitops.content.events import Message
from kitops.errors import FileSystemError, IntegrityError, TrustError
from kitops.layers.codec import Codec
from kitops.layers.cover import Cover
from kitops.layers.index import Index
from kitops.layers.raw import raw_member
from kitops.layers.stamps import read_tree
from kitops.layers.write import Format
from kitops.oci.digest import Digest
from kitops.ops.modes import find_other_modes
from kitops.ops.tracked import Compared, find_extra, open_tracked
from kitops.ops.unpack_record import read_record, write_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from kitops.layers.stamps import Tree
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.reference import Reference
    from kitops.ops.layer_copies import Copies
    from kitops.ops.place import Place
    from kitops.ops.tracked import TrackedLayer
    from kitops.ops.unpack_record import Record, RecordedLayer, WrittenKitfile

CHEAP: Final = 256 << 20
"""Bytes of layers that are read at most: a quarter of a second."""

_Members: TypeAlias = "list[tuple[str, int, bool, int]]"
"""Path, bits, whether it is a directory, and bytes (-1: not known) of each."""


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
        return _compare_with_record(place, directory, record, read_tree(directory, place.run))
    with open_tracked(place, directory, ref) as tracked:
        tree = read_tree(directory, place.run)
        if tracked.record is not None:
            return _compare_with_record(place, directory, tracked.record, tree)
        look = _Look(place, directory, tree)
        blind = []
        unknown = [
            "the content of files: no record tells of an unpack of this ModelKit, so names and sizes are compared"
        ]
        for layer, members in _list_visible(tracked.layers, tracked.copies):
            if members is None:
                blind.append(layer.content.path)
                unknown.append(f"what is in {layer.recorded.label}: its layer is not in the store")
            else:
                look.at_sizes(layer.recorded, members)
        kitfile = tracked.kitfile_beside(look.files, is_all=not blind)
        if kitfile is not None and look.is_there("Kitfile", is_dir=False):
            from kitops.ops.kitfile import says_the_same  # noqa: PLC0415 - a record needs no YAML

            look.judge("Kitfile", is_same=says_the_same(directory / "Kitfile", kitfile))
        return look.result(tracked.ref, tracked.desc, blind=blind, unknown=unknown)


def _compare_with_record(place: Place, directory: Path, record: Record, tree: Tree) -> Compared:
    look = _Look(place, directory, tree)
    blind = []
    for layer in record.layers:
        if layer.members is None:
            blind.append(layer.content.path)
        else:
            look.at_stamps(layer)
    if record.kitfile is not None:
        look.at_kitfile(record.kitfile)
    found = look.result(record.ref, record.desc, blind=blind, unknown=[])
    if look.was_read and found.is_content_equal:
        try:
            write_record(directory, record.stamped(tree))  # the next look need not read
        except FileSystemError as error:
            place.run.observer(Message("debug", error.message))
    return found


def _list_visible(layers: Iterable[TrackedLayer], copies: Copies) -> Iterator[tuple[TrackedLayer, _Members | None]]:
    """What is in each layer, without what newer ones of the same image hide; None where that is not known."""
    covers: dict[Reference, Cover | None] = {}
    for layer in layers:
        cover = covers.setdefault(layer.recorded.ref, Cover()) if layer.content.within else Cover()
        members = None if cover is None else _list_members(layer, copies)
        if cover is None or members is None:
            covers[layer.recorded.ref] = None
            yield layer, None
            continue
        yield layer, [member for member in members if not cover.hides(member[0], is_dir=member[2])]
        for path, _, is_dir, _ in members:
            cover.add(path, is_dir=is_dir)


def _list_members(layer: TrackedLayer, copies: Copies) -> _Members | None:
    """What is in a layer; None where that costs more than a look."""
    content = layer.content
    if content.form is Format.RAW:
        member = raw_member(content.desc, content.path, content.what)
        size = member.size if content.codec is Codec.NONE else -1
        return [(member.path, member.mode, member.is_dir, size)]
    blob = copies.path(layer)
    if content.codec is not Codec.NONE or blob is None:
        return None
    try:
        with blob.open("rb") as file:
            members = list(Index().read(file.fileno(), content.base, content.what, content.within))
    except (IntegrityError, TrustError):
        if not copies.is_damaged(layer):
            raise
        return None
    return [(member.path, member.mode, member.is_dir, member.size) for member in members]


class _Look:
    """Gathers what differs in ``tree``, which is what is in ``directory``.

    Attributes:
        was_read: whether something was read because its stamp did not tell.
        files: the paths of files that belong to a layer, or are the Kitfile.
    """

    def __init__(self, place: Place, directory: Path, tree: Tree) -> None:
        self.was_read = False
        self._run = place.run
        self._directory = directory
        self._tree = tree
        self._known: set[str] = set()
        self.files: set[str] = set()
        self._changed: set[str] = set()
        self._missing: set[str] = set()
        self._touched: set[str] = set()
        self._modes: set[str] = set()
        self._left = CHEAP

    def at_stamps(self, layer: RecordedLayer) -> None:
        """Compare the files of a layer with the stamps that they had, and everything with its bits."""
        doubtful, others = [], []
        is_sure = True
        files, modes = self._tree.files, self._tree.modes
        for path, mode, stamp, made in layer.members or ():
            found = files.get(path)
            if made is None or modes.get(path) != made:
                others.append((path, mode, stamp is None))
            if stamp is not None and found == stamp:
                self._known.add(path)
                self.files.add(path)
            elif not self.is_there(path, is_dir=stamp is None):
                is_sure = False
            elif stamp is not None and found is not None:
                if found.is_rewritten(stamp):
                    (self._touched if found.size == stamp.size else self._changed).add(path)
                    is_sure = False
                else:
                    doubtful.append(path)
        self._add_modes(layer, others)
        if doubtful and not (is_sure and self._read(layer, doubtful)):
            self._touched.update(doubtful)

    def at_kitfile(self, written: WrittenKitfile) -> None:
        """Compare the Kitfile, which is small enough to be read."""
        found = self._tree.files.get("Kitfile")
        if not self.is_there("Kitfile", is_dir=False) or found is None or found == written.stamp:
            return
        self.was_read = True
        self.judge("Kitfile", is_same=_digest(self._directory / "Kitfile") == written.digest)

    def at_sizes(self, layer: RecordedLayer, members: Sequence[tuple[str, int, bool, int]]) -> None:
        """Compare the members of a layer with their sizes in bytes."""
        for path, _, is_dir, size in members:
            if self.is_there(path, is_dir=is_dir) and not is_dir:
                self.judge(path, is_same=size in (-1, self._tree.files[path].size))
        self._add_modes(layer, [member[:3] for member in members])

    def judge(self, path: str, *, is_same: bool) -> None:
        """Take in what was found out of a file."""
        if not is_same:
            self._changed.add(path)

    def is_there(self, path: str, *, is_dir: bool) -> bool:
        """Whether something of that name and type is there; else that is noted."""
        self._known.add(path)
        if not is_dir:
            self.files.add(path)
        if path in (self._tree.directories if is_dir else self._tree.files):
            return True
        (self._changed if self._tree.has(path) else self._missing).add(path)
        return False

    def result(self, ref: Reference, desc: Descriptor, *, blind: list[str], unknown: list[str]) -> Compared:
        """What was gathered."""
        return Compared(
            ref,
            desc,
            len(self.files),
            tuple(sorted(self._changed)),
            tuple(sorted(self._missing)),
            tuple(find_extra(self._tree, self._known, blind=blind)),
            tuple(sorted(self._touched)),
            tuple(sorted(self._modes)),
            unknown=tuple(unknown),
        )

    def _add_modes(self, layer: RecordedLayer, members: Sequence[tuple[str, int, bool]]) -> None:
        if members:
            self._modes.update(other.path for other in find_other_modes(layer, members, self._tree))

    def _read(self, layer: RecordedLayer, doubtful: Sequence[str]) -> bool:
        """Make a layer again of which some files are doubtful, and judge those; False where that costs too much."""
        content = layer.content
        if content.desc.size > self._left:
            return False
        from kitops.layers.check import Checker  # noqa: PLC0415 - hardly ever needed

        checker = Checker(self._directory, self._tree, self._run, beside=True, moved=lambda _: None)
        check = checker.check_alone(content, layer.members)
        if check is None:
            return False
        self._left -= content.desc.size
        self.was_read = True
        if not check.is_clean:
            if len(doubtful) > 1:  # of several, nobody knows which
                return False
            self._changed.update(doubtful)
        return True


def _digest(path: Path) -> Digest:
    try:
        return Digest.of(path.read_bytes())
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", path) from error
