"""Which bytes of a blob are here: sets of half-open spans. Pure."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MIB: Final = 1024 * 1024
SMALLEST_PIECE: Final = 16 * _MIB
LARGEST_PIECE: Final = 64 * _MIB
_PIECES: Final = 64
WORTH_LANDING: Final = SMALLEST_PIECE
"""Bytes from which on a blob is fetched piece by piece, and a killed attempt continued."""


def piece_size(size: int) -> int:
    """Into what a blob of ``size`` bytes is cut: 16 to 64 MiB, a sixty-fourth of it in between."""
    return min(max(size // _PIECES // _MIB * _MIB, SMALLEST_PIECE), LARGEST_PIECE)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Bytes from ``start`` up to, not including, ``end``."""

    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


class Spans:
    """A set of bytes as disjoint spans in order. Not thread-safe.

    Args:
        spans: what is in it at the start.
    """

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._spans: list[Span] = []
        for span in spans:
            self.add(span.start, span.end)

    def __iter__(self) -> Iterator[Span]:
        return iter(tuple(self._spans))

    def __len__(self) -> int:
        """How many separate spans there are."""
        return len(self._spans)

    @property
    def size(self) -> int:
        """How many bytes are in it."""
        return sum(span.size for span in self._spans)

    @property
    def front(self) -> int:
        """How many bytes are in it without a gap from byte 0 on."""
        return self._spans[0].end if self._spans and self._spans[0].start == 0 else 0

    def add(self, start: int, end: int) -> int:
        """Take in these bytes; how many of them are new."""
        if start >= end:
            return 0
        first = last = bisect_left(self._spans, start, key=lambda span: span.end)
        known = 0
        low, high = start, end
        while last < len(self._spans) and self._spans[last].start <= end:
            span = self._spans[last]
            known += max(0, min(span.end, end) - max(span.start, start))
            low, high = min(low, span.start), max(high, span.end)
            last += 1
        self._spans[first:last] = [Span(low, high)]
        return end - start - known

    def missing(self, start: int, end: int) -> list[Span]:
        """The gaps between ``start`` and ``end``, in order."""
        found = []
        for span in self._spans[bisect_left(self._spans, start, key=lambda span: span.end) :]:
            if span.start >= end:
                break
            if span.start > start:
                found.append(Span(start, span.start))
            start = max(start, span.end)
        if start < end:
            found.append(Span(start, end))
        return found
