"""Copy a graph of content from a source to a sink, children first.

Push, pull, export and mirror are this one algorithm. A manifest is put after everything below it, so an interrupted
copy leaves the sink consistent and is continued by running it again: what is there is not sent twice.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from kitops.content.events import Advanced, Finished, Message, Planned, Started
from kitops.content.parallel import run_all
from kitops.content.patience import Patience
from kitops.content.protocols import Delivers, Gapped, Lands, Mounts
from kitops.content.spans import WORTH_LANDING
from kitops.errors import IntegrityError, InvalidValueError, NetworkError
from kitops.oci import mediatype
from kitops.oci.index import Index
from kitops.oci.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from kitops.content.events import Observer
    from kitops.content.protocols import Run, Sink, Source
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest

MAX_DEPTH: Final = 8
"""Indexes within indexes."""

ATTEMPTS: Final = 3
"""How often one blob is tried when the network fails in its middle and nothing more of it comes through."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was moved and what was there: numbers of blobs and manifests, and bytes."""

    moved: int
    moved_size: int
    existed: int


def copy(
    source: Source,
    sink: Sink,
    root: Descriptor,
    run: Run,
    *,
    verb: str = "copy",
    skip: Collection[Digest] = (),
    neighbours: Callable[[Digest], Iterable[str]] | None = None,
    label: Callable[[Digest], str] = lambda digest: digest.short,
) -> Copied:
    """Copy ``root`` and everything below it.

    Args:
        source: has it.
        sink: gets what it lacks.
        root: a manifest or an index.
        run: whom to tell, what to watch, how many blobs at a time.
        verb: what is being done, for the observer (``"push"``).
        skip: blobs that are left out on purpose; the sink must be told too.
        neighbours: repositories (``registry/repository``) that may have a blob which the sink lacks: one that
            :class:`Mounts` may take it over from there.
        label: what to call a blob that moves in front of people; asked from several threads, and only then.

    Raises:
        NotFoundError: the source lacks a blob that the sink has not either.
        IntegrityError: a blob was not what its descriptor says.
        InvalidValueError: a manifest does not parse, or indexes nest too deeply.
        KitError: whatever source and sink raise.
    """
    manifests: dict[Descriptor, bytes] = {}
    blobs = list_graph(source, root, manifests, run)
    unique = list({blob.digest: blob for blob in blobs if blob.digest not in skip}.values())
    if isinstance(source, Gapped):
        _check_gaps(source, sink, unique)
    run.observer(Planned(verb, len(unique), sum(blob.size for blob in unique)))
    way = _Way(source, sink, neighbours, label)
    jobs = [partial(way.copy_blob, blob) for blob in sorted(unique, key=lambda blob: -blob.size)]
    moved = [size for size in run_all(jobs, run, workers=run.concurrency) if size is not None]
    count = sum(_put_manifest(sink, desc, raw, run) for desc, raw in manifests.items())
    return Copied(len(moved) + count, sum(moved), len(jobs) - len(moved) + len(manifests) - count)


