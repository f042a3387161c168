"""The local store as a shelf: what was packed is served, what is pushed becomes a ref.

A repository here is what one would type to ``kit``: ``team/model`` is the local ``team/model``, and
``registry.example.com/team/model`` what was pulled from there (a registry with a port has no name here).

Blobs are the store's, so every repository has them all. Until a manifest that lists it comes, a pushed blob is held by
a lease, for a day at most. Uploads are files in ``incoming/``, beside ``blobs/``.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from kitops.errors import IntegrityError, InvalidValueError, NotFoundError
from kitops.oci import mediatype
from kitops.oci.digest import Digest
from kitops.oci.reference import Reference
from kitops.oci.subject import describe_referrer
from kitops.server.answers import RefusedError
from kitops.server.call import is_repository
from kitops.server.shelf import Shelved, WrongDigestError
from kitops.server.upload import Uploads
from kitops.store import gc, graph
from kitops.store.atomic import entries
from kitops.store.lease import Lease, now
from kitops.store.leftover import ABANDONED_SECONDS
from kitops.store.shelf import overlook, shelf_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from kitops.oci.descriptor import Descriptor
    from kitops.server.shelf import Parcel
    from kitops.server.upload import Upload
    from kitops.store import Store


class StoreShelf:
    """The repositories of the local store.

    Args:
        root: the store's directory.
        store: the store.
    """

    def __init__(self, root: Path, store: Store) -> None:
        self.root = root
        self._store = store
        self._uploads = Uploads(durable=True)
        self._stack = ExitStack()
        self._lease: Lease | None = None
        self._waiting: dict[Digest, float] = {}
        """Blobs that wait for their manifest, and since when."""
        self._lock = threading.Lock()

    def hold(self) -> None:
        self._store.layout.prepare()
        self._lease = self._stack.enter_context(self._store.lease("registry server"))

    def close(self) -> None:
        self._lease = None
        self._stack.close()

    # --- blobs

    def open_blob(self, repository: str, digest: Digest) -> BinaryIO | None:  # noqa: ARG002 - every one has them all
        for _ in range(2):  # a blob may be on its way to the trash and back
            try:
                return open(self._store.blobs.path(digest), "rb", buffering=0)
            except NotFoundError:
                return None
            except FileNotFoundError:
                continue
        return None

    def touch_blob(self, repository: str, digest: Digest) -> None:  # noqa: ARG002
        if self._lease is not None:
            with suppress(NotFoundError, OSError):  # or it is somebody else's file in a shared store
                path = self._store.blobs.path(digest)
                if os.stat(path).st_nlink == 1:  # else its time stamp belongs to the Go tool's storage too
                    os.utime(path)

    def size_of(self, repository: str, child: Descriptor) -> int | None:  # noqa: ARG002
        try:
            return self._store.blobs.size(child.digest)
        except NotFoundError:
            return None

    def mount_blob(self, repository: str, digest: Digest, source: str | None, may_pull: Callable[[str], bool]) -> bool:
        if not may_pull(repository if source is None else source):
            return False
        try:
            size = self._store.blobs.size(digest)
        except NotFoundError:
            return False
        return self._keep_waiting(digest, size)

    def delete_blob(self, repository: str, digest: Digest) -> bool:  # noqa: ARG002
        if not self._store.blobs.exists(digest):
            return False
        self._stop_waiting([digest])
        held = gc.mark(self._store, now(self._store.layout), self._store.run)
        if str(digest) in held or not gc.sweep(self._store, [digest], self._store.run):
            raise RefusedError(405, "UNSUPPORTED", f"a ModelKit of the store needs the blob {digest}")
        return True

    # --- uploads

    def start_upload(self, repository: str, algorithm: str) -> Upload:
        return self._uploads.start(self._prefix(repository), algorithm)

    def find_upload(self, repository: str, identity: str) -> Upload | None:
        return self._uploads.find(self._prefix(repository), identity)

    def finish_upload(self, repository: str, upload: Upload, digest: Digest) -> None:  # noqa: ARG002
        if upload.digest(digest.algorithm) != digest.encoded:
            self.drop_upload(upload)
            raise WrongDigestError
        if not self._keep_waiting(digest, upload.size):
            self._store.blobs.publish(upload.path, digest)
        self._uploads.forget(upload)

    def drop_upload(self, upload: Upload) -> None:
        self._uploads.forget(upload)

    # --- manifests and tags

    def open_manifest(self, repository: str, pointer: Digest | str) -> Shelved | None:
        shelf = shelf_of(self._store.layout, _reference(repository))
        record = shelf.root(pointer) if isinstance(pointer, Digest) else shelf.tag(pointer)
        desc = record.desc if record is not None else self._find_listed(repository, pointer)
        file = None if desc is None else self.open_blob(repository, desc.digest)
        return None if desc is None or file is None else Shelved(desc.digest, desc.media_type, file)

    def put_manifest(self, repository: str, parcel: Parcel, tags: Sequence[str]) -> None:
        ref, desc = _reference(repository), parcel.desc
        with self._store.lease("registry push") as lease:
            target = self._store.repository(ref, lease, absent=parcel.absent)
            try:
                if desc.digest.algorithm == "sha256":  # which also mends a damaged one
                    self._store.blobs.put_bytes(parcel.data, desc.media_type, lease)
                else:
                    self._store.blobs.put(desc, io.BytesIO(parcel.data), lambda _: None, lease)
                for tag in tags:
                    target.tag(desc, tag)
                if not tags:
                    target.keep(desc)
                self._stop_waiting([item.digest for item in graph.children(self._store.blobs, desc)])
            except NotFoundError as error:
                raise RefusedError(404, "MANIFEST_BLOB_UNKNOWN", error.message) from error
            except (IntegrityError, InvalidValueError) as error:
                raise RefusedError(400, "MANIFEST_INVALID", error.message) from error

    def delete_manifest(self, repository: str, pointer: Digest | str) -> bool:
        ref = _reference(repository)
        if isinstance(pointer, str):
            record = shelf_of(self._store.layout, ref).tag(pointer)
            return record is not None and self._store.refs.untag(ref.with_tag(pointer), record.desc)
        if shelf_of(self._store.layout, ref).root(pointer) is None:
            return False
        self._store.refs.remove_root(ref.with_digest(pointer))
        gc.free(self._store, [pointer])
        return True

    def tags(self, repository: str) -> list[str] | None:
        shelf = shelf_of(self._store.layout, _reference(repository))
        return sorted(tag for tag, _ in shelf.tags(overlook)) if os.path.isdir(shelf.path) else None

    def referrers(self, repository: str, subject: Digest) -> list[Descriptor]:
        rows = self._store.refs.list(_reference(repository), damaged=overlook)
        kept = {row.desc.digest: row.desc for row in rows if row.row.subject == subject}
        found = (describe_referrer(desc, self._store.blobs.fetch(desc)) for desc in kept.values())
        return [pair[1] for pair in found if pair is not None]

    def repositories(self) -> list[str]:
        rows = self._store.refs.list(damaged=overlook)
        names = {row.reference.locator for row in rows if not row.reference.is_unnamed}
        return sorted(filter(is_repository, names))

    # --- keeping tidy

    def tidy(self) -> None:
        """Remove uploads that nobody continued for a day, and let go of blobs whose manifest did not come in one.

        The rest is ``kit prune``'s.
        """
        self._uploads.drop_abandoned(entry.path for entry in entries(self._store.layout.incoming))
        before = time.monotonic() - ABANDONED_SECONDS
        with self._lock:
            late = [digest for digest, since in self._waiting.items() if since < before]
        self._stop_waiting(late)

    # --- inside

    def _prefix(self, repository: str) -> str:
        slug = hashlib.sha256(repository.encode()).hexdigest()[:16]
        return f"{self._store.layout.incoming}/{slug}."

    def _find_listed(self, repository: str, pointer: Digest | str) -> Descriptor | None:
        """A manifest that is no root, because an index of the repository lists it."""
        if isinstance(pointer, str):
            return None
        for row in self._store.refs.list(_reference(repository), damaged=overlook):
            if row.desc.media_type in mediatype.INDEXES:
                with suppress(NotFoundError, IntegrityError, InvalidValueError):
                    for item in graph.walk(self._store.blobs, row.desc, absent=row.row.absent):
                        if item.digest == pointer and graph.has_children(item):
                            return item
        return None

    def _keep_waiting(self, digest: Digest, size: int) -> bool:
        """Hold a blob until its manifest comes; whether it is there."""
        with self._lock:
            self._waiting[digest] = time.monotonic()
        return self._lease is not None and self._store.blobs.hold(digest, size, self._lease)

    def _stop_waiting(self, digests: Sequence[Digest]) -> None:
        with self._lock:
            known = [digest for digest in digests if self._waiting.pop(digest, None) is not None]
        if known and self._lease is not None:
            self._lease.drop(*known)


def _reference(repository: str) -> Reference:
    try:
        return Reference.parse(repository)
    except InvalidValueError as error:
        raise RefusedError(400, "NAME_INVALID", error.message) from error
