"""``kit diff``: what differs between two ModelKits: Kitfile fields, annotations, layers, and the files in them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from kitops.content.events import Advanced, Finished, Planned, Started
from kitops.errors import printable
from kitops.kitfile.dump import to_json
from kitops.layers.codec import Codec
from kitops.layers.compose import read_files
from kitops.layers.cover import Cover
from kitops.layers.members import list_files
from kitops.layers.raw import raw_member
from kitops.layers.write import Format
from kitops.oci.gojson import dumps, sort_maps
from kitops.oci.reference import Reference
from kitops.ops.locate import check_pointer, locate
from kitops.ops.reading import check_here, layer_content, read_kit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kitops.content.protocols import Run
    from kitops.formats.modelkit import KitLayer, ModelKit
    from kitops.layers.untar import Member
    from kitops.oci.digest import Digest
    from kitops.oci.gojson import Json
    from kitops.ops.locate import Located, Where
    from kitops.ops.place import Place

Change = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of the Kitfile, or one annotation; None stands for absent."""

    field: str
    before: Json
    after: Json

    @property
    def change(self) -> Change:
        return "added" if self.before is None else "removed" if self.after is None else "changed"


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file in a layer; sizes in bytes, None on the side that lacks it. ``mode`` tells that only modes differ."""

    path: str
    change: Change
    before_size: int | None
    after_size: int | None
    is_mode_only: bool = False


@dataclass(frozen=True, slots=True)
class LayerChange:
    """A layer that is not the same on both sides, and which of its files differ."""

    kind: str
    path: str
    change: Change
    before: KitLayer | None
    after: KitLayer | None
    files: tuple[FileChange, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """All that differs between the ModelKits ``a`` and ``b``. ``shared`` are the layers of ``b`` that ``a`` has too."""

    a: ModelKit
    b: ModelKit
    fields: tuple[FieldChange, ...]
    annotations: tuple[FieldChange, ...]
    shared: tuple[KitLayer, ...]
    layers: tuple[LayerChange, ...]

    @property
    def is_equal(self) -> bool:
        """Whether Kitfile and layers are equal; annotations, and with them the digest, may differ all the same."""
        return not (self.fields or self.layers)

    @property
    def is_config_equal(self) -> bool:
        return self.a.manifest.config.digest == self.b.manifest.config.digest

    def to_json(self) -> dict[str, Json]:
        """``equal, a, b, configEqual, annotationsEqual, kitfile, annotations, sharedLayers, layers``."""
        return {
            "equal": self.is_equal,
            "a": str(self.a.desc.digest),
            "b": str(self.b.desc.digest),
            "configEqual": self.is_config_equal,
            "annotationsEqual": not self.annotations,
            "kitfile": [_field_json(change) for change in self.fields],
            "annotations": [_field_json(change) for change in self.annotations],
            "sharedLayers": [_layer_json(layer) for layer in self.shared],
            "layers": [
                {
                    "type": layer.kind,
                    "path": layer.path,
                    "change": layer.change,
                    "before": _layer_json(layer.before) if layer.before else None,
                    "after": _layer_json(layer.after) if layer.after else None,
                    "files": [_file_json(file) for file in layer.files],
                }
                for layer in self.layers
            ],
        }


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two, and what of its layers was looked into for what it hides."""

    located: Located
    kit: ModelKit
    names: dict[Digest, list[tuple[str, bool]]] = field(default_factory=dict)

    def cover_of(self, layer: KitLayer, run: Run) -> Cover:
        """What the newer layers of an image have: their files are there instead of those of ``layer``."""
        cover = Cover()
        for newer in self.kit.layers[self.kit.layers.index(layer) + 1 :]:
            for path, is_dir in self._list_names(newer, run):
                cover.add(path, is_dir=is_dir)
        return cover

    def _list_names(self, layer: KitLayer, run: Run) -> list[tuple[str, bool]]:
        if layer.desc.digest not in self.names:
            found: list[tuple[str, bool]] = []

            def take(member: Member, parts: Iterator[memoryview]) -> None:
                found.append((member.path, member.is_dir))
                for _ in parts:  # only names are wanted
                    pass

            with self.located.source.stream(layer.desc) as reader:
                read_files(reader, layer_content(layer, self.located.ref), run, take, lambda _: None)
            self.names[layer.desc.digest] = found
        return self.names[layer.desc.digest]


