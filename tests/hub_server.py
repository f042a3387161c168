"""A hub on loopback that speaks Hugging Face's HTTP API to its real client, with the faults that a test wants.

Listing with pages, revisions, ``resolve`` with a redirect to storage on another host, ranges, LFS metadata, gated and
private repositories, rate limits, cut connections, and Xet storage (``xet_server``). It counts what it sends.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from xet_server import Xet, XetAnswers, grant

BIG = 1024
"""Bytes from which on a file lies in LFS."""
PIECE = 256 * 1024


@dataclass
class HubRepo:
    """A repository.

    ``commits`` maps a commit to its files: bytes, or a path to a file of the disk. ``refs`` maps branches and tags to
    commits. ``tokens`` that may read it; None is everybody.
    """

    name: str
    commits: dict[str, Mapping[str, bytes | Path]]
    refs: dict[str, str]
    is_dataset: bool = False
    tokens: frozenset[str] | None = None
    gated: bool = False


@dataclass
class Hub:
    """A running hub: what it holds, how it misbehaves, what it saw."""

    endpoint: str = ""
    storage: str = ""
    repos: dict[tuple[str, bool], HubRepo] = field(default_factory=dict)
    page: int = 1000
    """Entries of one page of a listing."""
    known_tokens: frozenset[str] = frozenset()
    has_ranges: bool = True
    cut_after: int | None = None
    """Bodies of storage end after so many bytes (of one answer)."""
    cuts: int = 0
    """How many answers are still cut."""
    refusals: list[int] = field(default_factory=list)
    """Statuses that the next requests to storage get."""
    api_refusals: list[int] = field(default_factory=list)
    """Statuses that the next requests to the API get."""
    budget: int | None = None
    """How many requests to the API are still answered; the rest are told to come later."""
    silence: threading.Event | None = None
    """The API answers when it is set."""
    stall: threading.Event | None = None
    """Bodies of storage go on after a first piece when it is set."""
    raw: bytes | None = None
    """What the API answers to every question, with status 200."""
    complaint: tuple[int, bytes] | None = None
    """Status and body of whatever the API is asked."""
    loops: bool = False
    """The second page of a listing is followed by itself."""
    file_refusals: dict[str, list[int]] = field(default_factory=dict)
    """By path: statuses that the next requests for a file get."""
    refusal: str = "refused"
    """What is said with ``file_refusals``."""
    mangle: Callable[[list[dict[str, object]]], object] | None = None
    """What becomes of a page of a listing."""
    spoil: dict[str, bytes] = field(default_factory=dict)
    """By digest: what storage gives the next time instead."""
    requests: list[str] = field(default_factory=list)
    storage_headers: list[Mapping[str, str]] = field(default_factory=list)
    sent: int = 0
    """Bytes of bodies of files, as they went out over plain HTTP."""
    xet: Xet = field(default_factory=Xet)
    has_xet: bool = False
    """Large files lie in Xet storage; plain HTTP gives them too."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _blobs: dict[str, bytes | Path] = field(default_factory=dict)
    _digests: dict[Path, str] = field(default_factory=dict)

    def add(self, repo: HubRepo) -> None:
        self.repos[repo.name, repo.is_dataset] = repo

    def count(self, size: int) -> None:
        with self._lock:
            self.sent += size

    def digest(self, content: bytes | Path) -> str:
        if isinstance(content, bytes):
            return hashlib.sha256(content).hexdigest()
        if content not in self._digests:
            with content.open("rb") as file:
                self._digests[content] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[content]


def model_repo(name: str, files: Mapping[str, bytes | Path], **more: object) -> HubRepo:
    """A model with one commit, which is ``main``."""
    commit = hashlib.sha1(name.encode()).hexdigest()
    return HubRepo(name, {commit: dict(files)}, {"main": commit}, **more)  # type: ignore[arg-type]


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve a hub, and storage on another port, until the block ends."""
    hub = Hub()
    servers = [_server(hub, _Api), _server(hub, _Storage), _server(hub, _Xet)]
    hub.endpoint = f"http://127.0.0.1:{servers[0].server_address[1]}"
    hub.storage = f"http://localhost:{servers[1].server_address[1]}"
    hub.xet.address = f"http://localhost:{servers[2].server_address[1]}"
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join(10)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is what these tests are about."""


