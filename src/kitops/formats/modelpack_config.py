"""The config blob of a ModelPack artifact that is written, and what an older one says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.formats.grammar import is_licence, is_param_size, is_time, is_url, to_licence, to_param_size
from kitops.formats.model_parameters import from_parameters
from kitops.formats.modelpack_fields import CONFIG, DESCRIPTOR, keep_valid
from kitops.oci import gojson
from kitops.oci.annotations import CREATED, DOCUMENTATION, REVISION, SOURCE, VENDOR
from kitops.oci.descriptor import expect_map
from kitops.weights.facts import format_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kitops.formats.modelpack_fields import Violation
    from kitops.kitfile.schema import Kitfile
    from kitops.oci.digest import Digest
    from kitops.oci.gojson import Json
    from kitops.weights.facts import Facts

_SECTIONS: Final = {"descriptor": DESCRIPTOR, "config": CONFIG}
_ANNOTATIONS: Final = {
    "createdAt": CREATED,
    "vendor": VENDOR,
    "docURL": DOCUMENTATION,
    "sourceURL": SOURCE,
    "revision": REVISION,
}
"""The annotations that say the same as a field of the descriptor."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the config of a ModelPack artifact says of its model.

    Args:
        descriptor: what is valid of that section.
        config: of that.
        left_out: what is not valid, and could not be made so.
    """

    descriptor: Mapping[str, Json]
    config: Mapping[str, Json]
    left_out: tuple[Violation, ...] = ()

    @property
    def annotations(self) -> dict[str, str]:
        """Annotations of a manifest for what a Kitfile has no place for."""
        found = {key: self.descriptor.get(field) for field, key in _ANNOTATIONS.items()}
        return {key: value for key, value in found.items() if isinstance(value, str)}


def read_config(config: bytes, what: str) -> Told:
    """What a config of any age of the specification says, as far as the current one takes it.

    Args:
        config: the blob.
        what: names it in errors.

    Raises:
        InvalidValueError: it is not JSON.
    """
    return _judge(expect_map(gojson.loads(config, what), what))


def build_config(
    kitfile: Kitfile,
    diff_ids: Sequence[Digest],
    facts: Facts,
    annotations: Mapping[str, str],
    older: Told | None = None,
) -> bytes:
    """The config blob: what the Kitfile, the weights and the user say, and the true diff IDs. Nothing is made up.

    Fields are those that model-spec 0.0.7 and its later drafts have in common.

    Args:
        kitfile: its word on the format is believed, and its model's parameters where they are valid.
        diff_ids: in layer order.
        facts: what the headers of the weights and a ``config.json`` say.
        annotations: those of the manifest: time, source, revision and vendor where the user gave them.
        older: what the config of the same model said before, which is believed before all.

    Source: model-spec, ``docs/config.md`` and ``schema/config-schema.json``.
    """
    told = _judge(from_parameters(kitfile))
    older = older or Told({}, {})
    descriptor = _merge(_build_descriptor(kitfile, facts, annotations, told), older.descriptor)
    config = _merge(_build_model(kitfile, facts, told), older.config)
    modelfs: dict[str, Json] = {"type": "layers", "diffIds": [str(diff_id) for diff_id in diff_ids]}
    return gojson.dumps({"descriptor": descriptor, "modelfs": modelfs, "config": config})


def _judge(table: Mapping[str, Json]) -> Told:
    kept: dict[str, dict[str, Json]] = {}
    left_out: list[Violation] = []
    for section, fields in _SECTIONS.items():
        value = table.get(section)
        mended = _mend(value) if isinstance(value, dict) else {}
        kept[section], problems = keep_valid(f"config.{section}", mended, fields)
        left_out += problems
    return Told(kept["descriptor"], kept["config"], tuple(left_out))


def _mend(section: Mapping[str, Json]) -> dict[str, Json]:
    """A section with licences and the number of parameters as the specification writes them, where that can be."""
    found = dict(section)
    licences, size = found.get("licenses"), found.get("paramSize")
    if isinstance(licences, list):
        found["licenses"] = [
            to_licence(one) or one if isinstance(one, str) and not is_licence(one) else one for one in licences
        ]
    if isinstance(size, str) and not is_param_size(size):
        found["paramSize"] = to_param_size(size) or size
    return found


def _merge(built: Mapping[str, Json], older: Mapping[str, Json]) -> dict[str, Json]:
    """Both, what is older first believed; the fields of what was built keep their order."""
    return {key: value for key, value in {**built, **older}.items() if value}


def _build_model(kitfile: Kitfile, facts: Facts, told: Told) -> dict[str, Json]:
    known: dict[str, Json] = {
        "architecture": facts.architecture,
        "format": (kitfile.model.format if kitfile.model is not None else "") or facts.format,
        "paramSize": format_parameters(facts.parameters),
        "precision": facts.precision,
        "quantization": facts.quantization,
        "capabilities": None,
    }
    return {key: told.config.get(key) or value for key, value in known.items()}


def _build_descriptor(kitfile: Kitfile, facts: Facts, annotations: Mapping[str, str], told: Told) -> dict[str, Json]:
    """Fields in the order of the specification; the title is the name, as in the Go tool."""
    package, model = kitfile.package, kitfile.model
    name = package.name or (model.name if model is not None else "")
    created, source = annotations.get(CREATED, ""), annotations.get(SOURCE, "")
    documentation = annotations.get(DOCUMENTATION, "")
    return {
        "createdAt": created if is_time(created) else "",
        "authors": list(package.authors),
        "vendor": annotations.get(VENDOR, ""),
        "family": told.descriptor.get("family") or facts.family,
        "name": name,
        "version": package.version or (model.version if model is not None else ""),
        "title": name,
        "description": package.description or (model.description if model is not None else ""),
        "docURL": documentation if is_url(documentation) else "",
        "sourceURL": source if is_url(source) else "",
        "datasetsURL": told.descriptor.get("datasetsURL"),
        "revision": annotations.get(REVISION, ""),
        "licenses": list(_list_licences(kitfile, told)),
    }


def _list_licences(kitfile: Kitfile, told: Told) -> tuple[str, ...]:
    model = kitfile.model
    found = [kitfile.package.license]
    if model is not None:
        found += [model.license, *(part.license for part in model.parts)]
    found += [code.license for code in kitfile.code]
    found += [dataset.license for dataset in kitfile.datasets]
    further = told.descriptor.get("licenses")
    found += [one for one in further if isinstance(one, str)] if isinstance(further, list) else []
    return tuple(sorted({written for licence in found if (written := to_licence(licence))}))
