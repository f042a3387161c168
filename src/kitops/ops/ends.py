"""The two ends of a copy, open: where content comes from, and where it goes to."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kitops.content.copy import Copied, is_manifest
from kitops.content.events import Message
from kitops.content.protocols import Sink
from kitops.errors import InvalidValueError, NotFoundError
from kitops.layout.archive import open_archive
from kitops.layout.directory import open_directory
from kitops.layout.index import name_of
from kitops.oci.reference import DEFAULT_TAG, UNNAMED, Reference, check_tag
from kitops.oci.subject import is_fallback_tag
from kitops.ops.locate import complete
from kitops.store.graph import lease_tree
from kitops.store.referrers import find_referrers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kitops.content.protocols import Reader, Run, Source
    from kitops.layout.contents import Contents
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.ops.location import Location
    from kitops.ops.place import Place
    from kitops.registry.repository import Repository


@dataclass(frozen=True, slots=True)
class Root:
    """What is copied.

    Args:
        desc: the manifest or index.
        name: what it is called: a full reference with its tag, or whatever a layout calls it; None by digest.
    """

    desc: Descriptor
    name: str | None

    @property
    def reference(self) -> Reference | None:
        """The reference with a tag that its name is, if it is one."""
        return parse_name(self.name)

    @property
    def tag(self) -> str | None:
        """The tag of its name, or the name itself where it may be a tag."""
        ref = self.reference
        return parse_bare_tag(self.name) if ref is None else ref.tag


@dataclass(frozen=True, slots=True)
class Origin:
    """Where content comes from, while the block that gave it runs.

    Args:
        source: has it.
        find_referrers: what refers to a manifest there.
        resolve: the root that a location names.
        list_tags: every tag or name, but no referrers index.
        ref: its repository, where it is in a registry.
    """

    source: Source
    find_referrers: Callable[[Digest], list[Descriptor]]
    resolve: Callable[[Location], Root]
    list_tags: Callable[[], list[str]]
    ref: Reference | None = None


class Keeper(Sink, Protocol):
    """A sink that also keeps manifests without a tag."""

    def keep(self, desc: Descriptor) -> None:
        """Keep a manifest that is here, so that its subject finds it."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """Where content goes to.

    Args:
        sink: takes it.
        tags: what the sink is to call the root; none: it is kept by its digest.
        names: the same for people.
        is_same: it is where the content comes from: only tags are set.
    """

    sink: Keeper
    tags: tuple[str, ...]
    names: tuple[str, ...]
    is_same: bool = False

    def finish(self, desc: Descriptor) -> None:
        """Name the root, now that everything below it is here."""
        for tag in self.tags:
            self.sink.tag(desc, tag)
        if not self.tags:
            self.sink.keep(desc)


# --- where content comes from


@contextmanager
def open_origin(place: Place, location: Location) -> Iterator[Origin]:
    """Open the place that ``location`` names; what it names there is looked up by :attr:`Origin.resolve`.

    Raises:
        KitError: it cannot be opened or reached.
    """
    if location.kind == "registry":
        with place.registry(location.references[0], mirrored=True) as repository:
            yield repository_origin(repository, location.references[0], place.run)
    elif location.kind == "store":
        with _open_store_origin(place, location) as origin:
            yield origin
    elif location.kind == "directory":
        yield _layout_origin(open_directory(location.path, place.run))
    else:
        with open_archive(location.path, place.run) as contents:
            yield _layout_origin(contents)


def repository_origin(repository: Repository, ref: Reference, run: Run) -> Origin:
    """An open repository of a registry as an origin; ``ref`` names it, ``run`` is told of a tag that is missing."""

    def resolve(location: Location) -> Root:
        wanted = complete(location.reference, run)
        return Root(repository.resolve(wanted.pointer), _name(wanted))

    def list_tags() -> list[str]:
        return [tag for tag in repository.tags() if not is_fallback_tag(tag)]

    return Origin(repository, repository.referrers, resolve, list_tags, ref)


@contextmanager
def _open_store_origin(place: Place, location: Location) -> Iterator[Origin]:
    ref = location.references[0] if location.references else UNNAMED
    store = place.store
    with store.lease("read", optional=True) as lease:

        def resolve(location: Location) -> Root:
            wanted = complete(location.reference, place.run)
            desc = store.refs.hold(wanted, lease)
            if store.refs.details(wanted).absent:
                remote = store.refs.find_remote(wanted, desc.digest)
                hint = f"kit pull {remote}" if remote else "pull it again from where it came"
                raise NotFoundError(f"{wanted} is not whole in the store", hint=hint)
            return Root(desc, _name(wanted))

        def list_tags() -> list[str]:
            return [row.reference.tag for row in store.refs.list(ref) if row.reference.tag is not None]

        def find(subject: Digest) -> list[Descriptor]:
            found = find_referrers(store, subject)
            for desc in found:
                lease_tree(store.blobs, desc, lease)
            return found

        yield Origin(store.repository(ref, lease), find, resolve, list_tags)


def _layout_origin(contents: Contents) -> Origin:
    def resolve(location: Location) -> Root:
        desc = contents.find_only() if location.name is None else contents.resolve(location.name)
        return Root(desc, name_of(desc))

    def list_tags() -> list[str]:
        return [name for name in contents.names().texts if not is_fallback_tag(name)]

    return Origin(contents, contents.referrers, resolve, list_tags)


def _name(ref: Reference) -> str | None:
    return None if ref.tag is None else str(ref.with_tag(ref.tag))


def parse_name(name: str | None) -> Reference | None:
    """The reference with a tag that a layout's name is, or None."""
    try:
        ref = Reference.parse(name or "")
    except InvalidValueError:
        return None
    return ref if ref.tag is not None and ref.digest is None else None


