"""A large blob on its way into the store: pieces land anywhere, and what is durable survives a kill.

Three kinds of threads share a landing. Those that receive call :meth:`StoreLanding.write`. One hashes the contiguous
front out of the page cache, right behind them; every few MiB it notes how far it came, with the digest so far. The
*journal* (:mod:`kitops.store.journal`) flushes the file and then records those notes, and what landed ahead of the
front. Receivers wait when more than a piece is not yet durable, so that a kill costs a piece a connection and no more.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from kitops.content.mounts import claim
from kitops.content.spans import Span, Spans, piece_size
from kitops.content.write import flush_file, write_at
from kitops.errors import IntegrityError
from kitops.oci.digest import Digest
from kitops.store.filesystem import check_room, writing_to
from kitops.store.journal import Journal
from kitops.store.lease import live_leases, now
from kitops.store.partial import Piece, drop, open_partial, span_of
from kitops.store.receive import GrowingDigest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from hashlib import _Hash

    from kitops.oci.descriptor import Descriptor
    from kitops.store.blobs import Blobs
    from kitops.store.lease import Lease
    from kitops.store.partial import Partial

_WAIT: Final = 0.2
_MOST_UNRECORDED: Final = 4 * 1024 * 1024
"""Bytes of a stream that come between two records: a kill costs so many, or twice as many, to fetch again."""

_STREAMS: Final = 4
"""Streams that fill an assembly at a time, more or less: together they may lose to a kill what one stream may."""


@contextmanager
def open_landing(blobs: Blobs, desc: Descriptor, lease: Lease) -> Iterator[StoreLanding]:
    """A place for ``desc``, with what an earlier attempt left.

    Raises:
        FileSystemError: the disk is too full, or cannot be written.
    """
    with _open(blobs, desc, lease) as partial:
        landing = StoreLanding(blobs, desc, lease, partial)
        with _closing(landing):
            yield landing


@contextmanager
def open_assembly(blobs: Blobs, desc: Descriptor, lease: Lease) -> Iterator[Assembly]:
    """A place for the bytes of a blob whose digest will be found, with what an earlier attempt left.

    Args:
        blobs: take it.
        desc: its size; the digest only says what it will be made of: the same digest, the same bytes.
        lease: holds it.

    Raises:
        FileSystemError: the disk is too full, or cannot be written.
    """
    with _open(blobs, desc, lease) as partial:
        assembly = Assembly(blobs, desc, lease, partial)
        with _closing(assembly):
            yield assembly


@contextmanager
def _open(blobs: Blobs, desc: Descriptor, lease: Lease) -> Iterator[Partial]:
    layout = blobs.layout
    layout.prepare()
    lease.add(desc.digest)
    live = {found.id for found in live_leases(layout, now(layout))} - {lease.id}  # what we let go of ourselves is free
    with open_partial(layout, desc, lease, live, blobs.run) as partial:
        reserve(partial.fd, desc.size, layout.root)
        yield partial


@contextmanager
def _closing(landing: StoreLanding) -> Iterator[None]:
    try:
        yield
    finally:
        landing.close()


def reserve(descriptor: int, size: int, root: str) -> None:
    """Make sure that the rest of a file of ``size`` bytes fits, and lay it out where that is cheap.

    Raises:
        FileSystemError: the disk is too full; the message has both numbers.
    """
    found = os.fstat(descriptor)
    needed = size - min(size, getattr(found, "st_blocks", 0) * 512)
    check_room(root, needed, "writing to")
    with writing_to(root, needed):
        if found.st_size > size:
            os.ftruncate(descriptor, size)
        claim(descriptor, size)


class StoreLanding:
    """See :class:`kitops.content.protocols.Landing`."""

    _growing: GrowingDigest
    _journal: Journal

    def __init__(self, blobs: Blobs, desc: Descriptor, lease: Lease, partial: Partial) -> None:
        self.desc = desc
        self.is_finished = False
        self._blobs = blobs
        self._lease = lease
        self._partial = partial
        self._cancel = blobs.run.cancel
        self._half = min(piece_size(desc.size) // 2, _MOST_UNRECORDED)
        self._piece = self._choose_piece()
        self._changed = threading.Condition()
        self._is_noted = desc.digest.algorithm == "sha256"
        self._doubtful: list[Span] = []
        start = partial.pieces[0].size if partial.pieces and partial.pieces[0].offset == 0 else 0
        self._begin(Spans(span_of(piece) for piece in partial.pieces), partial.front.copy(), start)

    def missing(self) -> list[Span]:
        return self.missing_in(Span(0, self.desc.size))

    def missing_in(self, span: Span) -> list[Span]:
        """What of ``span`` is not here yet, in order."""
        with self._changed:
            return self._landed.missing(span.start, span.end)

    def write(self, offset: int, chunk: memoryview) -> int:
        with self._changed:
            gaps = self._landed.missing(offset, offset + len(chunk))
        if gaps:
            with writing_to(self._blobs.layout.root, self.desc.size):
                for gap in gaps:
                    write_at(self._partial.fd, chunk[gap.start - offset : gap.end - offset], gap.start)
        with self._changed:
            before = self._landed.front
            count = self._landed.add(offset, offset + len(chunk))
            if more := self._landed.front - before:
                self._growing.advance(more)
            if not self._is_unflushed(1):
                return count
            self._changed.notify_all()
            while self._is_unflushed(self._most_halves()) and self._journal.is_recordable(self._half):
                self._raise_failure()
                self._changed.wait(_WAIT)
                self._cancel.check()
            self._raise_failure()
        return count

    def read_at(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` with bytes that landed; how many came.

        Raises:
            FileSystemError: they cannot be read.
        """
        with writing_to(self._blobs.layout.root):
            return os.preadv(self._partial.fd, [buffer], offset)

    def is_superseded(self) -> bool:
        return self._blobs.hold(self.desc.digest, self.desc.size, self._lease)

    def finish(self) -> None:
        if self.is_superseded():
            self._stop()
        else:
            found = self._conclude()
            if found != self.desc.digest.encoded:
                self._partial.forget()
                actual = f"{self.desc.digest.algorithm}:{found}"
                raise IntegrityError(f"blob {self.desc.digest}", self.desc.digest, actual)
            self._publish(self.desc.digest)
        self.is_finished = True

    def restart(self) -> None:
        self._stop()
        self._partial.forget()
        self._begin(Spans(), self.desc.digest.new_hasher(), 0)

    def doubt(self, span: Span) -> None:
        """Let the next attempt believe nothing of ``span``; this one will not be finished."""
        with self._changed:
            self._doubtful.append(span)

    def close(self) -> None:
        """End the threads; what came is left for the next attempt, unless it became the blob."""
        if self._is_running:
            front = self._stop()
            if not self._doubtful:
                self._journal.record_rest(front)
            else:  # the front may have been hashed over it
                self._journal.record_all_but(self._doubtful)
        if self.is_finished:
            drop(self._partial)

    # inside

    def _choose_piece(self) -> int:
        """Bytes that are recorded at once ahead of the front: what one connection is asked for."""
        return piece_size(self.desc.size)

    def _most_halves(self) -> int:
        """How many half pieces may wait to be recorded: two for each connection that fills it."""
        return 2 * len(self._landed)

    def _begin(self, landed: Spans, front: _Hash, start: int) -> None:
        """Start the threads; ``front`` is the SHA-256 of the first ``start`` bytes."""
        self._landed = landed
        self._is_running = True
        start = start if self._is_noted else 0
        self._journal = journal = Journal(
            self._partial,
            landed,
            self._changed,
            piece=self._piece,
            noted=self._is_noted,
            ask=self._ask,
            root=self._blobs.layout.root,
            cancel=self._cancel,
        )
        self._growing = GrowingDigest(
            self._partial.fd,
            front if self._is_noted else self.desc.digest.new_hasher(),
            self._cancel,
            start=start,
            every=self._half if self._is_noted else 0,
            note=journal.take_note,
        )
        self._growing.advance(landed.front - start)

    def _ask(self) -> None:
        self._growing.ask()

    def _stop(self) -> Piece | None:
        """End the threads; the front as far as it was hashed, where that can be recorded."""
        if not self._is_running:
            return None
        self._is_running = False
        size, digest = self._growing.abandon()
        self._journal.end()
        return Piece(0, size, digest) if self._is_noted and size else None

    def _conclude(self) -> str:
        """The digest of everything, in hex.

        Raises:
            IntegrityError: something is missing.
        """
        missing = self.missing()
        if missing:
            have = self.desc.size - sum(span.size for span in missing)
            raise IntegrityError(f"blob {self.desc.digest}", f"{self.desc.size} bytes", f"{have} bytes")
        with writing_to(self._blobs.layout.root):
            found = self._growing.finish()
        self._is_running = False
        self._journal.end()
        self._raise_failure()
        return found

    def _publish(self, digest: Digest) -> None:
        with writing_to(self._blobs.layout.root, self.desc.size):
            flush_file(self._partial.fd)
        self._blobs.publish(self._partial.content_path, digest)

    def _raise_failure(self) -> None:
        failure = self._journal.failure or self._growing.failure
        if failure is not None:
            raise failure

    def _is_unflushed(self, halves: int) -> bool:
        return self._journal.unrecorded >= halves * self._half


class Assembly(StoreLanding):
    """A landing whose bytes are put together from many sources: their digest is found when all of them are here."""

    def _choose_piece(self) -> int:
        return max(self._half // _STREAMS, 1)

    def _most_halves(self) -> int:
        return 2

    def is_superseded(self) -> bool:
        return False

    def finish_as_found(self) -> Digest:
        """Make it the blob that it is, once nothing is missing; its digest.

        Raises:
            IntegrityError: something is missing.
            FileSystemError: it cannot be written.
        """
        digest = Digest("sha256", self._conclude())
        if not self._blobs.hold(digest, self.desc.size, self._lease):
            self._publish(digest)
        self.is_finished = True
        return digest
