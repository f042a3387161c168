"""ModelPack artifacts (CNCF model-spec) that are read: the paths of their layers, and a Kitfile where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.formats.layertypes import LayerType, weight_suffix
from kitops.formats.model_parameters import to_parameters
from kitops.formats.parts import Kind
from kitops.kitfile.schema import Code, Dataset, Docs, Kitfile, Model, Package, clean_path
from kitops.kitfile.schema import Part as ModelPart
from kitops.layers.write import Format
from kitops.oci import gojson
from kitops.oci.annotations import FILE_PATHS, TITLE
from kitops.oci.descriptor import expect_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.oci.descriptor import Descriptor
    from kitops.oci.gojson import Json
    from kitops.oci.manifest import Manifest


def make_kitfile(manifest: Manifest, config: bytes, what: str) -> Kitfile:
    """A Kitfile for an artifact that carries none, from its config and its layers' paths.

    Raises:
        InvalidValueError: the config is not JSON.
    """
    table = expect_map(gojson.loads(config, what), what)
    descriptor = table.get("descriptor")
    known = descriptor if isinstance(descriptor, dict) else {}
    paths: dict[Kind, list[str]] = {kind: [] for kind in Kind}
    nameless: list[Kind] = []
    for layer, path in zip(manifest.layers, layer_paths(manifest.layers), strict=True):
        found = LayerType.parse(layer.media_type)
        if found is None or found.kind is None:
            continue
        if path and path not in paths[found.kind]:
            paths[found.kind].append(path)
        elif not path and found.format is Format.TAR:
            nameless.append(found.kind)
    if nameless:  # only their members have names, from the context on: one part has them all
        is_model = Kind.MODEL in nameless or Kind.MODEL_PART in nameless
        paths[Kind.MODEL if is_model else nameless[0]].append(".")
    authors = known.get("authors")
    return Kitfile(
        package=Package(
            name=_text(known, "name"),
            version=_text(known, "version"),
            description=_text(known, "description"),
            license=_first_text(known.get("licenses")),
            authors=tuple(author for author in authors if isinstance(author, str)) if isinstance(authors, list) else (),
        ),
        model=_make_model(paths[Kind.MODEL], paths[Kind.MODEL_PART], table),
        code=tuple(Code(path=path) for path in paths[Kind.CODE]),
        datasets=tuple(Dataset(name=path, path=path) for path in paths[Kind.DATASET]),
        docs=tuple(Docs(path=path) for path in paths[Kind.DOCS]),
    )


def file_path(desc: Descriptor) -> str:
    """The path of a layer's content: by the annotation of any age of the specification, else by the title; else ""."""
    return next((found for key in (*FILE_PATHS, TITLE) if (found := desc.annotations.get(key))), "")


def layer_paths(layers: Sequence[Descriptor]) -> list[str]:
    """The cleaned path of the content of each layer, or "".

    Weights of early Docker Model Runner have the names that it gives them.
    """
    paths = [clean_path(path) if (path := file_path(layer)) else "" for layer in layers]
    unnamed = [number for number, path in enumerate(paths) if not path and weight_suffix(layers[number].media_type)]
    names = weight_names([weight_suffix(layers[number].media_type) for number in unnamed])
    for number, name in zip(unnamed, names, strict=True):
        paths[number] = name
    return paths


def weight_names(suffixes: Sequence[str]) -> list[str]:
    """What Docker Model Runner calls the weights of a model, given the suffix of each: ``model.gguf``, or the shard."""
    if len(suffixes) == 1:
        return [f"model.{suffixes[0]}"]
    count = len(suffixes)
    return [f"model-{number:05}-of-{count:05}.{suffix}" for number, suffix in enumerate(suffixes, 1)]


def _make_model(weights: Sequence[str], others: Sequence[str], table: dict[str, Json]) -> Model | None:
    """The first weights are the model, the others its parts: a Kitfile has one model path."""
    if not weights and not others:
        return None
    config = table.get("config")
    form = _text(config, "format") if isinstance(config, dict) else ""
    parts = tuple(ModelPart(path=path) for path in (*weights[1:], *others))
    parameters = to_parameters(table) or None
    return Model(path=weights[0] if weights else "", format=form, parts=parts, parameters=parameters)


def _text(table: dict[str, Json], key: str) -> str:
    value = table.get(key)
    return value if isinstance(value, str) else ""


def _first_text(value: Json) -> str:
    return value[0] if isinstance(value, list) and value and isinstance(value[0], str) else ""
