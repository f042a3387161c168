"""What the server says: replies, and refusals with the specification's error codes. Values only."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: a body in memory, or a file or a part of one.

    Args:
        status: the HTTP status.
        headers: all but ``Content-Length``.
        body: its bytes.
        path: a file to send instead.
        start: the file's first byte to send.
        size: how many bytes of the file are sent.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    path: Path | None = None
    start: int = 0
    size: int = 0


class RefusedError(Exception):
    """The request is answered with an error.

    Args:
        status: the HTTP status.
        code: one of the specification's (distribution-spec, "Error Codes").
        message: for people.
        headers: more headers of the answer.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def reply(self) -> Reply:
        """The answer."""
        body = json.dumps({"errors": [{"code": self.code, "message": self.message}]}).encode()
        return Reply(self.status, {"Content-Type": "application/json", **self.headers}, body)


def json_reply(value: object, headers: Mapping[str, str] | None = None) -> Reply:
    """A 200 with JSON."""
    return Reply(200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode())
