"""Adopting the storage of the Go tool: its ModelKits are in our store afterwards, and its own files are as they were.

A blob gets a second name (a hard link) in our store; where that does not work, a reflink, else a verified copy.
Removing it here or there takes away one name only: each tool's garbage collection works on its own.

The Go tool takes ``localhost/`` for part of a name and keeps ``localhost/x`` apart from ``x``; for us they are one
repository. Where the two have the same tag (or our store has it already), the newer one wins, going by when its
manifest was written; the other stays reachable by its digest.

Killed half-way, an adoption is continued by whoever opens the store next: a file ``adopting`` says so. Two at a time do
the same work twice, which harms nothing.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kitops.content.events import Message
from kitops.content.reflink import share
from kitops.errors import FileSystemError, IntegrityError, InvalidValueError, KitError, NotFoundError, printable
from kitops.oci import gojson
from kitops.oci.descriptor import Descriptor, expect_list, expect_map
from kitops.oci.reference import LOCAL_REGISTRY, UNNAMED, Reference, check_tag
from kitops.store import graph
from kitops.store.atomic import READ_FILE, READ_ONLY, entries, read_small, remove_file, replace_file, told, unique_name
from kitops.store.names import UNNAMED as UNNAMED_NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from kitops.content.protocols import Run
    from kitops.store.lease import Lease
    from kitops.store.refs import Refs
    from kitops.store.store import Store

_INDEX: Final = "-index.json"
_TAGS: Final = "-tags.json"


@dataclass(frozen=True, slots=True)
class Adopted:
    """What an adoption brought.

    Args:
        manifests: number of ModelKits, each once a repository.
        tags: number of tags.
        linked: blobs that share their bytes with the Go tool's storage.
        copied: blobs that had to be copied.
        skipped: ModelKits that were left out, with the reason.
    """

    manifests: int
    tags: int
    linked: int
    copied: int
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Repository:
    """A repository of the Go tool: its manifests, and its tags with the time of writing (ns)."""

    ref: Reference
    manifests: tuple[Descriptor, ...]
    tags: tuple[tuple[str, Descriptor], ...]
    written_ns: int


@dataclass(slots=True)
class _Count:
    linked: int = 0
    copied: int = 0
    manifests: int = 0
    tags: int = 0
    skipped: list[str] = field(default_factory=list)


def adopt_once(store: Store, go_storage: Path, run: Run) -> None:
    """Adopt when there is no store yet, or when an adoption was not finished.

    A place that cannot be written is told as a warning: what only reads can go on.

    Raises:
        FileSystemError: the disk is full, say.
    """
    if store.layout.is_there and not os.path.exists(store.layout.adopting_file):
        return
    if not any(entry.name.endswith(_INDEX) for entry in entries(str(go_storage))):
        return
    try:
        done = adopt(store, go_storage, run)
    except FileSystemError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in READ_ONLY:
            raise
        run.observer(Message("warning", f"the ModelKits in {go_storage} could not be adopted: {error.message}"))
        return
    if done.manifests:
        run.observer(Message("info", f"Adopted {done.manifests} ModelKits with {done.tags} tags from {go_storage}"))


def adopt(store: Store, go_storage: Path, run: Run) -> Adopted:
    """Bring every ModelKit of the Go tool's ``storage/`` into the store.

    A ModelKit that is damaged or incomplete there is left out, which is told.

    Raises:
        NotFoundError: there is no such storage, or that directory is not one.
        FileSystemError: the store cannot be written.
    """
    check_storage(go_storage)
    _mark_begun(store)
    count = _Count()
    with store.lease("adopt") as lease, store.refs.batch() as refs:
        work = _Work(store, str(go_storage), run, lease, count)
        kept: dict[str, list[_Repository]] = {}
        for repository in read_repositories(str(go_storage), run):
            whole = {desc.digest for desc in repository.manifests if work.adopt_manifest(repository.ref, desc, refs)}
            tags = tuple((tag, desc) for tag, desc in repository.tags if desc.digest in whole)
            kept.setdefault(repository.ref.locator, []).append(
                _Repository(repository.ref, repository.manifests, tags, repository.written_ns)
            )
        for repositories in kept.values():
            work.adopt_tags(repositories, refs)
    with told("finishing the adoption in", store.layout.root):
        remove_file(store.layout.adopting_file)
    return Adopted(count.manifests, count.tags, count.linked, count.copied, tuple(count.skipped))


def check_storage(go_storage: Path) -> None:
    """Make sure that the directory is a storage of the Go tool; one that holds nothing yet is one too.

    Raises:
        NotFoundError: it is not there, or is something else.
        FileSystemError: it cannot be read.
    """
    hint = f"name the directory that holds blobs/ and one file *{_INDEX} for each repository, as <root>/storage does"
    if not os.path.isdir(go_storage):
        raise NotFoundError(f"there is no storage of the Go tool at {printable(go_storage)}", hint=hint)
    with told("reading", str(go_storage)):
        names = set(os.listdir(go_storage))
    if any(name.endswith(_INDEX) for name in names) or _is_empty_layout(go_storage, names):
        return
    if {"oci-layout", "refs"} <= names:
        hint = "it is a store of this kit: set KITOPS_HOME to the directory above to use it"
    raise NotFoundError(f"{printable(go_storage)} is no storage of the Go tool", hint=hint)


def _is_empty_layout(go_storage: Path, names: Collection[str]) -> bool:
    """Whether it is what the Go tool leaves before its first, or after its last ModelKit."""
    if "oci-layout" not in names or "refs" in names:
        return False
    try:
        index = gojson.loads(read_small(str(go_storage / "index.json")) or b"{}", "index.json")
    except (KitError, OSError):
        return False
    return isinstance(index, dict) and not index.get("manifests")


def read_repositories(go_storage: str, run: Run) -> Iterator[_Repository]:
    """The repositories of the Go tool's storage; what cannot be read is told and left out."""
    for entry in sorted(entries(go_storage), key=lambda entry: entry.name):
        if not entry.name.endswith(_INDEX):
            continue
        run.cancel.check()
        stem = entry.path.removesuffix(_INDEX)
        try:
            ref = parse_go_name(entry.name.removesuffix(_INDEX))
            with told("reading", entry.path):
                index = read_small(entry.path) or b"{}"
                tags = read_small(stem + _TAGS) or b"{}"
                written_ns = os.stat(stem + _TAGS if os.path.exists(stem + _TAGS) else entry.path).st_mtime_ns
            yield _Repository(ref, _read_manifests(index, entry.path), _read_tags(tags, stem + _TAGS), written_ns)
        except InvalidValueError as error:
            run.observer(Message("warning", f"left out {entry.path}: {error.message}"))


