"""Git over smart HTTP, and git-lfs's batch API, on loopback: ``git http-backend`` behind a small web server.

Source: git-http-backend(1); git-lfs, docs/api/batch.md and docs/api/basic-transfers.md.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


@dataclass
class GitServer:
    """A running server: repositories below ``root``, objects of git-lfs, who may read, what was sent."""

    root: Path
    address: str = ""
    objects: dict[str, Path] = field(default_factory=dict)
    password: str | None = None
    requests: list[str] = field(default_factory=list)
    sent: int = 0
    """Bytes of objects of git-lfs."""
    cut_after: int | None = None
    """Objects' bodies end after so many bytes, ``cuts`` times."""
    cuts: int = 0
    has_ranges: bool = True
    redirects: bool = False
    """Objects lie on another host."""
    batch_refusals: int = 0
    """How many requests to the batch API get no answer that helps."""

    def url(self, name: str) -> str:
        return f"{self.address}/{name}.git"


def git(directory: Path, *arguments: str) -> str:
    """Run git with an identity and nothing of the machine's own settings."""
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        **{f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def lfs_pointer(content: bytes) -> bytes:
    """What git keeps of a file in LFS."""
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n".encode()


@contextmanager
def git_server(root: Path) -> Iterator[GitServer]:
    """Serve the bare repositories below ``root`` until the block ends."""
    state = GitServer(root)

    class Answers(_Answers):
        server_state = state

    server = _Server(("127.0.0.1", 0), Answers)
    state.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is what these tests are about."""


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    server_state: GitServer

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as the base has it
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        state = self.server_state
        state.requests.append(f"{self.command} {self.path}")
        body = self._body()
        if not self._may():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path = urlsplit(self.path).path
        if path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif found := re.fullmatch(r"/objects/([0-9a-f]{64})", path):
            self._object(found[1])
        else:
            self._backend(path, body)

    def _may(self) -> bool:
        password = self.server_state.password
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        return password is None or base64.b64decode(given).decode().partition(":")[2] == password

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _say(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _batch(self, asked: dict[str, list[dict[str, object]]]) -> None:
        if self.server_state.batch_refusals:
            self.server_state.batch_refusals -= 1
            self._say(501, b"{}", "application/vnd.git-lfs+json")
            return
        found = []
        for wanted in asked["objects"]:
            oid = str(wanted["oid"])
            answer: dict[str, object] = {"oid": oid, "size": wanted["size"]}
            if oid in self.server_state.objects:
                answer["actions"] = {"download": {"href": f"{self.server_state.address}/objects/{oid}"}}
            else:
                answer["error"] = {"code": 404, "message": "Object does not exist"}
            found.append(answer)
        body = json.dumps({"transfer": "basic", "objects": found}).encode()
        self._say(200, body, "application/vnd.git-lfs+json")

    def _object(self, oid: str) -> None:
        state = self.server_state
        if state.redirects and "signed" not in self.path:
            self.send_response(302)
            self.send_header("Location", f"{state.address.replace('127.0.0.1', 'localhost')}{self.path}?signed=1")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path = state.objects[oid]
        size = path.stat().st_size
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if state.has_ranges else None
        start = int(wanted[1]) if wanted else 0
        end = min(size, int(wanted[2]) + 1) if wanted and wanted[2] else size
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if state.cuts > 0 and state.cut_after is not None:
            state.cuts -= 1
            end = min(end, start + state.cut_after)
            self.close_connection = True
        with path.open("rb") as file, suppress(BrokenPipeError, ConnectionResetError):
            file.seek(start)
            while start < end and (piece := file.read(min(256 * 1024, end - start))):
                self.wfile.write(piece)
                state.sent += len(piece)
                start += len(piece)

    def _backend(self, path: str, body: bytes) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server_state.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_CONFIG_KEY_1": "uploadpack.allowAnySHA1InWant",
            "GIT_CONFIG_VALUE_1": "true",
            "PATH_INFO": path,
            "QUERY_STRING": urlsplit(self.path).query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "test",
        }
        done = subprocess.run(["git", "http-backend"], env=environment, input=body, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        status = int(fields.pop("Status", "200").split()[0])
        self._say(status, content, fields.get("Content-Type", "text/plain"))


def add_submodule(server: GitServer, source: Path, path: str, files: Mapping[str, bytes]) -> Path:
    """Make ``source`` a repository with another one, of ``files``, at ``path``; where that other one is worked on."""
    inner = source.parent / "inner"
    inner.mkdir()
    for name, content in files.items():
        (inner / name).write_bytes(content)
    git(inner, "init", "-q", "-b", "main")
    git(inner, "add", "-A")
    git(inner, "commit", "-q", "-m", "x")
    git(inner, "clone", "-q", "--bare", str(inner), str(server.root / "inner.git"))
    git(source, "init", "-q", "-b", "main")
    git(source, "submodule", "add", "-q", server.url("inner"), path)
    return inner
