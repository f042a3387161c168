"""What the server says: replies, and refusals with the specification's error codes. Values only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

Headers: TypeAlias = "tuple[tuple[str, str], ...]"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: a body in memory, or an open file or a part of one.

    Args:
        status: the HTTP status.
        headers: all but ``Content-Length``.
        body: its bytes.
        file: an open, unbuffered file to send instead; whoever sends the reply closes it.
        start: the file's first byte to send.
        size: how many bytes of the file are sent.
    """

    status: int
    headers: Headers = ()
    body: bytes = b""
    file: BinaryIO | None = None
    start: int = 0
    size: int = 0

    @property
    def length(self) -> int:
        """Bytes of its body."""
        return len(self.body) if self.file is None else self.size


class RefusedError(Exception):
    """The request is answered with an error.

    Args:
        status: the HTTP status.
        code: one of the specification's (distribution-spec, "Error Codes").
        message: for people.
        headers: more headers of the answer.
        details: one error each instead of a single one: what the ``detail`` of each says.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Headers = (), details: Sequence[object] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        self.details = details

    def reply(self) -> Reply:
        """The answer."""
        errors: list[dict[str, object]] = [
            {"code": self.code, "message": self.message, "detail": detail} for detail in self.details
        ] or [{"code": self.code, "message": self.message}]
        return json_reply({"errors": errors}, self.headers, status=self.status)


def json_reply(
    value: object, headers: Headers = (), *, status: int = 200, media_type: str = "application/json"
) -> Reply:
    """A reply with JSON, a 200 by default."""
    return Reply(status, (("Content-Type", media_type), *headers), json.dumps(value).encode())
