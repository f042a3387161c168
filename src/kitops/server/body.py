"""The body of a request: by Content-Length, or in chunks (RFC 9112, 6 and 7.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from email.message import Message
    from io import BufferedIOBase

_LINE = 1024


class BadBodyError(Exception):
    """The request's framing is wrong, or it ended early: nothing more can be read from its connection."""


class RequestBody:
    """Reads the body of one request and not a byte more.

    Args:
        stream: the connection.
        headers: the request's.

    Raises:
        BadBodyError: the framing is not one that can be trusted.
    """

    def __init__(self, stream: BufferedIOBase, headers: Message) -> None:
        self._stream = stream
        coding = headers.get("Transfer-Encoding", "").strip().lower()
        lengths = set(headers.get_all("Content-Length", []))
        if (coding and (lengths or coding != "chunked")) or len(lengths) > 1:
            raise BadBodyError
        self._chunked = bool(coding)
        text = lengths.pop().strip() if lengths else "0"
        if not (text.isascii() and text.isdigit()):
            raise BadBodyError
        self._left = int(text)
        self._begun = False
        self.is_ended = not self._chunked and self._left == 0
        self.size: int | None = None if self._chunked else self._left

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill at most ``buffer``; 0 at the end.

        Raises:
            BadBodyError: it ended early.
        """
        if self._chunked and not self._left and not self.is_ended:
            self._next_chunk()
        if self.is_ended:
            return 0
        count = self._stream.readinto(buffer[: min(len(buffer), self._left)])
        if not count:
            raise BadBodyError
        self._left -= count
        if not self._left and not self._chunked:
            self.is_ended = True
        return count

    def read(self, limit: int) -> bytes | None:
        """The whole body, or None when it has more than ``limit`` bytes."""
        found = bytearray(limit + 1)
        view = memoryview(found)
        count = 0
        while count <= limit and (more := self.readinto(view[count:])):
            count += more
        return bytes(view[:count]) if count <= limit else None

    def drain(self, limit: int) -> None:
        """Read and forget up to about ``limit`` bytes; ``is_ended`` tells whether that was all."""
        buffer = memoryview(bytearray(min(limit, 64 * 1024)))
        while limit > 0 and (count := self.readinto(buffer)):
            limit -= count

    def _next_chunk(self) -> None:
        if self._begun and self._stream.readline(_LINE).strip():
            raise BadBodyError
        self._begun = True
        size = self._stream.readline(_LINE).partition(b";")[0].strip()
        try:
            self._left = int(size, 16) if size.isalnum() else -1
        except ValueError:
            self._left = -1
        if self._left < 0:
            raise BadBodyError
        if self._left == 0:
            while self._stream.readline(_LINE).strip():
                pass  # trailers
            self.is_ended = True
