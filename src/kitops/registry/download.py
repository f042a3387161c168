"""How a large blob comes down: over one connection first, over more only while that raises the rate.

The thread that calls :func:`download` supervises; each connection, a *strand*, has a thread that reads from it and
writes in place. A strand is given the lowest span that is missing: alone, all of it in one request, so that on a fast
link nothing is different from a plain download; beside others a piece.

- After half a second at a steady rate, and with seconds left to go, the number of strands is doubled; if the rate did
  not follow, it goes back to what it was.
- A strand that gets no byte for a while, or far fewer than the others, is *given up*: its span goes to a new one, and
  it may write nothing more, whatever it still receives.
- A strand whose connection breaks gives its span back and goes on after a pause. Patience ends when no strand gets a
  byte, try after try.
- Who is far ahead may have to wait for room. So the lowest bytes that are missing are somebody's at any time, whatever
  number of strands there should be; where the registry would not have one more, those that wait hang up first.
- Where the registry does not heed ``Range``, one strand reads the whole blob by a plain request.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from kitops.content.events import Message
from kitops.content.protocols import tell_found
from kitops.content.spans import Span
from kitops.errors import IntegrityError, NetworkError, RegistryError
from kitops.registry.pace import Pace
from kitops.registry.resume import Breaks
from kitops.registry.stretch import RangeRefusedError
from kitops.registry.transport import BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from kitops.content.protocols import Landing, Run
    from kitops.oci.descriptor import Descriptor
    from kitops.registry.network import Patience
    from kitops.registry.pace import Spare
    from kitops.registry.stretch import Stretch

_MIB: Final = 1024 * 1024
_TICK: Final = 0.1
_LOOK: Final = 1.0
"""Seconds between two looks whether somebody else finished the blob."""
_STUCK: Final = 1.0
"""Seconds that a write takes when it waits for room, and hardly ever else."""
_JOIN: Final = 0.5


class Takes(Protocol):
    """What takes the bytes of a blob in any order: the half of a :class:`kitops.content.protocols.Landing`."""

    @property
    def desc(self) -> Descriptor: ...
    def missing(self) -> list[Span]: ...
    def write(self, offset: int, chunk: memoryview) -> int: ...
    def is_superseded(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one blob comes from.

    Args:
        what: names it for people, with its registry.
        open_range: opens a span.
        open_whole: opens all of it by a plain request.
        doubt: told that what came was wrong, so that another host is asked where there is one.
        patience: of the network.
        spare: connections that may be opened beside the first.
        piece: bytes of one request beside others.
    """

    what: str
    open_range: Callable[[int, int], Stretch]
    open_whole: Callable[[], Stretch]
    doubt: Callable[[], object]
    patience: Patience
    spare: Spare
    piece: int


def download(origin: Origin, landing: Landing, moved: Callable[[int], None], run: Run) -> None:
    """Fetch what ``landing`` misses and finish it; wrong bytes are fetched once more, all of them.

    Args:
        origin: where from.
        landing: where to.
        moved: told the new bytes of each step, negative when they were wrong; from any thread.
        run: told of breaks; its cancel token is watched.

    Raises:
        IntegrityError: the bytes were wrong twice; it names the registry.
        NetworkError: the network failed for longer than patience lasts.
        KitError: the registry refused, or the disk did.
    """
    size = landing.desc.size
    have = size - sum(span.size for span in landing.missing())
    if have:
        tell_found(moved, have)
        known = f"{have // _MIB} of {size // _MIB} MiB were here already"
        run.observer(Message("info", f"{landing.desc.digest.short}: {known}"))
    for attempt in (1, 2):
        try:
            fetch_missing(origin, landing, moved, run)
            landing.finish()
        except IntegrityError as error:
            if attempt == 2:
                raise IntegrityError(
                    origin.what, error.expected, error.actual, hint="the registry sent it so twice; push it again"
                ) from error
            run.observer(Message("warning", f"{origin.what} came damaged; fetching it once more"))
            moved(sum(span.size for span in landing.missing()) - size)
            origin.doubt()
            landing.restart()
        else:
            return


