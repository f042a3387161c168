r"""YAML as Go's yaml.v3 writes it with an indent of 2: no folding, literal blocks for several lines, few quotes.

Two things are written otherwise, so that what is read back is what was written: a text with a line break that is not
``\n`` (U+0085, U+2028, U+2029) is double-quoted, and so are ``<<`` and ``=``, which other parsers take for more.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, TypeAlias

from kitops.kitfile.scalars import Timestamp, resolve
from kitops.kitfile.schema import ALWAYS_WRITTEN, Kind, Package, rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.oci.gojson import Json

Yaml: TypeAlias = "bool | int | float | str | Flow | list[Yaml] | dict[str, Yaml] | None"

_INDENT: Final = "  "
_LONGEST_KEY: Final = 128  # bytes of a key that is written as `key:` and not as `? key`
# Booleans of YAML 1.1, and two texts to which it gives a meaning of their own.
_OTHER_MEANINGS: Final = frozenset(
    ("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF", "<<", "=")
)
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?", re.ASCII)
# Astral characters are escaped: yaml.v3 does not take them for printable.
_SPECIAL = re.compile("[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]")
_INDICATOR = re.compile(r"""\A(?:[#,\[\]{}&*!|>'"%@`]|[?-](?: |\Z)|---|\.\.\.)|:(?: |\Z)| \#""")
_FLOW_INDICATOR = re.compile(r"[,?\[\]{}:]")
_ESCAPES: Final = {
    "\0": "\\0", "\a": "\\a", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r",
    "\x1b": "\\e", '"': '\\"', "\\": "\\\\", "\x85": "\\N", "\u2028": "\\L", "\u2029": "\\P",
}  # fmt: skip
_ESCAPED = re.compile(f'["\\\\\n]|{_SPECIAL.pattern}')
_DIGITS = re.compile(r"([0-9]+)", re.ASCII)
_DECIMALS: Final = frozenset("0123456789")
_LARGE: Final = 6  # power of ten from which on a float is written with an exponent


class Flow(tuple[str, ...]):
    """Texts that are written on one line: ``[a, b]``."""

    __slots__ = ()


def emit(root: dict[str, Yaml]) -> str:
    """The YAML of ``root``; maps keep their order."""
    return "".join(f"{line}\n" for line in _map_lines(root))


def emit_part(part: object) -> str:
    """The YAML of one of the schema's types, empty fields left out."""
    return emit(_to_yaml(part))


def _to_yaml(part: object) -> dict[str, Yaml]:
    found: dict[str, Yaml] = {}
    for attribute, rule in rules(type(part)):
        value = getattr(part, attribute)
        if rule.kind is Kind.TEXTS and value:
            found[rule.key] = Flow(value)
        elif rule.kind is Kind.JSON and value is not None:
            found[rule.key] = sort_naturally(value)
        elif rule.kind is Kind.PARTS and value:
            found[rule.key] = [_to_yaml(entry) for entry in value]
        elif rule.kind is Kind.PART and value is not None and value != Package():
            found[rule.key] = _to_yaml(value)
        elif rule.kind is Kind.TEXT and (value or rule.key in ALWAYS_WRITTEN):
            found[rule.key] = value
    return found


def _map_lines(found: dict[str, Yaml]) -> Iterator[str]:
    """The lines of a block map, without indent of their own."""
    for key, value in found.items():
        written = _key(key)
        if len(key.encode()) <= _LONGEST_KEY:
            yield from _entry_lines(written, value)
        else:
            yield f"? {written}"
            yield from _item_lines(":", value)


def _entry_lines(key: str, value: Yaml) -> Iterator[str]:
    if isinstance(value, dict) and value:
        yield f"{key}:"
        yield from _indented(_map_lines(value))
    elif isinstance(value, list) and value:
        yield f"{key}:"
        yield from _indented(_list_lines(value))
    else:
        first, *rest = _scalar_lines(value)
        yield f"{key}: {first}"
        yield from rest


def _list_lines(items: list[Yaml]) -> Iterator[str]:
    for item in items:
        yield from _item_lines("-", item)


def _item_lines(mark: str, value: Yaml) -> Iterator[str]:
    """A value after ``-`` or ``:``, on the same line."""
    lines: Iterator[str]
    if isinstance(value, dict) and value:
        lines = _map_lines(value)
    elif isinstance(value, list) and value:
        lines = _list_lines(value)
    else:
        first, *rest = _scalar_lines(value)
        yield f"{mark} {first}"
        yield from rest
        return
    yield f"{mark} {next(lines)}"
    yield from _indented(lines)


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"{_INDENT}{line}" if line else line for line in lines)


def _scalar_lines(value: Yaml) -> list[str]:
    match value:
        case None:
            return ["null"]
        case bool():
            return ["true" if value else "false"]
        case int():
            return [str(value)]
        case float():
            return [_float(value)]
        case Flow():
            return [f"[{', '.join(_flow_text(item) for item in value)}]"]
        case str():
            return _text_lines(_mend(value))
        case list():
            return ["[]"]
        case dict():
            return ["{}"]


def _text_lines(text: str) -> list[str]:
    if "\n" not in text:
        return [_one_line(text)]
    if text.endswith(" ") or " \n" in text or _SPECIAL.search(text.replace("\t", "")):
        return [_double_quoted(text)]
    body = text.split("\n")
    hint = "2" if text[0] in " \n\t" else ""
    chomp = "-"
    if body[-1] == "":
        body.pop()
        chomp = "+" if (len(body) == 1 and not body[0]) or body[-1] == "" else ""
    return [f"|{hint}{chomp}", *(f"{_INDENT}{line}" if line else "" for line in body)]


def _key(key: str) -> str:
    text = _mend(key)
    if "\n" in text:
        return _double_quoted(text)
    return _one_line(text)


def _flow_text(text: str) -> str:
    text = _mend(text)
    if "\n" in text:
        return _double_quoted(text)
    written = _one_line(text)
    return _single_quoted(text) if written == text and _FLOW_INDICATOR.search(text) else written


def _one_line(text: str) -> str:
    value = resolve(text)
    if not isinstance(value, str) or isinstance(value, Timestamp):
        return _double_quoted(text)
    if text in _OTHER_MEANINGS or _BASE_60.fullmatch(text) or _SPECIAL.search(text):
        return _double_quoted(text)
    if text[0] == " " or text[-1] == " " or _INDICATOR.search(text):
        return _single_quoted(text)
    return text


def _single_quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _double_quoted(text: str) -> str:
    return '"' + _ESCAPED.sub(_escape, text) + '"'


def _escape(match: re.Match[str]) -> str:
    letter = match.group()
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    code = ord(letter)
    if code <= 0xFF:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def _mend(text: str) -> str:
    """Halves of characters have no form in YAML; they become U+FFFD, as in JSON."""
    return text if text.isascii() else re.sub("[\ud800-\udfff]", "\ufffd", text)


def _float(value: float) -> str:
    """As Go's ``strconv`` formats with ``'g'`` and the shortest digits; the negative zero stays a float."""
    if not value:
        return "-0.0" if math.copysign(1, value) < 0 else "0"
    sign = "-" if value < 0 else ""
    mantissa, _, power = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    exponent = int(power or 0) + len(whole) - 1
    if whole == "0":
        exponent = -1 - len(fraction) + len(fraction.lstrip("0"))
    if -4 <= exponent < _LARGE:
        return f"{sign}{mantissa.removesuffix('.0')}"
    digits = (whole + fraction).strip("0")
    point = "." if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{point}{digits[1:]}e{exponent:+03}"


def sort_naturally(value: Json) -> Yaml:
    """A copy of ``value`` with the keys of its maps in yaml.v3's order: ``layer2`` before ``layer10``."""
    if isinstance(value, dict):
        return {key: sort_naturally(value[key]) for key in sorted(value, key=_natural)}
    if isinstance(value, list):
        return [sort_naturally(item) for item in value]
    return value


def _natural(key: str) -> tuple[list[tuple[int, int, str]], str]:
    """Numbers compare by their value; other signs come before digits, digits before letters."""
    tokens = (token for token in _DIGITS.split(key) if token)
    return [(_rank(token), int(token[:4000]) if token[0] in _DECIMALS else 0, token) for token in tokens], key


def _rank(token: str) -> int:
    if token[0] in _DECIMALS:
        return 1
    return 2 if token[0].isalpha() else 0
