"""A large blob on its way into the store: pieces land anywhere, and what is durable survives a kill.

Three kinds of threads share a landing. Those that receive call :meth:`StoreLanding.write`. One hashes the contiguous
front out of the page cache, right behind them; every few MiB it notes how far it came, with the digest so far. The
*journal* flushes the file and then records those notes, and the pieces that landed ahead of the front, which it hashes
itself (:mod:`kitops.store.partial` has the format). Receivers wait when more than a piece is not yet durable, so that
a kill costs a piece a connection and no more.
"""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from kitops.content.mounts import claim
from kitops.content.spans import Span, Spans, piece_size
from kitops.content.write import flush_file, write_at
from kitops.errors import IntegrityError
from kitops.store.filesystem import check_room, writing_to
from kitops.store.lease import live_leases, now
from kitops.store.partial import Piece, drop, open_partial, span_of
from kitops.store.receive import BUFFER, GrowingDigest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from hashlib import _Hash

    from kitops.oci.descriptor import Descriptor
    from kitops.store.blobs import Blobs
    from kitops.store.lease import Lease
    from kitops.store.partial import Partial

_WAIT: Final = 0.2
_MOST_UNRECORDED: Final = 8 * 1024 * 1024
"""Bytes of a stream that come between two records: a kill costs so many, or twice as many, to fetch again."""


