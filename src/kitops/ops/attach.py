"""Something that is said of a ModelKit, as an artifact that refers to it (image-spec, "subject")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kitops.importers.provenance import PREDICATE_TYPE, build_statement
from kitops.oci import gojson, mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.store.referrers import find_referrers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kitops.oci.gojson import Json
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place
    from kitops.store.lease import Lease

IN_TOTO: Final = "application/vnd.in-toto+json"
SAYS: Final = "in-toto.io/predicate-type"
"""Annotation of a layer that is an in-toto statement, as BuildKit's attestations have it."""
_EMPTY: Final = b"{}"


def attach_statement(
    place: Place, subject: Descriptor, statement: Mapping[str, Json], references: Sequence[Reference], lease: Lease
) -> Descriptor:
    """Keep an in-toto statement, unsigned, as a referrer of a ModelKit of the store.

    Args:
        place: where.
        subject: the ModelKit's manifest.
        statement: about it; its ``predicateType`` is noted.
        references: the repositories that hold the ModelKit; none: it is only put, for a copy.
        lease: holds everything until it is kept.

    Returns:
        The descriptor of the referrer's manifest.
    """
    predicate = str(statement["predicateType"])
    blobs = place.store.blobs
    layer = blobs.put_bytes(gojson.dumps(dict(statement)), IN_TOTO, lease)
    layer = Descriptor(layer.media_type, layer.digest, layer.size, {SAYS: predicate})
    config = blobs.put_bytes(_EMPTY, mediatype.EMPTY, lease)
    manifest = Manifest.build(
        config=config,
        layers=[layer],
        artifact_type=IN_TOTO,
        annotations={SAYS: predicate},
        subject=Descriptor(subject.media_type, subject.digest, subject.size),
    )
    desc = blobs.put_bytes(manifest.raw, manifest.media_type, lease)
    for ref in references:
        place.store.repository(ref, lease).keep(desc)
    return desc


def say_origin(
    place: Place,
    subject: Descriptor,
    predicate: Mapping[str, Json],
    references: Sequence[Reference],
    lease: Lease,
    *,
    is_new: bool,
) -> None:
    """Keep where a ModelKit came from as a referrer of it, under every name that it was given.

    Args:
        place: where.
        subject: the ModelKit's manifest.
        predicate: SLSA provenance.
        references: its names.
        lease: holds everything until it is kept.
        is_new: say it even if it was said before; else what was said is kept under these names too.
    """
    known = _find_statement(place, subject, PREDICATE_TYPE)
    if known is None or is_new:
        attach_statement(
            place, subject, build_statement(predicate, references[0].locator, subject.digest), references, lease
        )
        return
    for ref in references:
        repository = place.store.repository(ref, lease)
        if repository.exists(known):
            repository.keep(known)


def _find_statement(place: Place, subject: Descriptor, predicate_type: str) -> Descriptor | None:
    """What in the store says this kind of thing of ``subject``, if anything."""
    found = find_referrers(place.store, subject.digest, IN_TOTO)
    return next((desc for desc in found if desc.annotations.get(SAYS) == predicate_type), None)
