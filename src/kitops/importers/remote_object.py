"""One object in a store of objects or on a web server: its size, what it is known by, its bytes from anywhere on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kitops.errors import IntegrityError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from kitops.content.protocols import Reader
    from kitops.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What a server says of an object.

    Args:
        size: bytes.
        etag: its strong entity tag without quotes; "" where there is none.
        version: that it has in a bucket with versions; "" elsewhere.
        digest: of its content, where the server keeps one.
        md5: of its content in hex, where the ETag is known to be that.
    """

    size: int
    etag: str = ""
    version: str = ""
    digest: Digest | None = None
    md5: str = ""


class RemoteObject(Protocol):
    """An object as it was when it was opened: another one in its place is told, never read. Thread-safe."""

    @property
    def name(self) -> str:
        """For people: no secrets."""
        ...

    @property
    def facts(self) -> ObjectFacts:
        """What the server said."""
        ...

    def open(self, offset: int) -> AbstractContextManager[Reader]:
        """The bytes from ``offset`` on, unverified; fewer than there are end in NetworkError.

        Raises:
            IntegrityError: another object is in its place.
            SourceError: the server does not give them, for good.
            NetworkError: it cannot be reached, or is busy.
        """
        ...


class ChangedError(IntegrityError):
    """A remote object is whole, but another one than was wanted; arguments as of IntegrityError."""

    def __init__(self, what: str, expected: object, actual: object, *, hint: str | None = None) -> None:
        super().__init__(what, expected, actual, hint=hint)
        self.lines = (f"{what} is another than wanted: expected {expected}, got {actual}",)


def replaced(name: str, expected: str, actual: str) -> ChangedError:
    """The error about an object that was replaced while it was read."""
    return ChangedError(name, f"ETag {expected}", f"ETag {actual}" if actual else "one that replaced it meanwhile")