def list_graph(source: Source, desc: Descriptor, manifests: dict[Descriptor, bytes], run: Run) -> list[Descriptor]:
    """The blobs below ``desc``; its manifests are gathered into ``manifests``, children before their parents.

    A manifest that is listed many times is read once: indexes that list each other many times would never end.

    Raises:
        InvalidValueError: a manifest does not parse, or indexes nest too deeply.
        KitError: whatever the source raises.
    """
    seen: set[tuple[Digest, str, int]] = set()
    blobs: list[Descriptor] = []

    def gather(desc: Descriptor, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise InvalidValueError(f"{desc.digest}: indexes are nested more than {MAX_DEPTH} deep")
        run.cancel.check()
        raw = source.fetch(desc)
        for child in children_of(desc, raw):
            key = (child.digest, child.media_type, child.size)  # whatever its annotations are here
            if not is_manifest(child):
                blobs.append(child)
            elif key not in seen:
                seen.add(key)
                gather(child, depth + 1)
        manifests[desc] = raw

    gather(desc, 0)
    return blobs


def children_of(desc: Descriptor, raw: bytes) -> tuple[Descriptor, ...]:
    """What stands directly below a manifest or index with these bytes.

    Raises:
        InvalidValueError: the bytes do not parse, or the media type is neither.
    """
    if desc.media_type in mediatype.INDEXES:
        return Index.parse(raw, f"index {desc.digest}").children
    if desc.media_type in mediatype.MANIFESTS:
        return Manifest.parse(raw, f"manifest {desc.digest}").children
    raise InvalidValueError(f"{desc.digest} has media type {desc.media_type!r}, which is neither manifest nor index")


def is_manifest(desc: Descriptor) -> bool:
    """Whether something may stand below ``desc``."""
    return desc.media_type in mediatype.MANIFESTS or desc.media_type in mediatype.INDEXES


class BytesReader:
    """A reader of bytes that are at hand."""

    def __init__(self, data: bytes) -> None:
        self._data = self._rest = memoryview(data)

    def seek(self, offset: int, /) -> int:
        """Go on from there."""
        self._rest = self._data[offset:]
        return offset

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _check_gaps(source: Gapped, sink: Sink, blobs: Sequence[Descriptor]) -> None:
    """Before anything is moved: what the source lacks, the sink must have, or take from where the source had it."""
    for gap in source.gaps(blobs):
        if not sink.exists(gap) and not (isinstance(sink, Mounts) and sink.mount_from(gap, source.locator)):
            raise source.explain_gap(gap)


class _Way:
    """From a source to a sink, with what both of them can do, which is looked at once."""

    def __init__(
        self,
        source: Source,
        sink: Sink,
        neighbours: Callable[[Digest], Iterable[str]] | None,
        label: Callable[[Digest], str],
    ) -> None:
        self._source = source
        self._sink = sink
        self._neighbours = neighbours
        self._label = label
        self._mounts = sink if isinstance(sink, Mounts) else None
        self._delivers = source if isinstance(source, Delivers) else None
        self._lands = sink if isinstance(sink, Lands) else None

    def copy_blob(self, desc: Descriptor, run: Run) -> int | None:
        """Copy one blob; the bytes moved, or None when none had to be."""
        item = str(desc.digest)
        if self._sink.exists(desc):
            run.observer(Started(item, desc.digest.short, desc.size))
            run.observer(Finished(item, "exists"))
            return None
        run.observer(Started(item, self._label(desc.digest), desc.size))
        if self._mount(desc):
            run.observer(Finished(item, "mounted"))
            return None
        meter = _Meter(item, run.observer)
        if self._delivers and self._lands and desc.size >= WORTH_LANDING:
            with self._lands.land(desc) as landing:
                self._delivers.deliver(desc, landing, meter, run)
        else:
            self._put_patiently(desc, meter, run)
        run.observer(Finished(item, "done"))
        return desc.size

    def _put_patiently(self, desc: Descriptor, meter: _Meter, run: Run) -> None:
        """Move a blob. Where the network fails in its middle it is begun again; wrong bytes are fetched once more.

        A source that delivers has patience of its own: only a sink across a network needs ours as well.
        """
        patience = Patience(run, 0 if self._delivers and self._lands else ATTEMPTS - 1)
        is_once_more = False
        while True:
            before = meter.furthest
            try:
                with self._source.stream(desc) as reader:
                    self._sink.put(desc, reader, meter)
            except NetworkError as error:
                meter.rewind()
                patience.note(error, moved=meter.furthest > before)
            except IntegrityError as error:
                if self._delivers is None:
                    raise
                if is_once_more:
                    what = f"blob {desc.digest} of {self._delivers.locator}"
                    raise IntegrityError(what, error.expected, error.actual) from error
                is_once_more = True
                meter.rewind()
                run.observer(Message("warning", f"{error.message}; fetching it once more"))
            else:
                return

    def _mount(self, desc: Descriptor) -> bool:
        if self._mounts is None or self._neighbours is None:
            return False
        return any(self._mounts.mount_from(desc, locator) for locator in self._neighbours(desc.digest))


def _put_manifest(sink: Sink, desc: Descriptor, raw: bytes, run: Run) -> bool:
    """Put one manifest; whether it was not there before."""
    run.cancel.check()
    if sink.exists(desc):
        return False
    sink.put(desc, BytesReader(raw), _ignore_size)
    return True


def _ignore_size(size: int) -> None:
    """A manifest's bytes are not worth a bar."""


class _Meter:
    """Counts the bytes of one blob from any thread, so that a failed attempt can be taken back (a ``FindsBytes``)."""

    def __init__(self, item: str, observer: Observer) -> None:
        self.furthest = 0
        self._observer = observer
        self._item = item
        self._size = 0
        self._lock = threading.Lock()

    def __call__(self, size: int, /) -> None:
        self._add(size, existed=False)

    def found(self, size: int) -> None:
        self._add(size, existed=True)

    def rewind(self) -> None:
        self(-self._size)

    def _add(self, size: int, *, existed: bool) -> None:
        with self._lock:
            self._size += size
            self.furthest = max(self.furthest, self._size)
        self._observer(Advanced(self._item, size, existed))
