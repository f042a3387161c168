"""A registry on loopback that takes uploads with every bad habit that was seen in the wild, one at a time."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_BLOCK = 64 * 1024


@dataclass
class Faults:
    """What is wrong with it; everything may be changed while it runs.

    Args:
        cap: bytes of a body at most; more are answered 413.
        patch_cap: bytes of a PATCH at most; more are answered 416 with what is there.
        rate: bytes a second that it takes; None: as fast as it can.
        cut_seconds: a request that takes longer is cut.
        cut_bytes: the requests with a body are cut after so many bytes, one for each entry.
        keeps_cut: whether the bytes of a request that was cut count.
        loses_cut: an upload is unusable after a cut, as with registries that sign the length into the Location.
        patch_status: of a good PATCH; 404, 405, 501: there is none.
        chunks: how many PATCHes an upload may have; 400 beyond.
        minimum: bytes of a chunk at least, told and enforced.
        says_minimum: what ``OCI-Chunk-Min-Length`` says, when not the truth.
        refuses_empty_put: 500 for a PUT without a body.
        refuses_riders: 400 for a PUT with one after a PATCH.
        location: ``relative``, ``absolute``, ``elsewhere`` (another host) or ``once`` (only from POST).
        has_state: a new state is in each Location, and only the last is good.
        expires_after: requests after which a token is refused, once for each entry.
        token_busy: a status, Retry-After: for the token requests to come, one each, from ``token_busy_from`` tokens on.
        token_busy_from: how many tokens must have been given for that.
        token_moves: the path of the token server leads to another one by that status.
        opens_elsewhere: the POST that opens an upload leads, by that status, to another path.
        busy: a status, Retry-After: for the requests to come with a body, one each.
        busy_from: how many bytes of a blob must be there for that.
        mounts: whether blobs are mounted.
        takes_single: whether a POST with a blob is enough.
        types: artifact types that it takes; None: all.
        types_status: how it refuses others.
        commit_seconds: how long a PUT takes after its last byte.
        drops_commit: the answer to that many good PUTs never arrives.
        warning: a ``Warning`` header in every answer.
        trusts: the digest of a PUT is believed.
        spoils: it damages what it was sent.
        unseen: that many manifests are refused as if their blobs had not come.
    """

    cap: int | None = None
    patch_cap: int | None = None
    rate: float | None = None
    cut_seconds: float | None = None
    cut_bytes: list[int] = field(default_factory=list)
    keeps_cut: bool = True
    loses_cut: bool = False
    patch_status: int = 202
    chunks: int | None = None
    minimum: int = 0
    says_minimum: str | None = None
    refuses_empty_put: bool = False
    refuses_riders: bool = False
    location: str = "relative"
    has_state: bool = False
    expires_after: list[int] = field(default_factory=list)
    token_busy: list[tuple[int, str]] = field(default_factory=list)
    token_busy_from: int = 0
    token_moves: int | None = None
    opens_elsewhere: int | None = None
    busy: list[tuple[int, str]] = field(default_factory=list)
    busy_from: int = 0
    mounts: bool = False
    takes_single: bool = False
    types: tuple[str, ...] | None = None
    types_status: int = 400
    commit_seconds: float = 0.0
    drops_commit: int = 0
    warning: str | None = None
    trusts: bool = False
    spoils: bool = False
    unseen: int = 0

    def __str__(self) -> str:
        """Only what is wrong."""
        usual = Faults()
        return " ".join(f"{key}={value}" for key, value in vars(self).items() if value != getattr(usual, key)) or "none"


@dataclass
class Upload:
    """One that is open."""

    repository: str
    content: bytearray = field(default_factory=bytearray)
    state: int = 0
    patches: int = 0
    is_lost: bool = False


@dataclass(frozen=True)
class Call:
    """A request as it was: ``size`` bytes were announced, ``came`` of them came."""

    method: str
    target: str
    size: int
    came: int
    status: int
    authorization: str | None


class FaultyRegistry:
    """What it has, and what it was asked.

    Args:
        faults: what is wrong.
    """

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.address = ""
        self.elsewhere = ""
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], bytes] = {}
        self.uploads: dict[str, Upload] = {}
        self.calls: list[Call] = []
        self.tokens = 0
        self.used = 0
        self.lock = threading.Lock()

    @property
    def came(self) -> int:
        """Bytes of bodies that came in all."""
        return sum(call.came for call in self.calls)

    def methods(self, *wanted: str) -> list[str]:
        """The methods of the requests in order; only ``wanted`` ones."""
        return [call.method for call in self.calls if not wanted or call.method in wanted]

    def sizes(self, method: str) -> list[int]:
        """The sizes of the bodies that were announced."""
        return [call.size for call in self.calls if call.method == method]


class _CutError(Exception):
    """The connection is to be broken."""


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    registry: FaultyRegistry

    def _do(self) -> None:
        registry, faults = self.registry, self.registry.faults
        self._came = 0
        self._size = int(self.headers.get("Content-Length", "0"))
        try:
            if urlsplit(self.path).path == "/token" and faults.token_moves is not None:
                self._skip()
                self._say(faults.token_moves, {"Location": self.path.replace("/token", "/moved/token", 1)})
                return
            if urlsplit(self.path).path.endswith("/token"):
                if faults.token_busy and registry.tokens >= faults.token_busy_from:
                    status, after = faults.token_busy.pop(0)
                    self._say(status, {"Retry-After": after})
                    return
                registry.tokens += 1
                registry.used = 0
                self._say(200, body=json.dumps({"token": f"t{registry.tokens}"}).encode())
                return
            if (registry.tokens or faults.expires_after) and self._is_expired():
                self._skip()
                realm = f'Bearer realm="http://{registry.address}/token",scope="repository:x:pull,push"'
                self._say(401, {"WWW-Authenticate": realm})
                return
            self._route()
        except _CutError:
            self._note(0)
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _do

    def _note(self, status: int) -> None:
        """Before the answer: who has it may look at the calls."""
        call = Call(self.command, self.path, self._size, self._came, status, self.headers["Authorization"])
        with self.registry.lock:
            self.registry.calls.append(call)

    def _is_expired(self) -> bool:
        registry, faults = self.registry, self.registry.faults
        if self.headers["Authorization"] != f"Bearer t{registry.tokens}":
            return self.headers["Host"] == registry.address
        registry.used += 1
        if faults.expires_after and registry.used > faults.expires_after[0]:
            faults.expires_after.pop(0)
            return True
        return False

    def _route(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        repository, _, rest = url.path.removeprefix("/v2/").partition("/blobs/")
        if rest.startswith("uploads/"):
            self._upload(repository, rest.removeprefix("uploads/"), query)
        elif rest:
            found = self.registry.blobs.get((repository, rest))
            self._say(404 if found is None else 200, body=found or b"")
        elif "/manifests/" not in url.path:  # it has no list of referrers
            self._skip()
            self._refuse(404, "UNSUPPORTED")
        else:
            self._manifest(*url.path.removeprefix("/v2/").split("/manifests/"))

    def _manifest(self, repository: str, pointer: str) -> None:
        registry, faults = self.registry, self.registry.faults
        if self.command != "PUT":
            found = registry.manifests.get((repository, pointer))
            digest = "" if found is None else f"sha256:{hashlib.sha256(found).hexdigest()}"
            kind = "application/vnd.oci.image.manifest.v1+json"
            self._say(
                404 if found is None else 200, {"Docker-Content-Digest": digest, "Content-Type": kind}, found or b""
            )
            return
        data = bytes(self._read(bytearray()))
        kind = json.loads(data).get("artifactType", "")
        if faults.types is not None and kind not in faults.types:
            error = {"code": "MANIFEST_INVALID", "message": "manifest invalid", "detail": f"unknown media type {kind}"}
            self._say(faults.types_status, body=json.dumps({"errors": [error]}).encode())
            return
        if faults.unseen:
            faults.unseen -= 1
            codes = ("DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN")  # both, as Debian's registry while others write
            self._say(400, body=json.dumps({"errors": [{"code": code, "message": code} for code in codes]}).encode())
            return
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        registry.manifests[repository, pointer] = registry.manifests[repository, digest] = data
        self._say(201, {"Docker-Content-Digest": digest, "OCI-Subject": digest})

    def _upload(self, repository: str, name: str, query: dict[str, str]) -> None:
        registry, faults = self.registry, self.registry.faults
        if self.command == "POST":
            if faults.opens_elsewhere is not None and "moved" not in query:
                self._skip()
                self._say(faults.opens_elsewhere, {"Location": f"{self.path}{'&' if query else '?'}moved=1"})
                return
            self._post(repository, query)
            return
        upload = registry.uploads.get(name)
        if upload is None or upload.is_lost or (faults.has_state and query.get("state") != str(upload.state)):
            self._skip()
            self._refuse(404, "BLOB_UPLOAD_UNKNOWN")
        elif self.command == "GET":
            self._say(204, self._where(name, upload))
        elif self.command == "DELETE":
            del registry.uploads[name]
            self._say(204)
        elif self.command == "PATCH":
            self._patch(name, upload)
        else:
            self._put(name, upload, query["digest"])

    def _post(self, repository: str, query: dict[str, str]) -> None:
        registry, faults = self.registry, self.registry.faults
        if "mount" in query and faults.mounts:
            found = registry.blobs.get((query["from"], query["mount"]))
            if found is not None:
                registry.blobs[repository, query["mount"]] = found
                self._say(201, {"Docker-Content-Digest": query["mount"]})
                return
        body = self._read(bytearray())
        if "digest" in query and faults.takes_single:
            registry.blobs[repository, query["digest"]] = bytes(body)
            self._say(201)
            return
        name = uuid.uuid4().hex
        upload = registry.uploads[name] = Upload(repository)
        headers = self._where(name, upload, first=True)
        says = faults.says_minimum or (str(faults.minimum) if faults.minimum else None)
        if says is not None:
            headers["OCI-Chunk-Min-Length"] = says
        self._say(202, headers)

    def _patch(self, name: str, upload: Upload) -> None:
        faults = self.registry.faults
        if faults.patch_status >= 400:
            self._skip()
            self._refuse(faults.patch_status, "UNSUPPORTED")
            return
        if faults.patch_cap is not None and self._size > faults.patch_cap:
            self._skip()
            self._say(416, self._where(name, upload))
            return
        if faults.chunks is not None and upload.patches >= faults.chunks:
            self._skip()
            self._refuse(400, "BLOB_UPLOAD_INVALID")
            return
        if self._take(name, upload, is_last=False):
            upload.patches += 1
            self._say(faults.patch_status, self._where(name, upload))

    def _put(self, name: str, upload: Upload, digest: str) -> None:
        registry, faults = self.registry, self.registry.faults
        if (faults.refuses_empty_put and not self._size) or (faults.refuses_riders and self._size and upload.patches):
            self._skip()
            self._refuse(400 if self._size else 500, "UNKNOWN")
            return
        if not self._take(name, upload, is_last=True):
            return
        time.sleep(faults.commit_seconds)
        del registry.uploads[name]
        if faults.spoils:
            upload.content[:1] = b"!"
        if not faults.trusts and f"sha256:{hashlib.sha256(upload.content).hexdigest()}" != digest:
            self._refuse(400, "DIGEST_INVALID")
            return
        registry.blobs[upload.repository, digest] = bytes(upload.content)
        if faults.drops_commit:
            faults.drops_commit -= 1
            raise _CutError
        self._say(201, {"Docker-Content-Digest": digest})

    def _take(self, name: str, upload: Upload, *, is_last: bool) -> bool:
        """Take in the body of a PATCH or PUT; False when it was refused."""
        faults = self.registry.faults
        if faults.cap is not None and self._size > faults.cap:
            self._skip()
            self._refuse(413, "SIZE_INVALID")
            return False
        if faults.busy and len(upload.content) >= faults.busy_from:
            status, after = faults.busy.pop(0)
            self._skip()
            self._say(status, {"Retry-After": after})
            return False
        span = self.headers["Content-Range"]
        if span is not None and span != f"{len(upload.content)}-{len(upload.content) + self._size - 1}":
            self._skip()
            self._say(416, self._where(name, upload))
            return False
        if not is_last and self._size < faults.minimum:
            self._skip()
            self._refuse(400, "SIZE_INVALID")
            return False
        before = len(upload.content)
        try:
            self._read(upload.content)
        except _CutError:
            if not faults.keeps_cut:
                del upload.content[before:]
            upload.is_lost = faults.loses_cut
            raise
        return True

    def _read(self, into: bytearray) -> bytearray:
        """Take the body in, slowly or in part where that is what is wrong."""
        faults = self.registry.faults
        began = time.monotonic()
        cut = faults.cut_bytes.pop(0) if faults.cut_bytes and self._size else None
        while self._came < self._size:
            found = self.rfile.read1(min(_BLOCK, self._size - self._came))
            if not found:
                raise _CutError
            into += found
            self._came += len(found)
            if faults.rate is not None:
                time.sleep(max(0.0, self._came / faults.rate - (time.monotonic() - began)))
            if faults.cut_seconds is not None and time.monotonic() - began > faults.cut_seconds:
                raise _CutError
            if cut is not None and self._came >= cut:
                raise _CutError
        return into

    def _skip(self) -> None:
        self._read(bytearray())

    def _where(self, name: str, upload: Upload, *, first: bool = False) -> dict[str, str]:
        """The headers that say where an upload goes on, and from which byte."""
        registry, faults = self.registry, self.registry.faults
        found = {"Range": f"0-{max(len(upload.content) - 1, 0)}"}
        upload.state += 1
        path = f"/v2/{upload.repository}/blobs/uploads/{name}"
        if faults.has_state:
            path += f"?state={upload.state}&secret=hunter2"
        match faults.location:
            case "absolute":
                found["Location"] = f"http://{registry.address}{path}"
            case "elsewhere":
                found["Location"] = f"http://{registry.elsewhere}{path}"
            case "once":
                found |= {"Location": path} if first else {}
            case _:
                found["Location"] = path
        return found

    def _refuse(self, status: int, code: str) -> None:
        self._say(status, body=json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode())

    def _say(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self._note(status)
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if self.registry.faults.warning is not None:
            self.send_header("Warning", self.registry.faults.warning)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def faulty_registry(faults: Faults | None = None) -> Iterator[FaultyRegistry]:
    """Serve until the block ends, on two hosts: ``address`` and, for Locations, ``elsewhere``."""
    registry = FaultyRegistry(faults or Faults())

    class Answers(_Answers):
        pass

    Answers.registry = registry
    listeners = [ThreadingHTTPServer(("127.0.0.1", 0), Answers) for _ in range(2)]
    threads = []
    for listener in listeners:
        listener.handle_error = lambda *args: None  # type: ignore[method-assign]
        threads.append(threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}))
        threads[-1].start()
    registry.address, registry.elsewhere = (f"127.0.0.1:{one.server_address[1]}" for one in listeners)
    try:
        yield registry
    finally:
        for listener, thread in zip(listeners, threads, strict=True):
            listener.shutdown()
            listener.daemon_threads = True
            listener.server_close()
            thread.join()
