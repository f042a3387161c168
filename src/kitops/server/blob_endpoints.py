"""Blobs: given whole or in part, and deleted (distribution-spec end-2 and end-10)."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from kitops.oci import mediatype
from kitops.server.answers import RefusedError, Reply

if TYPE_CHECKING:
    from kitops.server.call import Call
    from kitops.server.shelf import Shelf

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def get_blob(shelf: Shelf, call: Call) -> Reply:
    """A blob, or the part of it that ``Range`` asks for. Who asks by HEAD may be about to push a manifest with it."""
    digest = call.digest
    if call.method == "HEAD":
        shelf.touch_blob(call.repository, digest)
    file = shelf.open_blob(call.repository, digest)
    if file is None:
        raise RefusedError(
            404, "BLOB_UNKNOWN", f"{call.repository} has no blob {digest}", (), [{"digest": str(digest)}]
        )
    size = os.fstat(file.fileno()).st_size
    headers = (
        ("Content-Type", mediatype.OCTET_STREAM),
        ("Docker-Content-Digest", str(digest)),
        ("Accept-Ranges", "bytes"),
        ("ETag", f'"{digest}"'),
    )
    try:
        found = read_range(call.headers.get("range"), call.headers.get("if-range"), str(digest), size)
    except RefusedError:
        file.close()
        raise
    if found is None:
        return Reply(200, headers, file=file, size=size)
    start, count = found
    part = ("Content-Range", f"bytes {start}-{start + count - 1}/{size}")
    return Reply(206, (*headers, part), file=file, start=start, size=count)


def delete_blob(shelf: Shelf, call: Call) -> Reply:
    """Take a blob from its repository."""
    if not shelf.delete_blob(call.repository, call.digest):
        raise RefusedError(404, "BLOB_UNKNOWN", f"{call.repository} has no blob {call.pointer}")
    return Reply(202)


def read_range(text: str | None, condition: str | None, digest: str, size: int) -> tuple[int, int] | None:
    """First byte and count of a single range; None where the whole is to be sent (RFC 9110, 14.2).

    Args:
        text: the header ``Range``.
        condition: the header ``If-Range``: an entity tag, which is the digest.
        digest: of the blob.
        size: of the blob, in bytes.

    Raises:
        RefusedError: no byte of the blob is in the range.
    """
    match = _RANGE.fullmatch((text or "").strip())
    if match is None or match.groups() == ("", ""):
        return None
    if condition is not None and condition.strip().strip('"') != digest:
        return None
    first, last = match.groups()
    if first:
        start, end = int(first), min(int(last) if last else size - 1, size - 1)
    else:
        start, end = max(size - int(last), 0), size - 1
    if start > end or start >= size:
        raise RefusedError(416, "SIZE_INVALID", f"the blob has {size} bytes", (("Content-Range", f"bytes */{size}"),))
    return start, end - start + 1
