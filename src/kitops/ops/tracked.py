"""What a directory should hold: the layers of a ModelKit as far as they were unpacked, and where they can be read.

Shared by ``status``, ``verify`` and ``unpack --repair``.
"""

from __future__ import annotations

import posixpath
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kitops.content.events import Message
from kitops.errors import IntegrityError, InvalidValueError, NetworkError, NotFoundError
from kitops.formats.modelkit import newest_first
from kitops.formats.parts import Kind
from kitops.layers.ignore import OWN
from kitops.ops.layer_copies import Copies
from kitops.ops.locate import complete, locate
from kitops.ops.parents import open_parents
from kitops.ops.reading import layer_content, read_kit
from kitops.ops.unpack_record import Record, RecordedLayer, check_readable, read_record

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from pathlib import Path

    from kitops.formats.modelkit import KitLayer, ModelKit
    from kitops.kitfile.schema import Kitfile
    from kitops.layers.layer_content import LayerContent
    from kitops.layers.stamps import Tree
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.gojson import Json
    from kitops.oci.reference import Reference
    from kitops.ops.locate import Located
    from kitops.ops.place import Place


@dataclass(frozen=True, slots=True)
class Compared:
    """How a directory differs from a ModelKit; every list is sorted.

    Args:
        ref: the ModelKit.
        desc: its manifest.
        files: number of files that belong to it.
        changed: files with other content, another size or another type.
        missing: files and directories that are not there.
        extra: files that are there and belong to no layer.
        touched: files of the right size whose stamps differ: only reading them tells whether they changed.
        modes: files and directories with other permission bits.
        uncertain: layers of which some file changed, or that could not be compared, and it cannot be told which.
        unknown: what could not be found out, in sentences.
    """

    ref: Reference
    desc: Descriptor
    files: int
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs, as far as that is known."""
        return self.is_content_equal and not (self.extra or self.modes)

    @property
    def is_content_equal(self) -> bool:
        """Whether every file of the ModelKit has its content, whatever else there is, as far as that is known."""
        return not (self.changed or self.missing or self.touched or self.uncertain)

    def without_extra(self) -> Compared:
        """The same, files beside the ModelKit's not counted."""
        return replace(self, extra=())

    def without_modes(self) -> Compared:
        """The same, permission bits not counted."""
        return replace(self, modes=())

    def to_json(self) -> dict[str, Json]:
        """As ``--format json`` prints it."""
        return {
            "reference": str(self.ref),
            "digest": str(self.desc.digest),
            "equal": self.is_equal,
            "files": self.files,
            "changed": list(self.changed),
            "missing": list(self.missing),
            "extra": list(self.extra),
            "touched": list(self.touched),
            "modes": list(self.modes),
            "uncertain": list(self.uncertain),
            "unknown": list(self.unknown),
        }


@dataclass(frozen=True, slots=True)
class TrackedLayer:
    """A layer that should be there.

    Args:
        recorded: what it is, and its members where a record tells them.
        located: where its ModelKit is; None where only the record is known.
    """

    recorded: RecordedLayer
    located: Located | None

    @property
    def content(self) -> LayerContent:
        return self.recorded.content


@dataclass(slots=True)
class Tracked:
    """What should be there.

    Args:
        ref: the ModelKit.
        desc: its manifest.
        layers: that should be there; those of an image the newest first.
        record: of the unpack of this very ModelKit; None without one.
        kit: the ModelKit; None where only the record is known.
        kitfile: the Kitfile; None where none was written, or only the record is known.
        copies: where the layers can be read.
        unknown: what could not be found out.
    """

    ref: Reference
    desc: Descriptor
    layers: list[TrackedLayer]
    record: Record | None
    kit: ModelKit | None
    kitfile: Kitfile | None
    copies: Copies
    unknown: list[str] = field(default_factory=list)

    def kitfile_beside(self, files: Container[str], *, is_all: bool) -> Kitfile | None:
        """The Kitfile that should be there beside ``files`` of layers: one that was made here gives way to theirs.

        Args:
            files: their paths.
            is_all: whether those are all; else there may be a Kitfile among the others.
        """
        is_made = self.kit is not None and not self.kit.is_authored
        return None if is_made and ("Kitfile" in files or not is_all) else self.kitfile


