"""The body of a request: bytes of the connection, up to where the request says that it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kitops.server.wire import Wire


class BrokenBodyError(Exception):
    """The body ended early, came too slowly or was framed wrongly: nothing more can be read from its connection."""


class Body(Protocol):
    """Gives the body of one request and not a byte more. Who reads it first lets the client send it (``100``)."""

    size: int | None
    """Bytes in all, None where they come in chunks."""
    is_ended: bool

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill at most ``buffer``; 0 at the end.

        Raises:
            BrokenBodyError: it ended early, or is not what it said.
        """
        ...


class MeasuredBody:
    """A body whose length was told: read from the socket into the caller's buffer, past the protocol's parser.

    Args:
        wire: the connection.
        size: bytes.
        early: those that came with the head; at most ``size``.
    """

    def __init__(self, wire: Wire, size: int, early: bytes) -> None:
        self._wire = wire
        self._early = early
        self._left = size
        self.size: int | None = size
        self.is_ended = size == 0

    def readinto(self, buffer: memoryview, /) -> int:
        if self.is_ended:
            return 0
        self._wire.let_send()
        room = buffer[: min(len(buffer), self._left)]
        if self._early:
            count = min(len(room), len(self._early))
            room[:count] = self._early[:count]
            self._early = self._early[count:]
        else:
            count = self._wire.receive_into(room)
            if not count:
                raise BrokenBodyError("the body ended early")
        self._left -= count
        self.is_ended = not self._left
        return count


class ChunkedBody:
    """A body in chunks, taken apart by the protocol's parser.

    Args:
        wire: the connection.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._waiting = memoryview(b"")
        self.size: int | None = None
        self.is_ended = False

    def readinto(self, buffer: memoryview, /) -> int:
        if not self._waiting and not self.is_ended:
            self._wire.let_send()
            found = self._wire.next_data()
            self.is_ended = found is None
            self._waiting = memoryview(found or b"")
        count = min(len(buffer), len(self._waiting))
        buffer[:count] = self._waiting[:count]
        self._waiting = self._waiting[count:]
        return count


def read_whole(body: Body, limit: int) -> bytes | None:
    """The whole body, or None when it has more than ``limit`` bytes."""
    if body.size is not None and body.size > limit:
        return None
    found = bytearray()
    buffer = memoryview(bytearray(64 * 1024))
    while count := body.readinto(buffer):
        found += buffer[:count]
        if len(found) > limit:
            return None
    return bytes(found)


def drain(body: Body, limit: int) -> None:
    """Read and forget up to about ``limit`` bytes; ``body.is_ended`` tells whether that was all."""
    buffer = memoryview(bytearray(min(limit, 64 * 1024)))
    while limit > 0 and not body.is_ended and (count := body.readinto(buffer)):
        limit -= count
