"""The Kitfile's types to YAML and JSON, and from the JSON of a config blob."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from kitops.errors import InvalidValueError
from kitops.kitfile.schema import ALWAYS_WRITTEN, Kind, Kitfile, Rule, rules
from kitops.oci.gojson import sort_maps

if TYPE_CHECKING:
    from kitops.oci.gojson import Json

_Kind = TypeVar("_Kind")
_DEPTH_LIMIT: Final = 100  # as deep as a Kitfile in YAML may be


def dump(kitfile: Kitfile) -> str:
    """The Kitfile as YAML, laid out as Go's yaml.v3 does with an indent of 2; ``parse`` gives the same Kitfile back."""
    from kitops.kitfile.emit import emit_part  # noqa: PLC0415 - most commands write no YAML

    return emit_part(kitfile)


def to_json(kitfile: Kitfile) -> dict[str, Json]:
    """The Kitfile as the config blob has it: fields in the Go tool's order, empty ones left out, parameters sorted.

    ``digest`` and ``diffId`` of the layers are not in it: they are computed, not authored.
    """
    return _to_json(kitfile)


def from_json(value: Json, what: str) -> Kitfile:
    """A Kitfile from the JSON of a config blob of any age; other keys (``digest``, ``diffId``) are ignored.

    Its paths are not checked: who writes files checks where.

    Args:
        value: the parsed JSON.
        what: names it in errors.

    Raises:
        InvalidValueError: a field is of another type.
    """
    return _from_json(value, Kitfile, what, "")


def _to_json(part: object) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for attribute, rule in rules(type(part)):
        value: Any = getattr(part, attribute)
        if rule.kind is Kind.JSON:
            if value is not None:
                found[rule.key] = sort_maps(value)
        elif rule.kind is Kind.PART:
            if value is not None:
                found[rule.key] = _to_json(value)
        elif value or rule.key in ALWAYS_WRITTEN:
            found[rule.key] = _plain_json(value, rule)
    return found


def _plain_json(value: Any, rule: Rule) -> Json:
    if rule.kind is Kind.TEXTS:
        return list(value)
    if rule.kind is Kind.PARTS:
        return [_to_json(entry) for entry in value]
    text: str = value
    return text


def _from_json(value: Json, kind: type[_Kind], what: str, field: str) -> _Kind:
    if not isinstance(value, dict):
        raise _wrong(what, field, "a map", value)
    found: dict[str, Any] = {}
    for attribute, rule in rules(kind):
        given = value.get(rule.key)
        if given is not None:
            place = f"{field}.{rule.key}" if field else rule.key
            found[attribute] = _field_from_json(given, rule, what, place)
    return kind(**found)


def _field_from_json(value: Json, rule: Rule, what: str, field: str) -> Any:
    if rule.kind is Kind.TEXT:
        return _text_from_json(value, what, field)
    if rule.kind is Kind.JSON:
        return _whole(value, what, field, 1)
    if rule.part is not None and rule.kind is Kind.PART:
        return _from_json(value, rule.part, what, field)
    if not isinstance(value, list):
        raise _wrong(what, field, "a list", value)
    places = [f"{field}[{index}]" for index in range(len(value))]
    if rule.part is None:
        return tuple(_text_from_json(item, what, place) for item, place in zip(value, places, strict=True))
    return tuple(_from_json(item, rule.part, what, place) for item, place in zip(value, places, strict=True))


def _text_from_json(value: Json, what: str, field: str) -> str:
    if not isinstance(value, str):
        raise _wrong(what, field, "text", value)
    return _mend(value)


def _whole(value: Json, what: str, field: str, depth: int) -> Json:
    """A copy of ``value`` within bounds and without halves of characters."""
    if depth > _DEPTH_LIMIT:
        raise InvalidValueError(
            f"{what}: {field.partition('[')[0][:60]} is nested more than {_DEPTH_LIMIT} levels deep"
        )
    if isinstance(value, dict):
        return {_mend(key): _whole(item, what, field, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item, what, field, depth + 1) for item in value]
    return _mend(value) if isinstance(value, str) else value


def _mend(text: str) -> str:
    r"""Halves of characters (``\ud800``) become U+FFFD, as Go reads them."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _wrong(what: str, field: str, expected: str, value: Json) -> InvalidValueError:
    names = {dict: "a map", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    place = f": {field}" if field else ""
    return InvalidValueError(f"{what}{place}: expected {expected}, got {names.get(type(value), 'a number')}")
