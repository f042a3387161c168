"""The members of a local archive, judged once: where the content of each is, and what the headers between them were.

Reading the archive a second time, for its content, needs no parsing: :meth:`Index.replay` tells the members again, and
compares what lies between their contents with what was judged.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from typing import TYPE_CHECKING, Final, Protocol

from kitops.errors import FileSystemError, IntegrityError
from kitops.layers.tar import BLOCK
from kitops.layers.untar import Member, PieceReader, read_members

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIELDS: Final = 4


class Index:
    """The members of an archive, in its order.

    Attributes:
        is_whole: whether everything between the contents was seen; else it cannot be replayed.
        passed_over: members that are not told, as in :class:`~kitops.layers.untar.PieceReader`.
    """

    def __init__(self) -> None:
        self.is_whole = False
        self.passed_over: list[str] = []
        self._paths: list[str] = []
        self._numbers = array("q")  # for each: bytes before its content, is a directory, mode, bytes of its content
        self._tail = 0
        self._between = hashlib.sha256()

    def read(self, descriptor: int, base: str, what: str, within: str = "") -> Iterator[Member]:
        """The members of the uncompressed archive in a file, of which only the headers are read.

        Args:
            descriptor: the file.
            base: the directory that its names are relative to.
            what: names it in errors.
            within: only what is below this directory is told.

        Raises:
            KitError: as :func:`~kitops.layers.untar.read_members`.
        """
        between = hashlib.sha256()
        reader = HeaderReader(descriptor, what, between)
        self.passed_over = reader.passed_over
        end = unseen = 0
        for member in read_members(reader, base, within):
            start = reader.position
            self._paths.append(member.path)
            self._numbers.extend((start - end, member.is_dir, member.mode, member.size))
            unseen += start - end
            yield member
            if not member.is_dir:
                reader.jump(member.size)
            end = start + member.size
        self._tail = reader.position - end
        self.is_whole = unseen + self._tail == reader.seen
        self._between = between

    def replay(self, pieces: PieceReader) -> Iterator[Member]:
        """The same members from the same bytes. Whoever asks for the next one has read the content of the last.

        Raises:
            IntegrityError: what is between their contents is not what was judged.
        """
        between = hashlib.sha256()
        numbers = iter(self._numbers)
        for path, gap, is_dir, mode, size in zip(self._paths, *([numbers] * _FIELDS), strict=True):
            between.update(pieces.read(gap))
            yield Member(path, bool(is_dir), mode, size)
        between.update(pieces.read(self._tail))
        if between.digest() != self._between.digest():
            raise IntegrityError(pieces.what, "the headers that were judged", "others")


class Takes(Protocol):
    """What bytes are given to."""

    def update(self, data: bytes, /) -> object: ...


class HeaderReader(PieceReader):
    """A file of which the contents are jumped over; what is between them is hashed.

    Args:
        descriptor: the file.
        what: names it in errors.
        hasher: takes what is between the contents.
    """

    def __init__(self, descriptor: int, what: str, hasher: Takes) -> None:
        super().__init__(iter(()), what)
        self.position = 0
        self.seen = 0
        self.hasher = hasher
        self._descriptor = descriptor
        self._padding = 0
        self._size = os.fstat(descriptor).st_size

    def read(self, size: int) -> bytes:
        blank = self._padding
        try:
            found = os.pread(self._descriptor, blank + size, self.position - blank)
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", self.what) from error
        if len(found) < blank + size:
            raise IntegrityError(self.what, "a whole tar archive", "an early end")
        self._padding = 0
        self.position += size
        self.seen += len(found)
        self.hasher.update(found)
        return found[blank:]

    def skip(self, size: int) -> None:
        if size < BLOCK:  # padding: it is read with the next header
            self._padding += size
            self._forward(size)
        else:
            self.jump(size)

    def jump(self, size: int) -> None:
        """Pass over content."""
        self._padding = 0
        self._forward(size)

    def _forward(self, size: int) -> None:
        self.position += size
        if self.position > self._size:
            raise IntegrityError(self.what, "a whole tar archive", "an early end")
