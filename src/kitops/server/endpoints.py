"""The endpoints of the distribution specification (v1.1) over a shelf: from a request to a reply, without sockets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, quote, urlsplit

from kitops.errors import InvalidValueError
from kitops.oci import mediatype
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.oci.manifest import MAX_MANIFEST_SIZE, Manifest
from kitops.oci.reference import check_tag
from kitops.server.answers import RefusedError, Reply, json_reply
from kitops.server.shelf import Shelf, WrongDigestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kitops.server.body import RequestBody
    from kitops.server.shelf import Upload

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = rf"(?P<repository>{_PART}(?:/{_PART})*)"
_ROUTES: Final = tuple(
    (re.compile(rf"/v2/{pattern}", re.ASCII), endpoint)
    for pattern, endpoint in (
        ("", "base"),
        (rf"{_NAME}/blobs/uploads/?", "uploads"),
        (rf"{_NAME}/blobs/uploads/(?P<pointer>[^/]+)", "upload"),
        (rf"{_NAME}/blobs/(?P<pointer>[^/]+)", "blob"),
        (rf"{_NAME}/manifests/(?P<pointer>[^/]+)", "manifest"),
        (rf"{_NAME}/tags/list", "tags"),
    )
)
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*", re.ASCII)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d+)-(\d+)(?:/.*)?", re.ASCII)
_ACTIONS: Final = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Call:
    """A request: where it goes and what it brings."""

    method: str
    endpoint: str
    repository: str
    pointer: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: RequestBody

    @property
    def scope(self) -> str:
        """What a token has to allow."""
        return f"repository:{self.repository}:{_ACTIONS.get(self.method, 'pull,push')}" if self.repository else ""


def parse_call(method: str, target: str, headers: Mapping[str, str], body: RequestBody) -> Call:
    """Read a request.

    Raises:
        RefusedError: it goes nowhere.
    """
    parts = urlsplit(target)
    path = "/v2/" if parts.path == "/v2" else parts.path
    for pattern, endpoint in _ROUTES:
        if match := pattern.fullmatch(path):
            found = match.groupdict()
            query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
            return Call(method, endpoint, found.get("repository", ""), found.get("pointer", ""), query, headers, body)
    if path.startswith("/v2/"):
        raise RefusedError(404, "NAME_INVALID", "there is no such endpoint, or the repository's name is not valid")
    raise RefusedError(404, "UNSUPPORTED", "this is a registry; its endpoints are below /v2/")


class Endpoints:
    """Answers calls. Thread-safe.

    Args:
        shelf: the content.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def answer(self, call: Call) -> Reply:
        """The reply to ``call``.

        Raises:
            RefusedError: it is an error.
        """
        method = "get" if call.method == "HEAD" else call.method.lower()
        found = getattr(self, f"_{method}_{call.endpoint}", None)
        if found is None:
            raise RefusedError(405, "UNSUPPORTED", f"{call.method} is not possible here")
        reply: Reply = found(call)
        return reply

    def _get_base(self, call: Call) -> Reply:  # noqa: ARG002
        return json_reply({}, {"Docker-Distribution-API-Version": "registry/2.0"})

    # --- blobs

    def _get_blob(self, call: Call) -> Reply:
        digest = _digest(call.pointer)
        path = self._shelf.blob(call.repository, digest)
        if path is None:
            raise RefusedError(404, "BLOB_UNKNOWN", f"{call.repository} has no blob {digest}")
        size = path.stat().st_size
        headers = {
            "Content-Type": mediatype.OCTET_STREAM,
            "Docker-Content-Digest": str(digest),
            "Accept-Ranges": "bytes",
        }
        found = _read_range(call.headers.get("Range"), size)
        if found is None:
            return Reply(200, headers, path=path, size=size)
        start, count = found
        headers["Content-Range"] = f"bytes {start}-{start + count - 1}/{size}"
        return Reply(206, headers, path=path, start=start, size=count)

    def _delete_blob(self, call: Call) -> Reply:
        if not self._shelf.delete_blob(call.repository, _digest(call.pointer)):
            raise RefusedError(404, "BLOB_UNKNOWN", f"{call.repository} has no blob {call.pointer}")
        return Reply(202)

    # --- uploads

    def _post_uploads(self, call: Call) -> Reply:
        if mount := call.query.get("mount"):
            digest = _digest(mount)
            source = call.query.get("from", "")
            if _REPOSITORY.fullmatch(source) and self._shelf.blob(source, digest) is not None:
                self._shelf.link_blob(call.repository, digest)
                return _created(call.repository, "blobs", digest)
        upload = self._shelf.start_upload(call.repository)
        if single := call.query.get("digest"):
            try:
                with upload.lock:
                    return self._finish(call, upload, single)
            except BaseException:
                self._shelf.drop_upload(upload)  # nobody was told where it would go on
                raise
        return Reply(202, _progress(call.repository, upload))

    def _patch_upload(self, call: Call) -> Reply:
        upload = self._upload(call)
        with _held(upload):
            _check_start(call, upload)
            upload.append(call.body)
            return Reply(202, _progress(call.repository, upload))

    def _put_upload(self, call: Call) -> Reply:
        upload = self._upload(call)
        with _held(upload):
            _check_start(call, upload)
            return self._finish(call, upload, call.query.get("digest", ""))

    def _get_upload(self, call: Call) -> Reply:
        return Reply(204, _progress(call.repository, self._upload(call)))

    def _delete_upload(self, call: Call) -> Reply:
        upload = self._upload(call)
        with _held(upload):
            self._shelf.drop_upload(upload)
        return Reply(204)

    def _finish(self, call: Call, upload: Upload, text: str) -> Reply:
        digest = _digest(text)
        upload.append(call.body)
        try:
            self._shelf.finish_upload(call.repository, upload, digest)
        except WrongDigestError as error:
            raise RefusedError(400, "DIGEST_INVALID", f"the bytes are not those of {digest}") from error
        return _created(call.repository, "blobs", digest)

    def _upload(self, call: Call) -> Upload:
        upload = self._shelf.find_upload(call.repository, call.pointer)
        if upload is None:
            raise RefusedError(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload")
        return upload

    # --- manifests

    def _get_manifest(self, call: Call) -> Reply:
        found = self._shelf.manifest(call.repository, _pointer(call.pointer))
        if found is None:
            raise RefusedError(404, "MANIFEST_UNKNOWN", f"{call.repository} has no manifest {call.pointer}")
        headers = {"Content-Type": found.media_type, "Docker-Content-Digest": str(found.digest)}
        return Reply(200, headers, path=found.path, size=found.path.stat().st_size)

    def _put_manifest(self, call: Call) -> Reply:
        pointer = _pointer(call.pointer)
        data = call.body.read(MAX_MANIFEST_SIZE)
        if data is None:
            raise RefusedError(413, "SIZE_INVALID", f"a manifest may have {MAX_MANIFEST_SIZE} bytes")
        media_type = call.headers.get("Content-Type", "").partition(";")[0].strip()
        self._check_manifest(call.repository, data, media_type)
        digest = _digest_as(data, Digest.parse(pointer).algorithm if ":" in pointer else "sha256")
        if ":" in pointer and str(digest) != pointer:
            raise RefusedError(400, "DIGEST_INVALID", f"the bytes are those of {digest}")
        self._shelf.put_manifest(call.repository, data, media_type, digest, None if ":" in pointer else pointer)
        return _created(call.repository, "manifests", digest)

    def _check_manifest(self, repository: str, data: bytes, media_type: str) -> None:
        try:
            if media_type in mediatype.INDEXES:
                said = Index.parse(data).media_type
                missing = None
            else:
                manifest = Manifest.parse(data)
                said = manifest.media_type
                missing = next(
                    (child.digest for child in manifest.children if not self._shelf.blob(repository, child.digest)),
                    None,
                )
        except InvalidValueError as error:
            raise RefusedError(400, "MANIFEST_INVALID", error.message) from error
        if media_type not in mediatype.MANIFESTS | mediatype.INDEXES:
            raise RefusedError(415, "MANIFEST_INVALID", f"{media_type!r} is not the type of a manifest")
        if b'"mediaType"' in data and said != media_type:
            raise RefusedError(400, "MANIFEST_INVALID", f"the manifest says it is {said}, not {media_type}")
        if missing is not None:
            raise RefusedError(404, "MANIFEST_BLOB_UNKNOWN", f"{repository} has no blob {missing}")

    def _delete_manifest(self, call: Call) -> Reply:
        if not self._shelf.delete_manifest(call.repository, _pointer(call.pointer)):
            raise RefusedError(404, "MANIFEST_UNKNOWN", f"{call.repository} has no manifest {call.pointer}")
        return Reply(202)

    # --- tags

    def _get_tags(self, call: Call) -> Reply:
        tags = self._shelf.tags(call.repository)
        if tags is None:
            raise RefusedError(404, "NAME_UNKNOWN", f"there is no repository {call.repository}")
        if last := call.query.get("last"):
            tags = [tag for tag in tags if tag > last]
        headers = {}
        number = call.query.get("n")
        if number is not None:
            if not (number.isascii() and number.isdigit()):
                raise RefusedError(400, "PAGINATION_NUMBER_INVALID", "n must be a number")
            count = int(number[:9])
            if 0 < count < len(tags):
                target = f"/v2/{call.repository}/tags/list?n={count}&last={quote(tags[count - 1])}"
                headers["Link"] = f'<{target}>; rel="next"'
            tags = tags[:count]
        return json_reply({"name": call.repository, "tags": tags}, headers)


class _held:  # noqa: N801 - reads as a verb
    """Holds an upload for one request; a second one at the same time is refused."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    def __enter__(self) -> None:
        if not self._upload.lock.acquire(blocking=False):
            raise RefusedError(409, "BLOB_UPLOAD_INVALID", "another request is writing to this upload")

    def __exit__(self, *_: object) -> None:
        self._upload.lock.release()


def _check_start(call: Call, upload: Upload) -> None:
    text = call.headers.get("Content-Range")
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


def _progress(repository: str, upload: Upload) -> dict[str, str]:
    return {
        "Location": f"/v2/{repository}/blobs/uploads/{upload.id}",
        "Range": f"0-{max(upload.size - 1, 0)}",
        "Docker-Upload-UUID": upload.id,
    }


def _created(repository: str, kind: str, digest: Digest) -> Reply:
    return Reply(201, {"Location": f"/v2/{repository}/{kind}/{digest}", "Docker-Content-Digest": str(digest)})


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidValueError as error:
        raise RefusedError(400, "DIGEST_INVALID", error.message) from error


def _digest_as(data: bytes, algorithm: str) -> Digest:
    hasher = Digest(algorithm, "").new_hasher()
    hasher.update(data)
    return Digest.from_hasher(hasher)


def _pointer(text: str) -> str:
    """A tag or digest.

    Raises:
        RefusedError: it is neither.
    """
    if ":" in text:
        return str(_digest(text))
    try:
        check_tag(text)
    except InvalidValueError as error:
        raise RefusedError(400, "TAG_INVALID", error.message) from error
    return text


def _read_range(text: str | None, size: int) -> tuple[int, int] | None:
    """First byte and count of a single range; None where the whole is to be sent (RFC 9110, 14.2)."""
    match = _RANGE.fullmatch((text or "").strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first:
        start, end = int(first), min(int(last) if last else size - 1, size - 1)
        if last and int(last) < start:
            return None
    else:
        start, end = max(size - int(last), 0), size - 1
    if start > end or start >= size:
        raise RefusedError(416, "SIZE_INVALID", f"the blob has {size} bytes", {"Content-Range": f"bytes */{size}"})
    return start, end - start + 1
