"""Parts of objects of git-lfs, over HTTP: the command fetches whole ones only.

Source: git-lfs, docs/api/batch.md, docs/api/basic-transfers.md, docs/api/authentication.md.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from kitops.errors import SourceError
from kitops.registry.urls import follow, is_http, origin, safe_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kitops.oci.digest import Digest
    from kitops.registry.transport import Answer, Transport

_JSON: Final = "application/vnd.git-lfs+json"
_MOST: Final = 1 << 20
"""Bytes of an answer of the API that are read at most."""
_MAX_REDIRECTS: Final = 5
_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-.*", re.ASCII)


@dataclass(slots=True)
class RangedObjects:
    """The objects of one server. Thread-safe.

    Args:
        endpoint: the URL of its API.
        transport: connections.
        authorize: what to send as ``Authorization`` to a URL that wants it; None where nobody knows.
    """

    endpoint: str
    transport: Transport
    authorize: Callable[[str], str | None]
    _links: dict[Digest, tuple[str, Mapping[str, str]]] = field(default_factory=dict)
    _authorization: str | None = field(default=None, repr=False)

    def read(self, digest: Digest, size: int, start: int, end: int) -> bytes:
        """The bytes from ``start`` to ``end`` of an object of ``size`` bytes, unverified.

        Raises:
            KitError: the server does not give them so.
        """
        if digest not in self._links:
            self._links[digest] = self._find(digest, size)
        url, headers = self._links[digest]
        found = bytearray()
        with self._get(url, {**headers, "Range": f"bytes={start}-{end - 1}"}) as answer:
            begins = _RANGE.fullmatch(answer.header("Content-Range") or "")
            at = 0 if answer.status == 200 else int(begins[1]) if begins else -1
            if answer.status not in (200, 206) or not 0 <= at <= start:
                raise SourceError(f"{safe_url(url)}: the server answers {answer.status}")
            buffer = memoryview(bytearray(64 * 1024))
            while at < end and (count := answer.readinto(buffer[: min(len(buffer), end - at)])):
                found += buffer[max(0, start - at) : count]
                at += count
        return bytes(found)

    def _find(self, digest: Digest, size: int) -> tuple[str, Mapping[str, str]]:
        """Where an object lies, and what must be sent to get it."""
        objects = [{"oid": digest.encoded, "size": size}]
        asked = json.dumps({"operation": "download", "transfers": ["basic"], "objects": objects}).encode()
        headers = {"Accept": _JSON, "Content-Type": _JSON}
        url = f"{self.endpoint}/objects/batch"
        with self._send("POST", url, headers, asked) as answer:
            told = answer.read(_MOST)
            status = answer.status
        try:
            found: Any = json.loads(told)
            action = found["objects"][0]["actions"]["download"]
            link, more = str(action["href"]), {str(key): str(value) for key, value in action.get("header", {}).items()}
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise SourceError(f"{safe_url(url)}: the server answers {status}, and tells no object") from error
        if not is_http(link):
            raise SourceError(f"{safe_url(url)}: the objects are not reached by http")
        return link, more

    @contextmanager
    def _get(self, url: str, headers: Mapping[str, str]) -> Iterator[Answer]:
        """The answer behind redirects; what is only for the first host goes to no other."""
        for _ in range(_MAX_REDIRECTS + 1):
            with self._send("GET", url, headers) as answer:
                if answer.status not in (301, 302, 303, 307, 308):
                    yield answer
                    return
                there = follow(url, answer.header("Location") or "")
            if origin(there) != origin(url):
                headers = {"Range": headers["Range"]}
            url = there
        raise SourceError(f"{safe_url(url)}: more than {_MAX_REDIRECTS} redirects")

    @contextmanager
    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Iterator[Answer]:
        """One answer; a server that wants to know who asks is told, if it is the one of the API."""
        own = origin(url) == origin(self.endpoint) and not any(key.lower() == "authorization" for key in headers)
        known = {"Authorization": self._authorization} if own and self._authorization else {}
        with self.transport.send(method, url, headers={**headers, **known}, body=body) as answer:
            if answer.status != 401 or not own or known:
                yield answer
                return
        self._authorization = self.authorize(self.endpoint)
        known = {"Authorization": self._authorization} if self._authorization else {}
        with self.transport.send(method, url, headers={**headers, **known}, body=body) as answer:
            yield answer
