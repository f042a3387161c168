"""What the endpoints need of a place for content; :mod:`directory` and :mod:`store_shelf` are the two there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.server.upload import Upload


@dataclass(frozen=True, slots=True)
class Shelved:
    """A manifest that is here, as an open, unbuffered file; whoever asked closes it."""

    digest: Digest
    media_type: str
    file: BinaryIO


@dataclass(frozen=True, slots=True)
class Parcel:
    """A manifest that was checked.

    Args:
        data: its bytes.
        desc: its media type, digest and size.
        subject: what it refers to.
        absent: what it lists and need not be here, and is not.
    """

    data: bytes
    desc: Descriptor
    subject: Descriptor | None = None
    absent: tuple[Digest, ...] = ()


class WrongDigestError(Exception):
    """The bytes are not those that were announced."""


class Shelf(Protocol):
    """Repositories. Thread-safe; names, tags and digests that come in are valid.

    Every method may raise OSError or FileSystemError: the disk does not want to.
    """

    @property
    def root(self) -> Path:
        """The directory that everything is in."""
        ...

    def hold(self) -> None:
        """Get ready for changes: without this nothing is written.

        Raises:
            StoreError: another process holds it.
            FileSystemError: it cannot be written.
        """
        ...

    def open_blob(self, repository: str, digest: Digest) -> BinaryIO | None:
        """A blob that ``repository`` has, as an open, unbuffered file; whoever asked closes it."""
        ...

    def touch_blob(self, repository: str, digest: Digest) -> None:
        """A blob that ``repository`` may have is asked for before a push: it counts as new. Never raises."""
        ...

    def size_of(self, repository: str, child: Descriptor) -> int | None:
        """Bytes of what a manifest lists, a blob or another manifest; None where ``repository`` has none."""
        ...

    def mount_blob(self, repository: str, digest: Digest, source: str | None, may_pull: Callable[[str], bool]) -> bool:
        """Let ``repository`` have a blob of ``source``, or of any repository; whether there is one that may be read."""
        ...

    def delete_blob(self, repository: str, digest: Digest) -> bool:
        """Take a blob from ``repository``; whether it had it.

        Raises:
            RefusedError: a manifest needs it, and this shelf cares.
        """
        ...

    def start_upload(self, repository: str, algorithm: str) -> Upload:
        """A new upload to ``repository``, whose digest will probably be made with ``algorithm``."""
        ...

    def find_upload(self, repository: str, identity: str) -> Upload | None:
        """An upload that was started, in this life of the server or an earlier one."""
        ...

    def finish_upload(self, repository: str, upload: Upload, digest: Digest) -> None:
        """Make an upload a blob of ``repository``.

        Raises:
            WrongDigestError: its bytes are others; the upload is dropped.
        """
        ...

    def drop_upload(self, upload: Upload) -> None:
        """Forget an upload and its bytes."""
        ...

    def open_manifest(self, repository: str, pointer: Digest | str) -> Shelved | None:
        """The manifest that a digest or tag means; None where there is none."""
        ...

    def put_manifest(self, repository: str, parcel: Parcel, tags: Sequence[str]) -> None:
        """Keep a manifest and point ``tags`` at it.

        Raises:
            RefusedError: what it needs went away in this moment.
        """
        ...

    def delete_manifest(self, repository: str, pointer: Digest | str) -> bool:
        """Untag, or delete by digest with all tags; whether there was something."""
        ...

    def tags(self, repository: str) -> list[str] | None:
        """The tags in order of their text, or None when there is no such repository."""
        ...

    def referrers(self, repository: str, subject: Digest) -> list[Descriptor]:
        """The manifests of ``repository`` that refer to ``subject``, with artifact type and all annotations."""
        ...

    def repositories(self) -> list[str]:
        """The repositories that hold a manifest, in order of their text."""
        ...

    def tidy(self) -> None:
        """Free what nobody needs any more; called now and then."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...
