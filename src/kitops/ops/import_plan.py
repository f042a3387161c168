"""What an import will make: its Kitfile, and the layers with the files that go into each, before any of them comes."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from kitops.content.events import Message
from kitops.errors import PackError, SourceError
from kitops.formats.plan import plan_layers
from kitops.importers.pick import pick
from kitops.importers.provenance import Import, ImportedFile, build_predicate
from kitops.importers.tree import check_paths, refuse_strays
from kitops.kitfile.dump import dump
from kitops.kitfile.parse import parse
from kitops.layers.codec import Codec
from kitops.layers.mcpb import directory_error
from kitops.layers.outline import ListedFile, outline_directory, outline_file
from kitops.layers.walk import excluded_error
from kitops.layers.write import Format
from kitops.oci.digest import Digest
from kitops.oci.reference import Reference
from kitops.ops.describe_tree import describe_tree, read_rules
from kitops.ops.layer_work import LayerWork
from kitops.ops.parents import list_paths, open_parents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from kitops.errors import Problem
    from kitops.formats.plan import PlannedLayer
    from kitops.importers.tree import Origin, RemoteFile, Tree
    from kitops.kitfile.schema import Kitfile
    from kitops.layers.ignore import IgnoreRules
    from kitops.oci.descriptor import Descriptor
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
        symlinks: of a directory: refuse symbolic links, follow them, or leave them out.
        edit: given the Kitfile's text before anything is fetched; what it returns is used.
        version: of kitops, for the provenance.
    """

    references: tuple[Reference, ...] = ()
    kitfile_text: bytes | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    prefer: str = ""
    depth: int = 0
    symlinks: Literal["refuse", "follow", "skip"] = "refuse"
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


@dataclass(frozen=True, slots=True)
class Plan:
    """An import before anything is fetched.

    Args:
        origin: where from.
        kitfile: of the ModelKit.
        layers: of it, in its order.
        asked: how it was asked for, for the provenance.
        version: of kitops.
        started: when, RFC 3339.
    """

    origin: Origin
    kitfile: Kitfile
    layers: Sequence[LayerWork]
    asked: Mapping[str, Json]
    version: str
    started: str

    def tell(self) -> dict[str, Json]:
        """The provenance of what came."""
        files = {
            path: ImportedFile(path, file.size, _digests(file, layer))
            for layer in self.layers
            for path, file in layer.files.items()
        }
        return tell_import(self.origin, list(files.values()), self.asked, self.version, self.started)


def plan_import(place: Place, tree: Tree, options: ImportOptions) -> Plan:
    """Choose files, Kitfile and layers.

    Raises:
        KitError: see :func:`kitops.ops.import_.import_`.
    """
    started = now()
    if not tree.files:
        raise SourceError(f"there are no files in {tree.origin.uri}", hint="check the source, and its revision")
    check_paths(tree.files, tree.origin)

    def tell(text: str) -> None:
        place.run.observer(Message("info", text))

    wanted = pick(tree.files, include=options.include, exclude=options.exclude, prefer=options.prefer, tell=tell)
    rules = read_rules(tree, wanted)
    kitfile, asked = _choose_kitfile(place, tree, wanted, rules, options)
    with ExitStack() as stack:
        parent_paths = list_paths(open_parents(place, kitfile, stack))
    planned = plan_layers(kitfile, form=Format.TAR, codec=Codec.NONE, parent_paths=parent_paths)
    layers = _match(planned, wanted, rules, tree)
    return Plan(tree.origin, kitfile, layers, describe_options(options) | asked, options.version, started)


def tell_import(
    origin: Origin, files: Sequence[ImportedFile], asked: Mapping[str, Json], version: str, started: str
) -> dict[str, Json]:
    """The provenance of an import that is done now."""
    done = Import(origin=origin, files=files, version=version, parameters=asked, started=started, finished=now())
    return build_predicate(done)


def describe_options(options: ImportOptions) -> dict[str, Json]:
    """How an import was asked for, as its provenance tells it."""
    given: dict[str, Json] = {
        "include": list(options.include),
        "exclude": list(options.exclude),
        "prefer": options.prefer,
        "depth": options.depth,
        "symlinks": "" if options.symlinks == "refuse" else options.symlinks,
    }
    return {key: value for key, value in given.items() if value}


