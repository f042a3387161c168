"""Size and digest of what passes by, checked at the end: unverified bytes do not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.errors import IntegrityError

if TYPE_CHECKING:
    from kitops.content.protocols import Reader
    from kitops.oci.descriptor import Descriptor


def check_bytes(data: bytes, desc: Descriptor, what: str, *, hint: str | None = None) -> None:
    """Raise IntegrityError, with ``hint``, unless ``data`` is what ``desc`` says; ``what`` names it."""
    if len(data) != desc.size:
        raise IntegrityError(what, f"{desc.size} bytes", f"{len(data)} bytes", hint=hint)
    hasher = desc.digest.new_hasher()
    hasher.update(data)
    if hasher.hexdigest() != desc.digest.encoded:
        raise IntegrityError(what, desc.digest, f"{desc.digest.algorithm}:{hasher.hexdigest()}", hint=hint)


class VerifyingReader:
    """Passes bytes through; at their end, raises IntegrityError unless size and digest are those of ``desc``.

    More bytes than ``desc.size`` raise at once. The last bytes are held to the same rule: whoever reads to the end
    (a ``readinto`` that returns 0) has verified bytes.

    Args:
        reader: gives them.
        desc: what they should be.
        what: names them in errors.
        hint: what the person can do about an error.
    """

    def __init__(self, reader: Reader, desc: Descriptor, what: str, *, hint: str | None = None) -> None:
        self._reader = reader
        self._desc = desc
        self._what = what
        self._hint = hint
        self._hasher = desc.digest.new_hasher()
        self._size = 0

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._reader.readinto(buffer)
        if count:
            self._size += count
            if self._size > self._desc.size:
                raise self._damaged(f"{self._desc.size} bytes", "more")
            self._hasher.update(buffer[:count])
            return count
        if self._size != self._desc.size:
            raise self._damaged(f"{self._desc.size} bytes", f"{self._size} bytes")
        if self._hasher.hexdigest() != self._desc.digest.encoded:
            raise self._damaged(self._desc.digest, f"{self._desc.digest.algorithm}:{self._hasher.hexdigest()}")
        return 0

    def _damaged(self, expected: object, actual: str) -> IntegrityError:
        return IntegrityError(self._what, expected, actual, hint=self._hint)
