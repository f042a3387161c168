"""Parts of a blob that stays in its registry, by HTTP Range (RFC 9110, section 14).

A registry may ignore the range and send everything (distribution-spec, "Pulling blobs": SHOULD, not MUST). What then
comes is read as a stream, forward and only as far as is allowed.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kitops.errors import IntegrityError, NetworkError, RegistryError
from kitops.registry.transport import BLOCK
from kitops.weights.ranges import StreamRanges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.registry.session import Request, Session
    from kitops.registry.transport import Answer

_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.ASCII)
_TRIES: Final = 3


class BlobRanges:
    """One blob of a registry, read at any place; nothing that it gives is verified: only a whole blob can be.

    Args:
        session: talks to the registry.
        request: gets the whole blob.
        size: bytes that the blob has.
        limit: bytes that are read at most from a registry that ignores ranges.
    """

    def __init__(self, session: Session, request: Request, size: int, limit: int) -> None:
        self.size = size
        self._session = session
        self._request = request
        self._limit = limit
        self._stream: StreamRanges | None = None
        self._open = ExitStack()

    def close(self) -> None:
        """Hang up on a stream that was not read to its end."""
        self._open.close()

    def read_at(self, offset: int, size: int) -> bytes:
        """As :meth:`kitops.weights.ranges.Ranges.read_at`.

        Raises:
            TooFarError: the registry ignores ranges, and ``offset`` is beyond the limit.
            IntegrityError: the registry says that the blob has another size.
            RegistryError: it sends another range than was asked for.
        """
        end = min(offset + size, self.size)
        if end <= offset:
            return b""
        if self._stream is not None:
            return self._stream.read_at(offset, end - offset)
        for attempt in range(1, _TRIES + 1):
            try:
                return self._fetch(offset, end)
            except NetworkError as error:
                if attempt == _TRIES or error.permanent or self._stream is not None:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _fetch(self, offset: int, end: int) -> bytes:
        what = self._request.what
        headers = {**self._request.headers, "Range": f"bytes={offset}-{end - 1}"}
        answer = self._session.send(replace(self._request, headers=headers, ok=(200, 206)))
        if answer.status == 200:
            return self._start_stream(answer, offset, end)
        with answer:
            said = _CONTENT_RANGE.fullmatch((answer.header("Content-Range") or "").strip())
            if said is None or int(said[1]) != offset or int(said[2]) != end - 1:
                raise RegistryError(f"reading {what}: bytes {offset} to {end - 1} were asked for, others came")
            if said[3] not in ("*", str(self.size)):
                raise IntegrityError(what, f"{self.size} bytes", f"{said[3]} bytes")
            data = answer.read(end - offset)
        if len(data) != end - offset:
            raise RegistryError(f"reading {what}: {end - offset} bytes were asked for, {len(data)} came")
        return data

    def _start_stream(self, answer: Answer, offset: int, end: int) -> bytes:
        self._open.push(answer)
        if answer.size is not None and answer.size != self.size:
            raise IntegrityError(self._request.what, f"{self.size} bytes", f"{answer.size} bytes")
        self._stream = StreamRanges(_pieces(answer), self.size, self._limit)
        return self._stream.read_at(offset, end - offset)


def _pieces(answer: Answer) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(BLOCK))
    while count := answer.readinto(buffer):
        yield buffer[:count]
