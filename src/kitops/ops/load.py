"""``kit load``: the ModelKits of an archive come into the store, each whole and verified, or none of them."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.content.copy import BytesReader, is_manifest
from kitops.content.copy import copy as copy_graph
from kitops.content.events import Advanced, Finished, Message, Planned, Started
from kitops.errors import InvalidValueError, NotFoundError, printable
from kitops.layout.archive import blob_digest, open_archive, receive_stream
from kitops.layout.contents import Contents
from kitops.layout.directory import open_directory
from kitops.layout.index import name_of
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.reference import UNNAMED, Reference
from kitops.oci.subject import describe_referrer
from kitops.ops.ends import add_up, parse_bare_tag, parse_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kitops.content.copy import Copied
    from kitops.content.protocols import Reader
    from kitops.oci.digest import Digest
    from kitops.ops.place import Place
    from kitops.store import Store
    from kitops.store.lease import Lease


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded: references and manifests of the ModelKits, what refers to them, how much came."""

    kits: tuple[tuple[Reference, Descriptor], ...]
    referrers: tuple[Descriptor, ...]
    copied: Copied


def load(place: Place, source: str | int, *, repository: Reference | None = None) -> Loaded:
    """Load every artifact that an OCI image layout lists into the store.

    What is called by a full reference keeps that name. A bare tag, as skopeo writes it, becomes a tag of
    ``repository``; without one, the artifact is kept by its digest.

    Args:
        place: whose store.
        source: a tar file, the directory of a layout, or the descriptor of an open pipe with a tar.
        repository: where what has no full name goes; its tag names the only artifact without any name.

    Raises:
        InvalidValueError: it is not an OCI image layout.
        IntegrityError, TrustError: it is damaged, or has members that no layout has; nothing was loaded.
        NotFoundError: something that it lists is not in it.
        FileSystemError: it cannot be read, or the store not be written.
    """
    with place.store.lease("load") as lease, _open_contents(place, source, lease) as contents:
        listed = contents.artifacts()
        if not listed:
            raise NotFoundError(f"{contents.what} is empty")
        work = _Work(place, contents, lease, repository)
        return work.load(listed)


@dataclass(frozen=True, slots=True)
class _Work:
    place: Place
    contents: Contents
    lease: Lease
    repository: Reference | None

    def load(self, listed: tuple[Descriptor, ...]) -> Loaded:
        """Copy everything, then give names: a damaged archive leaves none."""
        store = self.place.store
        subjects = {desc.digest: _subject(self.contents, desc) for desc in listed}
        kits = [(self._reference(desc, listed, subjects), desc) for desc in listed if not self._follows(desc, subjects)]
        referrers = [desc for desc in listed if self._follows(desc, subjects)]
        homes: dict[Digest, Reference] = {desc.digest: ref for ref, desc in reversed(kits)}
        unique = {desc.digest: desc for desc in listed}
        sink = store.repository(UNNAMED, self.lease)
        copied = [copy_graph(self.contents, sink, desc, self.place.run, verb="load") for desc in unique.values()]
        for desc in referrers:
            store.repository(_home(desc.digest, homes, subjects), self.lease).keep(desc)
        for ref, desc in kits:
            self._name(ref, desc)
        return Loaded(tuple(kits), tuple(referrers), add_up(copied))

    def _name(self, ref: Reference, desc: Descriptor) -> None:
        target = self.place.store.repository(ref, self.lease)
        if ref.tag is None:
            target.keep(desc)
            return
        with suppress(NotFoundError):
            before = target.resolve(ref.tag).digest
            if before != desc.digest:
                self.place.run.observer(Message("warning", f"{ref} was {before} before"))
        target.tag(desc, ref.tag)

    def _follows(self, desc: Descriptor, subjects: Mapping[Digest, Digest | None]) -> bool:
        """Whether it is a referrer of something in the archive, without a name of its own."""
        return name_of(desc) is None and subjects[desc.digest] is not None

    def _reference(
        self, desc: Descriptor, listed: tuple[Descriptor, ...], subjects: Mapping[Digest, Digest | None]
    ) -> Reference:
        """What an artifact is called in the store."""
        name = name_of(desc)
        if (ref := parse_name(name)) is not None:
            return ref
        if self.repository is not None:
            if (tag := parse_bare_tag(name)) is not None:
                return self.repository.with_tag(tag)
            alone = [one for one in listed if not self._follows(one, subjects) and name_of(one) is None]
            if name is None and alone == [desc] and self.repository.tag is not None:
                return self.repository
            return self.repository.with_digest(desc.digest)
        ref = UNNAMED.with_digest(desc.digest)
        if name is not None:
            text = (
                f"{printable(name)} is no full reference: kept as {ref}; `kit tag {ref} NAME` names it, or load --tag"
            )
            self.place.run.observer(Message("warning", text))
        return ref


@contextmanager
def _open_contents(place: Place, source: str | int, lease: Lease) -> Iterator[Contents]:
    if isinstance(source, int):
        yield _receive(place, source, lease)
    elif os.path.isdir(source):
        yield open_directory(source, place.run)
    else:
        with open_archive(source, place.run) as contents:
            yield contents


def _receive(place: Place, descriptor: int, lease: Lease) -> Contents:
    """Take every blob of a pipe into the store, where the lease holds it; what is left is its layout's own files."""
    what = "the archive on standard input"
    run = place.run
    run.observer(Planned("load", 0, None))

    def put(desc: Descriptor, reader: Reader) -> None:
        item = str(desc.digest)
        run.observer(Started(item, desc.digest.short, desc.size))
        if place.store.blobs.hold(desc.digest, desc.size, lease):
            run.observer(Finished(item, "exists"))
            return
        place.store.blobs.put(desc, reader, lambda size: run.observer(Advanced(item, size)), lease)
        run.observer(Finished(item, "done"))

    files = receive_stream(descriptor, what, put, run)
    contents = Contents(_ReceivedFiles(files, place.store), what)
    contents.check_layout()
    return contents


@dataclass(frozen=True, slots=True)
class _ReceivedFiles:
    """A layout whose blobs are in the store."""

    files: Mapping[str, bytes]
    store: Store

    def size(self, name: str) -> int | None:
        if name in self.files:
            return len(self.files[name])
        digest = blob_digest(name)
        return None if digest is None or not self.store.blobs.exists(digest) else self.store.blobs.size(digest)

    @contextmanager
    def open(self, name: str) -> Iterator[Reader]:
        digest, size = blob_digest(name), self.size(name) or 0
        if digest is None:
            yield BytesReader(self.files[name])
            return
        with self.store.blobs.stream(Descriptor(mediatype.OCTET_STREAM, digest, size)) as reader:
            yield reader


def _home(digest: Digest, homes: Mapping[Digest, Reference], subjects: Mapping[Digest, Digest | None]) -> Reference:
    """The repository of what a referrer refers to in the end; the unnamed one where that is not in the archive."""
    current: Digest | None = digest
    while current is not None and current not in homes:
        current = subjects.get(current)
    return UNNAMED if current is None else homes[current]


def _subject(contents: Contents, desc: Descriptor) -> Digest | None:
    if not is_manifest(desc):
        raise InvalidValueError(
            f"{contents.what} lists {desc.digest} of type {desc.media_type!r}, which is no manifest"
        )
    described = describe_referrer(desc, contents.fetch(desc))
    return None if described is None else described[0].digest
