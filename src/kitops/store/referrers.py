"""What in the store refers to a manifest: signatures, attestations, and whatever else names it as its subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.oci.subject import describe_referrer
from kitops.store.shelf import overlook

if TYPE_CHECKING:
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.store.store import Store


def find_referrers(store: Store, subject: Digest, artifact_type: str | None = None) -> list[Descriptor]:
    """The manifests of every repository that refer to ``subject``, by digest, with all their annotations.

    Args:
        store: the store; its refs know each subject, so no other manifest is opened.
        subject: need not be in the store itself.
        artifact_type: only of this type.

    Raises:
        NotFoundError, IntegrityError: a manifest that refers to it is missing or damaged.
    """
    rows = store.refs.list(damaged=overlook)
    kept = {row.desc.digest: row.desc for row in rows if row.row.subject == subject}
    described = (describe_referrer(desc, store.blobs.fetch(desc)) for _, desc in sorted(kept.items()))
    found = [pair[1] for pair in described if pair is not None]
    return [desc for desc in found if artifact_type in (None, desc.artifact_type)]
