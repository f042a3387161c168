"""A shelf: the directory of one repository in ``refs/``, and every atomic change of it.

Inside are ``name`` (the repository's true name), ``roots/<digest>``, ``tags/<tag>``, and ``aside/``, where a tag is for
the instant in which it is removed. Why the changes are safe beside one another is told in :mod:`kitops.store.refs`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from kitops.errors import FileSystemError, StoreError
from kitops.oci.reference import DEFAULT_TAG, Reference
from kitops.store import names
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
from kitops.store.records import Listing, Record, dump_record, parse_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kitops.errors import KitError
    from kitops.oci.digest import Digest
    from kitops.store.layout import Layout

Damaged: TypeAlias = "Callable[[KitError], None]"
"""Told of a ref that cannot be read; what it raises ends the work."""
_SHORT: Final = 32
_ABANDONED_NS: Final = 60_000_000_000
"""How old a tag set aside must be before somebody else than who set it aside settles it."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """The refs of one repository.

    Args:
        layout: the store.
        ref: names the repository; no tag, no digest.
        path: the directory, which need not exist.
    """

    layout: Layout
    ref: Reference
    path: str

    # reading

    def root(self, digest: Digest) -> Record | None:
        """What is kept of the manifest ``digest``."""
        return _read(self.root_path(digest))

    def tag(self, tag: str) -> Record | None:
        """What ``tag`` points to. One that another process looks at aside, and will put back, counts as there."""
        found = _read(self.tag_path(tag))
        if found is None and entries(f"{self.path}/aside"):
            found = next((record for known, record in self.tags(overlook) if known == tag), None)
        return found

    def find(self, ref: Reference) -> Record | None:
        """What ``ref`` points to here: by its digest if it has one, else by its tag."""
        return self.root(ref.digest) if ref.digest is not None else self.tag(ref.tag or DEFAULT_TAG)

    def tags(self, damaged: Damaged) -> Iterator[tuple[str, Record]]:
        """Every tag and what it points to; ``damaged`` is told of those that cannot be read."""
        seen = set()
        for entry in entries(f"{self.path}/tags"):
            record = _read_or_tell(entry.path, damaged)
            if record is not None:
                seen.add(entry.name)
                yield names.decode_tag(entry.name), record
        for entry in entries(f"{self.path}/aside"):
            name, expected = _parse_aside(entry.name)
            record = _read_or_tell(entry.path, damaged)
            if record is not None and name not in seen and not record.desc.digest.encoded.startswith(expected):
                yield names.decode_tag(name), record

    def may_be_tagged(self, digest: Digest) -> bool:
        """Whether a tag points to the manifest, or one that cannot be read might."""
        unread: list[KitError] = []
        return any(record.desc.digest == digest for _, record in self.tags(unread.append)) or bool(unread)

    def rows(self, damaged: Damaged) -> Iterator[Listing]:
        """A row a tag, and one for each manifest that no tag points to; ``damaged`` is told of what cannot be read."""
        tagged = set()
        for tag, record in self.tags(damaged):
            tagged.add(names.encode_digest(record.desc.digest))
            yield Listing(Reference(self.ref.registry, self.ref.repository, tag), record.desc, record.row)
        for entry in entries(f"{self.path}/roots"):
            if entry.name in tagged:
                continue
            found = _read_or_tell(entry.path, damaged)
            if found is not None:
                yield Listing(self.ref.with_digest(found.desc.digest), found.desc, found.row)

    def held(self) -> Iterator[tuple[Record, str]]:
        """Everything that holds a manifest, with its path; what moves between ``tags`` and ``aside`` is met in one."""
        for kind in ("aside", "tags", "aside", "roots"):
            for entry in entries(f"{self.path}/{kind}"):
                record = _read(entry.path)
                if record is not None:
                    yield record, entry.path

    def root_path(self, digest: Digest) -> str:
        return f"{self.path}/roots/{names.encode_digest(digest)}"

    def tag_path(self, tag: str) -> str:
        return f"{self.path}/tags/{names.encode_tag(tag)}"

    # writing

    def prepare(self, owner: str) -> None:
        """Make the directory if there is none.

        Raises:
            StoreError: it belongs to another repository (their names share the start of a SHA-256).
        """
        name = names.repository_name(self.ref)
        with told("writing", self.path):
            known = read_small(f"{self.path}/name")
            if known is not None and known.decode("utf-8", "replace").strip() != name:
                raise StoreError(f"the repositories {name} and {known.decode('utf-8', 'replace')} share a directory")
            for kind in ("tags", "roots", "aside"):  # aside is made now: removing must work on a full disk
                os.makedirs(f"{self.path}/{kind}", exist_ok=True)
            if known is None:
                replace_file(self.layout.temporary(owner), f"{self.path}/name", name.encode(), durable=True)
                flush_directory(self.layout.refs)

    def write(self, path: str, record: Record, owner: str) -> None:
        """Set a tag or root, on the disk when this returns; one that is set already is only stamped anew."""
        content = dump_record(record)
        with told("writing", path):
            if read_small(path) == content:
                with suppress(FileNotFoundError):  # it was removed this instant
                    os.utime(path)
                    flush_directory(os.path.dirname(path))  # whoever set it may not have come to that
                    return
            os.makedirs(os.path.dirname(path), exist_ok=True)
            replace_file(self.layout.temporary(owner), path, content, durable=True)

    def write_if_free(self, path: str, record: Record, owner: str) -> None:
        """Set a tag or root unless another process has set it."""
        temporary = self.layout.temporary(owner)
        with told("writing", path):
            write_new(temporary, dump_record(record), durable=True)
            link_new(temporary, path)

    def untag(self, tag: str, expected: Digest) -> bool:
        """Remove a tag if it points to ``expected``; whether it was removed."""
        path = self.tag_path(tag)
        current = _read(path)
        if current is None or current.desc.digest != expected:
            return False
        aside = _aside_path(self.path, names.encode_tag(tag), expected)
        with told("removing", path):
            os.makedirs(f"{self.path}/aside", exist_ok=True)
            try:
                os.rename(path, aside)
            except FileNotFoundError:
                return False
            return self.settle(aside)

    def settle(self, aside: str) -> bool:
        """Delete a tag that was moved aside, or put it back when it is not what was to be removed.

        Returns:
            Whether it was deleted.
        """
        name, expected = _parse_aside(os.path.basename(aside))
        record = _read(aside)
        if record is None:
            return False
        if record.desc.digest.encoded.startswith(expected):
            return remove_file(aside)
        link_new(aside, f"{self.path}/tags/{name}")
        return False

    def recover(self, now_ns: int) -> None:
        """Settle the tags that killed processes left aside; ``now_ns`` is by the file system's own clock."""
        for entry in entries(f"{self.path}/aside"):
            with told("reading", entry.path), suppress(FileNotFoundError):
                if now_ns - entry.stat().st_ctime_ns > _ABANDONED_NS:
                    self.settle(entry.path)

    def drop_root(self, digest: Digest) -> bool:
        """Give up a manifest; it is kept, and False returned, when a tag points to it after its root is gone."""
        record = self.root(digest)
        if record is None:
            return False
        path = self.root_path(digest)
        with told("removing", path):
            removed = remove_file(path)
        if any(tagged.desc.digest == digest for _, tagged in self.tags(overlook)):
            self.write(path, record, "release")
            return False
        return removed


