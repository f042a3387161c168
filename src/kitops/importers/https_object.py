"""A file behind a URL: TLS, proxies and certificates as for registries; no credentials are ever sent.

Source: RFC 9110, sections 8.8.3 (ETag), 13.1.1 (If-Match), 14 (ranges).
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kitops.errors import NetworkError, SourceError
from kitops.importers.remote_object import ObjectFacts, replaced
from kitops.registry.headers import parse_length
from kitops.registry.urls import follow, safe_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kitops.content.protocols import Reader
    from kitops.registry.transport import Answer, Transport

_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NO_HEAD: Final = frozenset({400, 401, 403, 405, 501})
"""Answers to HEAD after which GET is tried: signed URLs are good for one method."""
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-[0-9]{1,19}/(?:[0-9]{1,19}|\*)", re.ASCII)
_SKIP: Final = 256 * 1024


def open_https(url: str, transport: Transport) -> HttpsObject:
    """Ask what is at ``url``; its body is not read.

    Raises:
        SourceError: there is nothing, it is closed, or the server does not tell its size.
        NetworkError: the server cannot be reached, or is busy.
    """
    name = safe_url(url)
    with _ask("HEAD", url, transport) as answer:
        size = parse_length(answer.header("Content-Length"))
        if answer.status == 200 and size is not None:
            return HttpsObject(name, ObjectFacts(size, _strong(answer)), url, transport)
        if answer.status not in _NO_HEAD | {200}:
            raise _refusal(name, answer)
    with _ask("GET", url, transport) as answer:
        if answer.status != 200:
            raise _refusal(name, answer)
        if answer.size is None:
            raise SourceError(f"{name}: the server does not tell how large it is")
        return HttpsObject(name, ObjectFacts(answer.size, _strong(answer)), url, transport)


@dataclass(frozen=True, slots=True)
class HttpsObject:
    """A file behind a URL (``RemoteObject``)."""

    name: str
    facts: ObjectFacts
    _url: str = field(repr=False)
    _transport: Transport = field(repr=False)

    @contextmanager
    def open(self, offset: int) -> Iterator[Reader]:
        """As :meth:`kitops.importers.remote_object.RemoteObject.open`."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if self.facts.etag:
            headers["If-Match"] = f'"{self.facts.etag}"'
        with _ask("GET", self._url, self._transport, headers) as answer:
            if answer.status == 412:
                raise replaced(self.name, self.facts.etag, _strong(answer))
            if answer.status not in (200, 206):
                raise _refusal(self.name, answer)
            if self.facts.etag and _strong(answer) != self.facts.etag:
                raise replaced(self.name, self.facts.etag, _strong(answer))
            if answer.status == 206:
                match = _RANGE.fullmatch(answer.header("Content-Range") or "")
                if match is None or int(match.group(1)) != offset:
                    raise SourceError(f"{self.name}: the server gives other bytes than those asked for")
            elif offset:  # the server does not know ranges
                _skip(answer, offset)
            yield answer


@contextmanager
def _ask(method: str, url: str, transport: Transport, headers: Mapping[str, str] | None = None) -> Iterator[Answer]:
    """The answer behind a bounded number of redirects, none of which leaves TLS or leads into this machine."""
    there = url
    for _ in range(_MAX_REDIRECTS + 1):
        with transport.send(method, there, headers=headers or {}) as answer:
            if answer.status not in _REDIRECTS:
                yield answer
                return
            there = follow(there, answer.header("Location") or "")
    raise SourceError(f"{safe_url(url)}: more than {_MAX_REDIRECTS} redirects")


def _strong(answer: Answer) -> str:
    """The strong ETag of an answer without its quotes; "" where there is none."""
    text = (answer.header("ETag") or "").strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else ""


def _skip(answer: Answer, count: int) -> None:
    buffer = memoryview(bytearray(min(count, _SKIP)))
    while count:
        got = answer.readinto(buffer[: min(count, len(buffer))])
        if not got:
            raise NetworkError(f"reading {safe_url(answer.url)}: it ended before its end")
        count -= got


def _refusal(name: str, answer: Answer) -> SourceError | NetworkError:
    if answer.status in (404, 410):
        return SourceError(f"{name}: there is no such file", hint="check remotePath in the Kitfile")
    if answer.status in (401, 403):
        return SourceError(
            f"{name}: the server forbids it ({answer.status})",
            hint="no credentials are sent for remotePath: it must be public, or a signed URL that is still good",
        )
    if answer.status in _BUSY:
        return NetworkError(f"{name}: the server answers {answer.status}", hint="run the same command again")
    return SourceError(f"{name}: the server answers {answer.status}")