def diff(place: Place, a: str, b: str) -> Difference:
    """Compare two references; ``local://`` and ``remote://`` in front say where to look, else the store comes first.

    Raises:
        InvalidValueError: a reference does not parse, or has neither tag nor digest.
        NotFoundError: there is no such ModelKit.
    """
    parsed = [parse_side(text) for text in (a, b)]
    with ExitStack() as stack:
        located = [stack.enter_context(locate(place, ref, where)) for ref, where in parsed]
        one, other = (_Side(found, read_kit(found, place.run)) for found in located)
        shared, layers = _diff_layers(one, other, place.run)
    return Difference(
        one.kit,
        other.kit,
        tuple(_diff_json(to_json(one.kit.kitfile), to_json(other.kit.kitfile), "")),
        tuple(_diff_json(dict(one.kit.manifest.annotations), dict(other.kit.manifest.annotations), "")),
        shared,
        layers,
    )


def parse_side(text: str) -> tuple[Reference, Where]:
    """A reference, and where to look for it; as :func:`diff` takes them.

    Raises:
        InvalidValueError: it does not parse, or has neither tag nor digest.
    """
    where: Where = "local-first"
    if text.startswith("local://"):
        where, text = "local", text.removeprefix("local://")
    elif text.startswith("remote://"):
        where, text = "remote", text.removeprefix("remote://")
    ref = Reference.parse(text)
    check_pointer(ref)
    return ref, where


