"""Layers of other tools' formats once they have a path and a kind, and the Kitfile that is made from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kitops.formats.parts import Kind
from kitops.kitfile.classify import FileKind, classify, is_companion, is_licence, is_readme
from kitops.kitfile.schema import Code, Dataset, Docs, Kitfile, Model, Package, Prompt, clean_path
from kitops.kitfile.schema import Part as ModelPart
from kitops.layers.codec import Codec
from kitops.layers.write import Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kitops.oci.descriptor import Descriptor
    from kitops.oci.gojson import Json


@dataclass(frozen=True, slots=True)
class NamedLayer:
    """One layer of a foreign artifact.

    Args:
        desc: the blob.
        kind: what it is; None where only the Kitfile tells.
        path: the path of its content, or "" where the archive alone tells.
        form: tar or raw.
        codec: its compression.
        base: the directory that a tar layer's names are relative to.
        within: the only directory of a tar layer that belongs to the model; names are relative to it.
        type: what a part of the model is, for its Kitfile: ``tokenizer``, ``lora-adapter``.
    """

    desc: Descriptor
    kind: Kind | None
    path: str
    form: Format = Format.RAW
    codec: Codec = Codec.NONE
    base: str = ""
    within: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True)
class Named:
    """A foreign artifact that was understood.

    Args:
        kitfile: its own, or the one that was made for it.
        layers: those that hold files.
        is_authored: whether somebody wrote the Kitfile.
    """

    kitfile: Kitfile
    layers: tuple[NamedLayer, ...]
    is_authored: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What a foreign config says of its model; empty where it is silent."""

    package: Package = field(default_factory=Package)
    format: str = ""
    parameters: dict[str, Json] = field(default_factory=dict)


def make_kitfile(layers: Sequence[NamedLayer], known: Known) -> Kitfile:
    """A Kitfile in which each of ``layers`` that has a path is a part. The first weights are the model.

    Paths that lead out of the directory are left as they are: who unpacks refuses them.
    """
    paths: dict[Kind, list[str]] = {kind: [] for kind in Kind}
    types: dict[str, str] = {}
    for layer in layers:
        if layer.path and layer.kind is not None and layer.path not in paths[layer.kind]:
            paths[layer.kind].append(layer.path)
            types[layer.path] = layer.type
    weights, others = paths[Kind.MODEL], paths[Kind.MODEL_PART]
    model = None
    if weights or others:
        parts = (ModelPart(path=path, type=types[path]) for path in (*weights[1:], *others))
        model = Model(
            path=weights[0] if weights else "",
            format=known.format,
            parts=tuple(parts),
            parameters=known.parameters or None,
        )
    return Kitfile(
        package=known.package,
        model=model,
        code=tuple(Code(path=path) for path in paths[Kind.CODE]),
        datasets=tuple(Dataset(name=path, path=path) for path in paths[Kind.DATASET]),
        docs=tuple(Docs(path=path) for path in paths[Kind.DOCS]),
        prompts=tuple(Prompt(path=path) for path in paths[Kind.PROMPT]),
    )


def kinds_by_name(paths: Iterable[str]) -> dict[str, Kind]:
    """What each of ``paths`` most likely is, by its name; files that describe a model belong to it if there is one."""
    found = {path: _kind_by_name(clean_path(path).rpartition("/")[2]) for path in paths}
    if Kind.MODEL not in found.values():
        return {path: Kind.DATASET if kind is Kind.MODEL_PART else kind for path, kind in found.items()}
    return found


def _kind_by_name(name: str) -> Kind:
    if is_licence(name) or is_readme(name):
        return Kind.DOCS
    if is_companion(name):
        return Kind.MODEL_PART
    return {
        FileKind.MODEL: Kind.MODEL,
        FileKind.METADATA: Kind.MODEL_PART,
        FileKind.DOCS: Kind.DOCS,
        FileKind.DATASET: Kind.DATASET,
        FileKind.PROMPT: Kind.PROMPT,
    }.get(classify(name), Kind.CODE)


def unique_path(path: str, taken: set[str]) -> str:
    """``path``, or with a number before its suffix where it is taken; then it is taken."""
    stem, dot, suffix = path.rpartition(".")
    number = 1
    found = path
    while found in taken:
        number += 1
        found = f"{stem}-{number}.{suffix}" if dot else f"{path}-{number}"
    taken.add(found)
    return found


def text_of(table: Json, key: str) -> str:
    """The text at ``key`` of a map, else ""."""
    value = table.get(key) if isinstance(table, dict) else None
    return value if isinstance(value, str) else ""
