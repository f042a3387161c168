"""How a blob goes up. A strategy is one way to do it; which one a registry takes is the business of who chooses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kitops.errors import FileSystemError, IntegrityError, RegistryError
from kitops.registry.session import Request, Session, Spendable
from kitops.registry.transport import BLOCK
from kitops.registry.urls import add_query, follow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kitops.content.protocols import Reader
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.registry.auth import Scopes
    from kitops.registry.transport import Answer


@dataclass(frozen=True, slots=True)
class UploadPlace:
    """Where blobs go up to: a repository of a registry, with its push scope."""

    session: Session
    repository: str
    scopes: Scopes

    def what(self, digest: Digest) -> str:
        """A blob of this repository, for errors."""
        return f"blob {digest} of {self.session.registry}/{self.repository}"


class Strategy(Protocol):
    """One way to send a blob; it exists afterwards, or not at all."""

    def __call__(self, place: UploadPlace, desc: Descriptor, reader: Reader, moved: Callable[[int], None]) -> None: ...


def upload_whole(place: UploadPlace, desc: Descriptor, reader: Reader, moved: Callable[[int], None]) -> None:
    """POST opens a session, one PUT carries the whole body (distribution-spec, "POST then PUT").

    Raises:
        NetworkError: the connection broke; with a fresh reader it may be tried again.
        IntegrityError: the registry got other bytes than ``desc`` says, or ``reader`` has another number of them.
    """
    location = open_session(place, desc)
    body = StreamBody(reader, desc, moved, place.what(desc.digest), place.session.run.cancel.check)
    request = Request(
        method="PUT",
        target=add_query(location, "digest", str(desc.digest)),
        doing="uploading",
        what=place.what(desc.digest),
        scopes=place.scopes,
        headers={"Content-Type": "application/octet-stream"},
        body=body,
        ok=(200, 201, 204),
        wait=place.session.commit_seconds,
    )
    finish(place, desc, request)


def open_session(place: UploadPlace, desc: Descriptor) -> str:
    """Open an upload; the URL where it goes on."""
    request = Request(
        method="POST",
        target=f"/v2/{place.repository}/blobs/uploads/",
        doing="uploading",
        what=place.what(desc.digest),
        scopes=place.scopes,
        ok=(202,),
    )
    with place.session.send(request) as answer:
        return follow(answer.url, answer.header("Location") or "")


def finish(place: UploadPlace, desc: Descriptor, request: Request) -> Answer:
    """Send the request that ends an upload and see that the registry took these bytes; its answer, closed."""
    try:
        with place.session.send(request) as answer:
            stored = answer.header("Docker-Content-Digest")
    except RegistryError as error:
        if "DIGEST_INVALID" in error.codes:
            raise IntegrityError(place.what(desc.digest), desc.digest, "other bytes, as the registry says") from error
        raise
    if stored is not None and stored != str(desc.digest) and stored.startswith(f"{desc.digest.algorithm}:"):
        raise IntegrityError(place.what(desc.digest), desc.digest, stored)
    return answer


class StreamBody(Spendable):
    """The bytes of a reader as the body of a request: exactly as many as announced."""

    def __init__(
        self, reader: Reader, desc: Descriptor, moved: Callable[[int], None], what: str, check: Callable[[], None]
    ) -> None:
        super().__init__(desc.size)
        self._reader = reader
        self._moved = moved
        self._what = what
        self._check = check

    def __iter__(self) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(min(BLOCK, self.size + 1)))
        sent = 0
        self.is_spent = True
        while count := self._fill(buffer):
            self._check()
            if sent + count > self.size:
                raise IntegrityError(self._what, f"{self.size} bytes", "more")
            sent += count
            yield buffer[:count]
            self._moved(count)
        if sent != self.size:
            raise IntegrityError(self._what, f"{self.size} bytes", f"{sent} bytes")

    def _fill(self, buffer: memoryview) -> int:
        try:
            return self._reader.readinto(buffer)
        except OSError as error:  # must not look like the network's
            raise FileSystemError.wrap(error, "reading", self._what) from error
