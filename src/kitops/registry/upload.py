"""Blobs going up: what :mod:`kitops.registry.strategy` decides, done over the network."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from kitops.content.events import Message
from kitops.content.protocols import tell_found
from kitops.content.spans import WORTH_LANDING
from kitops.errors import AuthenticationError, IntegrityError, KitError, NetworkError, NotFoundError, RegistryError
from kitops.registry.headers import parse_length, parse_range_end
from kitops.registry.herald import herald
from kitops.registry.memory import Forgetful
from kitops.registry.resume import Breaks
from kitops.registry.session import PutOffError, Request, Session
from kitops.registry.strategy import Ask, Drop, Look, Open, Outcome, Pause, Send, Step, conduct
from kitops.registry.upload_body import BlobSource, PartBody
from kitops.registry.urls import add_query, follow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from kitops.content.protocols import Reader
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.registry.auth import Scopes
    from kitops.registry.memory import OpenUpload
    from kitops.registry.strategy import Begun
    from kitops.registry.transport import Answer

UNSEEN: Final = "MANIFEST_BLOB_UNKNOWN"
"""The code of a registry that does not see a blob of a manifest."""

_WORTH_WAITING: Final = 2 << 20
"""Bytes of a body from which on it is told what is waited for."""
_STREAM: Final = "application/octet-stream"
_GATEWAY: Final = frozenset({408, 502, 504})
"""A proxy that gave up on the registry: for the time that the request took, if that was long."""
_GATEWAY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class UploadPlace:
    """Where blobs go up to: a repository of a registry, with its push scope."""

    session: Session
    repository: str
    scopes: Scopes

    def what(self, digest: Digest) -> str:
        """A blob of this repository, for errors."""
        return f"blob {digest} of {self.session.registry}/{self.repository}"

    @property
    def uploads(self) -> str:
        """Where uploads are opened."""
        return f"/v2/{self.repository}/blobs/uploads/"


class Uploads:
    """The uploads to one repository. Thread-safe.

    Args:
        place: the repository.
        exists: whether it has a blob.
    """

    def __init__(self, place: UploadPlace, exists: Callable[[Descriptor], bool]) -> None:
        self._place = place
        self._exists = exists
        self._left: dict[Digest, str] = {}
        self._spare: dict[Digest, str] = {}

    def put(self, desc: Descriptor, reader: Reader, moved: Callable[[int], None]) -> None:
        """Send a blob; it exists afterwards, or not at all.

        Args:
            desc: what it is.
            reader: its bytes. One that seeks is read again where that is needed.
            moved: told the number of bytes of each step, negative where some went in vain.

        Raises:
            NetworkError: the network failed for longer than patience lasts, or ``reader`` has to be opened again;
                another call goes on from there.
            IntegrityError: the bytes are not what ``desc`` says.
        """
        source = BlobSource(reader, desc, self._place.what(desc.digest))
        with self._claim(desc) as record:
            upload = _Upload(self._place, source, record, moved, exists=self._exists)
            try:
                upload.run(
                    left=self._left.pop(desc.digest, None) or self._saved(record),
                    spare=self._spare.pop(desc.digest, None),
                )
            except NetworkError:
                if upload.location:
                    self._left[desc.digest] = upload.location
                raise
            except IntegrityError:
                upload.drop(is_alive=True)
                raise

    def mount(self, desc: Descriptor, source: str, scopes: Scopes) -> bool:
        """Take a blob over from the repository ``source``; False when the registry would not.

        The upload that a registry opens instead is where :meth:`put` goes on.
        """
        request = Request(
            method="POST",
            target=f"{self._place.uploads}?mount={quote(str(desc.digest))}&from={quote(source)}",
            doing="mounting",
            what=self._place.what(desc.digest),
            scopes=scopes,
            ok=(201, 202, 404, 405),
        )
        with self._place.session.send(request) as answer:
            location = answer.header("Location")
            if answer.status == 202 and location:
                note_least(self._place, answer)
                self._spare[desc.digest] = follow(answer.url, location)
            return answer.status == 201

    def settle(self, desc: Descriptor) -> None:
        """A blob is there: an upload that an earlier process left, killed when all had been sent, is of no use."""
        with self._claim(desc) as record:
            if record.location is not None:
                record.forget()

    def close(self) -> None:
        """Give up what was opened and not used."""
        while self._spare:
            _, location = self._spare.popitem()
            cancel(self._place, location)

    def _claim(self, desc: Descriptor) -> AbstractContextManager[OpenUpload]:
        keeper = self._place.session.memory.uploads if desc.size >= WORTH_LANDING else Forgetful()
        return keeper.claim(f"{self._place.session.base} {self._place.repository} {desc.digest}")

    def _saved(self, record: OpenUpload) -> str | None:
        """Where an earlier process left an upload, if that may be gone to."""
        if record.location is None:
            return None
        try:
            return follow(self._place.session.base, record.location)
        except RegistryError:
            return None


class _Upload:
    """One blob on its way.

    Args:
        place: where to.
        source: its bytes.
        record: where it is kept for later processes.
        moved: told the number of bytes of each step.
        exists: whether the repository has a blob.
    """

    def __init__(
        self,
        place: UploadPlace,
        source: BlobSource,
        record: OpenUpload,
        moved: Callable[[int], None],
        *,
        exists: Callable[[Descriptor], bool],
    ) -> None:
        self.location: str | None = None
        self._spare: str | None = None
        self._exists = exists
        self._place = place
        self._session = place.session
        self._source = source
        self._desc = source.desc
        self._record = record
        self._moved = moved
        self._told = 0

    def run(self, *, left: str | None, spare: str | None) -> None:
        """Send it.

        Args:
            left: where an earlier attempt ended.
            spare: an upload that was opened just now.
        """
        begun: Begun = "left" if left else "open" if spare else "no"
        self.location = left or spare
        self._spare = spare if left else None
        if begun == "open" and spare:
            self._record.save(spare)
        limits = self._session.memory.limits(self._session.registry)
        steps = conduct(self._desc.size, limits, Breaks(self._session.patience), begun)
        try:
            step = next(steps)
            while True:
                step = steps.send(self._do(step))
        except StopIteration:
            self._reach(self._desc.size)
            self.location = None
            self._record.forget()
            if self._spare:
                cancel(self._place, self._spare)

    def drop(self, *, is_alive: bool) -> None:
        """Forget the upload, and tell the registry so if it still has it."""
        location, self.location = self.location, None
        self._record.forget()
        self._reach(0)
        if location and is_alive:
            cancel(self._place, location)

    def _do(self, step: Step) -> Outcome:
        match step:
            case Open(single):
                whole = self._source.whole() if single else None
                return self._guard(lambda: self._open() if whole is None else self._post(whole))
            case Ask():
                return self._guard(self._ask)
            case Send():
                return self._send(step)
            case Look():
                return self._guard(lambda: Outcome(status=200 if self._exists(self._desc) else 404))
            case Pause(seconds):
                self._session.run.cancel.wait(seconds)
            case Drop(is_alive):
                self.drop(is_alive=is_alive)
        return Outcome(status=200)

    def _guard(self, act: Callable[[], Outcome]) -> Outcome:
        """What came of a request without a stream."""
        try:
            return act()
        except (NetworkError, RegistryError, AuthenticationError, NotFoundError) as error:
            return Outcome(status=_status(error), error=error)

    def _open(self) -> Outcome:
        """Open an upload, or use the one that a refused mount opened."""
        self.location, self._spare = self._spare, None
        if self.location is None:
            return self._post()
        self._record.save(self.location)
        return Outcome(status=202)

    def _post(self, whole: bytes | None = None) -> Outcome:
        """Open an upload; with ``whole`` all of the blob goes with that request."""
        target = self._place.uploads
        single = whole is not None
        request = Request(
            method="POST",
            target=add_query(target, "digest", str(self._desc.digest)) if single else target,
            doing="uploading",
            what=self._source.what,
            scopes=self._place.scopes,
            headers={"Content-Type": _STREAM} if single else {},
            body=whole,
            ok=(200, 201, 202) if single else (202,),
            wait=self._session.commit_seconds if single else None,
        )
        with self._session.send(request) as answer:
            if answer.status == 202:
                note_least(self._place, answer)
                self._note_location(answer, expected=True)
            else:
                check_stored(self._place, self._desc, answer)
            return Outcome(status=answer.status)

    def _ask(self) -> Outcome:
        request = Request(
            method="GET",
            target=self._here(),
            doing="asking for the state of",
            what=self._source.what,
            scopes=self._place.scopes,
            ok=(200, 202, 204),
        )
        with self._session.send(request) as answer:
            self._note_location(answer)
            offset = parse_range_end(answer.header("Range"))
        self._reach(offset or 0, found=True)
        return Outcome(status=answer.status, offset=offset)

    def _send(self, step: Send) -> Outcome:
        self._source.go_to(step.start)
        self._reach(step.start)
        body = PartBody(self._source, step.start, step.end, self._reach, self._session.run.cancel.check)
        began = monotonic()

        def fail(error: KitError, status: int) -> Outcome:
            seconds = monotonic() - began
            is_cut = status in _GATEWAY and seconds > _GATEWAY_SECONDS
            is_put_off = isinstance(error, PutOffError) and not is_cut
            if isinstance(error, NetworkError) and not is_put_off:
                self._session.run.observer(Message("info", f"{error.message}; going on where the registry is"))
            return Outcome(status=status, error=error, sent=body.sent, seconds=seconds, is_put_off=is_put_off)

        try:
            with herald(self._session.run.observer, f"{self._session.registry} to take in what was sent") as wait:
                if body.size >= _WORTH_WAITING:  # a watch costs a thread
                    body.on_end = wait
                answer = self._exchange(step, body, wait)
        except (IntegrityError, NetworkError, RegistryError, AuthenticationError, NotFoundError) as error:
            if body.has_failed:
                raise
            return fail(error, _status(error))
        if answer.status == 416:
            refusal = RegistryError(
                f"uploading {self._source.what}: {self._session.registry} answered 416 to bytes {step.start} to"
                f" {step.end}",
                status=416,
            )
            return Outcome(status=416, error=refusal, offset=parse_range_end(answer.header("Range")), sent=body.sent)
        offset = None if step.is_last else parse_range_end(answer.header("Range"))
        return Outcome(status=answer.status, offset=offset, sent=body.sent, seconds=monotonic() - began)

    def _exchange(self, step: Send, body: PartBody, wait: Callable[[], None]) -> Answer:
        """One chunk, or the end, and its answer, closed."""
        here = self._here()
        headers = {"Content-Type": _STREAM}
        if not (step.start == 0 and step.is_last) and body.size:
            headers["Content-Range"] = f"{step.start}-{step.end - 1}"
        request = Request(
            method="PUT" if step.is_last else "PATCH",
            target=add_query(here, "digest", str(self._desc.digest)) if step.is_last else here,
            doing="uploading",
            what=self._source.what,
            scopes=self._place.scopes,
            headers=headers,
            body=body if body.size else None,
            ok=(200, 201, 204, 416) if step.is_last else (200, 201, 202, 204, 416),
            wait=self._session.commit_seconds,
        )
        if not body.size:
            wait()
        with refused_bytes(self._place, self._desc), self._session.send(request) as answer:
            if step.is_last and answer.status != 416:
                check_stored(self._place, self._desc, answer)
            else:
                self._note_location(answer)
            return answer

    def _here(self) -> str:
        if self.location is None:
            raise AssertionError("an upload is opened before it is used")
        return self.location

    def _note_location(self, answer: Answer, *, expected: bool = False) -> None:
        """Where it goes on: always as the last answer says."""
        said = answer.header("Location")
        if said or expected:
            self.location = follow(answer.url, said or "")
            self._record.save(self.location)

    def _reach(self, offset: int, *, found: bool = False) -> None:
        """Tell how far it is; ``found``: as the registry said, not by what was sent."""
        if offset != self._told:
            step, self._told = offset - self._told, offset
            if found and step > 0:
                tell_found(self._moved, step)
            else:
                self._moved(step)


def note_least(place: UploadPlace, answer: Answer) -> None:
    """Remember the length of chunks that a registry asks for when it opens an upload."""
    least = parse_length(answer.header("OCI-Chunk-Min-Length"))
    if least:
        place.session.memory.limits(place.session.registry).note_least(least)


def check_stored(place: UploadPlace, desc: Descriptor, answer: Answer) -> None:
    """Raise IntegrityError if the registry says that it stored something else."""
    stored = answer.header("Docker-Content-Digest")
    if stored is not None and stored != str(desc.digest) and stored.startswith(f"{desc.digest.algorithm}:"):
        raise IntegrityError(place.what(desc.digest), desc.digest, stored)


@contextmanager
def refused_bytes(place: UploadPlace, desc: Descriptor) -> Iterator[None]:
    """In the block, a refusal because the bytes have another digest becomes IntegrityError."""
    try:
        yield
    except RegistryError as error:
        if "DIGEST_INVALID" not in error.codes or UNSEEN in error.codes:
            raise
        raise IntegrityError(place.what(desc.digest), desc.digest, "other bytes, as the registry says") from error


def cancel(place: UploadPlace, location: str) -> None:
    """Tell the registry that an upload is not needed any more; whatever it says to that."""
    request = Request(
        method="DELETE",
        target=location,
        doing="giving up an upload to",
        what=f"{place.session.registry}/{place.repository}",
        scopes=place.scopes,
        ok=range(200, 600),
    )
    with suppress(KitError):
        place.session.send(request).close()


def _status(error: KitError) -> int:
    """The status that an error came from; 0 where there was no answer."""
    if isinstance(error, (RegistryError, PutOffError)):
        return error.status
    if isinstance(error, NotFoundError):
        return 404
    if isinstance(error, IntegrityError):
        return 400
    return 401 if isinstance(error, AuthenticationError) else 0
