"""Blobs that go from where they are straight to a registry, beside those of the store."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from kitops.content.events import Message
from kitops.content.patience import Patience
from kitops.content.verify import VerifyingReader
from kitops.errors import FileSystemError, NetworkError, StoreError
from kitops.store.gc import free_blobs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    from kitops.content.protocols import Reader, Run
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.ops.place import Place
    from kitops.store.repository import StoreRepository

    Opener = Callable[[int], AbstractContextManager[Reader]]


def _ignore_size(_: int) -> None:
    """Nobody counts."""


@dataclass(frozen=True, slots=True)
class ThroughSource:
    """A source of content (``kitops.content.protocols.Source`` and ``Ranged``).

    Args:
        store: has what is small: configs, manifests, layers of a few files.
        openers: by digest, how each other blob is read from an offset on; the same bytes every time.
        run: told of breaks, which are gone on after; its cancel token ends waits.
        read: told the number of bytes of each step that came through an opener; from any thread.
    """

    store: StoreRepository
    openers: Mapping[Digest, Opener]
    run: Run
    read: Callable[[int], None] = _ignore_size

    @property
    def locator(self) -> str:
        """Its name for people."""
        return self.store.locator

    def resolve(self, pointer: str) -> Descriptor:
        """As the store."""
        return self.store.resolve(pointer)

    def fetch(self, desc: Descriptor) -> bytes:
        """As the store: what is fetched whole is there."""
        return self.store.fetch(desc)

    @contextmanager
    def open(self, desc: Descriptor) -> Iterator[Reader]:
        """The bytes of a blob; reading to the end raises IntegrityError unless they are what ``desc`` says."""
        with self.stream(desc) as reader:
            yield VerifyingReader(reader, desc, f"blob {desc.digest}")

    def stream(self, desc: Descriptor) -> AbstractContextManager[Reader]:
        """The bytes of a blob, unverified: the registry verifies. The reader seeks, for an upload that goes on."""
        return self.stream_from(desc, 0)

    @contextmanager
    def stream_from(self, desc: Descriptor, start: int) -> Iterator[Reader]:
        """The bytes from ``start`` on, unverified."""
        opener = self.openers.get(desc.digest)
        if opener is None:
            with self.store.stream(desc) as reader:
                skip(reader, start)
                yield reader
            return
        with SteadyReader(opener, desc.size, self.run, self.read, start) as reader:
            yield reader


class SteadyReader:
    """The bytes of something far away: begins anywhere, and goes on where a connection broke. A context manager.

    Args:
        opener: opens it at an offset.
        size: of all of it in bytes.
        run: told of breaks; its cancel token ends waits.
        read: told the number of bytes of each step.
        start: the offset to begin at.
    """

    def __init__(self, opener: Opener, size: int, run: Run, read: Callable[[int], None], start: int = 0) -> None:
        self._opener = opener
        self._size = size
        self._run = run
        self._read_some = read
        self._position = start
        self._patience = Patience(run)
        self._moved = False
        self._stack = ExitStack()
        self._reader: Reader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go()

    def seek(self, offset: int, /) -> int:
        """Go on from there."""
        if offset != self._position:
            self._let_go()
            self._position = offset
        return offset

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill at most the buffer; how many bytes came, 0 at the end.

        Raises:
            NetworkError: the network failed for longer than patience lasts.
        """
        while buffer and self._position < self._size:
            self._run.cancel.check()
            try:
                count = self._read(buffer[: self._size - self._position])
            except NetworkError as error:
                self._let_go()
                self._note(error)
            else:
                self._moved = True
                self._position += count
                self._read_some(count)
                return count
        return 0

    def _read(self, buffer: memoryview) -> int:
        if self._reader is None:
            self._reader = self._stack.enter_context(self._opener(self._position))
        try:
            count = self._reader.readinto(buffer)
        except Exception as error:  # whoever opened it says what that means
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
        if not count:
            raise NetworkError(f"the source ended after {self._position} of {self._size} bytes")
        return count

    def _note(self, error: NetworkError) -> None:
        moved, self._moved = self._moved, False
        try:
            self._patience.note(error, moved=moved)
        except NetworkError as last:
            raise NetworkError(last.message, hint=last.hint, permanent=True) from last

    def _let_go(self) -> None:
        self._reader = None
        self._stack.close()


def skip(reader: Reader, size: int) -> None:
    """Read over ``size`` bytes, or to the end."""
    buffer = memoryview(bytearray(min(size, 256 * 1024)))
    while size and (count := reader.readinto(buffer[:size])):
        size -= count


def free_sent(place: Place, sent: Collection[Digest]) -> None:
    """Free those blobs that were in the store only to be sent, once no lease holds them.

    Where that fails, something else in the store is damaged, and what was sent is sent: `kit prune` tells, and frees
    them.
    """
    try:
        free_blobs(place.store, sent, place.run)
    except (StoreError, FileSystemError) as error:
        place.run.observer(Message("debug", error.message))