@contextmanager
def open_tracked(
    place: Place, directory: Path, ref: Reference | None, *, include_remote: bool = False
) -> Iterator[Tracked]:
    """Find out what ``directory`` should hold; sources stay open while the block runs.

    Without ``ref`` that is what its record says was unpacked, by digest: of parents, whose tags may have moved, the
    layers that were unpacked. Where that ModelKit is out of reach, the record alone must do.

    Args:
        place: where.
        directory: the directory.
        ref: the ModelKit.
        include_remote: the datasets of other ModelKits should be there too, whether they were fetched or not.

    Raises:
        NotFoundError: there is no record and no ``ref``, or no such ModelKit.
        IntegrityError: its manifest is damaged, in the store and where it came from.
        FileSystemError: there is no ``ref``, and the record cannot be read.
    """
    record = read_record(directory)
    if ref is None:
        if record is None:
            check_readable(directory)
            raise NotFoundError(
                f"{directory} has no record of what was unpacked there",
                hint=f"name the ModelKit behind it: {directory} REF",
            )
        wanted = replace(record.ref, digest=record.desc.digest)
    else:
        wanted = complete(ref, place.run)
    with ExitStack() as stack:
        try:
            yield _track(place, wanted, record, stack, include_remote=include_remote, as_recorded=ref is None)
        except _OutOfReachError as error:
            if ref is not None or record is None:
                raise error.reason from error
            place.run.observer(Message("warning", f"{error.reason.message}: compared with the record of the unpack"))
            layers = [TrackedLayer(layer, None) for layer in record.layers]
            yield Tracked(record.ref, record.desc, layers, record, None, None, Copies(place))


class _OutOfReachError(Exception):
    def __init__(self, reason: NotFoundError | NetworkError | InvalidValueError | IntegrityError) -> None:
        super().__init__(reason.message)
        self.reason = reason


def _track(
    place: Place, ref: Reference, record: Record | None, stack: ExitStack, *, include_remote: bool, as_recorded: bool
) -> Tracked:
    try:
        located, kit = _find_kit(place, ref, stack)
        own = record if record is not None and record.desc.digest == located.desc.digest else None
        pairs = [(layer, located) for layer in newest_first(kit.layers)]
        taken = {layer.path for layer in kit.layers}
        for parent in () if as_recorded and own is not None else open_parents(place, kit.kitfile, stack):
            own_layers = [
                layer
                for layer in newest_first(parent.kit.layers)
                if layer.kind in (Kind.MODEL, Kind.MODEL_PART) and layer.path not in taken
            ]
            pairs += [(layer, parent.located) for layer in own_layers]
            taken |= {layer.path for layer in own_layers}
    except (NotFoundError, NetworkError, InvalidValueError, IntegrityError) as error:
        raise _OutOfReachError(error) from error
    known = {layer.key: layer for layer in own.layers} if own is not None else {}
    kitfile = kit.kitfile if own is None or own.kitfile is not None else None
    tracked = Tracked(record.ref if own and record else ref, located.desc, [], own, kit, kitfile, Copies(place))
    chosen = [
        pair
        for pair in pairs
        if own is None or not own.is_partial or (pair[0].desc.digest, pair[0].path) in known  # not left out by a filter
    ]
    if include_remote:
        chosen += _list_remote(place, kit, stack)
    for layer, where in chosen:
        found = known.get((layer.desc.digest, layer.path))
        members = found.members if found is not None else None
        tracked.layers.append(TrackedLayer(RecordedLayer(where.ref, layer_content(layer, where.ref), members), where))
    paths = {layer.path for layer, _ in (*pairs, *chosen)}
    for recorded in own.layers if own is not None else ():
        if recorded.content.path not in paths:  # of a parent, or a remote dataset that was fetched
            tracked.layers.append(TrackedLayer(recorded, None))
    return tracked


def _find_kit(place: Place, ref: Reference, stack: ExitStack) -> tuple[Located, ModelKit]:
    """The ModelKit in the store; in its registry where the store's is damaged."""
    located = stack.enter_context(locate(place, ref))
    try:
        return located, read_kit(located, place.run)
    except IntegrityError as error:
        if not located.is_local or ref.is_local:
            raise
        place.run.observer(Message("warning", f"{error.message}: asking {ref.registry} instead"))
    located = stack.enter_context(locate(place, ref, "remote"))
    return located, read_kit(located, place.run)


def _list_remote(place: Place, kit: ModelKit, stack: ExitStack) -> list[tuple[KitLayer, Located]]:
    """The layers that datasets of other ModelKits bring."""
    from kitops.ops.remote_fetch import list_remote_layers, select_remote  # noqa: PLC0415 - only repairs may want them

    return list(list_remote_layers(place, select_remote(kit.kitfile, ()), stack))


def find_extra(tree: Tree, known: Iterable[str], *, blind: Iterable[str] = ()) -> list[str]:
    """Files and links that belong to no layer.

    Args:
        tree: what is there.
        known: the paths of files and directories that belong to a layer.
        blind: paths whose content is not known: nothing below is judged.
    """
    names = {*known, "Kitfile"}
    roots = tuple("" if path in ("", ".") else path for path in blind)
    found = []
    for path in (*tree.files, *tree.others):
        if path in names or posixpath.basename(path).startswith(OWN):
            continue
        if any(not root or path == root or path.startswith(f"{root}/") for root in roots):
            continue
        found.append(path)
    return sorted(found)