def _nobody_waits() -> None:
    """A landing in a file takes bytes without being read."""


def fetch_missing(
    origin: Origin,
    landing: Takes,
    moved: Callable[[int], None],
    run: Run,
    *,
    let_go: Callable[[], None] = _nobody_waits,
) -> None:
    """Fetch what ``landing`` misses; what came is not looked at.

    Args:
        origin: where from.
        landing: where to.
        moved: told the new bytes of each step; from any thread.
        run: told of breaks; its cancel token is watched.
        let_go: has a ``landing`` that lets writers wait for its reader do so no more.

    Raises:
        IntegrityError: the registry announces another size.
        NetworkError: the network failed for longer than patience lasts.
        KitError: the registry refused, or the landing did.
    """
    _Download(origin, landing, moved, run, let_go).work()


@dataclass(slots=True, eq=False)
class _Strand:
    """One connection: where it is in its span, and how it does. Times by the monotonic clock."""

    thread: threading.Thread | None = None
    position: int = 0
    end: int = 0
    begun: float = 0.0
    last: float = 0.0
    came: int = 0
    stretch: Stretch | None = None
    is_reading: bool = False
    is_writing: bool = False
    is_given_up: bool = False
    is_needed: bool = False  # there are others, and all of them wait for what it is to bring

    @property
    def rest(self) -> int:
        return self.end - self.position


