"""Files behind URLs, with ranges and entity tags, that misbehave as a test wants it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from scripted_server import Said, Seen


@dataclass
class Files:
    """A script for ``scripted_server``.

    Args:
        content: by path, ``/data.csv``.
        has_etag: whether answers carry a strong ETag.
        knows_ranges: whether ``Range`` is heeded.
        heads: the status of an answer to HEAD, when it is not 200.
        statuses: of the next answers to GET.
        cuts: lengths after which the next answers to GET break off.
        moved: paths that redirect.
        wrong: bytes that are sent instead of the content's, as often as there are any.
    """

    content: dict[str, bytes]
    has_etag: bool = True
    knows_ranges: bool = True
    heads: int = 200
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    wrong: list[bytes] = field(default_factory=list)

    def etag(self, path: str) -> str:
        return hashlib.md5(self.content[path], usedforsecurity=False).hexdigest()

    def __call__(self, seen: Seen) -> Said:
        path = seen.target.partition("?")[0]
        if path in self.moved:
            return Said(302, {"Location": self.moved[path]})
        if path not in self.content:
            return Said(404)
        if seen.method == "HEAD" and self.heads != 200:
            return Said(self.heads)
        if seen.method == "GET" and self.statuses and (status := self.statuses.pop(0)) != 200:
            return Said(status)
        headers = {"ETag": f'"{self.etag(path)}"'} if self.has_etag else {}
        wanted = seen.headers.get("If-Match")
        if wanted is not None and wanted != headers.get("ETag"):
            return Said(412, headers)
        whole = self.content[path]
        if seen.method == "GET" and self.wrong:
            whole = self.wrong.pop(0)
        start = 0
        status = 200
        if self.knows_ranges and (ranged := seen.headers.get("Range")):
            start = int(ranged.removeprefix("bytes=").rstrip("-"))
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
        body = whole[start:]
        if seen.method == "GET" and self.cuts:
            return Said(status, headers, body[: self.cuts.pop(0)], len(body))
        return Said(status, headers, body)
