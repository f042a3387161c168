"""Manifests that refer to another one (image-spec, "subject"; distribution-spec, "Listing Referrers")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kitops.errors import InvalidValueError
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.index import Index
from kitops.oci.manifest import Manifest

if TYPE_CHECKING:
    from kitops.oci.digest import Digest

_FALLBACK = re.compile(r"sha(?:256|512)-[0-9a-f]{64}(?:\.[a-z]+)?", re.ASCII)


def fallback_tag(subject: Digest) -> str:
    """The tag of the index that lists the referrers of ``subject`` where nothing else does: ``sha256-<64 hex>``."""
    return f"{subject.algorithm[:32]}-{subject.encoded[:64]}"


def is_fallback_tag(tag: str) -> bool:
    """Whether ``tag`` is made from a digest: a referrers index, or what cosign keeps (``sha256-<hex>.sig``)."""
    return _FALLBACK.fullmatch(tag) is not None


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