def parse_go_name(encoded: str) -> Reference:
    """The repository of a file name of the Go tool: base64url of ``registry/repository``.

    Raises:
        InvalidValueError: it is not one.
    """
    try:
        name = base64.urlsafe_b64decode(encoded).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidValueError(f"{encoded!r} is not base64url of a repository's name") from error
    name = name.removeprefix(f"{LOCAL_REGISTRY}/")
    if name == UNNAMED_NAME:
        return UNNAMED
    ref = Reference.parse(name)
    if ref.tag is not None or ref.digest is not None:
        raise InvalidValueError(f"{name!r} is not a repository's name")
    return ref


@dataclass(frozen=True, slots=True)
class _Work:
    store: Store
    go_storage: str
    run: Run
    lease: Lease
    count: _Count

    def adopt_manifest(self, ref: Reference, desc: Descriptor, refs: Refs) -> bool:
        """Bring a manifest with everything below it, and keep it; False (and told) when it is not whole there."""
        try:
            self._bring(desc)
            for item in graph.walk(self.store.blobs, desc):
                self._bring(item)
            refs.add_root(ref, desc, self.store.describe(self.store.blobs, desc, ()), self.lease)
        except FileSystemError:
            raise
        except KitError as error:
            reason = f"{ref.with_digest(desc.digest)}: {error.message}"
            self.count.skipped.append(reason)
            self.run.observer(Message("warning", f"left out {reason}"))
            return False
        self.count.manifests += 1
        return True

    def adopt_tags(self, repositories: list[_Repository], refs: Refs) -> None:
        """Set the tags of what is one repository for us; where tags meet, the newest wins, and the rest is told."""
        ref = repositories[0].ref
        wanted: dict[str, list[tuple[int, int, Descriptor]]] = {}
        for repository in repositories:
            for tag, desc in repository.tags:
                stamp = (self._written_ns(desc), repository.written_ns, desc)
                wanted.setdefault(tag, []).append(stamp)
        for tag, found in wanted.items():
            tagged = ref.with_tag(tag)
            found.sort(key=lambda item: item[:2], reverse=True)
            if (ours := self._ours(tagged)) is not None:
                found.append(ours)
                found.sort(key=lambda item: item[0], reverse=True)
            newest = found[0][2]
            if ours is None or ours[2].digest != newest.digest:
                details = self.store.describe(self.store.blobs, newest, ())
                refs.tag(tagged, newest, details, self.lease)
                self.count.tags += 1
            for loser in {item[2].digest: item[2] for item in found if item[2].digest != newest.digest}:
                self.run.observer(
                    Message(
                        "warning",
                        f"{tagged} was there twice: the newer, {newest.digest}, has the tag; "
                        f"the other is {ref.with_digest(loser)}",
                    )
                )

    def _ours(self, tagged: Reference) -> tuple[int, int, Descriptor] | None:
        try:
            return self.store.refs.tagged_ns(tagged), 0, self.store.refs.resolve(tagged)
        except NotFoundError:
            return None

    def _written_ns(self, desc: Descriptor) -> int:
        path = self._source(desc)
        with told("reading", path):
            return os.stat(path).st_mtime_ns

    def _source(self, desc: Descriptor) -> str:
        return f"{self.go_storage}/blobs/{desc.digest.algorithm}/{desc.digest.encoded}"

    def _bring(self, desc: Descriptor) -> None:
        """Have a blob in our store: linked, reflinked or copied. Whoever reads it verifies it."""
        self.run.cancel.check()
        if self.store.blobs.hold(desc.digest, desc.size, self.lease):
            return
        source = self._source(desc)
        try:
            actual = os.stat(source).st_size
        except OSError as error:
            raise NotFoundError(f"blob {desc.digest} is not in {self.go_storage}") from error
        if actual != desc.size:
            raise IntegrityError(f"blob {desc.digest} of {self.go_storage}", f"{desc.size} bytes", f"{actual} bytes")
        if self._link(source, desc):
            self.count.linked += 1
            return
        with self.store.blobs.create(self.lease) as new:
            if _reflink(source, new.fd):
                new.commit(desc.digest, desc.size)
                self.count.linked += 1
                return
        with told("reading", source), open(os.open(source, READ_FILE), "rb", buffering=0) as reader:
            self.store.blobs.put(desc, reader, _ignore_size, self.lease)
        self.count.copied += 1

    def _link(self, source: str, desc: Descriptor) -> bool:
        temporary = self.store.layout.temporary(self.lease.id)
        try:
            os.link(source, temporary)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise FileSystemError.wrap(error, "writing to", self.store.layout.root) from error
            return False
        self.store.blobs.publish(temporary, desc.digest)
        with told("writing to", self.store.layout.root):
            remove_file(temporary)  # still there where another adoption was faster: both were names of one file
        return True


