"""ModelPack artifacts (CNCF model-spec): their config, and a Kitfile for those that have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.formats.layertypes import LayerType
from kitops.formats.parts import Kind
from kitops.kitfile.schema import Code, Dataset, Docs, Kitfile, Model, Package
from kitops.kitfile.schema import Part as ModelPart
from kitops.oci import gojson
from kitops.oci.annotations import FILE_PATH, TITLE
from kitops.oci.descriptor import expect_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.oci.digest import Digest
    from kitops.oci.gojson import Json
    from kitops.oci.manifest import Manifest


def build_config(kitfile: Kitfile, diff_ids: Sequence[Digest]) -> bytes:
    """The config blob: what the Kitfile says, and the true diff IDs in layer order. No time of day.

    Source: model-spec, ``docs/config.md``.
    """
    package, model = kitfile.package, kitfile.model
    descriptor: dict[str, Json] = {}
    if package.authors:
        descriptor["authors"] = list(package.authors)
    if package.name:
        descriptor["name"] = package.name
    if package.version:
        descriptor["version"] = package.version
    if licences := _list_licences(kitfile):
        descriptor["licenses"] = list(licences)
    if package.name:
        descriptor["title"] = package.name
    if package.description:
        descriptor["description"] = package.description
    config: dict[str, Json] = {"format": model.format} if model is not None and model.format else {}
    modelfs: dict[str, Json] = {"type": "layers", "diffIds": [str(diff_id) for diff_id in diff_ids]}
    return gojson.dumps({"descriptor": descriptor, "modelfs": modelfs, "config": config})


def make_kitfile(manifest: Manifest, config: bytes, what: str) -> Kitfile:
    """A Kitfile for an artifact that carries none, from its config and its layers' paths.

    Raises:
        InvalidValueError: the config is not JSON.
    """
    table = expect_map(gojson.loads(config, what), what)
    descriptor = table.get("descriptor")
    known = descriptor if isinstance(descriptor, dict) else {}
    paths: dict[Kind, list[str]] = {kind: [] for kind in Kind}
    for layer in manifest.layers:
        found = LayerType.parse(layer.media_type)
        path = layer.annotations.get(FILE_PATH) or layer.annotations.get(TITLE)
        if found is not None and found.kind is not None and path:
            paths[found.kind].append(path)
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


def _make_model(weights: Sequence[str], others: Sequence[str], table: dict[str, Json]) -> Model | None:
    """The first weights are the model, the others its parts: a Kitfile has one model path."""
    if not weights and not others:
        return None
    config = table.get("config")
    form = _text(config, "format") if isinstance(config, dict) else ""
    parts = [ModelPart(path=path) for path in (*weights[1:], *others)]
    return Model(path=weights[0] if weights else "", format=form, parts=tuple(parts))


def _list_licences(kitfile: Kitfile) -> tuple[str, ...]:
    model = kitfile.model
    found = [kitfile.package.license]
    if model is not None:
        found += [model.license, *(part.license for part in model.parts)]
    found += [code.license for code in kitfile.code]
    found += [dataset.license for dataset in kitfile.datasets]
    return tuple(sorted({licence for licence in found if licence}))


def _text(table: dict[str, Json], key: str) -> str:
    value = table.get(key)
    return value if isinstance(value, str) else ""


def _first_text(value: Json) -> str:
    return value[0] if isinstance(value, list) and value and isinstance(value[0], str) else ""
