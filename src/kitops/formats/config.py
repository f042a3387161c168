"""The config blob of a ModelKit: the Kitfile as JSON with the digest and diff ID of each part's layer.

Authored is not computed: :class:`~kitops.kitfile.schema.Kitfile` is what a person wrote, this is another type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.formats.parts import Kind, list_parts
from kitops.kitfile.dump import from_json, to_json
from kitops.oci import gojson
from kitops.oci.descriptor import expect_map, expect_text
from kitops.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kitops.formats.parts import Part
    from kitops.kitfile.schema import Kitfile
    from kitops.oci.gojson import Json


@dataclass(frozen=True, slots=True)
class PartDigests:
    """The layer of one part: digest of the blob, and diff ID (digest of it uncompressed)."""

    digest: Digest
    diff_id: Digest


@dataclass(frozen=True, slots=True)
class Config:
    """A Kitfile and what was computed when it was packed. ``digests`` is empty in kits of 2024."""

    kitfile: Kitfile
    digests: Mapping[Part, PartDigests]

    @classmethod
    def parse(cls, raw: bytes | str, what: str) -> Config:
        """Read a config blob of any age.

        Raises:
            InvalidValueError: it is not one.
        """
        table = expect_map(gojson.loads(raw, what), what)
        kitfile = from_json(table, what)
        digests = {}
        for part in list_parts(kitfile):
            element = _element(table, part)
            digest, diff_id = element.get("digest"), element.get("diffId")
            if digest is None:
                continue
            found = Digest.parse(expect_text(digest, f"{what}: {part.field}.digest"))
            diff = found if diff_id is None else Digest.parse(expect_text(diff_id, f"{what}: {part.field}.diffId"))
            digests[part] = PartDigests(found, diff)
        return cls(kitfile, digests)

    def to_json(self) -> dict[str, Json]:
        """The JSON object, as the Go tool writes it."""
        table = to_json(self.kitfile)
        for part, found in self.digests.items():
            element = _element(table, part)
            element["digest"] = str(found.digest)
            element["diffId"] = str(found.diff_id)
        return table

    def dump(self) -> bytes:
        """The bytes of the config blob."""
        return gojson.dumps(self.to_json())


def _element(table: dict[str, Json], part: Part) -> dict[str, Json]:
    """The JSON object of a part within the Kitfile's; an empty one of its own where the shape is strange."""
    if part.kind in (Kind.MODEL, Kind.MODEL_PART):
        model = table.get("model")
        found: Json = model
        if part.kind is Kind.MODEL_PART:
            parts = model.get("parts") if isinstance(model, dict) else None
            found = parts[part.index] if isinstance(parts, list) and part.index < len(parts) else None
    else:
        section = table.get(part.field.partition("[")[0])
        found = section[part.index] if isinstance(section, list) and part.index < len(section) else None
    return found if isinstance(found, dict) else {}