def _server(hub: Hub, answers: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    server = _Server(("127.0.0.1", 0), type(answers.__name__, (answers,), {"hub": hub, "xet": hub.xet}))
    # what is sent is what was read, or nearly: not what lies in the kernel
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    return server


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    disable_nagle_algorithm = True  # else a small body waits for the acknowledgement of its head
    hub: Hub

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as the base has it
        pass

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str = "", message: str = "refused") -> None:
        headers = {"X_Error_Message": message}
        if code:
            headers["X_Error_Code"] = code
        self.say(status, json.dumps({"error": message}).encode(), Content_Type="application/json", **headers)

    def send_file(self, content: bytes | Path) -> None:
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        start, end, status = 0, size, 200
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted and self.hub.has_ranges:
            start, end, status = int(wanted[1]), min(size, int(wanted[2]) + 1 if wanted[2] else size), 206
            if start >= size:
                self.say(416, b"", Content_Range=f"bytes */{size}")
                return
        self.send_response(status)
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.cuts > 0 and self.hub.cut_after is not None:
            self.hub.cuts -= 1
            end = min(end, start + self.hub.cut_after)
            self.close_connection = True
        self._pour(content, start, end)

    def _pour(self, content: bytes | Path, start: int, end: int) -> None:
        if self.hub.stall is not None and end - start > PIECE:
            self._pour_piece(content, start, start + PIECE)
            start += PIECE
            self.wfile.flush()
            self.hub.stall.wait(20)
        self._pour_piece(content, start, end)

    def _pour_piece(self, content: bytes | Path, start: int, end: int) -> None:
        if isinstance(content, bytes):
            self.wfile.write(content[start:end])
            self.hub.count(end - start)
            return
        with content.open("rb") as file:
            file.seek(start)
            while start < end and (piece := file.read(min(PIECE, end - start))):
                self.wfile.write(piece)
                self.hub.count(len(piece))
                start += len(piece)


