"""The server's content on disk.

::

    blobs/<algorithm>/<hex>                         every blob and manifest once
    repositories/<name>/_blobs/<algorithm>-<hex>    an empty file: this repository has that blob
                       /_manifests/<algorithm>-<hex>    its media type
                       /_tags/<tag>                     a digest
                       /_uploads/<id>                   the bytes that came so far

No component of a repository's name starts with an underscore. Every change is one rename.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kitops.errors import InvalidValueError
from kitops.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK = 256 * 1024
_UPLOAD_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


class ReadsInto(Protocol):
    """Where the bytes of a request come from."""

    def readinto(self, buffer: memoryview, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Shelved:
    """A manifest that is here."""

    digest: Digest
    media_type: str
    path: Path


class WrongDigestError(Exception):
    """The bytes are not those that were announced."""


class Upload:
    """A blob that is coming. One request at a time may work on it: hold ``lock``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name
        self.lock = threading.Lock()
        self._hasher = hashlib.sha256()
        self.size = 0
        if path.exists():
            with open(path, "rb") as file:
                while block := file.read(_BLOCK):
                    self._hasher.update(block)
                    self.size += len(block)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def append(self, reader: ReadsInto) -> None:
        """Add what ``reader`` gives."""
        buffer = memoryview(bytearray(_BLOCK))
        with open(self.path, "ab", buffering=0) as file:
            while count := reader.readinto(buffer):
                _write_all(file.fileno(), buffer[:count])
                self._hasher.update(buffer[:count])
                self.size += count

    def digest(self, algorithm: str) -> str:
        """The hex digest of what came so far."""
        if algorithm == "sha256":
            return self._hasher.hexdigest()
        with open(self.path, "rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()


class Shelf:
    """Repositories below a directory. Thread-safe.

    Args:
        root: an existing directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._uploads: dict[Path, Upload] = {}
        self._lock = threading.Lock()

    # --- blobs

    def blob(self, repository: str, digest: Digest) -> Path | None:
        """The file of a blob that ``repository`` has."""
        if not os.path.exists(self._at(repository, "_blobs") / _flat(digest)):
            return None
        path = self._blob_path(digest)
        return path if path.exists() else None

    def link_blob(self, repository: str, digest: Digest) -> None:
        """Let ``repository`` have a blob that is here."""
        self._write(self._at(repository, "_blobs") / _flat(digest), b"")

    def delete_blob(self, repository: str, digest: Digest) -> bool:
        """Take a blob from ``repository``; whether it had it."""
        return _unlink(self._at(repository, "_blobs") / _flat(digest))

    # --- uploads

    def start_upload(self, repository: str) -> Upload:
        """A new upload to ``repository``."""
        upload = Upload(self._at(repository, "_uploads") / secrets.token_hex(16))
        with self._lock:
            self._uploads[upload.path] = upload
        return upload

    def find_upload(self, repository: str, identity: str) -> Upload | None:
        """An upload that was started, in this life of the server or an earlier one."""
        if not _UPLOAD_ID.fullmatch(identity):
            return None
        path = self._at(repository, "_uploads") / identity
        with self._lock:
            upload = self._uploads.get(path)
            if upload is None and path.exists():
                upload = self._uploads[path] = Upload(path)
            return upload

    def finish_upload(self, repository: str, upload: Upload, digest: Digest) -> None:
        """Make an upload a blob of ``repository``.

        Raises:
            WrongDigestError: its bytes are others; the upload is dropped.
        """
        if upload.digest(digest.algorithm) != digest.encoded:
            self.drop_upload(upload)
            raise WrongDigestError
        path = self._blob_path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(upload.path, path)
        self.drop_upload(upload)
        self.link_blob(repository, digest)

    def drop_upload(self, upload: Upload) -> None:
        """Forget an upload and its bytes."""
        with self._lock:
            self._uploads.pop(upload.path, None)
        _unlink(upload.path)

    # --- manifests and tags

    def put_manifest(self, repository: str, data: bytes, media_type: str, digest: Digest, tag: str | None) -> None:
        """Keep a manifest, which was checked, and point ``tag`` at it."""
        path = self._blob_path(digest)
        if not path.exists():
            self._write(path, data)
        self._write(self._at(repository, "_manifests") / _flat(digest), media_type.encode())
        if tag is not None:
            self._write(self._at(repository, "_tags") / _fold_safe(tag), f"{tag}\n{digest}".encode())

    def manifest(self, repository: str, pointer: str) -> Shelved | None:
        """The manifest that a tag or digest means; None where there is none.

        Raises:
            InvalidValueError: ``pointer`` has a colon and is not a digest.
        """
        digest = Digest.parse(pointer) if ":" in pointer else self._tagged(repository, pointer)
        if digest is None:
            return None
        try:
            media_type = (self._at(repository, "_manifests") / _flat(digest)).read_text()
        except FileNotFoundError:
            return None
        return Shelved(digest, media_type, self._blob_path(digest))

    def delete_manifest(self, repository: str, pointer: str) -> bool:
        """Untag, or delete by digest with all tags; whether there was something."""
        if ":" not in pointer:
            return _unlink(self._at(repository, "_tags") / _fold_safe(pointer))
        digest = Digest.parse(pointer)
        for tag in list(self.tags(repository) or ()):
            if self._tagged(repository, tag) == digest:
                _unlink(self._at(repository, "_tags") / _fold_safe(tag))
        return _unlink(self._at(repository, "_manifests") / _flat(digest))

    def tags(self, repository: str) -> list[str] | None:
        """The tags in order of their text, or None when there is no such repository."""
        if not self._at(repository).is_dir():
            return None
        return sorted(self._read_tags(repository))

    def _read_tags(self, repository: str) -> Iterator[str]:
        with suppress(FileNotFoundError):
            for path in self._at(repository, "_tags").iterdir():
                with suppress(FileNotFoundError):
                    if not path.name.startswith("."):
                        yield path.read_text().partition("\n")[0]

    def _tagged(self, repository: str, tag: str) -> Digest | None:
        try:
            text = (self._at(repository, "_tags") / _fold_safe(tag)).read_text()
            return Digest.parse(text.partition("\n")[2])
        except (FileNotFoundError, InvalidValueError):
            return None

    def _at(self, repository: str, *parts: str) -> Path:
        return self._root.joinpath("repositories", *repository.split("/"), *parts)

    def _blob_path(self, digest: Digest) -> Path:
        return self._root / "blobs" / digest.algorithm / digest.encoded

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{secrets.token_hex(8)}")
        temporary.write_bytes(data)
        os.replace(temporary, path)


def _write_all(descriptor: int, view: memoryview) -> None:
    while view:
        view = view[os.write(descriptor, view) :]


def _flat(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.encoded}"


def _fold_safe(tag: str) -> str:
    """A file name that no other tag has on a file system that folds case: lower case, then a mask of the capitals."""
    lower = tag.lower()
    if lower == tag:
        return f"t{tag}"
    mask = sum(1 << place for place, letter in enumerate(tag) if letter != lower[place])
    return f"t{lower}~{mask:x}"


def _unlink(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
