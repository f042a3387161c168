"""How much a registry takes in one request: what is known beforehand, and what uploads to it have shown. No I/O."""

from __future__ import annotations

import threading
from typing import Final

from kitops.registry.quirks import Quirks

_KIB: Final = 1024
_MIB: Final = 1024 * 1024
FIRST: Final = 16 * _MIB
"""Bytes of the first chunk; the next are at most :data:`_GROWTH` times the largest that was taken."""
LARGEST: Final = 512 * _MIB
SMALLEST: Final = 256 * _KIB
"""Bytes below which no chunk is cut; where a registry takes no more than that, it takes no blobs."""
ABSURD: Final = 1024 * _MIB
"""A minimum above this many bytes is met by sending everything that is left at once."""
SECONDS: Final = 5.0
"""How long one request should take: well below the 60 s that some servers allow, long enough to cost nothing."""
SINGLE_TRIAL: Final = 64 * _KIB
"""Bytes that may be sent in vain to learn whether a registry takes a blob with its POST."""
SINGLE: Final = _MIB
_GROWTH: Final = 4
_SHRINK: Final = 4
_SAFETY: Final = 3
_ALIKE: Final = 0.3


class Limits:
    """The limits of one registry. Thread-safe.

    Args:
        quirks: what is known of it.
    """

    def __init__(self, quirks: Quirks = Quirks()) -> None:  # noqa: B008 - frozen
        self._lock = threading.Lock()
        self._chunks = quirks.chunks
        self._least = quirks.least
        self._most = quirks.most
        self._largest = FIRST // _GROWTH
        self._rate: float | None = None
        self._seconds = self._most_seconds = SECONDS
        self._last_cut: float | None = None
        self._rides = True
        self._single: bool | None = None if quirks == Quirks() else False

    @property
    def takes_chunks(self) -> bool:
        """Whether a blob may come in several requests."""
        return self._chunks

    @property
    def takes_riders(self) -> bool:
        """Whether the last chunk may ride on the PUT that ends an upload."""
        return self._rides

    def next_size(self, rest: int) -> int:
        """Bytes of the next request, ``rest`` bytes of the blob being left."""
        with self._lock:
            if not self._chunks or self._least > ABSURD:
                return rest
            ideal = LARGEST if self._rate is None else int(self._rate * self._seconds)
            size = max(min(ideal, LARGEST, self._largest * _GROWTH), SMALLEST, self._least)
            return min(size, rest, self._most or rest)

    def tries_single(self, size: int) -> bool:
        """Whether a blob of ``size`` bytes should go with the POST itself."""
        with self._lock:
            if self._most is not None and size > self._most:
                return False
            return 0 < size <= (SINGLE_TRIAL if self._single is None else SINGLE if self._single else 0)

    def note_least(self, size: int) -> None:
        """It asks for chunks of ``size`` bytes and more, the last excepted (``OCI-Chunk-Min-Length``)."""
        with self._lock:
            self._least = max(self._least, size)

    def note_single(self, *, taken: bool) -> None:
        """A registry took a blob with the POST, or did not."""
        with self._lock:
            self._single = taken

    def note_sent(self, size: int, seconds: float) -> None:
        """A request with ``size`` bytes was answered well after ``seconds``."""
        with self._lock:
            self._largest = max(self._largest, size)
            if size >= SMALLEST and seconds > 0:
                rate = size / seconds
                self._rate = rate if self._rate is None else (self._rate + rate) / 2
            self._seconds = min(self._seconds * 2, self._most_seconds)

    def note_cut(self, size: int, seconds: float) -> None:
        """A request was cut ``seconds`` after it began, ``size`` bytes having left.

        The next are to end in a third of that time. One cut may be chance, so they grow again; a second one after as
        long is a limit, and they stay.
        """
        if not size or seconds <= 0:
            return
        with self._lock:
            self._rate = size / seconds if self._rate is None else min(self._rate, size / seconds)
            self._seconds = min(self._seconds, seconds / _SAFETY)
            if self._last_cut is not None and abs(seconds - self._last_cut) <= _ALIKE * self._last_cut:
                self._most_seconds = min(self._most_seconds, seconds / _SAFETY)
            self._last_cut = seconds

    def note_too_large(self, size: int) -> bool:
        """A request with ``size`` bytes was refused for its size; False when a smaller one is out of the question."""
        with self._lock:
            if not self._chunks or size <= SMALLEST:
                return False
            most = max(size // _SHRINK, SMALLEST)
            self._most = most if self._most is None else min(self._most, most)
            return True

    def refuse_chunks(self) -> None:
        """It takes blobs whole only."""
        with self._lock:
            self._chunks = False

    def refuse_riders(self) -> None:
        """The last chunk has to come before the PUT."""
        with self._lock:
            self._rides = False