def describe_kitfile(text: bytes, how: str) -> dict[str, Json]:
    """A Kitfile that was not the generated one (``how``: ``"given"``, ``"edited"``), as provenance tells it."""
    return {"kitfile": {"from": how, "digest": {"sha256": Digest.of(text).encoded}}}


def default_reference(origin: Origin) -> Reference:
    """What a ModelKit is called when nobody says: the source's own name, as registries spell names."""
    name = "/".join(filter(None, (_UNFIT.sub("-", word).strip("._-") for word in origin.name.lower().split("/"))))
    return Reference.parse(f"{name or 'import'}:latest")


def now() -> str:
    """The time, RFC 3339."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _choose_kitfile(
    place: Place, tree: Tree, files: Sequence[RemoteFile], rules: IgnoreRules, options: ImportOptions
) -> tuple[Kitfile, dict[str, Json]]:
    """The Kitfile that was given, or the generated one; edited where that is asked for. And which of them it is."""
    if options.kitfile_text is not None:
        text, how = options.kitfile_text, "given"
    else:
        blobs = place.store.blobs

        def find_blob(digest: Digest) -> Path | None:
            return blobs.path(digest) if blobs.exists(digest) else None

        kitfile = describe_tree(tree, files, place.run, rules=rules, depth=options.depth, find_blob=find_blob)
        if options.edit is None:
            return kitfile, {}
        generated = dump(kitfile)
        edited = options.edit(generated)
        text, how = edited.encode(), "edited" if edited != generated else ""

    def warn(problem: Problem) -> None:
        place.run.observer(Message("warning", f"Kitfile: {problem}"))

    return parse(text, "Kitfile", warn=warn), describe_kitfile(text, how) if how else {}


def _match(
    planned: Sequence[PlannedLayer], files: Sequence[RemoteFile], rules: IgnoreRules, tree: Tree
) -> list[LayerWork]:
    """Each layer of the Kitfile with the files that go into it.

    Raises:
        PackError: a path of the Kitfile is not in the source, or left out by its ``.kitignore``.
        SourceError: a file of a layer is a link that nobody brings.
    """
    listed = {file.path: file for file in files}
    missing = [
        f"{layer.part.field}: {layer.part.path}"
        for layer in planned
        if layer.part.path not in listed and not any(_is_below(path, layer.part.path) for path in listed)
    ]
    if missing:
        raise PackError(
            f"{tree.origin.name} does not have what the Kitfile names: {', '.join(missing)}",
            hint="check the paths, and the filters --include and --exclude",
        )
    listing = [ListedFile(file.path, file.size, file.mode) for file in files]
    layers = [_lay_out(layer, listed, listing, rules) for layer in planned]
    refuse_strays((file for layer in layers for file in layer.files.values()), tree.origin)
    return layers


def _lay_out(
    planned: PlannedLayer, listed: Mapping[str, RemoteFile], listing: Sequence[ListedFile], rules: IgnoreRules
) -> LayerWork:
    path = planned.part.path
    if file := listed.get(path):
        if rules.is_ignored(path, is_dir=False):
            raise excluded_error(path)
        outline = outline_file(ListedFile(file.path, file.size, file.mode))
        return LayerWork(replace(planned, form=Format.RAW), outline, {path: file})
    if planned.form is not Format.TAR:
        raise directory_error(planned.part.field, path)
    outline = outline_directory(listing, path, rules, planned.deeper)
    names = (member.name.decode() for member in outline.members if not member.is_dir)
    return LayerWork(planned, outline, {name: listed[name] for name in names})


def _digests(file: RemoteFile, layer: LayerWork) -> dict[str, str]:
    """What is known of a file's bytes, by algorithm as SLSA names them."""
    found = {"sha256": layer.digests.get(file.path, ""), "gitBlob": file.git_blob}
    return {key: value for key, value in found.items() if value}


def _is_below(path: str, directory: str) -> bool:
    return directory == "." or path.startswith(f"{directory}/")