def _diff_json(before: Json, after: Json, field: str) -> Iterator[FieldChange]:
    """The leaves that differ. Elements of lists are paired by their path or name, so that one more moves no other.

    Of a list that has another order, the paths or names are told.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        if any(before.get(key, after.get(key)) is None for key in before.keys() ^ after.keys()):
            yield FieldChange(field, before, after)  # a null came or went, which would look absent on both sides
            return
        for key in dict.fromkeys((*before, *after)):
            yield from _diff_json(before.get(key), after.get(key), f"{field}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and _is_keyed(before) and _is_keyed(after):
        old = {_identity(item): (number, item) for number, item in enumerate(before)}
        new = {_identity(item): (number, item) for number, item in enumerate(after)}
        for key in dict.fromkeys((*old, *new)):
            number = (new.get(key) or old[key])[0]
            yield from _diff_json(old.get(key, (0, None))[1], new.get(key, (0, None))[1], f"{field}[{number}]")
        order: list[list[Json]] = [[key for key in old if key in new], [key for key in new if key in old]]
        if order[0] != order[1]:
            yield FieldChange(field, *order)
    elif dumps(sort_maps(before)) != dumps(sort_maps(after)):  # for Python, 1 equals true
        yield FieldChange(field, before, after)


def _is_keyed(items: Sequence[Json]) -> bool:
    identities = [_identity(item) for item in items]
    return all(identities) and len(set(identities)) == len(identities)


def _identity(item: Json) -> str:
    if not isinstance(item, dict):
        return ""
    return str(item.get("path") or item.get("name") or item.get("remotePath") or "")


def _diff_layers(one: _Side, other: _Side, run: Run) -> tuple[tuple[KitLayer, ...], tuple[LayerChange, ...]]:
    before = {_layer_key(layer): layer for layer in one.kit.layers}
    after = {_layer_key(layer): layer for layer in other.kit.layers}
    known = {layer.desc.digest for layer in one.kit.layers}
    shared = tuple(layer for layer in other.kit.layers if layer.desc.digest in known)
    pairs = [(before.get(key), after.get(key)) for key in dict.fromkeys((*before, *after))]
    differing = [(a, b) for a, b in pairs if a is None or b is None or a.desc.digest != b.desc.digest]
    size = sum(layer.desc.size for pair in differing for layer in pair if layer)
    run.observer(Planned("diff", len(differing), size))
    return shared, tuple(_diff_layer(one, a, other, b, run) for a, b in differing)


def _layer_key(layer: KitLayer) -> tuple[str, str]:
    """What pairs layers: kind and path; those of an image may have none."""
    return layer.kind.value if layer.kind else "", layer.path or str(layer.desc.digest)


def _diff_layer(one: _Side, a: KitLayer | None, other: _Side, b: KitLayer | None, run: Run) -> LayerChange:
    old = _read_files(one, a, run) if a else {}
    new = _read_files(other, b, run) if b else {}
    kind, path = _layer_key(a or b)  # type: ignore[arg-type]  # one of the two is there
    change: Change = "added" if a is None else "removed" if b is None else "changed"
    return LayerChange(kind, path, change, a, b, tuple(_diff_files(old, new)))


@dataclass(frozen=True, slots=True)
class _File:
    size: int
    mode: int | None
    digest: Digest


def _diff_files(old: dict[str, _File], new: dict[str, _File]) -> Iterator[FileChange]:
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        if before is None and after is not None:
            yield FileChange(path, "added", None, after.size)
        elif after is None and before is not None:
            yield FileChange(path, "removed", before.size, None)
        elif before is not None and after is not None and before != after:
            if before.digest != after.digest:
                yield FileChange(path, "changed", before.size, after.size)
            elif None not in (before.mode, after.mode) and before.mode != after.mode:
                yield FileChange(path, "changed", before.size, after.size, is_mode_only=True)


def _read_files(side: _Side, layer: KitLayer, run: Run) -> dict[str, _File]:
    """The files of one layer that no newer one hides; a raw one is its own file and need not be read."""
    if layer.form is Format.RAW and layer.path and raw_member(layer.desc, layer.path, layer.label).is_dir:
        return {}
    if layer.form is Format.RAW and layer.codec is Codec.NONE:
        return {layer.path: _File(layer.desc.size, None, layer.desc.digest)}
    item = f"{side.located.ref} {layer.path} {layer.desc.digest}"
    check_here(side.located.source, [layer.desc])
    run.observer(Started(item, layer.label, layer.desc.size))
    with side.located.source.open(layer.desc) as reader:
        found = {
            member.path: _File(member.size, member.mode, member.digest)
            for member in list_files(
                reader,
                layer.form,
                layer.codec,
                layer_path=layer.path,
                base=layer.base,
                within=layer.within,
                what=f"layer {printable(layer.label)} of {side.located.ref}",
                run=run,
            )
        }
    if found and layer.within:
        cover = side.cover_of(layer, run)
        found = {path: file for path, file in found.items() if not cover.hides(path, is_dir=False)}
    run.observer(Advanced(item, layer.desc.size))
    run.observer(Finished(item, "done"))
    return found


def _field_json(change: FieldChange) -> dict[str, Json]:
    return {"field": change.field, "change": change.change, "before": change.before, "after": change.after}


def _layer_json(layer: KitLayer) -> dict[str, Json]:
    return {
        "type": layer.kind.value if layer.kind else None,
        "path": layer.path,
        "mediaType": layer.desc.media_type,
        "digest": str(layer.desc.digest),
        "size": layer.desc.size,
    }


def _file_json(file: FileChange) -> dict[str, Json]:
    return {
        "path": file.path,
        "change": file.change,
        "beforeSize": file.before_size,
        "afterSize": file.after_size,
        **({"modeOnly": True} if file.is_mode_only else {}),
    }
