"""A directory as a shelf.

::

    serving                                         locked while a server may write
    blobs/<algorithm>/<hex>                         every blob and manifest once
    repositories/<name>/_blobs/<algorithm>-<hex>    an empty file: this repository has that blob
                       /_manifests/<algorithm>-<hex>    its media type
                       /_tags/<tag>                     a digest
                       /_referrers/<subject>/<algorithm>-<hex>    its descriptor, as a list of referrers shows it
                       /_uploads/<id>                   the bytes that came so far

No component of a repository's name starts with an underscore. Every change is one rename.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from kitops.content.lock import try_lock
from kitops.errors import InvalidValueError, StoreError, printable
from kitops.oci import gojson, mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.subject import describe_referrer
from kitops.server import sweep
from kitops.server.shelf import Shelved, WrongDigestError
from kitops.server.upload import Uploads
from kitops.store.atomic import flush_directory, read_small, remove_file, replace_file, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from kitops.server.shelf import Parcel
    from kitops.server.upload import Upload

_FRESH_SECONDS: Final = 3600.0
"""A link that was touched within this time need not be touched again: it stays for a day."""


class DirectoryShelf:
    """Repositories below a directory.

    Args:
        root: the directory; it is made when the shelf is held.
        durable: flush content to the disk before it gets its name.
        frees: whether :meth:`tidy` also takes blobs from repositories in which no manifest lists them.
    """

    def __init__(self, root: Path, *, durable: bool = False, frees: bool = False) -> None:
        self.root = root
        self._root = str(root)
        self._held: int | None = None
        self._durable = durable
        self._frees = frees
        self._uploads = Uploads(durable=durable)
        self._lock = threading.Lock()
        """Held while a blob's file and a repository's link to it are brought together, or parted."""

    def hold(self) -> None:
        """Lock the directory until :meth:`close`: the sweep knows of the uploads of its own process only."""
        with told("creating", self._root):
            os.makedirs(self._root, exist_ok=True)
            self._held = os.open(f"{self._root}/serving", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if not try_lock(self._held):
            raise StoreError(
                f"{printable(self._root)} is served by another process", hint="stop that one, or use `--read-only`"
            )

    def close(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            os.close(held)

    # --- blobs

    def open_blob(self, repository: str, digest: Digest) -> BinaryIO | None:
        return self._open(digest) if self._has(repository, digest) else None

    def touch_blob(self, repository: str, digest: Digest) -> None:
        if self._held is None:
            return
        link = self._at(repository, "_blobs", flat(digest))
        with self._lock, suppress(OSError):
            if os.stat(link).st_mtime < time.time() - _FRESH_SECONDS:
                os.utime(link)

    def size_of(self, repository: str, child: Descriptor) -> int | None:
        kind = "_manifests" if child.media_type in mediatype.MANIFESTS | mediatype.INDEXES else "_blobs"
        if not os.path.exists(self._at(repository, kind, flat(child.digest))):
            return None
        try:
            return os.stat(self.blob_path(child.digest)).st_size
        except FileNotFoundError:
            return None

    def mount_blob(self, repository: str, digest: Digest, source: str | None, may_pull: Callable[[str], bool]) -> bool:
        sources = [source] if source is not None else self._every_repository()
        for name in sources:
            if self._has(name, digest) and may_pull(name):
                with self._lock:
                    return os.path.exists(self.blob_path(digest)) and self._link(repository, digest)
        return False

    def delete_blob(self, repository: str, digest: Digest) -> bool:
        return remove_file(self._at(repository, "_blobs", flat(digest)))

    # --- uploads

    def start_upload(self, repository: str, algorithm: str) -> Upload:
        return self._uploads.start(self._at(repository, "_uploads/"), algorithm)

    def find_upload(self, repository: str, identity: str) -> Upload | None:
        return self._uploads.find(self._at(repository, "_uploads/"), identity)

    def finish_upload(self, repository: str, upload: Upload, digest: Digest) -> None:
        if upload.digest(digest.algorithm) != digest.encoded:
            self.drop_upload(upload)
            raise WrongDigestError
        path = self.blob_path(digest)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with self._lock:
            os.replace(upload.path, path)
            self._link(repository, digest)
        self._uploads.forget(upload)

    def drop_upload(self, upload: Upload) -> None:
        self._uploads.forget(upload)

    # --- manifests and tags

    def open_manifest(self, repository: str, pointer: Digest | str) -> Shelved | None:
        digest = pointer if isinstance(pointer, Digest) else self._tagged(repository, pointer)
        if digest is None:
            return None
        media_type = read_small(self._at(repository, "_manifests", flat(digest)))
        file = None if media_type is None else self._open(digest)
        return None if media_type is None or file is None else Shelved(digest, media_type.decode(), file)

    def put_manifest(self, repository: str, parcel: Parcel, tags: Sequence[str]) -> None:
        digest = parcel.desc.digest
        with self._lock:
            if not os.path.exists(self.blob_path(digest)):
                self._write(self.blob_path(digest), parcel.data)
            self._write(self._at(repository, "_manifests", flat(digest)), parcel.desc.media_type.encode())
        if self._durable:
            flush_directory(os.path.dirname(self.blob_path(digest)))
        described = describe_referrer(parcel.desc, parcel.data)
        if described is not None:
            subject, desc = described
            entry = self._at(repository, "_referrers", flat(subject.digest), flat(digest))
            self._write(entry, gojson.dumps(desc.to_json()))
        for tag in tags:
            self._write(self._at(repository, "_tags", fold_safe(tag)), f"{tag}\n{digest}".encode())

    def delete_manifest(self, repository: str, pointer: Digest | str) -> bool:
        if isinstance(pointer, str):
            return remove_file(self._at(repository, "_tags", fold_safe(pointer)))
        for tag in list(self._read_tags(repository)):
            if self._tagged(repository, tag) == pointer:
                remove_file(self._at(repository, "_tags", fold_safe(tag)))
        for subject in _names(self._at(repository, "_referrers")):
            remove_file(self._at(repository, "_referrers", subject, flat(pointer)))
        return remove_file(self._at(repository, "_manifests", flat(pointer)))

    def tags(self, repository: str) -> list[str] | None:
        if not os.path.isdir(self._at(repository)):
            return None
        return sorted(self._read_tags(repository))

    def referrers(self, repository: str, subject: Digest) -> list[Descriptor]:
        found = []
        directory = self._at(repository, "_referrers", flat(subject))
        for name in _names(directory):
            content = read_small(f"{directory}/{name}")
            if content is not None:
                with suppress(ValueError, InvalidValueError):  # damaged: it is not listed
                    found.append(Descriptor.from_json(json.loads(content), name))
        return found

    def repositories(self) -> list[str]:
        return sorted(name for name in self._every_repository() if _names(self._at(name, "_manifests")))

    # --- keeping tidy

    def tidy(self) -> None:
        """Remove uploads that nobody continued for a day, and blobs that no repository has (see :mod:`sweep`)."""
        for repository in self._every_repository():
            directory = self._at(repository, "_uploads")
            self._uploads.drop_abandoned(f"{directory}/{name}" for name in _names(directory))
        sweep.sweep(self._root, self._every_repository(), self._lock, frees=self._frees)

    # --- inside

    def blob_path(self, digest: Digest) -> str:
        """Where a blob's bytes are."""
        return f"{self._root}/blobs/{digest.algorithm}/{digest.encoded}"

    def _has(self, repository: str, digest: Digest) -> bool:
        return os.path.exists(self._at(repository, "_blobs", flat(digest)))

    def _link(self, repository: str, digest: Digest) -> bool:
        self._write(self._at(repository, "_blobs", flat(digest)), b"", durable=False)
        return True

    def _open(self, digest: Digest) -> BinaryIO | None:
        try:
            return open(self.blob_path(digest), "rb", buffering=0)
        except FileNotFoundError:
            return None

    def _every_repository(self) -> list[str]:
        top = f"{self._root}/repositories"
        found = []
        for path, directories, _ in os.walk(top):
            if any(name.startswith("_") for name in directories):
                found.append(os.path.relpath(path, top).replace(os.sep, "/"))
            directories[:] = [name for name in directories if not name.startswith("_")]
        return found

    def _read_tags(self, repository: str) -> Iterator[str]:
        directory = self._at(repository, "_tags")
        for name in _names(directory):
            content = read_small(f"{directory}/{name}")
            if content is not None:
                yield content.decode(errors="replace").partition("\n")[0]

    def _tagged(self, repository: str, tag: str) -> Digest | None:
        content = read_small(self._at(repository, "_tags", fold_safe(tag)))
        try:
            return None if content is None else Digest.parse(content.decode(errors="replace").partition("\n")[2])
        except InvalidValueError:
            return None

    def _at(self, repository: str, *parts: str) -> str:
        return "/".join((self._root, "repositories", repository, *parts))

    def _write(self, path: str, data: bytes, *, durable: bool | None = None) -> None:
        directory = os.path.dirname(path)
        os.makedirs(directory, exist_ok=True)
        flush = self._durable if durable is None else durable
        replace_file(f"{directory}/.{secrets.token_hex(8)}", path, data, durable=flush)


def flat(digest: Digest) -> str:
    """A digest as a file's name."""
    return f"{digest.algorithm}-{digest.encoded}"


def fold_safe(tag: str) -> str:
    """A file name that no other tag has on a file system that folds case: lower case, then a mask of the capitals."""
    lower = tag.lower()
    if lower == tag:
        return f"t{tag}"
    mask = sum(1 << place for place, letter in enumerate(tag) if letter != lower[place])
    return f"t{lower}~{mask:x}"


def _names(directory: str) -> list[str]:
    """The names in a directory, without those of files that are being written."""
    try:
        return [name for name in os.listdir(directory) if not name.startswith(".")]
    except FileNotFoundError:
        return []