@dataclass(slots=True)
class _Download:
    """One attempt. Everything below ``changed`` is shared, and changed only under it."""

    origin: Origin
    landing: Takes
    moved: Callable[[int], None]
    run: Run
    let_go: Callable[[], None]
    changed: threading.Condition = field(default_factory=threading.Condition)
    queue: list[Span] = field(default_factory=list)
    strands: list[_Strand] = field(default_factory=list)
    failure: BaseException | None = None
    ended: bool = False
    is_ranged: bool | None = None
    breaks: Breaks = field(init=False)
    pace: Pace = field(init=False)
    stalls: int = 0
    fresh: int = 0
    counted: float = 0.0

    def __post_init__(self) -> None:
        self.breaks = Breaks(self.origin.patience)
        self.pace = Pace(self.origin.spare)

    # the supervisor

    def work(self) -> None:
        """Fetch everything that is missing, or until somebody else has it."""
        self.queue = self.landing.missing()
        if not self.queue:
            return
        with self.run.cancel.closing(self._abort):
            try:
                self._add_strand()
                self._supervise()
            finally:
                self._end()
        self.run.cancel.check()
        if self.failure is not None:
            raise self.failure

    def _supervise(self) -> None:
        looked = time.monotonic()
        while True:
            self.run.cancel.check()
            with self.changed:
                if self.failure is not None or not (self.strands or self.queue):
                    return
                self.changed.wait(_TICK)
                now = time.monotonic()
                self._replace_slow(now)
                self._grow(now)
                while self.queue and len(self.strands) < self.pace.target and self.failure is None:
                    self._add_strand()
                if self._are_stuck(now):
                    for strand in self.strands:
                        self._hang_up(strand)
                    self._add_strand(is_needed=True)
            if now - looked > _LOOK:
                looked = now
                if self.landing.is_superseded():
                    return

    def _add_strand(self, *, is_needed: bool = False) -> None:
        now = time.monotonic()
        strand = _Strand(begun=now, last=now, is_needed=is_needed)
        strand.thread = threading.Thread(target=self._pull, args=(strand,), name="download", daemon=True)
        with self.changed:
            self.strands.append(strand)
        strand.thread.start()

    def _grow(self, now: float) -> None:
        """Let the pace decide how many strands there are; beside others, nobody keeps more than a piece."""
        if not self.is_ranged:
            return
        rest = sum(span.size for span in self.queue) + sum(strand.rest for strand in self.strands)
        before = self.pace.target
        self.pace.look(now, self.landing.desc.size - rest, rest)
        if self.pace.target > max(1, before):
            for strand in self.strands:
                self._cut(strand)

    def _cut(self, strand: _Strand) -> None:
        if strand.rest > self.origin.piece:
            end = strand.position + self.origin.piece
            self._give_back(Span(end, strand.end))
            strand.end = end

    def _replace_slow(self, now: float) -> None:
        if not self.is_ranged:
            return
        patience = self.origin.patience
        stall = min(patience.stall * 2**self.stalls, patience.read)
        for strand in tuple(self.strands):
            stalled = strand.rest > 0 and not strand.is_writing and now - strand.last > stall
            if stalled or (strand.is_reading and self.pace.is_laggard(strand, self.strands, now)):
                self.stalls += stalled
                self.run.observer(Message("debug", f"{self.origin.what}: a slow connection is replaced"))
                if stalled:
                    self._note_break(strand, NetworkError(f"reading {self.origin.what}: no byte for {stall:.0f} s"))
                    self.counted = min(self.counted, now)  # another takes its place without a pause
                    if strand.stretch is not None:
                        strand.stretch.answer.give_up()
                self._give_up(strand)

    def _give_up(self, strand: _Strand) -> None:
        """Take the span away from a strand that is waiting for bytes; it writes nothing any more."""
        strand.is_given_up = True
        self._leave(strand)
        self._hang_up(strand)

    @staticmethod
    def _hang_up(strand: _Strand) -> None:
        stretch = strand.stretch
        if stretch is not None:
            stretch.abort()

    def _end(self) -> None:
        """Stop every strand; nothing is written after this."""
        with self.changed:
            self.ended = True
            self.changed.notify_all()
            strands = tuple(self.strands)
        self._abort()
        self.let_go()
        deadline = time.monotonic() + _JOIN
        for strand in strands:
            if strand.thread is None:
                continue
            while strand.is_writing:  # a disk may be slow, but a write ends
                strand.thread.join(_TICK)
            strand.thread.join(max(0.0, deadline - time.monotonic()))
        self.pace.close()

    def _abort(self) -> None:
        """Wake every strand that reads. No lock: a signal handler may call this."""
        self.ended = True
        for strand in tuple(self.strands):
            self._hang_up(strand)

    # a strand's own thread

    def _pull(self, strand: _Strand) -> None:
        buffer = memoryview(bytearray(BLOCK))
        try:
            while self._take(strand):
                self._try_span(strand, buffer)
        except BaseException as error:  # noqa: BLE001 - raised by the supervisor
            self._fail(strand, error)
        finally:
            with self.changed:
                if not strand.is_given_up:
                    self._leave(strand)

    def _take(self, strand: _Strand) -> bool:
        """Give a strand the lowest missing span; False when there is none for it."""
        with self.changed:
            if self.ended or strand.is_given_up or self.failure is not None or not self.queue:
                return False
            if len(self.strands) > self.pace.target and not self._is_first_free():
                return False
            span = self.queue.pop(0)
            if self.is_ranged is False:
                span, self.queue = Span(0, self.landing.desc.size), []
            strand.position, strand.end = span.start, span.end
            strand.begun = strand.last = time.monotonic()
            strand.came = 0
            if self.pace.target > 1:
                self._cut(strand)
            return True

    def _try_span(self, strand: _Strand, buffer: memoryview) -> None:
        """Carry a span; a break is waited out."""
        pause = 0.0
        try:
            self._carry(strand, buffer)
        except NetworkError as error:
            with self.changed:
                if self.ended or strand.is_given_up:
                    return
                pause = self._note_break(strand, error)
        except RangeRefusedError:
            with self.changed:
                if self.is_ranged is False:
                    raise
                self.is_ranged = False
                self.pace.stop()
        finally:
            with self.changed:
                strand.stretch, strand.is_reading = None, False
                if not strand.is_given_up and strand.rest:
                    self._give_back(Span(strand.position, strand.end))
                    strand.position = strand.end
        self._pause(pause)

    def _carry(self, strand: _Strand, buffer: memoryview) -> None:
        with self._open(strand) as stretch:
            with self.changed:
                if strand.is_given_up or self.ended:
                    return
                strand.stretch, strand.last, strand.is_reading = stretch, time.monotonic(), True
                if self.is_ranged is None:
                    self.is_ranged = stretch.is_ranged
                if not stretch.is_ranged:
                    self._take_all(strand)
            while wanted := strand.rest:
                self.run.cancel.check()
                count = stretch.readinto(buffer[:wanted])
                if not count and strand.position < stretch.end:
                    raise NetworkError(f"reading {self.origin.what}: the connection was closed early")
                if not count or not self._may_write(strand):
                    return
                try:
                    new = self.landing.write(strand.position, buffer[: min(count, strand.rest)])
                except BaseException:
                    strand.is_writing = False
                    raise
                self._advance(strand, count, new)

    def _open(self, strand: _Strand) -> Stretch:
        if self.is_ranged is False:
            return self.origin.open_whole()
        return self.origin.open_range(strand.position, strand.end)

    def _take_all(self, strand: _Strand) -> None:
        """The registry sends the whole blob: this strand reads all of it, alone."""
        self.is_ranged = False
        self.pace.stop()
        while others := [other for other in self.strands if other is not strand]:
            for other in others:
                if not other.is_writing:  # what is hashed must not be written again
                    self._give_up(other)
            if any(other.is_writing for other in others):
                self.changed.wait(_TICK)
        self.queue = []
        strand.position, strand.end = 0, self.landing.desc.size

    def _may_write(self, strand: _Strand) -> bool:
        with self.changed:
            strand.is_writing = not (strand.is_given_up or self.ended)
            strand.is_reading, strand.last = False, time.monotonic()
            return strand.is_writing

    def _advance(self, strand: _Strand, count: int, new: int) -> None:
        with self.changed:
            strand.is_writing = False
            strand.position = min(strand.position + count, strand.end)
            strand.last = time.monotonic()
            strand.came += count
            strand.is_reading, strand.is_needed = True, False
            self.fresh += new
            if new and self.stalls:
                self.stalls = 0
        if new:
            self.moved(new)

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        with self.changed:
            while (rest := end - time.monotonic()) > 0 and not self.ended:
                self.changed.wait(min(rest, _TICK))
                self.run.cancel.check()

    # under the lock

    def _is_first_free(self) -> bool:
        """Whether nobody brings the lowest bytes that are missing."""
        return bool(self.queue) and not any(one.rest and one.position < self.queue[0].start for one in self.strands)

    def _are_stuck(self, now: float) -> bool:
        """Whether everybody waits for bytes that nobody brings."""
        return self._is_first_free() and all(one.is_writing and now - one.last > _STUCK for one in self.strands)

    def _note_break(self, strand: _Strand, error: NetworkError) -> float:
        """Count a break; how long to pause. Those that began before the pause after the last one count as that one."""
        now = time.monotonic()
        if not self.fresh and not error.permanent and self.breaks.count and strand.begun < self.counted:
            return max(self.counted - now, 0.0)
        pause = self.breaks.note(error, moved=self.fresh > 0)
        self.counted = now + pause
        if self.fresh or self.breaks.count == 1:
            self.run.observer(Message("info", f"{error.message}; going on from there"))
        self.fresh = 0
        return pause

    def _give_back(self, span: Span) -> None:
        self.queue.append(span)
        self.queue.sort()

    def _leave(self, strand: _Strand) -> None:
        if strand in self.strands:
            if strand.rest:
                self._give_back(Span(strand.position, strand.end))
            self.strands.remove(strand)
            self.changed.notify_all()

    def _fail(self, strand: _Strand, error: BaseException) -> None:
        """An error ends the download, unless it is a registry that wants fewer connections."""
        with self.changed:
            if strand.is_given_up or self.ended:
                return
            others = len(self.strands) - 1
            if isinstance(error, RegistryError) and others > 0 and not strand.is_needed:
                self.pace.stop(others)
                self.run.observer(Message("debug", f"{error.message}; going on with {others} connections"))
            elif self.failure is None:
                self.failure = error
            self.changed.notify_all()
