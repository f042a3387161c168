"""Files of a source on their way to their places in layers: from what is here, else from the source, each once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.content.events import Advanced, Finished, Started
from kitops.content.patience import Patience
from kitops.content.protocols import LayerRecord
from kitops.content.spans import Span
from kitops.errors import IntegrityError, NetworkError, SourceError
from kitops.importers.tree import OnDisk
from kitops.ops.reuse import BUFFER, ContentHash, Reuse, hash_content
from kitops.store.take import take_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from kitops.content.protocols import Run
    from kitops.importers.tree import RemoteFile, Tree
    from kitops.layers.outline import Part
    from kitops.ops.layer_work import LayerWork
    from kitops.ops.reuse import ReadAt
    from kitops.store import Store
    from kitops.store.landing import StoreLanding
    from kitops.store.lease import Lease

    Write = Callable[[int, memoryview], int]


class DamagedError(Exception):
    """A file came with other bytes than its source says; what came of it will not be believed."""

    def __init__(self, file: RemoteFile, actual: str) -> None:
        super().__init__(file.path)
        self.file = file
        self.actual = actual


@dataclass(frozen=True, slots=True)
class Target:
    """A place for a file: the part of a layer with this number."""

    layer: LayerWork
    number: int

    @property
    def part(self) -> Part:
        return self.layer.outline.parts[self.number]

    @property
    def file(self) -> RemoteFile | None:
        """What goes there; None where only headers do."""
        return self.layer.files[self.part.path] if self.part.path else None

    @property
    def span(self) -> Span:
        """Where in the layer its content is."""
        return Span(self.part.content, self.part.content + self.part.size)


class Bringing:
    """Brings the files of one tree. Thread-safe.

    Args:
        store: takes them.
        tree: has them.
        lease: holds the blobs.
        reuse: what is here already.

    Attributes:
        fetched_size: bytes that came from the source.
    """

    def __init__(self, store: Store, tree: Tree, lease: Lease, reuse: Reuse) -> None:
        self.fetched_size = 0
        self._store = store
        self._tree = tree
        self._lease = lease
        self._reuse = reuse
        self._lock = threading.Lock()

    def take(self, layer: LayerWork, run: Run) -> None:
        """Make a raw layer of a file that the source's own client brought to this disk.

        Raises:
            DamagedError: it has other bytes than the source says.
        """
        (file,) = layer.files.values()
        run.observer(Started(file.path, file.path, file.size))

        def moved(size: int) -> None:
            run.observer(Advanced(file.path, size))

        path = self._prepare(file, run)
        if path is None:
            raise AssertionError("only what is on the disk is taken from there")
        try:
            digest, size = take_file(self._store.blobs, path, self._lease, run, expected=file.digest, moved=moved)
        except IntegrityError as error:
            raise DamagedError(file, str(error.actual)) from error
        self.count(size)
        self._settle(layer, layer.settle(self._store, LayerRecord(digest, size, digest)))
        run.observer(Finished(file.path, "done"))

    def bring(self, targets: Sequence[Target], run: Run) -> None:
        """Have one file in all its places; with its last part a layer is finished.

        Raises:
            DamagedError: it has other bytes than the source says.
        """
        landings = [target.layer.open(self._store, self._lease) for target in targets]
        for target, landing in zip(targets, landings, strict=True):
            outline, part = target.layer.outline, target.part
            landing.write(part.start, memoryview(outline.head(part)))
            landing.write(part.content + part.size, memoryview(outline.tail(part)))
        file = targets[0].file
        sha256 = ""
        if file is not None:
            run.observer(Started(file.path, file.path, file.size))
            try:
                sha256 = self._fill(targets[0], landings[0], file, run)
                for target, landing in zip(targets[1:], landings[1:], strict=True):
                    self._fill_again(target, landing, file, _reader(landings[0], targets[0].span), run)
            except DamagedError:
                for target, landing in zip(targets, landings, strict=True):
                    landing.doubt(target.span)
                raise
            run.observer(Finished(file.path, "done"))
        for target in targets:
            if target.layer.note(target.number, sha256):
                self._finish(target.layer)

    # --- one place

    def _fill(self, target: Target, landing: StoreLanding, file: RemoteFile, run: Run) -> str:
        """Have a file in its place; its SHA-256."""
        span = target.span
        missing = landing.missing_in(span)
        if missing == [span] and (found := self._copy_known(file, _writer(landing, span), run)):
            return found
        content = ContentHash(file, by_git=not isinstance(self._tree, OnDisk))
        is_hashed = missing == [span]  # as it comes, for nothing of it came before
        write = _writer(landing, span)

        def take(offset: int, chunk: memoryview) -> int:
            content.update(chunk)
            return write(offset, chunk)

        for gap in missing:
            self._read(file, Span(gap.start - span.start, gap.end - span.start), take if is_hashed else write, run)
        if target.layer.known is not None:  # the landing hashes it
            return target.layer.known.digest.encoded
        if not is_hashed:
            hash_content(content, _reader(landing, span), span.size, run.cancel)
        return _judge(file, content)

    def _fill_again(self, target: Target, landing: StoreLanding, file: RemoteFile, read_at: ReadAt, run: Run) -> None:
        """Have a file in its place that came to another one just now."""
        span = target.span
        if landing.missing_in(span):
            _copy(read_at, span.size, _writer(landing, span), run)
        content = ContentHash(file, by_git=not isinstance(self._tree, OnDisk))
        hash_content(content, _reader(landing, span), span.size, run.cancel)
        _judge(file, content)

    def _copy_known(self, file: RemoteFile, write: Write, run: Run) -> str:
        """Take a file from the store, if it is there; its SHA-256, else nothing."""
        with self._reuse.opened(file) as found:
            if found is None:
                return ""

            def take(offset: int, chunk: memoryview) -> int:
                run.observer(Advanced(file.path, len(chunk)))
                return write(offset, chunk)

            _copy(found[0], file.size, take, run)
            return found[1]

    def _read(self, file: RemoteFile, wanted: Span, write: Write, run: Run) -> None:
        """Read a file of the source, going on after breaks.

        Raises:
            SourceError: a file of which nothing but the size is known has another one.
        """
        self._prepare(file, run)
        buffer = memoryview(bytearray(BUFFER))
        patience = Patience(run)
        position = wanted.start
        while position < wanted.end:
            before = position
            try:
                with self._tree.open(file, position) as reader:
                    while position < wanted.end and (count := reader.readinto(buffer[: wanted.end - position])):
                        run.cancel.check()
                        write(position, buffer[:count])
                        position += count
                        self.count(count)
                        run.observer(Advanced(file.path, count))
                    if position == file.size and not file.identity and reader.readinto(buffer[:1]):
                        raise SourceError(f"{file.path} of {self._tree.origin.uri} is larger than it is listed")
                if position < wanted.end:
                    raise NetworkError(f"reading {file.path} of {self._tree.origin.name}: it ended too early")
            except NetworkError as error:
                patience.note(error, moved=position > before)

    def _prepare(self, file: RemoteFile, run: Run) -> Path | None:
        """Where a file lies that the source's own client brings; it is brought now where it seemed not to be needed."""
        if not isinstance(self._tree, OnDisk):
            return None
        path = self._tree.path_of(file)
        if not path.exists():
            self._tree.prepare([file], run)
        return path

    def count(self, size: int) -> None:
        """So many bytes more came from the source."""
        with self._lock:
            self.fetched_size += size

    def _finish(self, layer: LayerWork) -> None:
        try:
            record = layer.finish(self._store)
        except IntegrityError as error:
            (file,) = layer.files.values()
            raise DamagedError(file, str(error.actual)) from error
        self._settle(layer, record)

    def _settle(self, layer: LayerWork, record: LayerRecord) -> None:
        """A layer is in the store: what is in it will be found there."""
        has_names = any(file.identity for file in layer.files.values())
        if has_names and (layer.outline.is_archive or layer.known is None):
            self._reuse.add(record.digest, layer.members())


def _judge(file: RemoteFile, content: ContentHash) -> str:
    if not content.is_right:
        raise DamagedError(file, content.actual)
    return content.sha256


def _writer(landing: StoreLanding, span: Span) -> Write:
    return lambda offset, chunk: landing.write(span.start + offset, chunk)


def _reader(landing: StoreLanding, span: Span) -> ReadAt:
    return lambda offset, buffer: landing.read_at(span.start + offset, buffer)


def _copy(read_at: ReadAt, size: int, write: Write, run: Run) -> None:
    buffer = memoryview(bytearray(BUFFER))
    position = 0
    while position < size and (count := read_at(position, buffer[: size - position])):
        run.cancel.check()
        write(position, buffer[:count])
        position += count
