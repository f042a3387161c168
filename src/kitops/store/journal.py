"""The journal of a landing: what of a blob is durable, so that it survives a kill.

A thread flushes the file and then records what that made durable: how far the contiguous front is hashed, and what
landed ahead of it, which it hashes itself (:mod:`kitops.store.partial` has the format). While much comes it records by
the piece, else by the second; a landing that is given up in good order records the rest.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from kitops.content.spans import Span, Spans
from kitops.content.write import flush_file
from kitops.errors import FileSystemError
from kitops.store.filesystem import writing_to
from kitops.store.partial import Piece
from kitops.store.receive import BUFFER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kitops.content.cancel import CancelToken
    from kitops.store.partial import Partial

OFTEN: Final = 1.0
"""Seconds after which what came is recorded, however little it is: a kill costs the requests of so long."""
_MOST_AT_THE_END: Final = 32 * 1024 * 1024
"""Bytes ahead of the front that are hashed once more when the end was asked for, which is to come within a second."""


class Journal:
    """Records what lands in one file.

    Args:
        partial: the file, and where it is recorded.
        landed: what is in the file; changed by its owner, who holds ``changed``.
        changed: guards ``landed`` and the journal; notified when there may be something to record.
        piece: bytes that are recorded at once where they came ahead of the front.
        noted: whether the digest of the front comes by :meth:`take_note`; else the front is recorded by the piece.
        ask: asks for such a note soon.
        root: names the store in errors.
        cancel: watched while hashing.
    """

    def __init__(
        self,
        partial: Partial,
        landed: Spans,
        changed: threading.Condition,
        *,
        piece: int,
        noted: bool,
        ask: Callable[[], None],
        root: str,
        cancel: CancelToken,
    ) -> None:
        self.recorded = Spans(landed)
        self.failure: BaseException | None = None
        self._partial = partial
        self._landed = landed
        self._changed = changed
        self._piece = piece
        self._noted = noted
        self._ask = ask
        self._root = root
        self._cancel = cancel
        self._note: Piece | None = None
        self._is_recording = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def take_note(self, size: int, digest: str) -> None:
        """The front is hashed up to ``size``, to ``digest`` in hex; called by the hashing thread."""
        with self._changed:
            self._note = Piece(0, size, digest)
            self._changed.notify_all()

    @property
    def unrecorded(self) -> int:
        """Bytes that landed and are not recorded."""
        return self._landed.size - self.recorded.size

    def is_recordable(self, step: int) -> bool:
        """Whether the journal has something to do at once, so that waiting for it ends; the front by ``step`` bytes."""
        if self._ended:
            return False
        if self._is_recording or self._note is not None:
            return True
        if self._noted and self._landed.front - self.recorded.front >= step:
            return True  # a note of the front is about to come
        return bool(self._ahead(self._piece))

    def end(self) -> None:
        """End the thread; may be called twice."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join()

    def record_rest(self, front: Piece | None) -> None:
        """After the end: record what is left, ``front`` being what was hashed of the front. Never raises."""
        if self.failure is not None:
            return
        pieces = [front] if front is not None and front.size > self.recorded.front else []
        self._record_spans(pieces, self._landed, Spans([*self.recorded, *(Span(0, one.size) for one in pieces)]))

    def record_all_but(self, doubtful: Iterable[Span]) -> None:
        """After the end: let nothing of ``doubtful`` be believed, and record what else is left. Never raises."""
        known = Spans()
        with suppress(OSError, FileSystemError):
            for piece in self._partial.forget_spans(doubtful):
                known.add(piece.offset, piece.end)
            without = Spans(doubtful)
            landed = [part for span in self._landed for part in without.missing(span.start, span.end)]
            if self.failure is None:
                self._record_spans([], landed, known)

    # inside

    def _record_spans(self, pieces: list[Piece], landed: Iterable[Span], known: Spans) -> None:
        """Record ``pieces``, and what of ``landed`` is not ``known``."""
        rest = [gap for span in landed for gap in known.missing(span.start, span.end)]
        if not self._cancel.is_cancelled or sum(gap.size for gap in rest) <= _MOST_AT_THE_END:
            pieces += self._hash_all(rest, heed=False)
        with suppress(OSError, FileSystemError):
            self._record(pieces)

    def _run(self) -> None:
        try:
            while (work := self._next_work()) is not None:
                note, spans = work
                pieces = ([] if note is None else [note]) + self._hash_all(spans, heed=True)
                self._record(pieces)
                with self._changed:
                    for piece in pieces:
                        self.recorded.add(piece.offset, piece.end)
                    self._is_recording = False
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - handed to the threads that write
            with self._changed:
                self.failure = error
                self._changed.notify_all()

    def _next_work(self) -> tuple[Piece | None, list[Span]] | None:
        """Wait for something to record: a note of the front, pieces ahead of it; None at the end."""
        due = time.monotonic() + OFTEN
        asked = False
        with self._changed:
            while not self._ended:
                note, self._note = self._note, None
                is_due = time.monotonic() >= due
                ahead = self._ahead(1 if is_due else self._piece)
                if note is not None or ahead:
                    self._is_recording = True
                    return note, ahead
                if is_due:
                    if self._noted and not asked and self._landed.front > self.recorded.front:
                        self._ask()
                        asked = True
                    due = time.monotonic() + OFTEN
                self._changed.wait(max(due - time.monotonic(), 0.01))
            return None

    def _ahead(self, least: int) -> list[Span]:
        """What landed where the hash of the front is not about to come: whole pieces, or all from ``least`` bytes."""
        front = self._landed.front if self._noted else 0
        found = []
        for span in self._landed:
            if span.end <= front:
                continue
            for gap in self.recorded.missing(span.start, span.end):
                start = gap.start
                while gap.end - start >= least:
                    end = min(start + self._piece, gap.end)
                    found.append(Span(start, end))
                    start = end
        return found

    def _hash_all(self, spans: Iterable[Span], *, heed: bool) -> list[Piece]:
        return [piece for span in spans if (piece := self._hash(span, heed=heed)) is not None]

    def _hash(self, span: Span, *, heed: bool) -> Piece | None:
        """A piece out of the page cache; None when the end came meanwhile, and that is to be heeded."""
        buffer = memoryview(bytearray(BUFFER))
        hasher = hashlib.sha256()
        position = span.start
        while position < span.end:
            if heed and (self._ended or self._cancel.is_cancelled):
                return None
            count = os.preadv(self._partial.fd, [buffer[: span.end - position]], position)
            if not count:
                return None
            hasher.update(buffer[:count])
            position += count
        return Piece(span.start, span.size, hasher.hexdigest())

    def _record(self, pieces: list[Piece]) -> None:
        if pieces:
            with writing_to(self._root):
                flush_file(self._partial.fd)
            self._partial.record(*pieces)
