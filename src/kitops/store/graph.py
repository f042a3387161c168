"""What hangs below a manifest or index in the store."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from kitops.errors import KitError, NotFoundError
from kitops.oci import mediatype
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.oci.manifest import MAX_MANIFEST_SIZE, Manifest
from kitops.store import trash
from kitops.store.atomic import told

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from kitops.oci.descriptor import Descriptor
    from kitops.store.blobs import Blobs
    from kitops.store.lease import Lease


def has_children(desc: Descriptor) -> bool:
    """Whether something hangs below it, by its media type."""
    return desc.media_type in mediatype.MANIFESTS or desc.media_type in mediatype.INDEXES


def children(blobs: Blobs, desc: Descriptor) -> tuple[Descriptor, ...]:
    """What a manifest or index in the store lists; nothing for another blob.

    Raises:
        NotFoundError: it is not there.
        IntegrityError, InvalidValueError: it is not what it should be.
    """
    if desc.media_type in mediatype.MANIFESTS:
        return Manifest.parse(blobs.fetch(desc), f"manifest {desc.digest}").children
    if desc.media_type in mediatype.INDEXES:
        return Index.parse(blobs.fetch(desc), f"index {desc.digest}").children
    return ()


def walk(blobs: Blobs, desc: Descriptor, *, absent: Collection[Digest] = ()) -> Iterator[Descriptor]:
    """``desc`` and everything below it, parents first, each digest once; not what is in ``absent``, nor what is below.

    Raises:
        NotFoundError: a manifest or index on the way is not there.
        IntegrityError, InvalidValueError: one is not what it should be.
    """
    seen = {*absent}
    waiting = [desc]
    while waiting:
        current = waiting.pop()
        if current.digest in seen:
            continue
        seen.add(current.digest)
        yield current
        waiting.extend(reversed(children(blobs, current)))


def hold_tree(
    blobs: Blobs, desc: Descriptor, lease: Lease, *, absent: Collection[Digest] = ()
) -> tuple[Descriptor, ...]:
    """Lease ``desc`` and everything below it, then check that it is there (taken back from the trash if need be).

    Returns:
        All of it, parents first.

    Raises:
        NotFoundError: something is missing.
        IntegrityError, InvalidValueError: a manifest is not what it should be.
        FileSystemError: the lease cannot be written.
    """
    lease.add(desc.digest)
    tree = tuple(walk(blobs, desc, absent=absent))
    lease.add(*(item.digest for item in tree))
    check_whole(blobs, tree)
    return tree


def lease_tree(blobs: Blobs, desc: Descriptor, lease: Lease) -> None:
    """Lease ``desc`` and everything below it that can be told; nothing is checked.

    Raises:
        FileSystemError: the lease cannot be written (and is not optional).
    """
    found = [desc.digest]
    with suppress(KitError):
        found += [item.digest for item in walk(blobs, desc)]
    lease.add(*found)


def check_whole(blobs: Blobs, tree: Collection[Descriptor]) -> None:
    """Raise NotFoundError unless every blob of ``tree`` is in its place, taken back from the trash if need be."""
    for item in tree:
        with told("reading", blobs.layout.blob(item.digest)):
            if not trash.rescue_blob(blobs.layout, item.digest):
                raise NotFoundError(f"blob {item.digest} is not in the store", hint="pull or pack the ModelKit again")


def tree_of(blobs: Blobs, digest: Digest) -> list[Digest]:
    """``digest`` and everything below it that can be read, whatever its media type; for what is about to be freed.

    What is missing or damaged has nothing below it here: garbage collection finds that later.
    """
    seen: dict[Digest, None] = {}
    waiting = [digest]
    while waiting:
        current = waiting.pop()
        if current not in seen and blobs.exists(current):
            seen[current] = None
            waiting.extend(_digests_below(blobs, current))
    return list(seen)


def _digests_below(blobs: Blobs, digest: Digest) -> list[Digest]:
    try:
        size = blobs.size(digest)
        if size > MAX_MANIFEST_SIZE:
            return []
        with told("reading", blobs.layout.blob(digest)):
            content = blobs.path(digest).read_bytes()
        if not content.startswith(b"{") or Digest.of(content) != digest:
            return []
        parse = Index.parse if b'"manifests"' in content and b'"layers"' not in content else Manifest.parse
        return [child.digest for child in parse(content).children]
    except KitError:
        return []