def shelf_of(layout: Layout, ref: Reference) -> Shelf:
    """The shelf of the repository of ``ref``; nothing is read."""
    bare = Reference(ref.registry, ref.repository)
    return Shelf(layout, bare, f"{layout.refs}/{names.repository_directory(bare)}")


def shelves(layout: Layout) -> list[Shelf]:
    """The shelves that there are."""
    found = []
    for entry in entries(layout.refs):
        with told("reading", entry.path):
            name = read_small(f"{entry.path}/name")
        if name is not None:
            found.append(Shelf(layout, names.repository_reference(name.decode("utf-8", "replace").strip()), entry.path))
    return found


def refuse(error: KitError) -> NoReturn:
    """Let a ref that cannot be read end the work."""
    raise error


def overlook(error: KitError) -> None:
    """Go on without a ref that cannot be read."""


def _read_or_tell(path: str, damaged: Damaged) -> Record | None:
    try:
        return _read(path)
    except (StoreError, FileSystemError) as error:
        damaged(error)
        return None


def _read(path: str) -> Record | None:
    with told("reading", path):
        content = read_small(path)
    return None if content is None else parse_record(content, path)


def _aside_path(directory: str, name: str, expected: Digest) -> str:
    """``<tag's file name>~~<start of the digest to be removed>~~<unique>``: short enough for any file system."""
    return f"{directory}/aside/{name}~~{expected.encoded[:_SHORT]}~~{unique_name()}"


def _parse_aside(name: str) -> tuple[str, str]:
    """The tag's file name and the start of the digest that was to be removed."""
    tag, expected, _ = name.rsplit("~~", 2)
    return tag, expected
