"""A registry of one ModelKit on loopback, whose blobs come as a test wants: cut, stalled, slow, wrong."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kitops.oci.manifest import Manifest

_STEP = 64 * 1024


@dataclass(frozen=True)
class Weather:
    """What happens to one answer.

    Args:
        cut_after: close the connection after so many bytes of the body.
        stall_after: send no more after so many bytes, until the server stops.
        rate: bytes a second.
        flip: turn the bits of the first byte that is sent.
        has_ranges: heed ``Range``.
        content_range: say this instead of the truth.
        status: answer with this and no blob.
        headers: of such an answer.
        gate: wait for it before the body.
        length: say this ``Content-Length`` instead of the truth.
        step: bytes that are sent at a time.
    """

    cut_after: int | None = None
    stall_after: int | None = None
    rate: float | None = None
    flip: bool = False
    has_ranges: bool = True
    content_range: str | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    gate: threading.Event | None = None
    length: int | None = None
    step: int = _STEP


@dataclass(frozen=True)
class Asked:
    """A request for a blob: the first is number 0."""

    number: int
    start: int
    end: int
    is_ranged: bool
    path: str = ""
    authorization: str | None = None


FINE = Weather()
Forecast = Callable[[Asked], Weather]


@dataclass
class BlobServer:
    """A running server.

    Args:
        address: host and port.
        content: media type and bytes by digest.
        forecast: what becomes of each request for a blob of some size; may be changed at any time.
        asked: those requests.
        sent: bytes of their bodies that were sent.
        open: connections that send a body now.
        most_open: the most there were.
        ended: the server stops.
        lock: guards the counters.
    """

    address: str
    content: dict[str, tuple[str, bytes]]
    forecast: Forecast
    asked: list[Asked] = field(default_factory=list)
    sent: int = 0
    open: int = 0
    most_open: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def blob_server(
    manifest: Manifest, blobs: dict[str, bytes], forecast: Forecast = lambda asked: FINE
) -> Iterator[BlobServer]:
    """Serve ``manifest`` under every tag, and ``blobs`` by digest; the forecast is for those of 1 MiB and more.

    Nothing refers to the manifest.
    """
    content = {digest: ("application/octet-stream", data) for digest, data in blobs.items()}
    content[str(manifest.descriptor.digest)] = (manifest.media_type, manifest.raw)

    answers = type("_OwnAnswers", (_Answers,), {"manifest": manifest})
    listener = ThreadingHTTPServer(("127.0.0.1", 0), answers)
    listener.daemon_threads = True
    listener.handle_error = lambda *args: None  # type: ignore[method-assign]
    state = BlobServer(f"127.0.0.1:{listener.server_address[1]}", content, forecast)
    answers.state = state  # type: ignore[attr-defined]
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        state.ended.set()
        listener.shutdown()
        listener.server_close()
        thread.join()


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    state: BlobServer
    manifest: Manifest

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].rpartition("/")[2]
        if "/manifests/" in self.path and ":" not in name and not name.startswith("sha256-"):
            name = str(self.manifest.descriptor.digest)
        if name not in self.state.content:
            self._tell(404, b"{}", {})
            return
        kind, data = self.state.content[name]
        headers = {"Content-Type": kind, "Docker-Content-Digest": name}
        if self.command == "HEAD" or len(data) < 1024 * 1024:
            self._tell(200, data, headers)
        else:
            self._serve(data, headers)

    def _serve(self, data: bytes, headers: dict[str, str]) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(found[1]) if found else 0
        end = min(int(found[2]) + 1 if found and found[2] else len(data), len(data))
        with self.state.lock:
            number, authorization = len(self.state.asked), self.headers["Authorization"]
            asked = Asked(number, start, end, found is not None, self.path, authorization)
            self.state.asked.append(asked)
        weather = self.state.forecast(asked)
        if weather.status is not None:
            self._tell(weather.status, b"{}", weather.headers)
            return
        if found and weather.has_ranges:
            said = weather.content_range or f"bytes {start}-{end - 1}/{len(data)}"
            self._head(206, weather.length or end - start, headers | {"Content-Range": said})
        else:
            start, end = 0, len(data)
            self._head(200, weather.length or len(data), headers)
        self.close_connection = weather.length is not None
        with self.state.lock:
            self.state.open += 1
            self.state.most_open = max(self.state.most_open, self.state.open)
        try:
            self._send(memoryview(data)[start:end], weather)
        finally:
            with self.state.lock:
                self.state.open -= 1

    def _send(self, body: memoryview, weather: Weather) -> None:
        if weather.gate is not None:
            weather.gate.wait(20)
        step, began = weather.step, time.monotonic()
        for done in range(0, len(body), step):
            chunk = bytes(body[done : done + step])
            for limit in (weather.cut_after, weather.stall_after):
                chunk = chunk if limit is None else chunk[: max(0, limit - done)]
            if weather.flip and not done:
                chunk = bytes([chunk[0] ^ 0xFF]) + chunk[1:]
            try:
                self.wfile.write(chunk)
            except OSError:
                self.close_connection = True
                return
            with self.state.lock:
                self.state.sent += len(chunk)
            if len(chunk) < min(step, len(body) - done):
                if weather.stall_after is not None:
                    self.state.ended.wait(20)
                self.close_connection = True
                return
            if weather.rate is not None:
                time.sleep(max(0.0, (done + step) / weather.rate - (time.monotonic() - began)))

    def _tell(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self._head(status, len(body), headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass
