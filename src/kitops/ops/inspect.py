"""``kit inspect``: manifest, Kitfile and digest of a ModelKit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.formats.shape import Shape
from kitops.kitfile.dump import to_json
from kitops.oci import gojson
from kitops.oci.annotations import CLI_VERSION
from kitops.ops.locate import check_pointer, locate
from kitops.ops.reading import read_kit

if TYPE_CHECKING:
    from kitops.formats.modelkit import ModelKit
    from kitops.oci.gojson import Json
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place


@dataclass(frozen=True, slots=True)
class Inspected:
    """A ModelKit with all that its manifest says."""

    kit: ModelKit

    @property
    def cli_version(self) -> str:
        """The version of the tool that packed it, where it left that; else ``unknown``."""
        return self.kit.manifest.annotations.get(CLI_VERSION, "unknown")

    def to_json(self) -> dict[str, Json]:
        """``digest, cliVersion, kitfile, manifest``, as the Go tool prints them.

        With ``format`` for what is no ModelKit, and ``kitfileMade`` where nobody wrote the Kitfile.
        """
        more: dict[str, Json] = {} if self.kit.shape is Shape.MODELKIT else {"format": self.kit.shape.value}
        if not self.kit.is_authored:
            more["kitfileMade"] = True
        return {
            "digest": str(self.kit.desc.digest),
            "cliVersion": self.cli_version,
            "kitfile": to_json(self.kit.kitfile),
            "manifest": gojson.loads(self.kit.manifest.raw, "manifest"),
            **more,
        }


def inspect(place: Place, ref: Reference, *, remote: bool = False) -> Inspected:
    """Look at ``ref`` in the local store, or with ``remote`` in its registry.

    Raises:
        InvalidValueError: ``ref`` has neither tag nor digest.
        NotFoundError: there is no such ModelKit.
    """
    check_pointer(ref)
    with locate(place, ref, "remote" if remote else "local") as located:
        return Inspected(read_kit(located, place.run))
