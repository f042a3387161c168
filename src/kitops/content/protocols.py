"""The few protocols that content moves through.

A *source* resolves references and opens verified blobs; a *sink* takes blobs whose digest it checks.
The local store and a registry's repository are both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from kitops.content.cancel import CancelToken
from kitops.content.events import Observer, ignore_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from kitops.content.spans import Span
    from kitops.errors import NotFoundError
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest


class Reader(Protocol):
    """Bytes in order. ``readinto`` fills at most the buffer and returns how many bytes came, 0 at the end."""

    def readinto(self, buffer: memoryview, /) -> int: ...


class Source(Protocol):
    """Where content comes from."""

    def resolve(self, pointer: str) -> Descriptor:
        """The descriptor that a tag or digest points to now.

        Raises:
            NotFoundError: there is no such tag or digest.
        """
        ...

    def fetch(self, desc: Descriptor) -> bytes:
        """A small blob or a manifest as verified bytes.

        Raises:
            NotFoundError: it is not there.
            IntegrityError: it is not what ``desc`` says.
        """
        ...

    def open(self, desc: Descriptor) -> AbstractContextManager[Reader]:
        """The bytes of a blob. Reading ends with IntegrityError when they are not what ``desc`` says."""
        ...

    def stream(self, desc: Descriptor) -> AbstractContextManager[Reader]:
        """The bytes of a blob as they come, unverified: only for a sink, whose :meth:`Sink.put` verifies."""
        ...


class Sink(Protocol):
    """Where content goes to."""

    def exists(self, desc: Descriptor) -> bool:
        """Whether it has the blob or manifest already."""
        ...

    def put(self, desc: Descriptor, reader: Reader, moved: Callable[[int], None]) -> None:
        """Take a blob or manifest; it exists afterwards, whole and verified, or not at all.

        Args:
            desc: what it is.
            reader: its bytes.
            moved: told the number of bytes of each step.

        Raises:
            IntegrityError: the bytes are not what ``desc`` says.
        """
        ...

    def tag(self, desc: Descriptor, tag: str) -> None:
        """Point ``tag`` at a manifest that is here."""
        ...


class Landing(Protocol):
    """A place for the bytes of one blob, which may come in any order and from several threads, and survive a kill."""

    @property
    def desc(self) -> Descriptor:
        """What must come."""
        ...

    def missing(self) -> list[Span]:
        """What is not here yet, in order."""
        ...

    def write(self, offset: int, chunk: memoryview) -> int:
        """Take bytes; those that are here already are left as they are.

        May block until earlier bytes are durable. How many bytes were new.
        """
        ...

    def is_superseded(self) -> bool:
        """Whether somebody else finished this blob meanwhile, so that nothing more need come."""
        ...

    def finish(self) -> None:
        """Make it the blob, once nothing is missing or it is superseded.

        Raises:
            IntegrityError: the bytes are not what ``desc`` says; nothing of them is believed from now on.
        """
        ...

    def restart(self) -> None:
        """Forget every byte."""
        ...


@runtime_checkable
class Lands(Protocol):
    """A sink that takes a large blob piece by piece, and goes on where an earlier attempt ended."""

    def land(self, desc: Descriptor) -> AbstractContextManager[Landing]:
        """A place for ``desc``. What came stays after the block, for the next try, unless it was finished."""
        ...


@runtime_checkable
class Delivers(Protocol):
    """A source that fills a :class:`Landing`: over several connections where that is faster, and after breaks."""

    @property
    def locator(self) -> str:
        """Its name for people."""
        ...

    def deliver(self, desc: Descriptor, landing: Landing, moved: Callable[[int], None], run: Run) -> None:
        """Fetch what ``landing`` misses, and finish it.

        Args:
            desc: the blob.
            landing: where its bytes go.
            moved: told the number of new bytes of each step, negative when bytes turned out wrong; from any thread.
            run: its cancel token is watched.

        Raises:
            IntegrityError: the bytes were wrong twice.
            NetworkError: the network failed for longer than patience lasts.
        """
        ...


@runtime_checkable
class FindsBytes(Protocol):
    """A callback for moved bytes that tells apart those that an earlier attempt left where they were to go."""

    def __call__(self, size: int, /) -> None:
        """Count bytes that moved."""
        ...

    def found(self, size: int) -> None:
        """Count bytes that were there."""
        ...


def tell_found(moved: Callable[[int], None], size: int) -> None:
    """Tell ``moved`` of bytes that were there, as such where it knows the difference."""
    (moved.found if isinstance(moved, FindsBytes) else moved)(size)


@runtime_checkable
class Gapped(Protocol):
    """A source that may lack blobs which its manifests list, because a filtered pull left them out."""

    @property
    def locator(self) -> str:
        """Registry and repository that it had its content from."""
        ...

    def gaps(self, blobs: Iterable[Descriptor]) -> list[Descriptor]:
        """Those of ``blobs`` that are not here."""
        ...

    def explain_gap(self, desc: Descriptor) -> NotFoundError:
        """Why a blob is not here, and what to do: left out on purpose, or lost."""
        ...


@runtime_checkable
class Mounts(Protocol):
    """A sink that may take blobs over from a neighbour, without their bytes being sent."""

    def mount_from(self, desc: Descriptor, locator: str) -> bool:
        """Take a blob from the repository ``locator`` (``registry/repository``); False where that cannot be."""
        ...


@runtime_checkable
class Ranged(Protocol):
    """A source whose streams can begin in the middle, for who has the bytes before."""

    def stream_from(self, desc: Descriptor, start: int) -> AbstractContextManager[Reader]:
        """The bytes from offset ``start`` to the end, unverified."""
        ...


@runtime_checkable
class ReadsAhead(Protocol):
    """A source whose streams can begin in the middle, and come before they are read, as far as memory allows."""

    def stream_ahead(self, desc: Descriptor, start: int) -> AbstractContextManager[Reader]:
        """The bytes from offset ``start`` to the end, unverified; on their way from now on."""
        ...


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """What packing a layer gave: enough to use the blob again without reading its files."""

    digest: Digest
    size: int
    diff_id: Digest


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The files of one layer as the file system stamps them, with everything that decides the layer's bytes.

    Args:
        key: SHA-256 over format, codec, its version and the sorted entries (path, mode, device, inode, size in bytes,
            mtime_ns, ctime_ns).
        newest_ns: the latest mtime or ctime of an entry, in nanoseconds since 1970.
        devices: the ``st_dev`` of the entries.
    """

    key: bytes
    newest_ns: int
    devices: frozenset[int]


class DigestCache(Protocol):
    """Remembers which files gave which layer, and believes it only when it is safe to."""

    def get(self, fingerprint: Fingerprint) -> LayerRecord | None:
        """The layer that these files gave, if that is known and certain."""
        ...

    def put(self, fingerprint: Fingerprint, record: LayerRecord, started_ns: int) -> None:
        """Remember ``record``; ``started_ns`` is the clock's time before the first file was read."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """What every long work is given: whom to tell, what to watch, how many workers.

    ``concurrency`` bounds parallel transfers (a number of blobs at a time).
    """

    observer: Observer = ignore_events
    cancel: CancelToken = field(default_factory=CancelToken)
    concurrency: int = 5
