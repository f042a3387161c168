"""What answers say in headers and error bodies, as pure functions (distribution-spec; RFC 8288, 9110, 9111)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from kitops.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PROXY_LOGIN: Final = "put the proxy's user and password into its URL"
"""What to do when a proxy answers 407."""
MAYBE_TLS: Final = "if the registry serves TLS, leave --plain-http out, or name who has none: --plain-http=HOST"
"""What to do when a registry without TLS makes no sense."""
_WARNING = re.compile(r'299\s+\S+\s+"((?:[^"\\]|\\.)*)"')
_LINK = re.compile(r"<([^<>]*)>((?:\s*;\s*[^;,\"]+(?:\"[^\"]*\")?)*)")
_UPLOADED: Final = re.compile(r"(?:bytes[= ])?0-(\d{1,18})(?:/.*)?", re.ASCII)
_TAGS: Final = re.compile(r"<[^<>]*>")
_MAX_TEXT: Final = 500


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer: the specification's codes, verbatim, and one line for people."""

    codes: tuple[str, ...]
    text: str


def parse_refusal(body: bytes, hide: Callable[[str], str] = str) -> Refusal:
    """Read an error body: the specification's JSON, else whatever text there is. Never raises.

    Args:
        body: it, or its beginning.
        hide: takes out of a text what is not to be shown; without it all is.
    """
    try:
        table = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal((), one_line(_TAGS.sub(" ", hide(body.decode("utf-8", "replace")))))
    if not isinstance(table, dict):
        return Refusal((), one_line(hide(body.decode("utf-8", "replace"))))
    rows = table.get("errors")
    if not isinstance(rows, list):
        message = next((table[key] for key in ("message", "details", "error") if isinstance(table.get(key), str)), "")
        return Refusal((), one_line(hide(message)))
    codes: list[str] = []
    texts: list[str] = []
    for row in rows[:10]:
        if not isinstance(row, dict):
            continue
        code, message, detail = (row.get(key) for key in ("code", "message", "detail"))
        if isinstance(code, str):
            codes.append(one_line(hide(code)))
        parts = [part for part in (code, message, detail) if isinstance(part, str) and part]
        texts.append(": ".join(dict.fromkeys(parts)))
    return Refusal(tuple(codes), one_line(hide("; ".join(texts))))


def one_line(text: str) -> str:
    """Foreign text as one printable line of bounded length."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= _MAX_TEXT else f"{line[:_MAX_TEXT]}…"


def parse_warnings(values: Iterable[str], hide: Callable[[str], str] = str) -> list[str]:
    """The texts of ``Warning: 299 - "text"`` headers; ``hide`` as for :func:`parse_refusal`."""
    found = (match.group(1) for value in values for match in _WARNING.finditer(value))
    return [one_line(hide(re.sub(r"\\(.)", r"\1", text))) for text in found]


def next_link(values: Iterable[str]) -> str | None:
    """The target of ``Link: <target>; rel="next"``, or None."""
    for value in values:
        for match in _LINK.finditer(value):
            parameters = match.group(2).lower().replace('"', "").replace(" ", "")
            if "next" in [
                name for part in parameters.split(";") if part.startswith("rel=") for name in part[4:].split(",")
            ]:
                return match.group(1)
    return None


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that ``Retry-After`` asks to wait, or None where it says nothing usable."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def media_type(value: str | None) -> str:
    """A ``Content-Type`` without its parameters; empty when there is none."""
    return (value or "").partition(";")[0].strip()


def parse_range_end(value: str | None) -> int | None:
    """How many bytes an upload has by its ``Range: 0-<last>``, or None where it says nothing usable.

    Registries say ``0-0`` of an empty upload, and hardly ever of one with a single byte: it counts as empty.
    """
    match = _UPLOADED.fullmatch((value or "").strip())
    if match is None:
        return None
    last = int(match.group(1))
    return last + 1 if last else 0


def parse_length(value: str | None) -> int | None:
    """A ``Content-Length`` in bytes, or None where it is none that can be."""
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