@contextmanager
def open_landing(blobs: Blobs, desc: Descriptor, lease: Lease) -> Iterator[StoreLanding]:
    """A place for ``desc``, with what an earlier attempt left.

    Raises:
        FileSystemError: the disk is too full, or cannot be written.
    """
    layout = blobs.layout
    layout.prepare()
    lease.add(desc.digest)
    live = {found.id for found in live_leases(layout, now(layout))}
    with open_partial(layout, desc, lease, live, blobs.run) as partial:
        reserve(partial.fd, desc.size, layout.root)
        landing = StoreLanding(blobs, desc, lease, partial)
        try:
            yield landing
        finally:
            landing.close()
            if landing.is_finished:
                drop(partial)


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

    _growing: GrowingDigest | None
    _failure: BaseException | None
    _note: Piece | None
    _journal: threading.Thread

    def __init__(self, blobs: Blobs, desc: Descriptor, lease: Lease, partial: Partial) -> None:
        self.desc = desc
        self.is_finished = False
        self._blobs = blobs
        self._lease = lease
        self._partial = partial
        self._cancel = blobs.run.cancel
        self._piece = piece_size(desc.size)
        self._half = min(self._piece // 2, _MOST_UNRECORDED)
        self._changed = threading.Condition()
        spans = [span_of(piece) for piece in partial.pieces]
        start = partial.pieces[0].size if partial.pieces and partial.pieces[0].offset == 0 else 0
        self._begin(Spans(spans), Spans(spans), partial.front.copy(), start)

    def missing(self) -> list[Span]:
        with self._changed:
            return self._landed.missing(0, self.desc.size)

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
            if (more := self._landed.front - before) and self._growing is not None:
                self._growing.advance(more)
            if not self._is_unflushed(1):
                return count
            self._changed.notify_all()
            while self._is_unflushed(2 * len(self._landed)) and self._is_recordable() and not self._ended:
                self._raise_failure()
                self._changed.wait(_WAIT)
                self._cancel.check()
            self._raise_failure()
        return count

    def is_superseded(self) -> bool:
        return self._blobs.hold(self.desc.digest, self.desc.size, self._lease)

    def finish(self) -> None:
        if not self.is_superseded():
            self._check()
            with writing_to(self._blobs.layout.root, self.desc.size):
                flush_file(self._partial.fd)
            self._blobs.publish(self._partial.content_path, self.desc.digest)
        self.is_finished = True

    def restart(self) -> None:
        self.close()
        self._partial.forget()
        self._begin(Spans(), Spans(), self.desc.digest.new_hasher(), 0)

    def close(self) -> None:
        """End the threads; may be called twice."""
        if self._growing is not None:
            self._growing.abandon()
            self._growing = None
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._journal.join()

    # inside

    def _begin(self, landed: Spans, recorded: Spans, front: _Hash, start: int) -> None:
        """Start the threads; ``front`` is the SHA-256 of the first ``start`` bytes."""
        self._landed = landed
        self._recorded = recorded
        self._note = None
        self._failure = None
        self._ended = False
        self._is_recording = False
        self._is_noted = self.desc.digest.algorithm == "sha256"
        start = start if self._is_noted else 0
        self._growing = growing = GrowingDigest(
            self._partial.fd,
            front if self._is_noted else self.desc.digest.new_hasher(),
            self._cancel,
            start=start,
            every=self._half if self._is_noted else 0,
            note=self._take_note,
        )
        growing.advance(landed.front - start)
        self._journal = threading.Thread(target=self._keep_journal, name="journal", daemon=True)
        self._journal.start()

    def _check(self) -> None:
        """Raise IntegrityError unless what landed is the blob."""
        missing = self.missing()
        if missing:
            have = self.desc.size - sum(span.size for span in missing)
            raise IntegrityError(f"blob {self.desc.digest}", f"{self.desc.size} bytes", f"{have} bytes")
        if self._growing is None:
            raise AssertionError("a landing is finished once")
        growing, self._growing = self._growing, None
        with writing_to(self._blobs.layout.root):
            found = growing.finish()
        self.close()
        self._raise_failure()
        if found != self.desc.digest.encoded:
            self._partial.forget()
            raise IntegrityError(f"blob {self.desc.digest}", self.desc.digest, f"{self.desc.digest.algorithm}:{found}")

    def _raise_failure(self) -> None:
        failure = self._failure or (self._growing.failure if self._growing is not None else None)
        if failure is not None:
            raise failure

    def _is_unflushed(self, halves: int) -> bool:
        return self._landed.size - self._recorded.size >= halves * self._half

    def _is_recordable(self) -> bool:
        """Whether the journal has something to do, so that waiting for it ends: of pieces, only whole ones count."""
        if self._is_recording or self._note is not None:
            return True
        if self._is_noted and self._landed.front - self._recorded.front >= self._half:
            return True  # a note of the front is about to come
        return bool(self._pieces_ahead())

    def _take_note(self, size: int, digest: str) -> None:
        """The front is hashed up to ``size``; called by the hashing thread."""
        with self._changed:
            self._note = Piece(0, size, digest)
            self._changed.notify_all()

    def _keep_journal(self) -> None:
        try:
            while (work := self._next_work()) is not None:
                pieces, ahead = work
                pieces += [piece for span in ahead if (piece := self._hash(span)) is not None]
                with writing_to(self._blobs.layout.root):
                    flush_file(self._partial.fd)
                self._partial.record(*pieces)
                with self._changed:
                    for piece in pieces:
                        self._recorded.add(piece.offset, piece.end)
                    self._is_recording = False
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - handed to the threads that write
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _next_work(self) -> tuple[list[Piece], list[Span]] | None:
        """Wait for something to record: the note of the front, and whole pieces ahead of it; None at the end."""
        with self._changed:
            while not self._ended:
                note, self._note = self._note, None
                ahead = self._pieces_ahead()
                if note is not None or ahead:
                    self._is_recording = True
                    return ([note] if note is not None else []), ahead
                self._changed.wait()
            return None

    def _pieces_ahead(self) -> list[Span]:
        """Whole pieces that landed where the hash of the front is not about to come."""
        front = self._landed.front if self._is_noted else 0
        found = []
        for span in self._landed:
            if span.end <= front:
                continue
            for gap in self._recorded.missing(span.start, span.end):
                start = gap.start
                while gap.end - start >= self._piece:
                    found.append(Span(start, start + self._piece))
                    start += self._piece
        return found

    def _hash(self, span: Span) -> Piece | None:
        """A piece out of the page cache; None when the end came meanwhile."""
        buffer = memoryview(bytearray(BUFFER))
        hasher = hashlib.sha256()
        position = span.start
        while position < span.end:
            if self._ended or self._cancel.is_cancelled:
                return None
            count = os.preadv(self._partial.fd, [buffer[: span.end - position]], position)
            if not count:
                return None
            hasher.update(buffer[:count])
            position += count
        return Piece(span.start, span.size, hasher.hexdigest())
