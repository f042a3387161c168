"""The bytes of a blob on their way out: from a reader that may or may not go back, hashed as they pass.

What is not the blob ends before its last bytes are sent, whatever the registry would have said to them. Only the end of
an upload that goes on where an earlier process stopped cannot be judged by itself; the registry judges the whole.
"""

from __future__ import annotations

from io import UnsupportedOperation
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from kitops.errors import FileSystemError, IntegrityError, KitError, NetworkError
from kitops.registry.session import Spendable
from kitops.registry.transport import BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kitops.content.protocols import Reader
    from kitops.oci.descriptor import Descriptor

HELD: Final = 1024 * 1024
"""Bytes of a blob that are held in memory, so that it can be sent again whatever its reader can do."""


@runtime_checkable
class Rewinds(Protocol):
    """A reader that can go to an offset, as files can."""

    def seek(self, offset: int, /) -> int:
        """Go there."""
        ...


class BlobSource:
    """The bytes of one blob, from any offset.

    Args:
        reader: its bytes, read once unless it :class:`Rewinds`.
        desc: what they have to be.
        what: the blob, for errors.
    """

    def __init__(self, reader: Reader, desc: Descriptor, what: str) -> None:
        self.desc = desc
        self.what = what
        self._reader = reader
        self._position = 0
        self._held: bytes | None = None
        self._hasher = desc.digest.new_hasher()
        self._hashed = 0  # bytes from the first on

    def go_to(self, offset: int) -> None:
        """Have :meth:`fill` go on from ``offset``.

        Raises:
            NetworkError: the bytes before it were read and cannot be had again: open the source afresh.
        """
        if offset == self._position:
            return
        if self._held is None and self.desc.size <= HELD and not self._position:
            self._hold()
        if self._held is None and not self._seek(offset):
            self._skip_to(offset)
        self._position = offset

    def whole(self) -> bytes:
        """All of a blob of at most :data:`HELD` bytes."""
        if self._held is None:
            self._hold()
        return self._held or b""

    def fill(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as far as the bytes go; how many came."""
        if self._held is None and self.desc.size <= HELD and not self._position:
            self._hold()
        if self._held is not None:
            found = self._held[self._position : self._position + len(buffer)]
            buffer[: len(found)] = found
            self._position += len(found)
            return len(found)
        count = 0
        while count < len(buffer) and (more := self._read(buffer[count:])):
            count += more
        self._hash(buffer[:count], self._position)
        self._position += count
        return count

    def check_end(self) -> None:
        """Raise IntegrityError unless these are the bytes of the blob; to be asked at the end only."""
        if self._held is None and self._read(memoryview(bytearray(1))):
            raise IntegrityError(self.what, f"{self.desc.size} bytes", "more")
        if self._hashed == self.desc.size:
            self._check_digest()

    def _hold(self) -> None:
        buffer = memoryview(bytearray(self.desc.size + 1))
        count = 0
        while count < len(buffer) and (more := self._read(buffer[count:])):
            count += more
        if count != self.desc.size:
            raise IntegrityError(
                self.what, f"{self.desc.size} bytes", "more" if count > self.desc.size else f"{count} bytes"
            )
        self._held = bytes(buffer[:count])
        self._hasher.update(self._held)
        self._hashed = count
        self._check_digest()

    def _check_digest(self) -> None:
        found = self._hasher.hexdigest()
        if found != self.desc.digest.encoded:
            raise IntegrityError(self.what, self.desc.digest, f"{self.desc.digest.algorithm}:{found}")

    def _hash(self, data: memoryview, position: int) -> None:
        """Take in what was read at ``position``, as far as it follows what was hashed."""
        if position <= self._hashed < position + len(data):
            self._hasher.update(data[self._hashed - position :])
            self._hashed = position + len(data)

    def _seek(self, offset: int) -> bool:
        try:
            return isinstance(self._reader, Rewinds) and self._reader.seek(offset) == offset
        except UnsupportedOperation:  # a pipe
            return False
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", self.what) from error

    def _skip_to(self, offset: int) -> None:
        if offset < self._position:
            raise NetworkError(f"{self.what} has to be read again from its beginning")
        buffer = memoryview(bytearray(BLOCK))
        while self._position < offset:
            count = self._read(buffer[: offset - self._position])
            if not count:
                raise IntegrityError(self.what, f"{self.desc.size} bytes", f"{self._position} bytes")
            self._hash(buffer[:count], self._position)
            self._position += count

    def _read(self, buffer: memoryview) -> int:
        try:
            return self._reader.readinto(buffer)
        except OSError as error:  # must not look like the network's
            raise FileSystemError.wrap(error, "reading", self.what) from error


class PartBody(Spendable):
    """Some bytes of a blob as the body of a request.

    Args:
        source: has them, and stands at ``start``.
        start: where they begin.
        end: where they end; at the blob's end it is seen that no more come.
        reached: told the offset after each step.
        check: raises when everything is to end.

    Attributes:
        sent: bytes that left.
        has_failed: whether an error is that of the source, and none of whom it is sent to.
    """

    def __init__(
        self, source: BlobSource, start: int, end: int, reached: Callable[[int], None], check: Callable[[], None]
    ) -> None:
        super().__init__(end - start)
        self.sent = 0
        self.has_failed = False
        self.on_end: Callable[[], None] = check
        self._source = source
        self._start = start
        self._end = end
        self._reached = reached
        self._check = check

    def __iter__(self) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(min(BLOCK, self.size)))
        self.is_spent = True
        while self.sent < self.size:
            self._check()
            count = self._fill(buffer[: self.size - self.sent])
            yield buffer[:count]
            self.sent += count
            self._reached(self._start + self.sent)
        self.on_end()

    def _fill(self, buffer: memoryview) -> int:
        """The next bytes; the last ones only when they are the last."""
        offset = self._start + self.sent
        try:
            count = self._source.fill(buffer)
            if count < len(buffer):
                raise IntegrityError(self._source.what, f"{self._source.desc.size} bytes", f"{offset + count} bytes")
            if offset + count == self._source.desc.size:
                self._source.check_end()
        except KitError:
            self.has_failed = True
            raise
        return count
