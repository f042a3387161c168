"""Plain YAML scalars as Go's yaml.v3 resolves them (a mixture of YAML 1.1 and 1.2).

``yes`` and ``on`` are text; ``017`` and ``0o17`` are 15; ``1_000`` is 1000; integers up to 2^64 - 1 are exact and
larger ones floats; a number too large for a float is text. A timestamp becomes RFC 3339 text, as Go writes one in
JSON, and is told from other text by its own type.
"""

from __future__ import annotations

import math
import re
from calendar import isleap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kitops.oci.gojson import Json

_WORDS: Final[dict[str, bool | float | None]] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INTEGER = re.compile(r"([+-]?)(0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|0[0-7]*|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:(?:[Tt]([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,]([0-9]+))?(Z|[+-][0-9]{2}:[0-9]{2}))"
    r"|(?: ([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,]([0-9]+))?))?",
    re.ASCII,
)
_BASES: Final = {"x": 16, "o": 8, "b": 2}
_LONGEST_INTEGER: Final = 80
"""Digits (2^64 in binary has 65) from which on an integer is surely too large; bounds the work of converting."""
_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Timestamp(str):
    """The RFC 3339 text of a timestamp that was written without quotes."""

    __slots__ = ()


def resolve(text: str) -> Json:
    """The value of the plain scalar ``text``; not finite floats included, which JSON does not know."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first == ".":
        return _parse_float(text, text)
    if first in "+-0123456789":
        if (stamp := _parse_timestamp(text)) is not None:
            return stamp
        digits = text.replace("_", "")
        whole = _parse_integer(digits)
        return _parse_float(digits, text) if whole is None else whole
    return text


def _parse_integer(digits: str) -> int | None:
    match = _INTEGER.fullmatch(digits)
    if match is None or len(digits) > _LONGEST_INTEGER:
        return None
    sign, body = match.groups()
    base = _BASES.get(body[1:2].lower(), 8 if body[0] == "0" else 10)
    value = int(body[2:] if base != 10 and body[1:2].lower() in _BASES else body, base)
    if sign == "-":
        return -value if value <= 1 << 63 else None
    limit = (1 << 63) if sign else (1 << 64)  # Go reads a sign only for signed integers
    return value if value < limit else None


def _parse_float(digits: str, text: str) -> float | str:
    if not _FLOAT.fullmatch(digits):
        return text
    value = float(digits)
    return value if math.isfinite(value) else text


def _parse_timestamp(text: str) -> Timestamp | None:
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    year, month, day = (int(number) for number in match.groups()[:3])
    clock = match.groups()[3:7] if match[4] else match.groups()[8:12]
    hour, minute, second = (int(number or 0) for number in clock[:3])
    zone = match[8] or "Z"
    if not 1 <= month <= 12 or not 1 <= day <= _DAYS[month - 1] + (month == 2 and isleap(year)):
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    if zone != "Z" and (int(zone[1:3]) > 23 or int(zone[4:]) > 59):
        return None
    fraction = (clock[3] or "")[:9].rstrip("0")
    zone = "Z" if zone[1:] == "00:00" else zone
    stamp = f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    return Timestamp(f"{stamp}{'.' if fraction else ''}{fraction}{zone}")