def _mark_begun(store: Store) -> None:
    layout = store.layout
    with told("creating the store", layout.root):
        os.makedirs(layout.root, exist_ok=True)
        if not os.path.exists(layout.adopting_file):
            replace_file(f"{layout.adopting_file}.{unique_name()}", layout.adopting_file, b"", durable=False)
    layout.prepare()


def _read_manifests(content: bytes, path: str) -> tuple[Descriptor, ...]:
    table = expect_map(gojson.loads(content, path), path)
    return tuple(Descriptor.from_json(item, path) for item in expect_list(table.get("manifests"), path))


def _read_tags(content: bytes, path: str) -> tuple[tuple[str, Descriptor], ...]:
    table = expect_map(gojson.loads(content, path), path)
    for tag in table:
        check_tag(tag)
    return tuple((tag, Descriptor.from_json(item, path)) for tag, item in table.items())


def _reflink(source: str, target: int) -> bool:
    """Make the empty file ``target`` share the bytes of ``source``; False where the file system cannot."""
    with suppress(OSError):
        descriptor = os.open(source, READ_FILE)
        try:
            return share(descriptor, target)
        finally:
            os.close(descriptor)
    return False


def _ignore_size(size: int) -> None:
    """Adoption has no bar: nearly always nothing is moved."""
