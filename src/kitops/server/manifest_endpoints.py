"""Manifests: given, taken after a check, deleted or untagged (distribution-spec end-3, end-7 and end-9)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from kitops.errors import InvalidValueError
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.oci.manifest import MAX_MANIFEST_SIZE, Manifest
from kitops.server.answers import RefusedError, Reply
from kitops.server.body import read_whole
from kitops.server.call import is_tag, parse_digest
from kitops.server.shelf import Parcel
from kitops.server.upload_endpoints import created

if TYPE_CHECKING:
    from kitops.server.call import Call
    from kitops.server.shelf import Shelf

_ELSEWHERE: Final = frozenset(
    {
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    }
)
"""Layers that are by their nature in no registry (image-spec, "Non-Distributable Layers")."""


def get_manifest(shelf: Shelf, call: Call) -> Reply:
    """The manifest that a tag or digest means."""
    found = None
    if ":" in call.pointer:
        found = shelf.open_manifest(call.repository, call.digest)
    elif is_tag(call.pointer):
        found = shelf.open_manifest(call.repository, call.pointer)
    if found is None:
        raise RefusedError(404, "MANIFEST_UNKNOWN", f"{call.repository} has no manifest {call.pointer}")
    digest = str(found.digest)
    headers = (("Content-Type", found.media_type), ("Docker-Content-Digest", digest), ("ETag", f'"{digest}"'))
    return Reply(200, headers, file=found.file, size=os.fstat(found.file.fileno()).st_size)


def put_manifest(shelf: Shelf, call: Call) -> Reply:
    """Keep a manifest, whose blobs are here, under its digest and its tags."""
    tags = [*call.query.get("tag", ())] if ":" in call.pointer else [call.pointer]
    wanted = call.digest if ":" in call.pointer else None
    if not all(map(is_tag, tags)):
        raise RefusedError(400, "MANIFEST_INVALID", "a tag has up to 128 letters, digits and ._-")
    data = read_whole(call.body, MAX_MANIFEST_SIZE)
    if data is None:
        raise RefusedError(413, "SIZE_INVALID", f"a manifest may have {MAX_MANIFEST_SIZE} bytes")
    media_type = call.headers.get("content-type", "").partition(";")[0].strip()
    manifest = _check(data, media_type)
    digest = _digest_as(data, wanted.algorithm if wanted else "sha256")
    if wanted not in (None, digest):
        raise RefusedError(400, "DIGEST_INVALID", f"the bytes are those of {digest}")
    absent = _check_blobs(shelf, call.repository, manifest)
    parcel = Parcel(data, Descriptor(media_type, digest, len(data)), manifest.subject, absent)
    shelf.put_manifest(call.repository, parcel, tags)
    headers = [("OCI-Tag", tag) for tag in tags if wanted is not None]
    if manifest.subject is not None:
        headers.append(("OCI-Subject", str(manifest.subject.digest)))
    return created(call.repository, "manifests", digest, tuple(headers))


def delete_manifest(shelf: Shelf, call: Call) -> Reply:
    """Untag, or delete by digest with all its tags."""
    pointer = parse_digest(call.pointer) if ":" in call.pointer else call.pointer
    if not (isinstance(pointer, Digest) or is_tag(pointer)) or not shelf.delete_manifest(call.repository, pointer):
        raise RefusedError(404, "MANIFEST_UNKNOWN", f"{call.repository} has no manifest {call.pointer}")
    return Reply(202)


def _check(data: bytes, media_type: str) -> Manifest | Index:
    if media_type and media_type not in mediatype.MANIFESTS | mediatype.INDEXES:
        raise RefusedError(415, "MANIFEST_INVALID", f"{media_type!r} is not the type of a manifest")
    try:
        parsed = (Index if media_type in mediatype.INDEXES else Manifest).parse(data)
    except InvalidValueError as error:
        raise RefusedError(400, "MANIFEST_INVALID", error.message) from error
    if not media_type:
        raise RefusedError(415, "MANIFEST_INVALID", "the request has no Content-Type")
    if parsed.media_type != media_type and _says_type(data):
        raise RefusedError(400, "MANIFEST_INVALID", f"the manifest says it is {parsed.media_type}, not {media_type}")
    return parsed


def _says_type(data: bytes) -> bool:
    import json  # noqa: PLC0415 - only on a mismatch

    return "mediaType" in json.loads(data)


def _check_blobs(shelf: Shelf, repository: str, manifest: Manifest | Index) -> tuple[Digest, ...]:
    """What of the manifest may be missing, and is; an index may list manifests that are elsewhere.

    Raises:
        RefusedError: a blob is missing that must not be, or has another length.
    """
    missing = []
    for child in manifest.children:
        size = shelf.size_of(repository, child)
        if size is None:
            missing.append(child)
        elif size != child.size:
            raise RefusedError(400, "SIZE_INVALID", f"{child.digest} has {size} bytes, not {child.size}")
    if isinstance(manifest, Manifest):
        lost = [str(child.digest) for child in missing if child.media_type not in _ELSEWHERE]
        if lost:
            details = [{"digest": digest} for digest in dict.fromkeys(lost)]
            message = f"{repository} has not all blobs of the manifest"
            raise RefusedError(404, "MANIFEST_BLOB_UNKNOWN", message, (), details)
    return tuple(child.digest for child in missing)


def _digest_as(data: bytes, algorithm: str) -> Digest:
    hasher = Digest(algorithm, "").new_hasher()
    hasher.update(data)
    return Digest.from_hasher(hasher)
