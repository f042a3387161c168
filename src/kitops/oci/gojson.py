r"""JSON as Go's ``encoding/json`` writes it, so that config blobs are byte-equal to the Go tool's.

Compact; ``<``, ``>``, ``&``, U+2028 and U+2029 escaped; control characters as ``\\u0007`` but ``\\t \\n \\r``;
floats in the shortest form, exponents below 1e-6 and from 1e21. Maps keep their order here: who needs sorted keys
sorts them (:func:`sort_maps`).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import TypeAlias

from kitops.errors import InvalidValueError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_ESCAPED = re.compile('[\x00-\x1f"\\\\<>&\u2028\u2029\ud800-\udfff]')
_HALF = re.compile("[\ud800-\udfff]")
_MAY_HAVE_HALVES = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
_NEGATIVE_ZERO = "-0"
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def dumps(value: Json) -> bytes:
    """The UTF-8 bytes of ``value``, maps in their own order.

    Raises:
        ValueError: a float is not finite.
        TypeError: something is not JSON.
    """
    return _encode(value).encode()


def sort_maps(value: Json) -> Json:
    """A copy of ``value`` with the keys of every map sorted by their UTF-8 bytes."""
    if isinstance(value, dict):
        return {key: sort_maps(value[key]) for key in sorted(value, key=str.encode)}
    if isinstance(value, list):
        return [sort_maps(item) for item in value]
    return value


def loads(data: bytes | str, what: str) -> Json:
    """Parse JSON of foreign origin; ``what`` names it in errors. As Go does, half a character is read as U+FFFD.

    Whole numbers are exact, but for ``-0``, which is a float: an integer would lose its sign.

    Raises:
        InvalidValueError: it is not JSON, is nested too deeply, or repeats a key.
    """
    try:
        text = data if isinstance(data, str) else data.decode(json.detect_encoding(data), "surrogatepass")
        whole = _whole_number if _NEGATIVE_ZERO in text else None
        parsed: Json = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_int=whole)
        return _without_halves(parsed) if _MAY_HAVE_HALVES.search(text) else parsed
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"{what} is not valid JSON: {_reason(error)}") from error


def _without_halves(value: Json) -> Json:
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_halves(item) for item in value]
    if isinstance(value, dict):
        return _no_duplicates([(_HALF.sub("\ufffd", key), _without_halves(item)) for key, item in value.items()])
    return value


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _no_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"key {twice!r} stands twice")
    return found


def _whole_number(text: str) -> Json:
    return -0.0 if text == _NEGATIVE_ZERO else int(text)


def _no_constant(text: str) -> Json:
    raise ValueError(f"{text} is not a JSON number")


def _encode(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{_ESCAPED.sub(_escape, value)}"'
        case int():
            return str(value)
        case float():
            return format_float(value)
        case list():
            return f"[{','.join(map(_encode, value))}]"
        case dict():
            return "{" + ",".join(f"{_encode(str(key))}:{_encode(item)}" for key, item in value.items()) + "}"
    raise TypeError(f"{type(value).__name__} is not JSON")


def _escape(match: re.Match[str]) -> str:
    letter = match.group()
    if "\ud800" <= letter <= "\udfff":  # half a character: Go reads and writes the replacement character
        return "\ufffd"
    return _SHORT.get(letter) or f"\\u{ord(letter):04x}"


def format_float(value: float) -> str:
    """``value`` as Go's encoder writes a float64.

    Raises:
        ValueError: it is infinite or not a number.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} has no JSON form")
    text = repr(value)
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text.removesuffix(".0")
    power = int(exponent)
    if power < -6 or power >= 21:
        sign = "-" if power < 0 else "+"
        return f"{mantissa}e{sign}{abs(power)}"
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = whole + fraction
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    return f"{sign}{digits.ljust(power + 1, '0')}"
