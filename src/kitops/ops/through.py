"""Blobs that go from where they are straight to a registry, beside those of the store."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.content.verify import VerifyingReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from kitops.content.protocols import Reader
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.store.repository import StoreRepository

    Opener = Callable[[int], AbstractContextManager[Reader]]


@dataclass(frozen=True, slots=True)
class ThroughSource:
    """A source of content (``kitops.content.protocols.Source`` and ``Ranged``).

    Args:
        store: has what is small: configs, manifests, layers of a few files.
        openers: by digest, how each other blob is read from an offset on; the same bytes every time.
    """

    store: StoreRepository
    openers: Mapping[Digest, Opener]

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
        """The bytes of a blob, unverified: the registry verifies."""
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
        with opener(start) as reader:
            yield reader


def skip(reader: Reader, size: int) -> None:
    """Read over ``size`` bytes, or to the end."""
    buffer = memoryview(bytearray(min(size, 256 * 1024)))
    while size and (count := reader.readinto(buffer[:size])):
        size -= count
