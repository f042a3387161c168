"""``kit import``: a model or dataset from where it lives becomes a ModelKit in the local store.

A part of the Kitfile that is one file becomes a raw layer: of what lies in LFS the source knows the SHA-256, which is
the layer's digest, so what is there already is not fetched. Directories become tar layers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from kitops.content.copy import copy
from kitops.content.events import Message
from kitops.errors import InvalidValueError, PackError
from kitops.formats.build import build_modelkit
from kitops.formats.plan import plan_layers
from kitops.importers.directory import open_directory, origin_of
from kitops.importers.pick import pick
from kitops.importers.provenance import PREDICATE_TYPE, Import, ImportedFile, build_predicate, build_statement
from kitops.importers.tree import check_paths
from kitops.kitfile.dump import dump
from kitops.kitfile.parse import NAMES, parse
from kitops.layers.codec import Codec
from kitops.layers.write import Format
from kitops.oci.reference import UNNAMED, Reference
from kitops.ops.attach import IN_TOTO, SAYS, attach_statement, has_statement
from kitops.ops.describe_tree import describe_tree
from kitops.ops.gather import Gathering, Work
from kitops.ops.locate import check_remote
from kitops.ops.pack import PackOptions, keep, pack, put_built
from kitops.ops.pack_to import pack_to
from kitops.ops.through import ThroughSource

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from kitops.errors import Problem
    from kitops.importers.tree import Origin, RemoteFile, Tree
    from kitops.kitfile.schema import Kitfile
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.oci.gojson import Json
    from kitops.ops.place import Place

_UNFIT: Final = re.compile(r"[^a-z0-9._-]+|[._-]{2,}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How to import.

    Args:
        references: what the ModelKit is to be called; none takes the source's own name (``org/repo:latest``).
        kitfile_text: a Kitfile instead of the generated one.
        include: globs, one of which a file's path must match; none takes every file.
        exclude: globs of files that are left out.
        prefer: a format of weights: others beside it are left out.
        depth: as of ``kit init``.
        edit: given the Kitfile's text before anything is fetched; what it returns is used.
        version: of kitops, for the provenance.
    """

    references: tuple[Reference, ...] = ()
    kitfile_text: bytes | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    prefer: str = ""
    depth: int = 0
    edit: Callable[[str], str] | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was imported.

    Args:
        desc: of the ModelKit's manifest.
        references: what it is called.
        kitfile: of it.
        origin: where it is from.
        predicate: SLSA v1 provenance of the import: JSON-compatible.
        size: bytes of all layers.
        fetched_size: bytes that came from the source.
    """

    desc: Descriptor
    references: tuple[Reference, ...]
    kitfile: Kitfile
    origin: Origin
    predicate: Mapping[str, Json] = field(repr=False)
    size: int = 0
    fetched_size: int = 0


def import_(place: Place, tree: Tree, options: ImportOptions | None = None) -> Imported:
    """Import ``tree`` into the local store.

    Raises:
        InvalidValueError: the filters leave nothing, or the Kitfile is not right.
        PackError: a path of the Kitfile is not in the source.
        SourceError: the source does not give what it lists.
        IntegrityError: a file is not what the source said.
        NetworkError: the connection failed; run again, it goes on.
        FileSystemError: the disk is full.
    """
    options = options or ImportOptions()
    ready = _prepare(place, tree, options)
    references = options.references or (default_reference(tree.origin),)
    with place.store.lease("import") as lease:
        gathering = Gathering(place.store, tree, lease, place.run)
        layers = gathering.make_layers(ready.parts)
        desc = keep(place, build_modelkit(ready.kitfile, layers, {}), references, lease)
        predicate = ready.tell(gathering)
        if not has_statement(place, desc, PREDICATE_TYPE):
            statement = build_statement(predicate, references[0].locator, desc.digest)
            attach_statement(place, desc, statement, references, lease)
    size = sum(layer.record.size for layer in layers)
    return Imported(desc, references, ready.kitfile, tree.origin, predicate, size, gathering.fetched_size)


def import_to(place: Place, tree: Tree, targets: Sequence[Reference], options: ImportOptions | None = None) -> Imported:
    """Import ``tree`` straight into a registry: its large files go through memory, and are not kept here.

    Args:
        place: where the small files are kept meanwhile.
        tree: the source.
        targets: references of registries.
        options: as of :func:`import_`; its references are not used.

    Raises:
        KitError: as :func:`import_`, and whatever the registry answers.
    """
    options = options or ImportOptions()
    for target in targets:
        check_remote(target)
    ready = _prepare(place, tree, options)
    moved = 0
    with place.store.lease("import") as lease:
        gathering = Gathering(place.store, tree, lease, place.run, through=True)
        layers = gathering.make_layers(ready.parts)
        built = build_modelkit(ready.kitfile, layers, {})
        desc = put_built(place, built, lease)
        predicate = ready.tell(gathering)
        statement = build_statement(predicate, targets[0].locator, desc.digest)
        said = attach_statement(place, desc, statement, (), lease)
        source = ThroughSource(place.store.repository(UNNAMED, lease), gathering.openers)
        for target in targets:
            with place.registry(target) as sink:
                moved += copy(source, sink, desc, place.run, verb="import").moved_size
                if target.tag is not None:
                    sink.tag(desc, target.tag)
                if not any(one.annotations.get(SAYS) == PREDICATE_TYPE for one in sink.referrers(desc.digest, IN_TOTO)):
                    copy(source, sink, said, place.run, verb="import")
                    sink.keep(said)
    size = sum(layer.record.size for layer in layers)
    fetched = gathering.fetched_size + (moved if gathering.openers else 0)  # else all of it came before
    return Imported(desc, tuple(targets), ready.kitfile, tree.origin, predicate, size, fetched)


@dataclass(frozen=True, slots=True)
class _Ready:
    """An import before anything is fetched."""

    origin: Origin
    kitfile: Kitfile
    parts: list[Work]
    options: ImportOptions
    started: str

    def tell(self, gathering: Gathering) -> dict[str, Json]:
        """The provenance of what came."""
        files = [file for _, found in self.parts for file in found]
        done = Import(
            origin=self.origin,
            files=[ImportedFile(file.path, file.size, gathering.digests_of(file)) for file in files],
            version=self.options.version,
            parameters=_parameters(self.options),
            started=self.started,
            finished=_now(),
        )
        return build_predicate(done)


def _prepare(place: Place, tree: Tree, options: ImportOptions) -> _Ready:
    started = _now()
    check_paths(tree.files, tree.origin)

    def tell(text: str) -> None:
        place.run.observer(Message("info", text))

    wanted = pick(tree.files, include=options.include, exclude=options.exclude, prefer=options.prefer, tell=tell)
    kitfile = _choose_kitfile(place, tree, wanted, options)
    return _Ready(tree.origin, kitfile, _match(kitfile, wanted, tree.origin), options, started)


def import_directory(
    place: Place, path: Path, options: ImportOptions | None = None, targets: Sequence[Reference] = ()
) -> Imported:
    """Pack a plain directory: with its Kitfile where it has one, else with a generated one.

    Args:
        place: takes it.
        path: the directory.
        options: as of :func:`import_`.
        targets: references of registries that it goes straight to, instead of the local store.

    Raises:
        InvalidValueError: filters are given, which a directory has in its ``.kitignore``.
        KitError: as :func:`kitops.ops.pack.pack`.
    """
    options = options or ImportOptions()
    if options.include or options.exclude or options.prefer:
        raise InvalidValueError(
            f"filters do not apply to the directory {path}", hint="name what is to be left out in its .kitignore"
        )
    started = _now()
    text = options.kitfile_text
    if text is None and not has_kitfile(path):
        tree = open_directory(path)
        generated = dump(describe_tree(tree, tree.files, place.run, depth=options.depth))
        text = (options.edit(generated) if options.edit else generated).encode()
    origin = origin_of(path)
    references = options.references or (default_reference(origin),)
    if targets:
        packed = pack_to(place, path, targets, PackOptions(kitfile_text=text))
    else:
        packed = pack(place, path, PackOptions(references=references, kitfile_text=text))
    done = Import(origin=origin, files=(), version=options.version, started=started, finished=_now())
    return Imported(
        packed.desc,
        packed.references,
        packed.kitfile,
        origin,
        build_predicate(done),
        size=packed.size,
        fetched_size=packed.new_size,
    )


def default_reference(origin: Origin) -> Reference:
    """What a ModelKit is called when nobody says: the source's own name, as registries spell names."""
    name = "/".join(filter(None, (_UNFIT.sub("-", word).strip("._-") for word in origin.name.lower().split("/"))))
    return Reference.parse(f"{name or 'import'}:latest")


