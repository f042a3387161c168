"""Manifests that refer to another one (image-spec, "subject"; distribution-spec, "Listing Referrers")."""

from __future__ import annotations

from kitops.errors import InvalidValueError
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.index import Index
from kitops.oci.manifest import Manifest


def describe_referrer(desc: Descriptor, raw: bytes) -> tuple[Descriptor, Descriptor] | None:
    """What a manifest or index with these bytes refers to, and how a list of referrers shows it.

    Args:
        desc: the manifest.
        raw: its bytes.

    Returns:
        The subject, and the manifest's descriptor with its artifact type (else its config's media type) and all its
        annotations; None where it refers to nothing, or is no manifest that we understand.
    """
    if b'"subject"' not in raw:
        return None
    artifact: Manifest | Index
    try:
        if desc.media_type in mediatype.INDEXES:
            artifact = Index.parse(raw)
            artifact_type = artifact.artifact_type
        else:
            artifact = Manifest.parse(raw)
            artifact_type = artifact.artifact_type or artifact.config.media_type
    except InvalidValueError:
        return None
    if artifact.subject is None:
        return None
    return artifact.subject, Descriptor(
        desc.media_type, desc.digest, len(raw), artifact.annotations, artifact_type=artifact_type
    )
