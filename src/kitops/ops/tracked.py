"""What a directory should hold: the layers of a ModelKit as far as they were unpacked, and where they can be read.

Shared by ``status``, ``verify`` and ``unpack --repair``.
"""

from __future__ import annotations

import posixpath
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kitops.content.events import Message
from kitops.errors import InvalidValueError, NetworkError, NotFoundError
from kitops.formats.parts import Kind
from kitops.kitfile.dump import dump
from kitops.layers.ignore import OWN
from kitops.ops.locate import complete, locate
from kitops.ops.parents import open_parents
from kitops.ops.reading import layer_content, read_kit
from kitops.ops.unpack_record import FETCHED, Record, RecordedLayer, read_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from kitops.content.protocols import Reader
    from kitops.layers.extract import LayerContent
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
        uncertain: layers of which some file changed, and it cannot be told which.
        unknown: what could not be found out, in sentences.
    """

    ref: Reference
    desc: Descriptor
    files: int
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs, as far as that is known."""
        return not (self.changed or self.missing or self.extra or self.touched or self.uncertain)

    def without_extra(self) -> Compared:
        """The same, files beside the ModelKit's not counted."""
        return replace(self, extra=())

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
        layers: that should be there.
        record: of the unpack of this very ModelKit; None without one.
        kitfile: the bytes of the Kitfile; None where none was written, or only the record is known.
        unknown: what could not be found out.
    """

    ref: Reference
    desc: Descriptor
    layers: list[TrackedLayer]
    record: Record | None
    kitfile: bytes | None
    unknown: list[str] = field(default_factory=list)


@contextmanager
def open_tracked(place: Place, directory: Path, ref: Reference | None) -> Iterator[Tracked]:
    """Find out what ``directory`` should hold; sources stay open while the block runs.

    Without ``ref`` that is what its record says was unpacked, by digest. Where that ModelKit is out of reach, the
    record alone must do.

    Raises:
        NotFoundError: there is no record and no ``ref``, or no such ModelKit.
    """
    record = read_record(directory)
    if ref is None:
        if record is None:
            raise NotFoundError(
                f"{directory} has no record of what was unpacked there", hint="name the ModelKit: DIR REF"
            )
        wanted = replace(record.ref, digest=record.desc.digest)
    else:
        wanted = complete(ref, place.run)
    with ExitStack() as stack:
        try:
            yield _track(place, wanted, record, stack)
        except _OutOfReachError as error:
            if ref is not None or record is None:
                raise error.reason from error
            place.run.observer(Message("warning", f"{error.reason.message}: compared with the record of the unpack"))
            layers = [TrackedLayer(layer, None) for layer in record.layers]
            yield Tracked(record.ref, record.desc, layers, record, None)


class _OutOfReachError(Exception):
    def __init__(self, reason: NotFoundError | NetworkError | InvalidValueError) -> None:
        super().__init__(reason.message)
        self.reason = reason


def _track(place: Place, ref: Reference, record: Record | None, stack: ExitStack) -> Tracked:
    try:
        located = stack.enter_context(locate(place, ref))
        kit = read_kit(located, place.run)
        pairs = [(layer, located) for layer in kit.layers]
        taken = {layer.path for layer in kit.layers}
        for parent in open_parents(place, kit.kitfile, stack):
            for layer in parent.kit.layers:
                if layer.kind in (Kind.MODEL, Kind.MODEL_PART) and layer.path not in taken:
                    pairs.append((layer, parent.located))
                    taken.add(layer.path)
    except (NotFoundError, NetworkError, InvalidValueError) as error:
        raise _OutOfReachError(error) from error
    own = record if record is not None and record.desc.digest == located.desc.digest else None
    known = {layer.key: layer for layer in own.layers} if own is not None else {}
    tracked = Tracked(record.ref if own and record else ref, located.desc, [], own, None)
    for layer, where in pairs:
        found = known.get((layer.desc.digest, layer.path))
        if found is None and own is not None and own.is_partial:
            continue  # a filter left it out
        members = found.members if found is not None else None
        tracked.layers.append(TrackedLayer(RecordedLayer(where.ref, layer_content(layer, where.ref), members), where))
    paths = {layer.path for layer, _ in pairs}
    for recorded in own.layers if own is not None else ():
        if recorded.content.path not in paths:  # a remote dataset that was fetched
            tracked.layers.append(TrackedLayer(recorded, None))
    if own is None or own.kitfile is not None:
        tracked.kitfile = dump(kit.kitfile).encode()
    return tracked


@contextmanager
def open_layer(place: Place, layer: TrackedLayer) -> Iterator[Reader]:
    """The bytes of a layer, unverified: from the store, else from its registry.

    Raises:
        NotFoundError: it is nowhere.
        NetworkError: its registry cannot be reached.
    """
    desc, ref = layer.content.desc, layer.recorded.ref
    if place.store.blobs.exists(desc.digest):
        with place.store.blobs.stream(desc) as reader:
            yield reader
        return
    if layer.located is not None and not layer.located.is_local:
        with layer.located.source.stream(desc) as reader:
            yield reader
        return
    if desc.media_type == FETCHED:
        path = layer.content.path
        hint = f"kit unpack {ref} --include-remote --overwrite --filter datasets:{path}"
        raise NotFoundError(f"{path} was fetched from a remote dataset, not from a layer", hint=hint)
    if ref.is_local:
        raise NotFoundError(f"{layer.content.what} is not in the store", hint=f"kit pull {ref}")
    with place.registry(ref, mirrored=True) as repository, repository.stream(desc) as reader:
        yield reader


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