def parse_bare_tag(name: str | None) -> str | None:
    """A layout's name where it is a tag and nothing more, or None."""
    try:
        check_tag(name or "")
    except InvalidValueError:
        return None
    return name


# --- where it goes to


@contextmanager
def open_target(place: Place, location: Location, root: Root, origin: Origin) -> Iterator[Target]:
    """Open the place that ``location`` names for ``root``; not an archive, which is written as a whole.

    Raises:
        InvalidValueError: it names a digest that is not the root's, or nothing to call it by.
        KitError: it cannot be opened or reached.
    """
    if location.kind == "directory":
        name = location.name or root.name
        directory = open_directory(location.path, place.run, create=True)
        yield Target(directory, (name,) if name else (), (name or str(root.desc.digest),))
        return
    references = tuple(_destination(place, ref, root) for ref in location.references) or (_own_name(root),)
    tags = tuple(ref.tag for ref in references if ref.tag is not None)
    names = tuple(map(str, references))
    if location.kind == "store":
        with place.store.lease("copy") as lease:
            lease.add(root.desc.digest)
            yield Target(place.store.repository(references[0], lease), tags, names)
        return
    with place.registry(references[0]) as repository:
        source = origin.ref
        if source is not None and source.registry == references[0].registry:
            is_same = source.repository == references[0].repository
            yield Target(MountingSink(repository, source.locator), tags, names, is_same)
        else:
            yield Target(repository, tags, names)


def _destination(place: Place, ref: Reference, root: Root) -> Reference:
    if ref.digest is not None and ref.digest != root.desc.digest:
        raise InvalidValueError(f"{ref} cannot be written: what is copied is {root.desc.digest}")
    if ref.tag is not None or ref.digest is not None:
        return ref
    if root.name is None:
        return ref.with_digest(root.desc.digest)
    named = ref.with_tag(root.tag or DEFAULT_TAG)
    place.run.observer(Message("info", f"{ref} has no tag: using {named}"))
    return named


def _own_name(root: Root) -> Reference:
    return root.reference or UNNAMED.with_digest(root.desc.digest)


class MountingSink:
    """A repository that takes blobs over from another one of its registry, where the registry lets it.

    Args:
        repository: the sink.
        source: the other one, as registry and repository.
    """

    def __init__(self, repository: Repository, source: str) -> None:
        self._repository = repository
        self._source = source
        self.mounted = 0

    def exists(self, desc: Descriptor) -> bool:
        """Whether it has the blob, maybe since now, or the manifest."""
        if self._repository.exists(desc):
            return True
        if is_manifest(desc) or not self._repository.mount_from(desc, self._source):
            return False
        self.mounted += 1
        return True

    def put(self, desc: Descriptor, reader: Reader, moved: Callable[[int], None]) -> None:
        self._repository.put(desc, reader, moved)

    def tag(self, desc: Descriptor, tag: str) -> None:
        self._repository.tag(desc, tag)

    def keep(self, desc: Descriptor) -> None:
        self._repository.keep(desc)


def add_up(copied: Iterable[Copied]) -> Copied:
    """What several copies moved in all."""
    rows = tuple(copied)
    return Copied(sum(one.moved for one in rows), sum(one.moved_size for one in rows), sum(one.existed for one in rows))
