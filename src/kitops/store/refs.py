"""Refs: which manifests are kept (roots), under which tags. The truth of the store.

``refs/<slug>-<16 hex>/`` is a repository: ``name`` (its true name), ``roots/<digest>``, ``tags/<tag>``, and ``aside/``,
where a tag is for the instant in which it is removed. Every change is one rename, link or unlink; nothing is locked.

**The races, and why none loses anything.**

*tag against tag*: two renames to one name; the later wins. Both manifests keep their roots.

*untag against tag*: whoever untags has read which manifest the tag points to, and removes the tag only if it still
does. It moves the file aside (a rename: of two who untag, one gets it), reads what it got, and puts it back by a link,
which refuses to replace, when that is not what was to be removed: a tag that was moved meanwhile survives, and one that
was set meanwhile is not overwritten by the older one. Killed in between, the name of the file aside says what was to be
removed, so anybody can finish the job (:meth:`Refs.recover`). A reader who finds no tag looks aside.

*tag against removal of the root*: :meth:`Refs.tag` writes the root, then the tag, then looks whether the root is still
there, and writes it again if not. Whoever removes a root unlinks it, then looks at the tags, and writes it again if one
points to it. Whichever came first, one of the two sees the other.

*tag against garbage collection*: tagging leases everything below the manifest and checks that it is there, before it
writes and once more after its rename (:mod:`kitops.store.lease` says why that suffices). If something is gone for good
(another process removed the ModelKit, and this one was given up for dead meanwhile), the tag is taken back, what it
pointed to before is put back, and NotFoundError tells it.

**What is flushed when.** Before a ref is written, the names in ``blobs/`` are flushed; the ref's content is flushed
before its rename, its directory after it. So once ``tag`` has returned, a power cut leaves the tag and everything below
it, on file systems and disks that keep their promise. Removals are not flushed: a power cut may bring back a tag that
was just removed, with all its blobs or (after ``remove``) without, which ``kit remove`` or ``kit pull`` mends.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from kitops.errors import InvalidValueError, NotFoundError, StoreError
from kitops.oci.reference import DEFAULT_TAG, Reference
from kitops.store import graph
from kitops.store.atomic import entries, flush_directory, told
from kitops.store.index import refresh_index
from kitops.store.records import Listing, Record, RefDetails, merge_absent
from kitops.store.shelf import Shelf, overlook, refuse, shelf_of, shelves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.store.blobs import Blobs
    from kitops.store.layout import Layout
    from kitops.store.lease import Lease
    from kitops.store.shelf import Damaged

_MOST_NEAR: Final = 3
"""Names that an error about a missing one suggests."""

Listings: TypeAlias = list[Listing]
Tags: TypeAlias = list[str]


@dataclass(frozen=True, slots=True)
class Refs:
    """The refs of one store.

    Args:
        layout: the store.
        blobs: its blobs.
        is_batch: leave ``index.json`` to :meth:`batch`.
    """

    layout: Layout
    blobs: Blobs
    is_batch: bool = False

    # reading

    def resolve(self, ref: Reference) -> Descriptor:
        """The manifest that ``ref`` points to: by digest if it has one, else by tag (``latest`` by default).

        A bare digest is looked for in every repository.

        Raises:
            NotFoundError: there is no such ref; the hint has near names.
        """
        return self._locate(ref)[1].desc

    def hold(self, ref: Reference, lease: Lease) -> Descriptor:
        """As :meth:`resolve`, for who is going to read: it stays, and everything below it, while ``lease`` lives.

        The ref is still there when the lease can be seen: whoever removes it after that leaves the blobs alone.
        Something missing or damaged below it is for the reader to meet.

        Raises:
            NotFoundError: there is no such ref.
            FileSystemError: the lease cannot be written (and is not optional).
        """
        desc = self.resolve(ref)
        while True:
            graph.lease_tree(self.blobs, desc, lease)
            found = self.resolve(ref)
            if found.digest == desc.digest:
                return desc
            desc = found

    def details(self, ref: Reference) -> RefDetails:
        """What ``list`` shows of it; ``absent`` as the manifest's root says, less what is there by now.

        Raises:
            NotFoundError: there is no such ref.
        """
        shelf, record = self._locate(ref)
        with suppress(StoreError):  # a damaged root: the tag says the same, or what was so when it was set
            record = shelf.root(record.desc.digest) or record
        return merge_absent(record.row, self.blobs.exists)

    def list(self, repository: Reference | None = None, *, damaged: Damaged = refuse) -> Listings:
        """One row a tag, and one a manifest without tag; by repository, then tag, those without tag last.

        Args:
            repository: only this one (its tag and digest do not matter); all without.
            damaged: told of a ref that cannot be read, and left out. A manifest whose tags cannot all be read may be
                listed as one without.

        Raises:
            StoreError: a ref is damaged, and ``damaged`` was not passed.
        """
        found = shelves(self.layout) if repository is None else [shelf_of(self.layout, repository)]
        rows = [row for shelf in found for row in shelf.rows(damaged)]
        rows.sort(key=lambda row: (row.reference.locator, row.reference.tag is None, row.reference.tag or ""))
        return rows

    def tagged_ns(self, ref: Reference) -> int:
        """When the tag of ``ref`` was set, in ns since 1970 by the file system's clock.

        Raises:
            NotFoundError: there is no such tag.
        """
        try:
            return os.stat(shelf_of(self.layout, ref).tag_path(ref.tag or DEFAULT_TAG)).st_mtime_ns
        except OSError as error:
            raise self._not_found(ref) from error

    def tags_of(self, ref: Reference, digest: Digest) -> Tags:
        """The tags of the repository of ``ref`` that point to ``digest``, as far as they can be read."""
        tags = shelf_of(self.layout, ref).tags(overlook)
        return sorted(tag for tag, record in tags if record.desc.digest == digest)

    def homes(self, digest: Digest) -> tuple[Reference, ...]:
        """The repositories that keep the manifest ``digest``: its reference in each."""
        kept = (shelf.ref for shelf in shelves(self.layout) if os.path.exists(shelf.root_path(digest)))
        return tuple(sorted((ref.with_digest(digest) for ref in kept), key=str))

    def find_remote(self, ref: Reference, digest: Digest) -> Reference | None:
        """What to pull for the rest of the manifest ``digest``: ``ref``, or where a registry has it that was pulled."""
        if not ref.is_local:
            return ref
        rows = self.list(damaged=overlook)
        return next((row.reference for row in rows if row.desc.digest == digest and not row.reference.is_local), None)

    # writing

    def tag(self, ref: Reference, desc: Descriptor, details: RefDetails, lease: Lease) -> None:
        """Keep the manifest ``desc`` in the repository of ``ref`` and point ``ref.tag`` to it.

        Raises:
            NotFoundError: something below the manifest is not there (what ``details`` calls absent excepted).
            FileSystemError: it could not be written.
        """
        if ref.tag is None or ref.is_unnamed:
            raise InvalidValueError(f"{ref} has no tag to set")
        kept = self._keep(ref, desc, details, lease)
        shelf, path = kept.shelf, kept.shelf.tag_path(ref.tag)
        previous = None
        with suppress(StoreError):  # a damaged one is replaced
            previous = shelf.tag(ref.tag)
        shelf.write(path, kept.record, lease.id)
        try:
            graph.check_whole(self.blobs, kept.tree)
        except NotFoundError:
            shelf.untag(ref.tag, desc.digest)
            if previous is not None and previous.desc.digest != desc.digest:
                shelf.write_if_free(path, previous, lease.id)
            self._give_up(kept)
            raise
        if not os.path.exists(shelf.root_path(desc.digest)):
            shelf.write(shelf.root_path(desc.digest), kept.record, lease.id)
        self._show(lease.id)

    def add_root(self, ref: Reference, desc: Descriptor, details: RefDetails, lease: Lease) -> None:
        """Keep the manifest ``desc`` in the repository of ``ref`` (the unnamed one too), without a tag.

        Raises:
            NotFoundError: something below the manifest is not there (what ``details`` calls absent excepted).
            FileSystemError: it could not be written.
        """
        self._keep(ref, desc, details, lease)
        self._show(lease.id)

    def untag(self, ref: Reference, expected: Descriptor) -> bool:
        """Remove the tag of ``ref`` if it points to ``expected``; the manifest stays, without it.

        Returns:
            False when the tag is gone or points to another manifest by now.

        Raises:
            FileSystemError: it could not be removed.
        """
        done = shelf_of(self.layout, ref).untag(ref.tag or DEFAULT_TAG, expected.digest)
        if done:
            self._show("untag", removal=True)
        return done

    def release(self, ref: Reference, digest: Digest) -> bool:
        """Give up the manifest ``digest`` of the repository unless a tag points to it.

        Returns:
            Whether it was kept before and is not any more.
        """
        shelf = shelf_of(self.layout, ref)
        done = not shelf.may_be_tagged(digest) and shelf.drop_root(digest)
        if done:
            self._show("release", removal=True)
        return done

    def remove_root(self, ref: Reference) -> Tags:
        """Give up the manifest that ``ref`` (tag or digest) points to in its repository, with all its tags there.

        A tag that another process sets meanwhile stays, and so does the manifest then.

        Returns:
            The tags that were removed.

        Raises:
            NotFoundError: there is no such ref.
        """
        shelf = shelf_of(self.layout, ref)
        record = shelf.find(ref)
        if record is None:
            raise self._not_found(ref)
        digest = record.desc.digest
        removed = [tag for tag in self.tags_of(shelf.ref, digest) if shelf.untag(tag, digest)]
        shelf.drop_root(digest)
        self._show("remove", removal=True)
        return removed

    @contextmanager
    def batch(self) -> Iterator[Refs]:
        """The refs for many changes: ``index.json`` is written once, when the block ends."""
        try:
            yield replace(self, is_batch=True)
        finally:
            self._show("batch", removal=True)

    def recover(self, now_ns: int) -> None:
        """Finish what processes that were killed while they removed a tag have left aside.

        Args:
            now_ns: the time by the file system's own clock.
        """
        for shelf in shelves(self.layout):
            shelf.recover(now_ns)

    # for the collector and the index

    def held(self) -> Iterator[tuple[Record, str]]:
        """Every ref that holds a manifest, with its path."""
        for shelf in shelves(self.layout):
            yield from shelf.held()

    def stamp(self) -> frozenset[tuple[str, int, int]]:
        """What is there, cheaply: path, inode and time stamp of every tag and root. It changes when they do."""
        return frozenset(
            (entry.path, found.st_ino, found.st_mtime_ns)
            for repository in entries(self.layout.refs)
            for kind in ("tags", "roots")
            for entry in entries(f"{repository.path}/{kind}")
            if (found := _stat(entry)) is not None
        )

    # inside

    def _show(self, owner: str, *, removal: bool = False) -> None:
        if not self.is_batch:
            refresh_index(self, owner, removal=removal)

    def _locate(self, ref: Reference) -> tuple[Shelf, Record]:
        """The record of ``ref`` and where it was found (a bare digest may be in any repository)."""
        for shelf in self._places(ref):
            record = shelf.find(ref)
            if record is not None:
                return shelf, record
        raise self._not_found(ref)

    def _places(self, ref: Reference) -> Iterator[Shelf]:
        yield shelf_of(self.layout, ref)
        if ref.is_unnamed:
            yield from shelves(self.layout)

    def _keep(self, ref: Reference, desc: Descriptor, details: RefDetails, lease: Lease) -> _Kept:
        """Lease and check everything below ``desc``, and write its root."""
        record = Record(desc, merge_absent(details, self.blobs.exists))
        tree = graph.hold_tree(self.blobs, desc, lease, absent=record.row.absent)
        shelf = shelf_of(self.layout, ref)
        shelf.prepare(lease.id)
        with told("flushing", self.layout.blobs):
            for algorithm in {item.digest.algorithm for item in tree}:
                flush_directory(f"{self.layout.blobs}/{algorithm}")
        path = shelf.root_path(desc.digest)
        kept = _Kept(shelf, record, tree, is_new=not os.path.exists(path))
        shelf.write(path, record, lease.id)
        try:
            graph.check_whole(self.blobs, tree)
        except NotFoundError:
            self._give_up(kept)
            raise
        return kept

    def _give_up(self, kept: _Kept) -> None:
        """Take back a root that was written for a manifest that turned out incomplete."""
        if kept.is_new:
            kept.shelf.drop_root(kept.record.desc.digest)

    def _not_found(self, ref: Reference) -> NotFoundError:
        near = self._near(ref)
        hint = "`kit list` shows what is there"
        if near:
            hint = f"did you mean {', '.join(map(str, near[:_MOST_NEAR]))}?"
        elif not ref.is_local:
            hint = f"`kit pull {ref}`, or see `kit list` for what is there"
        return NotFoundError(f"{ref} is not in the local store", hint=hint)

    def _near(self, ref: Reference) -> tuple[Reference, ...]:
        """What may have been meant: the same name and tag elsewhere, another tag of it, or what is spelled alike."""
        from difflib import get_close_matches  # noqa: PLC0415 - only on the way out: it takes milliseconds to import

        rows = [row.reference for row in self.list(damaged=overlook)]
        known = {str(one): one for one in rows if one.tag is not None and not one.is_unnamed}
        name = ref.repository.rpartition("/")[2]
        elsewhere = [one for one in known.values() if one.tag == ref.tag and one.repository.rpartition("/")[2] == name]
        alike = [known[text] for text in get_close_matches(str(ref), known, n=_MOST_NEAR, cutoff=0.6)]
        tags = [one for one in known.values() if one.locator == ref.locator]
        return tuple(dict.fromkeys([*elsewhere, *alike, *tags]))


@dataclass(frozen=True, slots=True)
class _Kept:
    """A manifest whose root was written: where, what, everything below it, and whether there was no root before."""

    shelf: Shelf
    record: Record
    tree: tuple[Descriptor, ...]
    is_new: bool


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except FileNotFoundError:
        return None
