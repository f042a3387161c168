"""A part of a blob: one request with ``Range`` and what came of it (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from kitops.errors import IntegrityError, RegistryError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from kitops.oci.descriptor import Descriptor
    from kitops.registry.session import Request, Session
    from kitops.registry.transport import Answer

_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/(?:([0-9]{1,18})|\*)", re.ASCII)


class RangeRefusedError(RegistryError):
    """The registry offers no part of this blob, or another part than was asked for."""


@dataclass(slots=True)
class Stretch:
    """The bytes of a blob from ``start`` on as they come, at most to ``end``; a context manager. Unverified.

    Args:
        answer: gives them.
        start: where it begins: what was asked for, or 0 where the registry sends the whole blob.
        end: where it ends if nothing breaks.
        is_ranged: whether the registry heeded ``Range``.
    """

    answer: Answer
    start: int
    end: int
    is_ranged: bool

    def readinto(self, buffer: memoryview, /) -> int:
        return self.answer.readinto(buffer)

    def abort(self) -> None:
        """Break the connection, so that whoever reads from it wakes; may be called from any thread."""
        self.answer.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.answer.close()


def open_whole(session: Session, request: Request, desc: Descriptor) -> Stretch:
    """The blob from its first byte on, by a plain request.

    Raises:
        IntegrityError: the registry announces another size than ``desc``.
    """
    return _whole(session.send(request), request, desc)


def open_stretch(session: Session, request: Request, desc: Descriptor, start: int, end: int) -> Stretch:
    """The bytes of ``desc`` from ``start`` to before ``end``, or the whole blob where the registry ignores ``Range``.

    Args:
        session: the registry.
        request: the request for the whole blob.
        desc: the blob.
        start: offset of the first byte.
        end: offset behind the last.

    Raises:
        RangeRefusedError: the answer is for another part, or 416.
        IntegrityError: the registry announces another size than ``desc``.
    """
    ranged = replace(request, headers={**request.headers, "Range": f"bytes={start}-{end - 1}"}, ok=(200, 206, 416))
    answer = session.send(ranged)
    if answer.status == 200:
        return _whole(answer, request, desc)
    found = _CONTENT_RANGE.fullmatch((answer.header("Content-Range") or "").strip())
    first, last, total = (int(text) if text else None for text in found.groups()) if found else (None, None, None)
    if (
        answer.status == 416
        or last is None
        or first != start
        or not start <= last < end
        or total not in (None, desc.size)
        or answer.size not in (None, last + 1 - start)
    ):
        answer.close()
        raise RangeRefusedError(f"{request.doing} {request.what}: {session.registry} does not send the part asked for")
    return Stretch(answer, start, last + 1, is_ranged=True)


def _whole(answer: Answer, request: Request, desc: Descriptor) -> Stretch:
    if answer.size is not None and answer.size != desc.size:
        answer.close()
        raise IntegrityError(request.what, f"{desc.size} bytes", f"{answer.size} bytes")
    return Stretch(answer, 0, desc.size, is_ranged=False)
