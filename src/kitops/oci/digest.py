"""Digests: ``algorithm:encoded`` (image-spec, descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash

_ALGORITHMS: dict[str, tuple[int, Callable[[], _Hash]]] = {
    "sha256": (64, hashlib.sha256),
    "sha512": (128, hashlib.sha512),
}
_FORM = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([0-9a-f]+)", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The identity of a blob. Cannot be wrong: make one with :meth:`parse` or :meth:`of`."""

    algorithm: str
    encoded: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read ``sha256:<64 hex>`` or ``sha512:<128 hex>`` (lower case).

        Raises:
            InvalidValueError: it is not one.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise InvalidValueError(f"{text!r} is not a digest", hint="a digest looks like sha256:<64 hex digits>")
        algorithm, encoded = match.groups()
        known = _ALGORITHMS.get(algorithm)
        if known is None:
            raise InvalidValueError(f"digest algorithm {algorithm!r} is not supported", hint="use sha256 or sha512")
        if len(encoded) != known[0]:
            raise InvalidValueError(f"digest {text!r} has {len(encoded)} hex digits, {algorithm} has {known[0]}")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> Digest:
        """The SHA-256 of ``data``."""
        return cls("sha256", hashlib.sha256(data).hexdigest())

    @classmethod
    def from_hasher(cls, hasher: _Hash) -> Digest:
        """The digest that a SHA-256 or SHA-512 ``hashlib`` object holds."""
        return cls(hasher.name, hasher.hexdigest())

    def new_hasher(self) -> _Hash:
        """A fresh ``hashlib`` object of this digest's algorithm."""
        return _ALGORITHMS[self.algorithm][1]()

    @property
    def short(self) -> str:
        """The first twelve hex digits, for progress lines."""
        return self.encoded[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"
