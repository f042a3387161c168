"""Something that is said of a ModelKit, as an artifact that refers to it (image-spec, "subject")."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from kitops.errors import KitError
from kitops.importers.provenance import PREDICATE_TYPE, build_statement
from kitops.oci import gojson, mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.store.referrers import find_referrers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
) -> None:
    """Keep where a ModelKit came from as a referrer of it, under every name that it was given.

    That it is from the same source at the same revision is said once: what was said is then kept under these names too.

    Args:
        place: where.
        subject: the ModelKit's manifest.
        predicate: SLSA provenance.
        references: its names.
        lease: holds everything until it is kept.
    """
    blobs = place.store.blobs
    for known in find_referrers(place.store, subject.digest, IN_TOTO):
        if tells_origin(known, predicate, blobs.fetch):
            for ref in references:
                repository = place.store.repository(ref, lease)
                if repository.exists(known):
                    repository.keep(known)
            return
    statement = build_statement(predicate, references[0].locator, subject.digest)
    attach_statement(place, subject, statement, references, lease)


def tells_origin(referrer: Descriptor, predicate: Mapping[str, Json], fetch: Callable[[Descriptor], bytes]) -> bool:
    """Whether a referrer is a provenance of the same source at the same revision as ``predicate``.

    Args:
        referrer: with its annotations.
        predicate: SLSA provenance.
        fetch: gives its manifest and what that lists; what cannot be read tells nothing.
    """
    if referrer.annotations.get(SAYS) != PREDICATE_TYPE:
        return False
    try:
        manifest = Manifest.parse(fetch(referrer), f"manifest {referrer.digest}")
        statement = json.loads(fetch(manifest.layers[0]))
        return _source(statement["predicate"]) == _source(predicate)
    except (KitError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return False


def _source(predicate: Mapping[str, Json]) -> Json:
    """The source of an import, pinned: the first of what it was made of."""
    definition = predicate["buildDefinition"]
    dependencies = definition["resolvedDependencies"] if isinstance(definition, dict) else None
    return dependencies[0] if isinstance(dependencies, list) else None
