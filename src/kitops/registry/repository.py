"""One repository of a registry: a source and a sink of content (distribution-spec v1.1)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kitops.content.spans import WORTH_LANDING, piece_size
from kitops.content.verify import VerifyingReader, check_bytes
from kitops.errors import (
    AuthenticationError,
    IntegrityError,
    InvalidValueError,
    KitError,
    NetworkError,
    RegistryError,
    TrustError,
)
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.manifest import MAX_MANIFEST_SIZE
from kitops.oci.reference import check_tag
from kitops.registry.auth import Scopes
from kitops.registry.download import Origin, download
from kitops.registry.headers import media_type
from kitops.registry.manifest_upload import send_manifest
from kitops.registry.manifests import MANIFEST_TYPES, body_type, check_manifest, describe_answer, read_tags, said_digest
from kitops.registry.mirror import MirroredSession, mirrors_of
from kitops.registry.pace import Spare
from kitops.registry.pages import MAX_PAGE, read_pages
from kitops.registry.ping import ping
from kitops.registry.referrers import Referrers
from kitops.registry.resume import ResumingReader
from kitops.registry.session import EXTRA_CONNECTIONS, Request, Session
from kitops.registry.stretch import RangeRefusedError, Stretch, open_stretch, open_whole
from kitops.registry.upload import UploadPlace, Uploads
from kitops.registry.urls import api_repository
from kitops.registry.window import PIECE, Room, WindowReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self

    from kitops.content.protocols import Landing, Reader, Run
    from kitops.oci.reference import Reference
    from kitops.registry.blob_ranges import BlobRanges
    from kitops.registry.credentials import FindsCredential
    from kitops.registry.memory import Memory
    from kitops.registry.mirror import Mirror
    from kitops.registry.network import Network

_ACCEPT: Final = ", ".join(sorted(MANIFEST_TYPES, reverse=True))
_KEPT_MANIFESTS: Final = 8
_WORDLESS: Final = (400, 403, 404, 405, 406, 410, 415, 501)
"""Refusals of HEAD after which GET is asked for its words: or only HEAD is what there is not."""


def open_repository(
    ref: Reference,
    network: Network,
    credentials: FindsCredential,
    run: Run,
    mirrors: Iterable[Mirror] = (),
    *,
    memory: Memory | None = None,
) -> Repository:
    """The repository of ``ref`` in its registry; close it, or use it as a context manager. Sends nothing yet.

    Args:
        ref: names registry and repository.
        network: how they are reached.
        credentials: asked when the registry wants to know who we are.
        run: told of warnings and waits; its token ends everything.
        mirrors: those that serve the registry are asked first; only for reading.
        memory: what the process learns of registries, and where unfinished uploads are kept.

    Raises:
        InvalidValueError: ``ref`` names no registry, or the network's files are not usable.
    """
    if not ref.repository:
        raise InvalidValueError(f"{ref} names no repository of a registry")
    repository = api_repository(ref.registry, ref.repository)
    nearby = mirrors_of(ref.registry, mirrors)
    session = (
        MirroredSession(ref.registry, repository, network, credentials, run, mirrors=nearby, memory=memory)
        if nearby
        else Session(ref.registry, repository, network, credentials, run, memory=memory)
    )
    return Repository(session, repository, f"{ref.registry}/{ref.repository}")


class Repository:
    """Source and sink (``kitops.content.protocols``). Thread-safe.

    Args:
        session: talks to its registry.
        repository: its name as the registry's API has it.
        locator: its name for people.
    """

    def __init__(self, session: Session, repository: str, locator: str) -> None:
        self.locator = locator
        self._session = session
        self._repository = repository
        self._pull = Scopes.parse(f"repository:{repository}:pull")
        self._push = Scopes.parse(f"repository:{repository}:pull,push")
        self._delete = Scopes.parse(f"repository:{repository}:delete,pull")
        self._place = UploadPlace(session, repository, self._push)
        self._uploads = Uploads(self._place, self.exists)
        self._unmountable: set[str] = set()
        self._manifests: OrderedDict[Digest, bytes] = OrderedDict()
        self._referrers = Referrers(session, repository, locator)
        self._lock = threading.Lock()
        self._spare = Spare(EXTRA_CONNECTIONS if session.run.concurrency > 1 else 0)
        self._room = Room()

    def close(self) -> None:
        """Close the connections."""
        self._uploads.close()
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- source

    def resolve(self, pointer: str) -> Descriptor:
        """The descriptor that a tag or digest points to now, by HEAD, or by GET where HEAD tells too little.

        A refusal of HEAD has no words: the same is asked by GET, which has.

        Raises:
            NotFoundError: there is no such tag or digest.
        """
        with self._session.send(self._manifest_request("HEAD", pointer, ok=(200, *_WORDLESS))) as answer:
            desc = describe_answer(answer, pointer, self._name(pointer)) if answer.status == 200 else None
        return self.fetch_manifest(pointer)[0] if desc is None else desc

    def fetch_manifest(self, pointer: str) -> tuple[Descriptor, bytes]:
        """A manifest by tag or digest with its descriptor, whose digest is computed from its bytes.

        Raises:
            NotFoundError: there is no such tag or digest.
            IntegrityError: it is not what the digest, or the registry's own header, says.
            RegistryError: it is no JSON, or of another type than the registry says.
        """
        what = self._name(pointer)
        with self._session.send(self._manifest_request("GET", pointer)) as answer:
            data = answer.read(MAX_MANIFEST_SIZE)
            said = said_digest(answer)
            kind = media_type(answer.header("Content-Type"))
        digest = Digest.parse(pointer) if ":" in pointer else said or Digest.of(data)
        for promised in (said, digest):
            if promised is not None:
                check_bytes(data, Descriptor(kind, promised, len(data)), what)
        return Descriptor(body_type(data, kind, what), digest, len(data)), data

    def fetch(self, desc: Descriptor) -> bytes:
        """A small blob or a manifest as verified bytes.

        Raises:
            NotFoundError: it is not there.
            IntegrityError: it is not what ``desc`` says.
            RegistryError: it is larger than 16 MiB, or a manifest that does not parse.
        """
        data = self._fetch(desc)
        if desc.media_type in MANIFEST_TYPES:
            check_manifest(data, desc.media_type, self._what(desc))
        return data

    def _fetch(self, desc: Descriptor) -> bytes:
        what = self._what(desc)
        if desc.data is not None:
            check_bytes(desc.data, desc, what)
            return desc.data
        if (kept := self._kept(desc.digest)) is not None:
            check_bytes(kept, desc, what)
            return kept
        if desc.size > MAX_MANIFEST_SIZE:
            raise RegistryError(f"reading {what}: {desc.size} bytes are too many to hold in memory")
        try:
            return self._fetch_once(desc)
        except (IntegrityError, NetworkError):
            if not self._session.doubt(desc.digest):
                raise
        return self._fetch_once(desc)

    @contextmanager
    def open(self, desc: Descriptor) -> Iterator[Reader]:
        """The bytes of a blob, verified as they pass by."""
        with self.stream(desc) as reader:
            yield VerifyingReader(reader, desc, self._what(desc))

    def stream(self, desc: Descriptor) -> AbstractContextManager[Reader]:
        """The bytes of a blob or manifest as the registry sends them, for a sink, which verifies them itself.

        Where a connection breaks, the next goes on from there.
        """
        return self.stream_from(desc, 0)

    def stream_from(self, desc: Descriptor, start: int) -> AbstractContextManager[Reader]:
        """As :meth:`stream`, from offset ``start`` on; where the registry sends no parts, what is before is skipped.

        A large blob comes over as many connections as help.
        """
        return self.stream_ahead(desc, start) if desc.size - start >= WORTH_LANDING else self._resuming(desc, start)

    @contextmanager
    def stream_ahead(self, desc: Descriptor, start: int) -> Iterator[Reader]:
        """As :meth:`stream_from`; bytes come from now on, while nobody reads, as far as memory allows."""
        window = WindowReader(self._origin(desc, PIECE), desc, start, self._room, self._session.run)
        with self._doubting(desc), window as reader:
            yield reader

    @contextmanager
    def _resuming(self, desc: Descriptor, start: int) -> Iterator[Reader]:
        request = self._read_request(desc)

        def open_at(position: int) -> Stretch:
            if position:
                with suppress(RangeRefusedError):
                    return open_stretch(self._session, request, desc, position, desc.size)
            return open_whole(self._session, request, desc)

        with (
            self._doubting(desc),
            ResumingReader(
                self._what(desc), open_at, start, desc.size, self._session.patience, self._session.run
            ) as reader,
        ):
            reader.open()
            yield reader

    @contextmanager
    def _doubting(self, desc: Descriptor) -> Iterator[None]:
        """What is found wrong in the block came from a host that is not asked again, if there is another."""
        try:
            yield
        except (IntegrityError, TrustError):
            self._session.doubt(desc.digest)
            raise

    def deliver(self, desc: Descriptor, landing: Landing, moved: Callable[[int], None], run: Run) -> None:
        """Fetch what ``landing`` misses of a large blob, over as many connections as help, and finish it.

        Raises:
            IntegrityError: the bytes were wrong twice.
            NetworkError: the network failed for longer than patience lasts.
        """
        download(self._origin(desc, piece_size(desc.size)), landing, moved, run)

    @contextmanager
    def ranges(self, desc: Descriptor, *, limit: int) -> Iterator[BlobRanges]:
        """A blob to be read in parts, unverified, while the block runs.

        Args:
            desc: the blob.
            limit: bytes that are read at most where the registry sends no ranges.
        """
        from kitops.registry.blob_ranges import BlobRanges  # noqa: PLC0415 - only who looks into a blob needs it

        request = self._read_request(desc)
        found = BlobRanges(
            lambda start, end: open_stretch(self._session, request, desc, start, end),
            lambda: open_whole(self._session, request, desc),
            desc.size,
            limit,
        )
        try:
            yield found
        finally:
            found.close()

    # --- sink

    def exists(self, desc: Descriptor) -> bool:
        """Whether the repository has the blob or manifest."""
        request = Request(
            method="HEAD",
            target=self._target(desc),
            doing="looking for",
            what=self._what(desc),
            scopes=self._pull,
            headers={"Accept": desc.media_type} if desc.media_type in MANIFEST_TYPES else {},
            ok=(200, *_WORDLESS),
        )
        with self._session.send(request) as answer:
            status = answer.status
        if status not in (200, 404):
            with self._session.send(replace(request, method="GET", ok=(200, 404))) as answer:
                status = answer.status
        if status == 200:
            self._uploads.settle(desc)
        return status == 200

    def put(self, desc: Descriptor, reader: Reader, moved: Callable[[int], None]) -> None:
        """Upload a blob or manifest.

        A large ``reader`` that does not seek is read once: after a NetworkError, whoever owns the source opens it
        again and calls again; the upload goes on where it was.

        Raises:
            IntegrityError: the bytes are not what ``desc`` says.
            NetworkError: the connection broke on the way.
        """
        if desc.media_type not in MANIFEST_TYPES:
            self._uploads.put(desc, reader, moved)
            return
        if desc.size > MAX_MANIFEST_SIZE:
            raise RegistryError(f"uploading {self._what(desc)}: {desc.size} bytes are too many for a manifest")
        found = bytearray(desc.size + 1)
        data = bytes(found[: _read_full(reader, memoryview(found))])
        check_bytes(data, desc, self._what(desc))
        self._put_manifest(desc, data, str(desc.digest))
        moved(desc.size)

    def tag(self, desc: Descriptor, tag: str) -> None:
        """Point ``tag`` at a manifest that is here: its bytes are put under the tag, unless it points there."""
        check_tag(tag)
        if self._kept(desc.digest) is None and self._is_tagged(desc, tag):
            return
        self._put_manifest(desc, self._fetch(desc), tag)

    def mount(self, desc: Descriptor, repository: str) -> bool:
        """Take a blob over from another repository of the same registry; False when the registry would not.

        The upload that it opens instead is where :meth:`put` goes on.

        Args:
            desc: the blob.
            repository: the other one, as references have it.
        """
        source = api_repository(self._session.registry, repository)
        scopes = Scopes.parse(str(self._push), f"repository:{source}:pull")
        return self._uploads.mount(desc, source, scopes)

    def mount_from(self, desc: Descriptor, locator: str) -> bool:
        """Take a blob over from the repository ``locator``, if that is of the same registry and it lets us."""
        registry, _, repository = locator.partition("/")
        if registry != self._session.registry or not repository or repository in self._unmountable:
            return False
        try:
            return self.mount(desc, repository)
        except (AuthenticationError, RegistryError):
            self._unmountable.add(repository)
            return False

    # --- the rest of a repository's life

    def tags(self) -> list[str]:
        """Every tag, page after page, in the registry's order.

        Raises:
            NotFoundError: there is no such repository.
            RegistryError: the listing is not one, never ends, or leads to another host.
        """
        found: dict[str, None] = {}
        request = Request(
            method="GET",
            target=f"/v2/{self._repository}/tags/list",
            doing="listing tags of",
            what=self.locator,
            scopes=self._pull,
        )
        for answer in read_pages(self._session, request):
            found |= dict.fromkeys(read_tags(answer.read(MAX_PAGE), self.locator))
        return list(found)

    def referrers(self, subject: Digest, artifact_type: str | None = None) -> list[Descriptor]:
        """What refers to the manifest ``subject``: by the referrers API, else by the fallback tag.

        Args:
            subject: a manifest, which need not be here.
            artifact_type: only of this type.

        Raises:
            RegistryError: what the registry has is no list of referrers.
        """
        return self._referrers.find(subject, artifact_type)

    def keep(self, desc: Descriptor) -> None:
        """See that a manifest that is here, and that has no tag, is found by its subject if it has one."""
        self._referrers.add(desc, self.fetch(desc))

    def delete(self, pointer: str) -> None:
        """Delete a manifest by digest, or untag it by tag. A referrer leaves the list of its subject's referrers.

        Raises:
            NotFoundError: it is not there.
            RegistryError: the registry does not delete.
        """
        manifest: tuple[Descriptor, bytes] | None = None
        if ":" in pointer:
            with suppress(KitError):  # what cannot be read may be deleted all the same
                manifest = self.fetch_manifest(pointer)
        request = Request(
            method="DELETE",
            target=self._manifest_target(pointer),
            doing="deleting",
            what=self._name(pointer),
            scopes=self._delete,
            ok=(200, 202, 204),
        )
        try:
            self._session.send(request).close()
        except RegistryError as error:
            if error.status not in (400, 405, 501):
                raise
            hint = "it may delete by digest only" if ":" not in pointer else "deleting may be switched off there"
            raise RegistryError(
                error.message, status=error.status, codes=error.codes, request=error.request, hint=hint
            ) from error
        with self._lock:
            self._manifests.clear()
        if manifest is not None:
            self._referrers.drop(*manifest)

    def ping(self) -> None:
        """See that a registry answers (``GET /v2/``).

        Raises:
            KitError: it does not, or wants other credentials.
        """
        ping(self._session)

    # --- parts

    def _origin(self, desc: Descriptor, piece: int) -> Origin:
        request = self._read_request(desc)
        return Origin(
            what=self._what(desc),
            open_range=lambda start, end: open_stretch(self._session, request, desc, start, end),
            open_whole=lambda: open_whole(self._session, request, desc),
            doubt=lambda: self._session.doubt(desc.digest),
            patience=self._session.patience,
            spare=self._spare,
            piece=piece,
        )

    def _put_manifest(self, desc: Descriptor, data: bytes, pointer: str) -> None:
        subject = send_manifest(self._place, desc, data, self._manifest_target(pointer), self._name(pointer))
        with self._lock:
            self._manifests[desc.digest] = data
            while len(self._manifests) > _KEPT_MANIFESTS:
                self._manifests.popitem(last=False)
        if subject is None:
            self._referrers.add(desc, data)
        else:
            self._referrers.note_api()

    def _is_tagged(self, desc: Descriptor, tag: str) -> bool:
        with self._session.send(self._manifest_request("HEAD", tag, ok=(200, 404))) as answer:
            if answer.status == 404:
                return False
            found = describe_answer(answer, tag, self._name(tag))
        return (self.fetch_manifest(tag)[0] if found is None else found) == desc

    def _fetch_once(self, desc: Descriptor) -> bytes:
        with self.stream(desc) as reader:
            found = bytearray(desc.size + 1)
            count = _read_full(reader, memoryview(found))
        data = bytes(memoryview(found)[:count])
        if count > desc.size:
            raise IntegrityError(self._what(desc), f"{desc.size} bytes", "more")
        check_bytes(data, desc, self._what(desc))
        return data

    def _kept(self, digest: Digest) -> bytes | None:
        with self._lock:
            return self._manifests.get(digest)

    def _manifest_request(self, method: str, pointer: str, *, ok: tuple[int, ...] = (200,)) -> Request:
        return Request(
            method=method,
            target=self._manifest_target(pointer),
            doing="reading",
            what=self._name(pointer),
            scopes=self._pull,
            headers={"Accept": _ACCEPT},
            ok=ok,
            where="check the digest" if ":" in pointer else f"check the tag (`kit list {self.locator}` shows them)",
        )

    def _manifest_target(self, pointer: str) -> str:
        if ":" in pointer:
            Digest.parse(pointer)
        else:
            check_tag(pointer)
        return f"/v2/{self._repository}/manifests/{pointer}"

    def _read_request(self, desc: Descriptor) -> Request:
        return Request(
            method="GET",
            target=self._target(desc),
            doing="reading",
            what=self._what(desc),
            scopes=self._pull,
            headers={"Accept": desc.media_type} if desc.media_type in MANIFEST_TYPES else {},
        )

    def _target(self, desc: Descriptor) -> str:
        kind = "manifests" if desc.media_type in MANIFEST_TYPES else "blobs"
        return f"/v2/{self._repository}/{kind}/{desc.digest}"

    def _name(self, pointer: str) -> str:
        return f"{self.locator}{'@' if ':' in pointer else ':'}{pointer}"

    def _what(self, desc: Descriptor) -> str:
        if desc.media_type in MANIFEST_TYPES:
            return self._name(str(desc.digest))
        return f"blob {desc.digest} of {self.locator}"


def _read_full(reader: Reader, buffer: memoryview) -> int:
    """Fill ``buffer`` as far as the reader goes; how many bytes came."""
    count = 0
    while count < len(buffer) and (more := reader.readinto(buffer[count:])):
        count += more
    return count
