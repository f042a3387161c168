"""Requests to the hub, through its client's session: with time limits, patience, and an ear for the end.

The client authenticates, redirects and tells errors apart. It retries nothing here: whoever reads goes on where it was.
"""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from kitops.content.apart import call_apart
from kitops.content.patience import Patience
from kitops.errors import NetworkError, SourceError
from kitops.importers.hub_errors import Asked, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeVar

    from kitops.content.protocols import Run

    Result = TypeVar("Result")

BLOCK: Final = 256 * 1024
CONNECT_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 30.0
"""A connection that sends nothing for so long is given up."""
MAX_PAGE: Final = 64 * 1024 * 1024
"""Bytes of one answer of the API that are read into memory."""
_MAX_COMPLAINT: Final = 64 * 1024
_TRIES: Final = 2
"""Failures in a row of what is read at once."""


@dataclass(frozen=True, slots=True)
class HubWire:
    """The way to one hub. Thread-safe.

    Args:
        asked: what was asked for, for errors.
        endpoint: of the hub.
        headers: for the hub, with its token.
        run: told of breaks; its cancel token ends every wait.
    """

    asked: Asked
    endpoint: str
    headers: Mapping[str, str] = field(repr=False)
    run: Run = field(repr=False)

    @contextmanager
    def get(self, url: str, what: str, *, wanted: str = "") -> Iterator[tuple[Any, BodyReader]]:
        """GET ``url``, or the range ``wanted`` of it: the client's response, and its body. Tried once.

        Raises:
            SourceError: the hub does not give it.
            NetworkError: it cannot be reached, or falls silent.
            Cancelled: the end was asked for.
        """
        import httpx2  # noqa: PLC0415 - comes with the hub's client
        from huggingface_hub.utils import http_stream_backoff  # type: ignore[attr-defined]  # noqa: PLC0415 - as above

        headers = {**self.headers, "Accept-Encoding": "identity"}
        if not self._is_home(url):
            headers = {key: value for key, value in headers.items() if key.lower() != "authorization"}
        if wanted:
            headers["Range"] = wanted
        timeout = httpx2.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
        never: dict[str, Any] = {"max_retries": 0, "retry_on_exceptions": (), "retry_on_status_codes": ()}
        cancel = self.run.cancel
        with told(self.asked, "reading"):
            stream = http_stream_backoff("GET", url, headers=headers, timeout=timeout, **never)
            response = call_apart(stream.__enter__, cancel, lambda _: stream.__exit__(None, None, None))
            try:
                with cancel.closing(lambda: _hang_up(response)):
                    _check_status(response)
                    yield response, BodyReader(response.iter_raw(BLOCK), what)
            finally:
                stream.__exit__(None, None, None)
                cancel.check()

    def fetch_json(self, url: str, what: str) -> tuple[object, str]:
        """An answer of the API, and where it goes on (empty: nowhere).

        Raises:
            SourceError: it is no JSON, or too long; or as :meth:`get`.
            NetworkError: as :meth:`get`, after several tries.
        """

        def fetch() -> tuple[object, str]:
            with self.get(url, what) as (response, reader):
                raw = reader.read(MAX_PAGE + 1)
                further = str(response.links.get("next", {}).get("url", ""))
            if len(raw) > MAX_PAGE:
                raise SourceError(f"reading {what}: the hub sends more than {MAX_PAGE} bytes at once")
            try:
                return json.loads(raw), urljoin(url, further) if further else ""
            except (ValueError, RecursionError) as error:
                raise SourceError(
                    f"reading {what}: what {self.endpoint} answers is not JSON",
                    hint="check that this is a hub of Hugging Face (HF_ENDPOINT)",
                ) from error

        return self.patiently(fetch)

    def patiently(self, fetch: Callable[[], Result]) -> Result:
        """What ``fetch`` gives, which is tried again where the network fails.

        Raises:
            NetworkError: it failed too often.
        """
        patience = Patience(self.run, _TRIES)
        while True:
            try:
                return fetch()
            except NetworkError as error:
                patience.note(error, moved=False)

    def _is_home(self, url: str) -> bool:
        """Whether a URL is of the hub itself, so that the token may go there."""
        return urlsplit(url)[:2] == urlsplit(self.endpoint)[:2]


class BodyReader:
    """The chunks of a body as a reader."""

    def __init__(self, chunks: Iterator[bytes], what: str) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._what = what

    def readinto(self, buffer: memoryview, /) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, fewer only at the end."""
        found = bytearray()
        while len(found) < size and (self._rest or self._more()):
            piece = self._rest[: size - len(found)]
            found += piece
            self._rest = self._rest[len(piece) :]
        return bytes(found)

    def skip(self, size: int) -> None:
        """Read over ``size`` bytes.

        Raises:
            NetworkError: the body is shorter.
        """
        buffer = memoryview(bytearray(BLOCK))
        while size:
            count = self.readinto(buffer[:size])
            if not count:
                raise NetworkError(f"reading {self._what}: the hub sends less than it announced")
            size -= count

    def _more(self) -> bool:
        self._rest = memoryview(next(self._chunks, b""))
        return bool(self._rest)


def _check_status(response: Any) -> None:
    """Have the client tell what an answer means that is no success; of its body no more than a complaint is read."""
    if response.status_code < 300:
        return
    import httpx2  # noqa: PLC0415 - as above
    from huggingface_hub import errors  # noqa: PLC0415 - as above
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]  # noqa: PLC0415 - as above

    body = BodyReader(response.iter_raw(BLOCK), "").read(_MAX_COMPLAINT)
    headers = [(key, value) for key, value in response.headers.raw if key.lower() != b"content-encoding"]
    short = httpx2.Response(response.status_code, headers=headers, content=body, request=response.request)
    try:
        hf_raise_for_status(short)
    except errors.HfHubHTTPError:
        raise
    except Exception as error:
        raise errors.HfHubHTTPError(f"status {response.status_code}", response=short) from error
    raise errors.HfHubHTTPError(f"status {response.status_code}", response=short)


def _hang_up(response: Any) -> None:
    """Wake who reads the body of a response."""
    stream = response.extensions.get("network_stream")
    sock = stream.get_extra_info("socket") if stream is not None else None
    if isinstance(sock, socket.socket):
        with suppress(OSError):
            # the base class's: the TLS subclass would also drop its session under who reads
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
