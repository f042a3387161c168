"""``kit validate``: whether an artifact is valid ModelPack, by the specification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.errors import InvalidValueError
from kitops.formats.layertypes import MODELPACK_CONFIGS
from kitops.formats.validate import validate_layers, validate_modelpack
from kitops.oci.manifest import Manifest
from kitops.ops.locate import check_pointer, locate

if TYPE_CHECKING:
    from kitops.formats.modelpack_fields import Violation
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place


def validate(place: Place, ref: Reference, *, remote: bool = False, layers: bool = True) -> tuple[Violation, ...]:
    """Everything in which ``ref`` is not as model-spec has it; empty when it is valid.

    Args:
        place: where to look.
        ref: the artifact, in the local store.
        remote: look in its registry instead.
        layers: read the layers too, and compare each with its diff ID.

    Raises:
        InvalidValueError: it is no ModelPack artifact.
        NotFoundError: it is not there.
    """
    check_pointer(ref)
    with locate(place, ref, "remote" if remote else "local") as located:
        manifest = Manifest.parse(located.source.fetch(located.desc), f"manifest {located.desc.digest}")
        if manifest.config.media_type not in MODELPACK_CONFIGS:
            raise InvalidValueError(
                f"{ref} is no ModelPack artifact: its config is {manifest.config.media_type!r}",
                hint=f"kit convert {ref} --to modelpack",
            )
        config = located.source.fetch(manifest.config)
        found = validate_modelpack(manifest, config)
        if layers:
            found += validate_layers(manifest, config, located.source.open, place.run)
    return tuple(dict.fromkeys(found))