def has_kitfile(path: Path) -> bool:
    """Whether a directory has a Kitfile, under any of its names."""
    return any((path / name).is_file() for name in NAMES)


def _choose_kitfile(place: Place, tree: Tree, files: Sequence[RemoteFile], options: ImportOptions) -> Kitfile:
    """The Kitfile that was given, or the generated one; edited where that is asked for."""
    if options.kitfile_text is None:
        blobs = place.store.blobs

        def find_blob(digest: Digest) -> Path | None:
            return blobs.path(digest) if blobs.exists(digest) else None

        kitfile = describe_tree(tree, files, place.run, depth=options.depth, find_blob=find_blob)
        if options.edit is None:
            return kitfile
        text = options.edit(dump(kitfile)).encode()
    else:
        text = options.kitfile_text

    def warn(problem: Problem) -> None:
        place.run.observer(Message("warning", f"Kitfile: {problem}"))

    return parse(text, "Kitfile", warn=warn)


def _match(kitfile: Kitfile, files: Sequence[RemoteFile], origin: Origin) -> list[Work]:
    """Each layer of the Kitfile with the files that go into it.

    Raises:
        PackError: a path of the Kitfile is not in the source.
    """
    listed = {file.path: file for file in files}
    found: list[Work] = []
    missing = []
    for planned in plan_layers(kitfile, form=Format.TAR, codec=Codec.NONE):
        path = planned.part.path
        if path in listed:
            found.append((replace(planned, form=Format.RAW), (listed[path],)))
            continue
        below = tuple(
            file for file in files if _is_below(file.path, path) and not _is_taken(file.path, planned.deeper, path)
        )
        if not below:
            missing.append(f"{planned.part.field}: {path}")
        found.append((planned, below))
    if missing:
        raise PackError(
            f"{origin.name} does not have what the Kitfile names: {', '.join(missing)}",
            hint="check the paths, and the filters --include and --exclude",
        )
    return found


def _is_below(path: str, directory: str) -> bool:
    return directory == "." or path.startswith(f"{directory}/")


def _is_taken(path: str, deeper: Collection[str], own: str) -> bool:
    """Whether another layer below ``own`` takes ``path``."""
    return any(_is_below(other, own) and (path == other or _is_below(path, other)) for other in deeper if other != ".")


def _parameters(options: ImportOptions) -> dict[str, Json]:
    given: dict[str, Json] = {
        "include": list(options.include),
        "exclude": list(options.exclude),
        "prefer": options.prefer,
    }
    return {key: value for key, value in given.items() if value}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
