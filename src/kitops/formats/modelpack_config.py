"""The config blob of a ModelPack artifact that is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kitops.formats.grammar import is_time, is_url, to_licence
from kitops.oci import gojson
from kitops.oci.annotations import CREATED, DOCUMENTATION, REVISION, SOURCE, VENDOR
from kitops.oci.descriptor import expect_map
from kitops.weights.facts import format_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kitops.kitfile.schema import Kitfile
    from kitops.oci.digest import Digest
    from kitops.oci.gojson import Json
    from kitops.weights.facts import Facts


def build_config(kitfile: Kitfile, diff_ids: Sequence[Digest], facts: Facts, annotations: Mapping[str, str]) -> bytes:
    """The config blob: what the Kitfile, the weights and the user say, and the true diff IDs. Nothing is made up.

    Fields are those that model-spec 0.0.7 and its later drafts have in common.

    Args:
        kitfile: its word on the format is believed.
        diff_ids: in layer order.
        facts: what the headers of the weights and a ``config.json`` say.
        annotations: those of the manifest: time, source, revision and vendor where the user gave them.

    Source: model-spec, ``docs/config.md`` and ``schema/config-schema.json``.
    """
    model = kitfile.model
    config = {
        "architecture": facts.architecture,
        "format": (model.format if model is not None else "") or facts.format,
        "paramSize": format_parameters(facts.parameters),
        "precision": facts.precision,
        "quantization": facts.quantization,
    }
    modelfs: dict[str, Json] = {"type": "layers", "diffIds": [str(diff_id) for diff_id in diff_ids]}
    descriptor = _build_descriptor(kitfile, facts, annotations)
    return gojson.dumps({"descriptor": descriptor, "modelfs": modelfs, "config": _known(config)})


_TEXTS: Final = {
    "descriptor": ("createdAt", "vendor", "family", "name", "version", "title", "description", "docURL", "sourceURL",
                   "revision"),
    "config": ("architecture", "format", "paramSize", "precision", "quantization"),
}  # fmt: skip
_LISTS: Final = ("authors", "licenses", "datasetsURL")


def carry_config(built: bytes, older: bytes, what: str) -> bytes:
    """``built`` with what the config of an ``older`` ModelPack artifact says of the same model; diff IDs are not that.

    Args:
        built: of :func:`build_config`.
        older: of any age of the specification; what it has beyond the current one is left out.
        what: names it in errors.

    Raises:
        InvalidValueError: it is not JSON.
    """
    table = expect_map(gojson.loads(built, what), what)
    known = expect_map(gojson.loads(older, what), what)
    for section, keys in _TEXTS.items():
        told, now = known.get(section), table[section]
        if isinstance(told, dict) and isinstance(now, dict):
            now |= {key: told[key] for key in keys if told.get(key) and isinstance(told[key], str)}
            now |= {key: told[key] for key in _LISTS if section == "descriptor" and _is_texts(told.get(key))}
            capabilities = told.get("capabilities")
            if section == "config" and isinstance(capabilities, dict):
                now["capabilities"] = {key: value for key, value in capabilities.items() if key != "embedding"}
    return gojson.dumps(table)


def _is_texts(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _build_descriptor(kitfile: Kitfile, facts: Facts, annotations: Mapping[str, str]) -> dict[str, Json]:
    """Fields in the order of the specification; the title is the name, as in the Go tool."""
    package, model = kitfile.package, kitfile.model
    name = package.name or (model.name if model is not None else "")
    created, source = annotations.get(CREATED, ""), annotations.get(SOURCE, "")
    documentation = annotations.get(DOCUMENTATION, "")
    return _known(
        {
            "createdAt": created if is_time(created) else "",
            "authors": list(package.authors),
            "vendor": annotations.get(VENDOR, ""),
            "family": facts.family,
            "name": name,
            "version": package.version or (model.version if model is not None else ""),
            "title": name,
            "description": package.description or (model.description if model is not None else ""),
            "docURL": documentation if is_url(documentation) else "",
            "sourceURL": source if is_url(source) else "",
            "revision": annotations.get(REVISION, ""),
            "licenses": list(_list_licences(kitfile)),
        }
    )


def _known(table: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in table.items() if value}


def _list_licences(kitfile: Kitfile) -> tuple[str, ...]:
    model = kitfile.model
    found = [kitfile.package.license]
    if model is not None:
        found += [model.license, *(part.license for part in model.parts)]
    found += [code.license for code in kitfile.code]
    found += [dataset.license for dataset in kitfile.datasets]
    return tuple(sorted({written for licence in found if (written := to_licence(licence))}))
