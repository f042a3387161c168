"""One repository of the store as a Source and a Sink of content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.errors import KitError, NotFoundError
from kitops.oci.digest import Digest
from kitops.store import graph
from kitops.store.shelf import overlook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from kitops.content.protocols import Landing, Reader
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.reference import Reference
    from kitops.store.blobs import Blobs
    from kitops.store.details import Describe
    from kitops.store.lease import Lease
    from kitops.store.refs import Refs


@dataclass(frozen=True, slots=True)
class StoreRepository:
    """What a graph copy reads from and writes to; everything it relies on is held by ``lease``.

    Args:
        ref: names the repository; its tag and digest do not matter.
        lease: held by the caller until the copy is tagged.
        blobs: of the store.
        refs: of the store.
        describe: gives what ``list`` shows of a manifest that is here.
        absent: layers that are left out on purpose (a filtered pull).
    """

    ref: Reference
    lease: Lease
    blobs: Blobs
    refs: Refs
    describe: Describe
    absent: tuple[Digest, ...] = ()

    def resolve(self, pointer: str) -> Descriptor:
        """The manifest that a tag or digest of this repository points to.

        Raises:
            NotFoundError: there is no such tag or digest.
        """
        return self.refs.resolve(point(self.ref, pointer))

    def fetch(self, desc: Descriptor) -> bytes:
        return self.blobs.fetch(desc)

    def open(self, desc: Descriptor) -> AbstractContextManager[Reader]:
        return self.blobs.open(desc)

    def stream(self, desc: Descriptor) -> AbstractContextManager[Reader]:
        return self.blobs.stream(desc)

    def exists(self, desc: Descriptor) -> bool:
        """Whether it is here, and will stay: a manifest only with everything below it (the absent excepted).

        A manifest may outlive a layer: nothing holds the blobs of an unfinished pull once its lease has ended.
        """
        if not self.blobs.hold(desc.digest, desc.size, self.lease):
            return False
        if not graph.has_children(desc):
            return True
        try:
            return all(
                self.blobs.hold(item.digest, item.size, self.lease)
                for item in graph.walk(self.blobs, desc, absent=self.absent)
            )
        except KitError:  # something below is missing or damaged: then it is to be put again, children first
            self.blobs.drop_damaged(desc)
            return False

    def put(self, desc: Descriptor, reader: Reader, moved: Callable[[int], None]) -> None:
        self.blobs.put(desc, reader, moved, self.lease)

    def land(self, desc: Descriptor) -> AbstractContextManager[Landing]:
        """A place for the pieces of a large blob, with those that an earlier attempt left."""
        from kitops.store.landing import open_landing  # noqa: PLC0415 - only pulls need it

        return open_landing(self.blobs, desc, self.lease)

    @property
    def locator(self) -> str:
        """Registry and repository, as references have them."""
        return self.ref.locator

    def gaps(self, blobs: Iterable[Descriptor]) -> list[Descriptor]:
        """Those of ``blobs`` that are not in the store."""
        return [desc for desc in blobs if not self.blobs.exists(desc.digest)]

    def explain_gap(self, desc: Descriptor) -> NotFoundError:
        """Whether a blob was left out by a filtered pull, or is lost."""
        for listing in self.refs.list(self.ref, damaged=overlook):
            if desc.digest in listing.row.absent:
                remote = self.refs.find_remote(listing.reference, listing.desc.digest)
                hint = f"`kit pull {remote}` completes it" if remote else "pull it again from where it came"
                text = f"layer {desc.digest} of {listing.reference} is not in the store: a filtered pull left it out"
                return NotFoundError(text, hint=hint)
        return NotFoundError(
            f"blob {desc.digest} of {self.ref.locator} is lost from the store", hint="pull or pack the ModelKit again"
        )

    def tag(self, desc: Descriptor, tag: str) -> None:
        """Keep the manifest and point ``tag`` to it.

        Raises:
            NotFoundError: something below it is not here.
        """
        self.refs.tag(self.ref.with_tag(tag), desc, self.describe(self.blobs, desc, self.absent), self.lease)

    def keep(self, desc: Descriptor) -> None:
        """Keep the manifest without a tag.

        Raises:
            NotFoundError: something below it is not here.
        """
        self.refs.add_root(self.ref, desc, self.describe(self.blobs, desc, self.absent), self.lease)


def point(ref: Reference, pointer: str) -> Reference:
    """The reference of a tag or digest in the repository of ``ref``."""
    return ref.with_digest(Digest.parse(pointer)) if ":" in pointer else ref.with_tag(pointer)
