"""Xet storage on loopback, as the hub's client wants it (Xet protocol specification 1.1): tokens, plans, and xorbs.

A file is cut into chunks of 64 KiB, and these are kept in xorbs of 16 MiB. A plan ("reconstruction") says which chunks
of which xorbs make a range of a file, and where signed URLs give them; a chunk is sent behind a header of eight bytes.
"""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

CHUNK = 64 * 1024
XORB = 256
"""Chunks of a xorb."""
STRIDE = CHUNK + 8
SIGNATURE = "X-Amz-Signature=secret-of-xet"


@dataclass
class Xet:
    """The storage: what it holds, how it misbehaves, what it saw."""

    address: str = ""
    files: dict[str, bytes | Path] = field(default_factory=dict)
    """By file id."""
    tokens: set[str] = field(default_factory=set)
    """Access tokens that it takes; the hub gives them out."""
    refusals: list[int] = field(default_factory=list)
    """Statuses that the next plans get."""
    cuts: int = 0
    """How many answers with xorbs are still cut in their middle."""
    stall: threading.Event | None = None
    """Xorbs come when it is set."""
    spoil: int = 0
    """How many answers with xorbs still have a wrong byte."""
    garbage: bool = False
    """Xorbs are none."""
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def file_id(self, content: bytes | Path, digest: str) -> str:
        """What a file with this SHA-256 is called here."""
        found = digest[::-1]
        self.files[found] = content
        return found

    def count(self, size: int) -> None:
        with self._lock:
            self.sent += size


class XetAnswers(BaseHTTPRequestHandler):
    """The storage's API, and the signed URLs, on one port."""

    protocol_version = "HTTP/1.1"
    timeout = 20
    xet: Xet

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as the base has it
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.do_GET()

    def do_GET(self) -> None:
        xet = self.xet
        path = urlsplit(self.path).path
        xet.requests.append(f"{self.command} {path}")
        xet.headers.append({key.lower(): value for key, value in self.headers.items()})
        if found := re.fullmatch(r"/v1/reconstructions/([0-9a-f]{64})", path):
            self._plan(found[1])
        elif found := re.fullmatch(r"/xorbs/([0-9a-f]{64})/(\d+)", path):
            self._send_xorb(found[1], int(found[2]))
        else:  # newer versions of the API too: the client then asks for the first
            self._say(404)

    def _say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _range(self, size: int) -> tuple[int, int]:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        return (int(found[1]), min(int(found[2]) + 1, size)) if found else (0, size)

    def _plan(self, file_id: str) -> None:
        xet = self.xet
        if xet.refusals:
            self._say(xet.refusals.pop(0), b"refused")
            return
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in xet.tokens:
            self._say(401, b"no token that is known here")
            return
        content = xet.files.get(file_id)
        if content is None:
            self._say(404, b"no such file")
            return
        size = _size(content)
        start, end = self._range(size)
        if start >= size:
            self._say(416)
            return
        first, behind = start // CHUNK, -(-end // CHUNK)
        terms, places = [], {}
        for xorb in range(first // XORB, -(-behind // XORB)):
            low, high = max(first - xorb * XORB, 0), min(behind - xorb * XORB, XORB)
            name = f"{file_id[:56]}{xorb:08x}"
            length = min((xorb * XORB + high) * CHUNK, size) - (xorb * XORB + low) * CHUNK
            chunks = {"start": low, "end": high}
            terms.append({"hash": name, "unpacked_length": length, "range": chunks})
            stop = length + low * CHUNK + high * 8
            places[name] = [
                {
                    "range": chunks,
                    "url": f"{xet.address}/xorbs/{file_id}/{xorb}?{SIGNATURE}",
                    "url_range": {"start": low * STRIDE, "end": stop - 1},
                }
            ]
        plan = {"offset_into_first_range": start - first * CHUNK, "terms": terms, "fetch_info": places}
        self._say(200, json.dumps(plan).encode(), Content_Type="application/json")

    def _send_xorb(self, file_id: str, number: int) -> None:
        xet = self.xet
        if xet.stall is not None:
            xet.stall.wait(15)
        content = xet.files[file_id]
        start, end = self._range(1 << 60)
        first = number * XORB
        body = b"".join(_chunk(content, first + index) for index in range(start // STRIDE, -(-end // STRIDE)))
        assert start % STRIDE == 0
        body = body[: end - start]
        if xet.garbage:
            body = b"x" * len(body)
        if xet.spoil > 0:
            xet.spoil -= 1
            body = body[:100] + bytes([body[100] ^ 1]) + body[101:]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{XORB * STRIDE}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if xet.cuts > 0:
            xet.cuts -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)
        xet.count(len(body))


def grant(xet: Xet, lifetime: float = 3600) -> dict[str, object]:
    """What the hub answers to who asks for a token."""
    token = f"xet-token-{len(xet.tokens)}"
    xet.tokens.add(token)
    return {"accessToken": token, "exp": int(time.time() + lifetime), "casUrl": xet.address}


def _size(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _chunk(content: bytes | Path, number: int) -> bytes:
    """A chunk as xorbs have it: version 0, its length as it is kept, kept as it is (0), its length (little endian)."""
    if isinstance(content, bytes):
        data = content[number * CHUNK : (number + 1) * CHUNK]
    else:
        with content.open("rb") as file:
            file.seek(number * CHUNK)
            data = file.read(CHUNK)
    length = len(data).to_bytes(3, "little")
    return b"\0" + length + b"\0" + length + data