class _Api(_Answers):
    """``/api/…`` and ``/…/resolve/…``."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.hub.requests.append(f"{self.command} {self.path}")
        if self.hub.silence is not None:
            self.hub.silence.wait(20)
        if self.hub.api_refusals:
            self.refuse(self.hub.api_refusals.pop(0))
            return
        if self.hub.budget is not None:
            self.hub.budget -= 1
            if self.hub.budget < 0:
                self.refuse(429, message="slow down")
                return
        if self.hub.complaint is not None:
            self.say(*self.hub.complaint, Content_Type="application/json")
            return
        if self.hub.raw is not None and urlsplit(self.path).path.startswith("/api/"):
            self.say(200, self.hub.raw, Content_Type="text/html")
            return
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and self.hub.known_tokens and token not in self.hub.known_tokens:
            self.refuse(401, message="Invalid credentials in Authorization header")
            return
        path = unquote(parts.path)
        if found := re.fullmatch(r"/api/(models|datasets)/([^/]+(?:/[^/]+)?)/tree/(.+)", path):
            self._tree(found[2], found[1] == "datasets", found[3], parse_qs(parts.query), token)
        elif found := re.fullmatch(r"/api/(models|datasets)/([^/]+(?:/[^/]+)?)/xet-read-token/(.+)", path):
            self._grant(found[2], found[1] == "datasets", found[3], token)
        elif found := re.fullmatch(r"/api/(models|datasets)/([^/]+(?:/[^/]+)?)(?:/revision/(.+))?", path):
            self._info(found[2], found[1] == "datasets", found[3] or "main", token)
        elif found := re.fullmatch(r"/(datasets/)?([^/]+(?:/[^/]+)?)/resolve/([^/]+)/(.+)", path):
            self._resolve(found[2], bool(found[1]), found[3], found[4], token)
        else:
            self.refuse(404)

    def _find(self, name: str, is_dataset: bool, revision: str, token: str) -> tuple[HubRepo, str] | None:
        repo = self.hub.repos.get((name, is_dataset))
        may = repo is not None and (repo.tokens is None or token in repo.tokens)
        if repo is None or (not may and not repo.gated):
            self.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
            return None
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repo, commit

    def _info(self, name: str, is_dataset: bool, revision: str, token: str) -> None:
        if found := self._find(name, is_dataset, revision, token):
            repo, commit = found
            body = {
                "_id": "0",
                "id": name,
                "modelId": name,
                "sha": commit,
                "private": repo.tokens is not None,
                "gated": "auto" if repo.gated else False,
                "tags": [],
                "siblings": [{"rfilename": path} for path in repo.commits[commit]],
            }
            self.say(200, json.dumps(body).encode(), Content_Type="application/json")

    def _tree(self, name: str, is_dataset: bool, revision: str, query: dict[str, list[str]], token: str) -> None:
        found = self._find(name, is_dataset, revision, token)
        if not found:
            return
        repo, commit = found
        entries: list[dict[str, object]] = []
        directories = {path.rpartition("/")[0] for path in repo.commits[commit] if "/" in path}
        entries += [{"type": "directory", "oid": "0" * 40, "size": 0, "path": path} for path in sorted(directories)]
        for path, content in sorted(repo.commits[commit].items()):
            size = len(content) if isinstance(content, bytes) else content.stat().st_size
            entry: dict[str, object] = {"type": "file", "oid": _oid(content, size), "size": size, "path": path}
            if size >= BIG:
                entry["lfs"] = {"oid": self.hub.digest(content), "size": size, "pointerSize": 130}
                if self.hub.has_xet:
                    entry["xetHash"] = self.hub.xet.file_id(content, self.hub.digest(content))
            entries.append(entry)
        start = int(query.get("cursor", ["0"])[0])
        headers = {"Content_Type": "application/json"}
        if start + self.hub.page < len(entries):
            cursor = self.hub.page if self.hub.loops else start + self.hub.page
            link = f"{self.hub.endpoint}{urlsplit(self.path).path}?recursive=true&cursor={cursor}"
            headers["Link"] = f'<{link}>; rel="next"'
        page: object = entries[start : start + self.hub.page]
        if self.hub.mangle is not None:
            page = self.hub.mangle(entries[start : start + self.hub.page])
        self.say(200, json.dumps(page).encode(), **headers)

    def _grant(self, name: str, is_dataset: bool, revision: str, token: str) -> None:
        """A token for Xet storage, for who may read."""
        found = self._find(name, is_dataset, revision, token)
        if not found:
            return
        if found[0].gated and token not in (found[0].tokens or ()):
            self.refuse(403 if token else 401, "GatedRepo", "Access to this model is restricted")
            return
        self.say(200, json.dumps(grant(self.hub.xet)).encode(), Content_Type="application/json")

    def _resolve(self, name: str, is_dataset: bool, revision: str, path: str, token: str) -> None:
        found = self._find(name, is_dataset, revision, token)
        if not found:
            return
        repo, commit = found
        if repo.gated and token not in (repo.tokens or ()):
            self.refuse(403 if token else 401, "GatedRepo", "Access to this model is restricted")
            return
        if refusals := self.hub.file_refusals.get(path):
            self.refuse(refusals.pop(0), message=self.hub.refusal)
            return
        content = repo.commits[commit].get(path)
        if content is None:
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        if size < BIG:
            self.send_file(content)
            return
        digest = self.hub.digest(content)
        self.hub._blobs[digest] = content
        location = f"{self.hub.storage}/blob/{digest}?X-Signature=secret-of-storage"
        headers = {"Location": location, "X_Repo_Commit": commit, "X_Linked_Size": str(size)}
        self.say(302, b"", X_Linked_Etag=f'"{digest}"', **headers)


def _oid(content: bytes | Path, size: int) -> str:
    """The id of a git object with this content; of what lies in LFS nobody looks at it."""
    if isinstance(content, Path):
        content = content.read_bytes() if size < BIG else b""
    return hashlib.sha1(b"blob %d\0" % size + content).hexdigest()


class _Storage(_Answers):
    """Signed storage: takes no token."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.storage_headers.append({key.lower(): value for key, value in self.headers.items()})
        if self.hub.refusals:
            self.say(self.hub.refusals.pop(0), b"slow down", Retry_After="1")
            return
        digest = urlsplit(self.path).path.rpartition("/")[2]
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send_file(self.hub.spoil.pop(digest, None) or self.hub._blobs[digest])


class _Xet(XetAnswers):
    """Xet storage; where the hub has none, nobody comes."""
