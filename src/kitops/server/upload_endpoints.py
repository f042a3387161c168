"""Uploads of blobs: at once, in chunks, mounted, resumed, cancelled (distribution-spec end-4 to end-6, 11, 13, 14)."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from kitops.server.answers import RefusedError, Reply
from kitops.server.call import is_repository, parse_digest
from kitops.server.shelf import WrongDigestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.oci.digest import Digest
    from kitops.server.answers import Headers
    from kitops.server.call import Call
    from kitops.server.shelf import Shelf
    from kitops.server.upload import Upload

_LAST_BYTES_SECONDS: Final = 2.0
"""How long the answer to how far an upload is waits for a request that writes to it."""
_CONTENT_RANGE: Final = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/.*)?", re.ASCII)


def post_uploads(shelf: Shelf, call: Call) -> Reply:
    """Mount a blob, take one whole, or begin an upload."""
    if mount := call.asked("mount"):
        digest = parse_digest(mount)
        source = call.asked("from") or None
        if (source is None or is_repository(source)) and shelf.mount_blob(
            call.repository, digest, source, call.may_pull
        ):
            return created(call.repository, "blobs", digest)
    single = call.asked("digest")
    wanted = parse_digest(single) if single else None
    algorithm = call.asked("digest-algorithm") or "sha256"
    if algorithm not in ("sha256", "sha512"):
        raise RefusedError(400, "DIGEST_INVALID", "digests are made with sha256 or sha512")
    upload = shelf.start_upload(call.repository, wanted.algorithm if wanted else algorithm)
    if wanted is None:
        return Reply(202, _progress(call.repository, upload))
    try:
        with _held(upload):
            return _finish(shelf, call, upload, wanted)
    except BaseException:
        shelf.drop_upload(upload)  # nobody was told where it would go on
        raise


def patch_upload(shelf: Shelf, call: Call) -> Reply:
    """Take the next chunk."""
    upload = _find(shelf, call)
    with _held(upload):
        _check_start(call, upload)
        upload.append(call.body)
        return Reply(202, _progress(call.repository, upload))


def put_upload(shelf: Shelf, call: Call) -> Reply:
    """Take the last chunk, which may be empty, and make it a blob."""
    upload = _find(shelf, call)
    digest = parse_digest(call.asked("digest") or "")
    with _held(upload):
        _check_start(call, upload)
        return _finish(shelf, call, upload, digest)


def get_upload(shelf: Shelf, call: Call) -> Reply:
    """How far an upload is.

    Who asks has often lost the connection of a request whose last bytes are still on their way here, through a proxy
    for one: it is told of those too, and does not meet that request with its next chunk.
    """
    upload = _find(shelf, call)
    if upload.lock.acquire(timeout=_LAST_BYTES_SECONDS):
        upload.lock.release()
    return Reply(204, _progress(call.repository, _find(shelf, call)))


def delete_upload(shelf: Shelf, call: Call) -> Reply:
    """Give an upload up."""
    upload = _find(shelf, call)
    with _held(upload):
        shelf.drop_upload(upload)
    return Reply(204)


def created(repository: str, kind: str, digest: Digest, more: Headers = ()) -> Reply:
    """The reply that something is here now."""
    where = ("Location", f"/v2/{repository}/{kind}/{digest}")
    return Reply(201, (where, ("Docker-Content-Digest", str(digest)), *more))


def _finish(shelf: Shelf, call: Call, upload: Upload, digest: Digest) -> Reply:
    upload.append(call.body, digest)
    try:
        shelf.finish_upload(call.repository, upload, digest)
    except WrongDigestError as error:
        raise RefusedError(400, "DIGEST_INVALID", f"the bytes are not those of {digest}") from error
    return created(call.repository, "blobs", digest)


def _find(shelf: Shelf, call: Call) -> Upload:
    upload = shelf.find_upload(call.repository, call.pointer)
    if upload is None:
        raise RefusedError(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload")
    return upload


@contextmanager
def _held(upload: Upload) -> Iterator[None]:
    """Hold an upload for one request; a second one at the same time is refused, and one for what is over."""
    if not upload.lock.acquire(blocking=False):
        raise RefusedError(409, "BLOB_UPLOAD_INVALID", "another request is writing to this upload")
    try:
        if upload.is_over:
            raise RefusedError(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload any more")
        yield
    finally:
        upload.lock.release()


def _check_start(call: Call, upload: Upload) -> None:
    text = call.headers.get("content-range")
    if text is None:
        return
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None:
        raise RefusedError(400, "BLOB_UPLOAD_INVALID", "Content-Range is not first-last")
    first, last = int(match.group(1)), int(match.group(2))
    if first != upload.size or (call.body.size is not None and last - first + 1 != call.body.size):
        raise RefusedError(
            416, "BLOB_UPLOAD_INVALID", f"the next byte is {upload.size}", _progress(call.repository, upload)
        )


def _progress(repository: str, upload: Upload) -> Headers:
    return (
        ("Location", f"/v2/{repository}/blobs/uploads/{upload.id}"),
        ("Range", f"0-{max(upload.size - 1, 0)}"),
        ("Docker-Upload-UUID", upload.id),
    )
