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
from kitops.store import graph, names
from kitops.store.atomic import (
    entries,
    flush_directory,
    link_new,
    read_small,
    remove_file,
    replace_file,
    told,
    unique_name,
    write_new,
)
from kitops.store.index import refresh_index
from kitops.store.records import Listing, Record, RefDetails, dump_record, merge_absent, parse_record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.store.blobs import Blobs
    from kitops.store.layout import Layout
    from kitops.store.lease import Lease

Listings: TypeAlias = list[Listing]
Tags: TypeAlias = list[str]
_SHORT: Final = 32
_ABANDONED_NS: Final = 60_000_000_000
"""How old a tag set aside must be before somebody else than who set it aside settles it."""


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

    def details(self, ref: Reference) -> RefDetails:
        """What ``list`` shows of it; ``absent`` as the manifest's root says, less what is there by now.

        Raises:
            NotFoundError: there is no such ref.
        """
        where, record = self._locate(ref)
        root = self._read(f"{self._directory(where)}/roots/{names.encode_digest(record.desc.digest)}")
        return merge_absent((root or record).row, self.blobs.exists)

    def list(self, repository: Reference | None = None) -> Listings:
        """One row a tag, and one a manifest without tag; by repository, then tag, those without tag last.

        Args:
            repository: only this one (its tag and digest do not matter); all without.
        """
        if repository is None:
            found = self._repositories()
        else:
            found = [(repository.with_tag(None), self._directory(repository))]
        rows = [row for ref, directory in found for row in self._rows(ref, directory)]
        rows.sort(key=lambda row: (row.reference.locator, row.reference.tag is None, row.reference.tag or ""))
        return rows

    def tagged_ns(self, ref: Reference) -> int:
        """When the tag of ``ref`` was set, in ns since 1970 by the file system's clock.

        Raises:
            NotFoundError: there is no such tag.
        """
        path = f"{self._directory(ref)}/tags/{names.encode_tag(ref.tag or DEFAULT_TAG)}"
        try:
            return os.stat(path).st_mtime_ns
        except OSError as error:
            raise self._not_found(ref) from error

    def tags_of(self, ref: Reference, digest: Digest) -> Tags:
        """The tags of the repository of ``ref`` that point to ``digest``."""
        directory = self._directory(ref)
        return sorted(tag for tag, record in self._tags(directory) if record.desc.digest == digest)

    # writing

    def tag(self, ref: Reference, desc: Descriptor, details: RefDetails, lease: Lease) -> None:
        """Keep the manifest ``desc`` in the repository of ``ref`` and point ``ref.tag`` to it.

        Raises:
            NotFoundError: something below the manifest is not there (what ``details`` calls absent excepted).
            FileSystemError: it could not be written.
        """
        if ref.tag is None or ref.is_unnamed:
            raise InvalidValueError(f"{ref} has no tag to set")
        record, tree, is_new = self._keep(ref, desc, details, lease)
        directory = self._directory(ref)
        path = f"{directory}/tags/{names.encode_tag(ref.tag)}"
        previous = self._read(path)
        self._write(path, dump_record(record), lease.id)
        try:
            graph.check_whole(self.blobs, tree)
        except NotFoundError:
            self._take_back(ref, desc, previous, lease, drop_root=is_new)
            raise
        self._ensure_root(directory, record, lease.id)
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
        done = self._untag(ref, expected)
        if done:
            self._show("untag", removal=True)
        return done

    def release(self, ref: Reference, digest: Digest) -> bool:
        """Give up the manifest ``digest`` of the repository unless a tag points to it.

        Returns:
            Whether it was kept before and is not any more.
        """
        directory = self._directory(ref)
        done = not self._is_tagged(directory, digest) and self._drop_root(directory, digest)
        if done:
            self._show("release", removal=True)
        return done

    def remove_root(self, ref: Reference) -> Tags:
        """Give up the manifest that ``ref`` (tag or digest) points to, with all its tags in that repository.

        Returns:
            The tags that were removed.

        Raises:
            NotFoundError: there is no such ref.
        """
        where, record = self._locate(ref)
        directory = self._directory(where)
        removed = [
            tag for tag in self.tags_of(where, record.desc.digest) if self._untag(where.with_tag(tag), record.desc)
        ]
        self._drop_root(directory, record.desc.digest)
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
        for _, directory in self._repositories():
            for entry in entries(f"{directory}/aside"):
                with told("reading", entry.path), suppress(FileNotFoundError):
                    if now_ns - entry.stat().st_ctime_ns > _ABANDONED_NS:
                        self._settle(directory, entry.path)

    # for the collector

    def held(self) -> Iterator[tuple[Record, str]]:
        """Every manifest that a root or tag holds, with the path of the ref; twice or more where several hold it."""
        for _, directory in self._repositories():
            for kind in ("aside", "tags", "aside", "roots"):
                for entry in entries(f"{directory}/{kind}"):
                    record = self._read(entry.path)
                    if record is not None:
                        yield record, entry.path

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

    def _directory(self, ref: Reference) -> str:
        return f"{self.layout.refs}/{names.repository_directory(ref)}"

    def _repositories(self) -> Sequence[tuple[Reference, str]]:
        found = []
        for entry in entries(self.layout.refs):
            with told("reading", entry.path):
                content = read_small(f"{entry.path}/name")
            if content is not None:
                found.append((names.repository_reference(content.decode("utf-8", "replace").strip()), entry.path))
        return found

    def _read(self, path: str) -> Record | None:
        with told("reading", path):
            content = read_small(path)
        return None if content is None else parse_record(content, path)

    def _tags(self, directory: str) -> Iterator[tuple[str, Record]]:
        seen = set()
        for entry in entries(f"{directory}/tags"):
            record = self._read(entry.path)
            if record is not None:
                seen.add(entry.name)
                yield names.decode_tag(entry.name), record
        for entry in entries(f"{directory}/aside"):
            name, expected = _parse_aside(entry.name)
            record = self._read(entry.path)
            if record is not None and name not in seen and not record.desc.digest.encoded.startswith(expected):
                yield names.decode_tag(name), record

    def _rows(self, ref: Reference, directory: str) -> Iterator[Listing]:
        tagged = set()
        for tag, record in self._tags(directory):
            tagged.add(record.desc.digest)
            yield Listing(Reference(ref.registry, ref.repository, tag), record.desc, record.row)
        for entry in entries(f"{directory}/roots"):
            if names.decode_digest(entry.name) in tagged:
                continue
            found = self._read(entry.path)
            if found is not None:
                digest = found.desc.digest
                yield Listing(Reference(ref.registry, ref.repository, None, digest), found.desc, found.row)

    def _locate(self, ref: Reference) -> tuple[Reference, Record]:
        """The record of ``ref``, and the repository where it was found (a bare digest may be in any)."""
        for where, directory in self._places(ref):
            if ref.digest is not None:
                record = self._read(f"{directory}/roots/{names.encode_digest(ref.digest)}")
            else:
                record = self._read_tag(directory, ref.tag or DEFAULT_TAG)
            if record is not None:
                return where, record
        raise self._not_found(ref)

    def _places(self, ref: Reference) -> Iterator[tuple[Reference, str]]:
        directory = self._directory(ref)
        yield ref, directory
        if ref.is_unnamed:
            yield from (place for place in self._repositories() if place[1] != directory)

    def _read_tag(self, directory: str, tag: str) -> Record | None:
        name = names.encode_tag(tag)
        path = f"{directory}/tags/{name}"
        found = self._read(path)
        if found is None and os.path.isdir(f"{directory}/aside"):
            found = next((record for known, record in self._tags(directory) if known == tag), None)
        return found

    def _keep(
        self, ref: Reference, desc: Descriptor, details: RefDetails, lease: Lease
    ) -> tuple[Record, tuple[Descriptor, ...], bool]:
        """Lease and check everything below ``desc`` and write its root; whether there was none is told last."""
        record = Record(desc, merge_absent(details, self.blobs.exists))
        tree = graph.hold_tree(self.blobs, desc, lease, absent=record.row.absent)
        directory = self._directory(ref)
        self._open_repository(ref, directory, lease.id)
        with told("flushing", self.layout.blobs):
            for algorithm in {item.digest.algorithm for item in tree}:
                flush_directory(f"{self.layout.blobs}/{algorithm}")
        path = f"{directory}/roots/{names.encode_digest(desc.digest)}"
        is_new = not os.path.exists(path)
        self._write(path, dump_record(record), lease.id)
        try:
            graph.check_whole(self.blobs, tree)
        except NotFoundError:
            if is_new:
                self._drop_root(directory, desc.digest)
            raise
        return record, tree, is_new

    def _open_repository(self, ref: Reference, directory: str, owner: str) -> None:
        name = names.repository_name(ref)
        with told("writing", directory):
            known = read_small(f"{directory}/name")
            if known is not None and known.decode("utf-8", "replace").strip() != name:
                raise StoreError(f"the repositories {name} and {known.decode('utf-8', 'replace')} share a directory")
            os.makedirs(f"{directory}/tags", exist_ok=True)
            os.makedirs(f"{directory}/roots", exist_ok=True)
            os.makedirs(f"{directory}/aside", exist_ok=True)  # made now: removing must work on a full disk
            if known is None:
                replace_file(self.layout.temporary(owner), f"{directory}/name", name.encode(), durable=True)
                flush_directory(self.layout.refs)

    def _write(self, path: str, content: bytes, owner: str) -> None:
        with told("writing", path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            replace_file(self.layout.temporary(owner), path, content, durable=True)

    def _ensure_root(self, directory: str, record: Record, owner: str) -> None:
        path = f"{directory}/roots/{names.encode_digest(record.desc.digest)}"
        if not os.path.exists(path):
            self._write(path, dump_record(record), owner)

    def _take_back(
        self, ref: Reference, desc: Descriptor, previous: Record | None, lease: Lease, *, drop_root: bool
    ) -> None:
        """Undo a tag of an incomplete manifest: what it pointed to before comes back unless something newer did."""
        directory = self._directory(ref)
        self._untag(ref, desc)
        if previous is not None and previous.desc.digest != desc.digest:
            temporary = self.layout.temporary(lease.id)
            with told("writing", directory):
                write_new(temporary, dump_record(previous), durable=True)
                link_new(temporary, f"{directory}/tags/{names.encode_tag(ref.tag or DEFAULT_TAG)}")
        if drop_root:
            self._drop_root(directory, desc.digest)

    def _untag(self, ref: Reference, expected: Descriptor) -> bool:
        directory = self._directory(ref)
        name = names.encode_tag(ref.tag or DEFAULT_TAG)
        path = f"{directory}/tags/{name}"
        current = self._read(path)
        if current is None or current.desc.digest != expected.digest:
            return False
        aside = _aside_path(directory, name, expected.digest)
        with told("removing", path):
            os.makedirs(f"{directory}/aside", exist_ok=True)
            try:
                os.rename(path, aside)
            except FileNotFoundError:
                return False
            return self._settle(directory, aside)

    def _settle(self, directory: str, aside: str) -> bool:
        """Delete a tag that was moved aside, or put it back when it is not what was to be removed.

        Returns:
            Whether it was deleted.
        """
        name, expected = _parse_aside(os.path.basename(aside))
        record = self._read(aside)
        if record is None:
            return False
        if record.desc.digest.encoded.startswith(expected):
            return remove_file(aside)
        link_new(aside, f"{directory}/tags/{name}")
        return False

    def _is_tagged(self, directory: str, digest: Digest) -> bool:
        return any(record.desc.digest == digest for _, record in self._tags(directory))

    def _drop_root(self, directory: str, digest: Digest) -> bool:
        """Unlink a root, and write it again when a tag points to it (set between the look and the unlink)."""
        path = f"{directory}/roots/{names.encode_digest(digest)}"
        record = self._read(path)
        if record is None:
            return False
        with told("removing", path):
            removed = remove_file(path)
        if self._is_tagged(directory, digest):
            self._write(path, dump_record(record), "release")
            return False
        return removed

    def _not_found(self, ref: Reference) -> NotFoundError:
        from difflib import get_close_matches  # noqa: PLC0415 - only on the way out: it takes milliseconds to import

        known = {str(row.reference) for row in self.list()}
        near = get_close_matches(str(ref), known, n=3, cutoff=0.6)
        hint = f"did you mean {', '.join(near)}?" if near else "see `kit list` for what is there, or `kit pull` it"
        return NotFoundError(f"{ref} is not in the local store", hint=hint)


def _aside_path(directory: str, name: str, expected: Digest) -> str:
    """``<tag's file name>~~<start of the digest to be removed>~~<unique>``: short enough for any file system."""
    return f"{directory}/aside/{name}~~{expected.encoded[:_SHORT]}~~{unique_name()}"


def _parse_aside(name: str) -> tuple[str, str]:
    """The tag's file name and the start of the digest that was to be removed."""
    tag, expected, _ = name.rsplit("~~", 2)
    return tag, expected


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except FileNotFoundError:
        return None
