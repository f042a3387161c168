"""How one blob gets up, step by step: a conversation without I/O.

:func:`conduct` yields what to do next and is sent what came of it. It cuts the blob into requests as :class:`Limits`
says, tells those what it learns, goes on from the bytes that the registry says it has, and begins anew where an upload
is lost (distribution-spec v1.1, "Pushing a blob in chunks").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from kitops.errors import AuthenticationError, IntegrityError, KitError, NetworkError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Generator

    from kitops.registry.limits import Limits
    from kitops.registry.resume import Breaks

_UPLOADS: Final = 5
"""How often one blob is begun."""
_WHOLE_LOSSES: Final = 2
_GONE: Final = (401, 403, 404, 410)
"""What is said of an upload that is none any more; 401 and 403 by another host, when a signed Location is too old."""
_LATER: Final = (408, 429, 503)
"""More patience is asked for than there is."""
_BUSY: Final = 409
"""A request that was cut, or one of a killed process, is still being taken in: proxies send on what they have."""
_BUSY_TRIES: Final = 4
_TOO_LARGE: Final = "raise the limit for request bodies there (nginx: client_max_body_size)"

Begun: TypeAlias = Literal["no", "open", "left"]
"""Where it starts: nothing is there; an upload was opened just now; an earlier attempt left one."""


@dataclass(frozen=True, slots=True)
class Open:
    """Open an upload; with ``single`` the whole blob goes with that request."""

    single: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask how many bytes of the upload the registry has."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send the bytes from ``start`` to before ``end``, with the request that ends the upload if ``is_last``."""

    start: int
    end: int
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """Look whether the blob is there."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget the upload; tell the registry so if it still has it."""

    is_alive: bool


