"""What a ModelPack config says of a model, as the ``parameters`` of a Kitfile's model say it, and back. Pure.

The names are those that ``kit import`` writes. A Kitfile has fields of its own for a name, a version, authors, one
licence and a format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kitops.kitfile.schema import Kitfile
    from kitops.oci.gojson import Json

_NAMES: Final = {
    "architecture": ("config", "architecture"),
    "family": ("descriptor", "family"),
    "parameterSize": ("config", "paramSize"),
    "precision": ("config", "precision"),
    "quantization": ("config", "quantization"),
    "capabilities": ("config", "capabilities"),
    "licenses": ("descriptor", "licenses"),
    "datasetsURL": ("descriptor", "datasetsURL"),
}
"""Of each parameter, the section of the config and the field that say the same."""


def to_parameters(table: Mapping[str, Json]) -> dict[str, Json]:
    """The parameters that say what a config does; licences where there are several."""
    found: dict[str, Json] = {}
    for name, (section, key) in _NAMES.items():
        told = table.get(section)
        value = told.get(key) if isinstance(told, dict) else None
        if value and not (name == "licenses" and isinstance(value, list) and len(value) == 1):
            found[name] = value
    return found


def from_parameters(kitfile: Kitfile) -> dict[str, Json]:
    """The descriptor and config that a Kitfile's parameters stand for; what they hold need not be valid.

    ``parameters`` is what Docker Model Runner and Ollama call the number of them.
    """
    from kitops.formats.grammar import to_param_size  # noqa: PLC0415 - who only reads an artifact does without

    told = kitfile.model.parameters if kitfile.model is not None else None
    parameters = told if isinstance(told, dict) else {}
    descriptor: dict[str, Json] = {}
    config: dict[str, Json] = {}
    sections = {"descriptor": descriptor, "config": config}
    for name, (section, key) in _NAMES.items():
        if name in parameters:
            value = parameters[name]  # the order of keys is spelling: a ModelKit keeps none
            sections[section][key] = dict(sorted(value.items())) if isinstance(value, dict) else value
    size = config.get("paramSize", parameters.get("parameters"))
    if isinstance(size, str):
        config["paramSize"] = to_param_size(size)
    return {"descriptor": descriptor, "config": config}