Step: TypeAlias = Open | Ask | Send | Look | Pause | Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a step.

    Args:
        status: of the answer; 0 where none came.
        error: what it is for people, where it is no success.
        offset: how many bytes the registry says it has; None where it does not say.
        sent: bytes of the body that left.
        seconds: how long it took.
        is_put_off: an answer came that asks to try again: busy, or the token had expired; it was waited already.
    """

    status: int = 0
    error: KitError | None = None
    offset: int | None = None
    sent: int = 0
    seconds: float = 0.0
    is_put_off: bool = False

    @property
    def is_success(self) -> bool:
        """Whether the registry did as it was asked."""
        return self.error is None and 200 <= self.status < 300

    @property
    def cause(self) -> KitError:
        """The error, in any case."""
        return self.error or RegistryError(f"the registry answered {self.status}", status=self.status)


Steps: TypeAlias = "Generator[Step, Outcome, None]"
Offset: TypeAlias = "Generator[Step, Outcome, int | None]"
"""Ends with the byte to go on from; None when the blob is there."""


class _LostError(Exception):
    """This upload leads nowhere: another has to be opened."""

    def __init__(self, cause: KitError, *, is_alive: bool) -> None:
        super().__init__()
        self.cause = cause
        self.is_alive = is_alive


def conduct(size: int, limits: Limits, breaks: Breaks, begun: Begun = "no") -> Steps:
    """The steps of getting a blob of ``size`` bytes up.

    Args:
        size: in bytes.
        limits: of the registry; told what is learnt.
        breaks: how patient to be.
        begun: where it starts.

    Raises:
        KitError: it cannot be done.
    """
    return _Conduct(size, limits, breaks).run(begun)


class _Conduct:
    def __init__(self, size: int, limits: Limits, breaks: Breaks) -> None:
        self._size = size
        self._limits = limits
        self._breaks = breaks
        self._has_moved = False
        """Since the last break: then patience begins anew."""
        self._is_doubtful = False
        """What the registry has may be other bytes: some came in a request that was cut, or from another process."""
        self._is_clean = True
        """Nothing was cut in this upload."""
        self._stalls = 0
        self._busy = 0
        self._whole_losses = 0

    def run(self, begun: Begun) -> Steps:
        for count in range(1, _UPLOADS + 1):
            try:
                offset = yield from self._begin(begun)
                while offset is not None:
                    offset = yield from self._advance(offset)
            except _LostError as lost:
                yield Drop(lost.is_alive)
                if count == _UPLOADS:
                    raise lost.cause from lost
                begun = "no"
                self._is_clean, self._is_doubtful = True, False
            else:
                return

    def _begin(self, begun: Begun) -> Offset:
        if begun == "open":
            return 0
        if begun == "left":
            outcome = yield Ask()
            if outcome.offset is not None and outcome.offset <= self._size:
                self._is_doubtful = True
                self._is_clean = False
                return outcome.offset
            if outcome.status == 0 and isinstance(outcome.error, NetworkError):
                raise outcome.error
            yield Drop(is_alive=False)
        return (yield from self._open())

    def _open(self) -> Offset:
        if self._limits.tries_single(self._size):
            outcome = yield Open(single=True)
            is_taken = outcome.is_success and outcome.status != 202
            if isinstance(outcome.error, AuthenticationError):
                raise outcome.error
            self._limits.note_single(taken=is_taken)
            if is_taken:
                return None
            if outcome.is_success:
                self._is_doubtful = True
                return 0
        outcome = yield Open()
        if not outcome.is_success:
            raise outcome.cause
        return 0

    def _advance(self, start: int) -> Offset:
        """One request more, and what follows from its answer."""
        size = self._limits.next_size(self._size - start)
        end = start + size
        may_ride = not start or not size or self._limits.takes_riders or not self._limits.takes_chunks
        send = Send(start, end, is_last=end == self._size and may_ride)
        outcome = yield send
        if not outcome.is_success:
            return (yield from self._mend(send, outcome))
        self._limits.note_sent(size, outcome.seconds)
        self._busy = 0
        return None if send.is_last else self._next(send, outcome)

    def _next(self, send: Send, outcome: Outcome) -> int:
        """Where to go on after a chunk that was taken, maybe not to its end."""
        offset = send.end if outcome.offset is None else outcome.offset
        if offset > send.end:
            self._limits.refuse_chunks()
            raise _LostError(_confused(offset, send), is_alive=True)
        if offset <= send.start:
            self._stalls += 1
            if self._stalls > 1:
                self._limits.refuse_chunks()
                raise _LostError(_confused(offset, send), is_alive=True)
        else:
            self._stalls = 0
            self._has_moved = True
        return offset

    def _mend(self, send: Send, outcome: Outcome) -> Offset:
        """Where to go on after a request that failed.

        Raises:
            _LostError: in another upload.
            KitError: nowhere.
        """
        error, status = outcome.cause, outcome.status
        if outcome.is_put_off or isinstance(error, NetworkError):
            return (yield from self._wait(send, outcome))
        if isinstance(error, IntegrityError) and self._is_doubtful:
            raise _LostError(error, is_alive=False)
        if isinstance(error, (AuthenticationError, IntegrityError)) or status in _LATER:
            raise error
        if status == 416 and outcome.offset is not None and outcome.offset != send.start:
            return self._rewind(send, outcome.offset)
        if status == _BUSY and not self._is_clean and self._busy < _BUSY_TRIES:
            self._busy += 1
            yield Pause(self._breaks.pause_after(self._busy))
            return (yield from self._ask(send))
        if status in (413, 416):
            self._shrink(send, error)
            return (yield from self._ask(send))
        if send.is_last:
            return (yield from self._mend_last(send, outcome))
        if status < 400:
            raise error
        # more than one chunk, or any chunk, is too many for it; after a cut it may only have lost count,
        # and another host refuses (401, 403) what was not signed for long enough
        if self._is_clean and status not in (401, 403):
            self._limits.refuse_chunks()
        raise _LostError(error, is_alive=status not in _GONE)

    def _mend_last(self, send: Send, outcome: Outcome) -> Offset:
        error, status = outcome.cause, outcome.status
        if status in _GONE and (yield Look()).is_success:
            return None
        if send.start and send.end > send.start and self._limits.takes_riders and status in (400, 405, 415, 501):
            self._limits.refuse_riders()
            return (yield from self._ask(send))
        if status in _GONE or send.start or not self._is_clean:
            self._whole_losses += 1
            if self._whole_losses <= _WHOLE_LOSSES:
                raise _LostError(error, is_alive=False)
        raise error

    def _rewind(self, send: Send, offset: int) -> int:
        """The registry has other bytes than we thought: go on from there."""
        if offset > send.start:
            self._has_moved = True
        self._stalls += 1
        if offset > self._size or self._stalls > _UPLOADS:
            raise _LostError(_confused(offset, send), is_alive=True)
        self._is_doubtful = True
        return offset

    def _shrink(self, send: Send, error: KitError) -> None:
        """The registry, or a proxy before it, takes no such body."""
        if not self._limits.note_too_large(send.end - send.start):
            hint = _TOO_LARGE if self._limits.takes_chunks else f"it takes blobs whole only; {_TOO_LARGE}"
            if isinstance(error, RegistryError):
                raise RegistryError(
                    error.message, status=error.status, codes=error.codes, request=error.request, hint=hint
                )
            raise error

    def _wait(self, send: Send, outcome: Outcome) -> Offset:
        """The connection broke, or the registry has no time: later, from where it is by then."""
        size = send.end - send.start
        error = outcome.error if isinstance(outcome.error, NetworkError) else NetworkError(str(outcome.cause))
        if not outcome.is_put_off:
            self._limits.note_cut(outcome.sent, outcome.seconds)
        self._is_doubtful = True
        self._is_clean = False
        pause = self._note_break(send, error)
        if not outcome.is_put_off:
            if send.is_last and outcome.sent == size and (yield Look()).is_success:
                return None
            yield Pause(pause)
        offset = yield from self._ask(send)
        if offset is not None and offset <= send.start and outcome.sent and not outcome.is_put_off:
            self._stalls += 1
            if self._stalls > 1:  # twice in vain: who resets the connection may mean that this is too much
                self._limits.note_too_large(size)
        return offset

    def _note_break(self, send: Send, error: NetworkError) -> float:
        """Seconds to wait after a break."""
        try:
            pause = self._breaks.note(error, moved=self._has_moved)
        except NetworkError:
            if send.start or send.is_last or error.permanent or not self._limits.takes_chunks:
                raise
            self._limits.refuse_chunks()  # no chunk ever arrived
            raise _LostError(error, is_alive=True) from error
        self._has_moved = False
        return pause

    def _ask(self, send: Send) -> Offset:
        """How many bytes are there, asked until an answer comes."""
        while True:
            outcome = yield Ask()
            if outcome.status or not isinstance(outcome.error, NetworkError):
                break
            yield Pause(self._breaks.note(outcome.error, moved=False))
        offset = outcome.offset
        if outcome.is_success and offset is None and not send.start:
            offset = 0
        if offset is None or offset > self._size:
            if send.is_last and (yield Look()).is_success:
                return None
            raise _LostError(outcome.cause, is_alive=False)
        if offset > send.start:
            self._has_moved = True
            self._stalls = 0
        return offset


def _confused(offset: int, send: Send) -> RegistryError:
    return RegistryError(
        f"uploading: the registry says that it has {offset} bytes, after bytes {send.start} to {send.end} were sent"
    )
