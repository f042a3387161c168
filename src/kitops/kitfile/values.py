"""YAML nodes to the Kitfile's types, remembering where each field stands and everything that is wrong."""

from __future__ import annotations

import base64
import binascii
import math
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kitops.errors import Problem, printable
from kitops.kitfile.nodes import Mapping, Node, Scalar, Sequence, is_null, short_tag
from kitops.kitfile.scalars import Timestamp, resolve
from kitops.kitfile.schema import Kind, Rule, rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from kitops.oci.gojson import Json

PROBLEM_LIMIT: Final = 100
"""Problems that are reported of one Kitfile."""
_SUGGESTED: Final = 64  # characters of the longest unknown key that a valid one is sought for
_Kind = TypeVar("_Kind")


class TooManyProblems(Exception):  # noqa: N818 - nobody sees it: it ends the reading
    """More than PROBLEM_LIMIT were found."""


class Reader:
    """Reads nodes; ``problems`` and ``places`` (field to line and column) fill up as it goes."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.places: dict[str, tuple[int, int]] = {}

    def report(self, node: Node, field: str, message: str, hint: str | None = None) -> None:
        """Note a problem at ``node``."""
        self.problems.append(Problem(node.line, node.column, field, message, hint))
        if len(self.problems) >= PROBLEM_LIMIT:
            raise TooManyProblems

    def read_part(self, node: Node, kind: type[_Kind], field: str) -> _Kind:
        """One of the schema's types from a map; what is wrong in it is left at its default."""
        self.places[field] = (node.line, node.column)
        if not isinstance(node, Mapping):
            self.report(node, field, f"expected a map, got {_describe(node)}", _map_hint(kind))
            return kind()
        self._check_tag(node, field)
        known = {rule.key: (attribute, rule) for attribute, rule in rules(kind)}
        found: dict[str, Any] = {}
        for key, (key_node, value) in self._entries(node, field, _field_name).items():
            if key not in known:
                place = f"{field}.{_shorten(key)}" if field else _shorten(key)
                self.report(key_node, place, "is not a field of a Kitfile", _near(key, list(known)))
                continue
            attribute, rule = known[key]
            place = f"{field}.{key}" if field else key
            self.places[place] = (value.line, value.column)
            if not is_null(value):
                found[attribute] = self._read_field(value, rule, place)
        return kind(**found)

    def _read_field(self, node: Node, rule: Rule, field: str) -> Any:
        match rule.kind:
            case Kind.TEXT:
                return self._read_text(node, field)
            case Kind.TEXTS:
                return tuple(self._read_text(item, place) for item, place in self._items(node, field, "texts", "[…]"))
            case Kind.JSON:
                return self._read_json(node, field)
            case Kind.PART:
                return self.read_part(node, _part_type(rule), field)
            case Kind.PARTS:
                kind = _part_type(rule)
                items = self._items(node, field, "maps", "- ")
                return tuple(self.read_part(item, kind, place) for item, place in items)

    def _items(self, node: Node, field: str, of: str, mark: str) -> list[tuple[Node, str]]:
        if not isinstance(node, Sequence):
            hint = f"write [{_shorten(node.text)}]" if isinstance(node, Scalar) else None
            if mark == "- ":
                hint = "start each entry with '- '"
            self.report(node, field, f"expected a list of {of}, got {_describe(node)}", hint)
            return []
        self._check_tag(node, field)
        return [(item, f"{field}[{index}]") for index, item in enumerate(node.items)]

    def _read_text(self, node: Node, field: str) -> str:
        self.places[field] = (node.line, node.column)
        if not isinstance(node, Scalar):
            self.report(node, field, f"expected text, got {_describe(node)}")
            return ""
        if is_null(node):
            return ""
        match short_tag(node):
            case "!!binary":
                return self._read_binary(node, field)
            case None | "!" | "!!str" | "!!int" | "!!float" | "!!bool" | "!!timestamp":
                return self._checked(node, field)
            case tag:
                self.report(node, field, f"tag {_shorten(tag)} is not understood", "leave the tag out")
                return ""

    def _checked(self, node: Scalar, field: str) -> str:
        # The pure parser lets "\ud800" through; libyaml does not.
        if any("\ud800" <= letter <= "\udfff" for letter in node.text):
            self.report(node, field, "holds half a character (a surrogate)")
            return ""
        return node.text

    def _read_binary(self, node: Scalar, field: str) -> str:
        try:
            return base64.b64decode("".join(node.text.split()), validate=True).decode()
        except (binascii.Error, ValueError):
            self.report(node, field, "expected text in base64 after !!binary")
            return ""

    def _read_json(self, node: Node, field: str) -> Json:
        if isinstance(node, Scalar):
            return self._read_scalar(node, field)
        self._check_tag(node, field)
        if isinstance(node, Sequence):
            return [self._read_json(item, f"{field}[{index}]") for index, item in enumerate(node.items)]
        entries = self._entries(node, field, self._map_key)
        return {key: self._read_json(value, f"{field}.{_shorten(key)}") for key, (_, value) in entries.items()}

    def _read_scalar(self, node: Scalar, field: str) -> Json:
        tag = short_tag(node)
        if tag in ("!", "!!str") or (tag is None and not node.plain):
            return self._checked(node, field)
        if tag == "!!binary":
            return self._read_binary(node, field)
        value = resolve(node.text)
        if tag == "!!float" and type(value) is int:
            value = float(value)
        if tag is not None and tag != _tag_of(value):
            hint = "quote it" if tag.startswith("!!") else "leave the tag out"
            self.report(node, field, f"{_shorten(node.text)!r} is not a {_shorten(tag)}", hint)
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self.report(node, field, f"{node.text} has no JSON form", f'write it as text: "{node.text}"')
            return None
        return str(value) if isinstance(value, Timestamp) else value

    def _check_tag(self, node: Sequence | Mapping, field: str) -> None:
        tag = short_tag(node)
        wanted = "!!seq" if isinstance(node, Sequence) else "!!map"
        if tag not in (None, "!", wanted):
            self.report(node, field, f"tag {_shorten(tag or '')} is not understood", "leave the tag out")

    def _map_key(self, node: Scalar, field: str) -> str | None:
        value = self._read_scalar(node, field)
        if isinstance(value, str) and not (
            node.tag is None and node.plain and isinstance(resolve(node.text), Timestamp)
        ):
            return value
        text = _shorten(node.text)
        self.report(node, field, f"key {text!r} is {_describe(node)}, keys are text", f'quote it: "{text}"')
        return None

    def _entries(
        self, node: Mapping, field: str, key_of: Callable[[Scalar, str], str | None]
    ) -> dict[str, tuple[Scalar, Node]]:
        """The entries of a map by key: its own, then those merged by ``<<`` that it does not have itself."""
        found: dict[str, tuple[Scalar, Node]] = {}
        merged: Node | None = None
        for key_node, value in node.pairs():
            if not isinstance(key_node, Scalar):
                self.report(key_node, field, f"a key is {_describe(key_node)}, keys are text")
            elif _is_merge(key_node):
                if merged is not None:
                    self.report(key_node, field, "key '<<' stands twice", "merge a list: <<: [*a, *b]")
                merged = value
            elif (key := key_of(key_node, field)) is not None:
                if key in found:
                    first = f"it stands on line {found[key][0].line} too"
                    self.report(key_node, field, f"key {_shorten(key)!r} stands twice", first)
                else:
                    found[key] = (key_node, value)
        if merged is not None:
            self._merge(merged, field, key_of, found)
        return found

    def _merge(
        self,
        node: Node,
        field: str,
        key_of: Callable[[Scalar, str], str | None],
        found: dict[str, tuple[Scalar, Node]],
    ) -> None:
        sources = node.items if isinstance(node, Sequence) else [node]
        for source in sources:  # the earlier one wins
            if not isinstance(source, Mapping):
                self.report(source, field, f"'<<' merges a map or a list of maps, got {_describe(source)}")
                continue
            for key, entry in self._entries(source, field, key_of).items():
                found.setdefault(key, entry)


def _field_name(node: Scalar, _field: str) -> str:
    return node.text


def _is_merge(node: Scalar) -> bool:
    return node.text == "<<" and node.plain and short_tag(node) in (None, "!", "!!merge")


def _part_type(rule: Rule) -> type[Any]:
    if rule.part is None:
        raise AssertionError(rule)
    return rule.part


def _near(key: str, valid: list[str]) -> str:
    if len(key) <= _SUGGESTED:
        from difflib import get_close_matches  # noqa: PLC0415 - only on the way out

        folded = {name.lower(): name for name in valid}
        plain = key.lower().replace("_", "").replace("-", "")
        if near := get_close_matches(plain, folded, n=1, cutoff=0.6):
            return f"did you mean {folded[near[0]]}?"
    return f"the fields here are {', '.join(valid)}"


def _map_hint(kind: type[object]) -> str:
    return f"its fields are {', '.join(rule.key for _, rule in rules(kind))}"


def _describe(node: Node) -> str:
    if isinstance(node, Mapping):
        return "a map"
    if isinstance(node, Sequence):
        return "a list"
    if is_null(node):
        return "nothing"
    if not node.plain or short_tag(node) in ("!", "!!str"):
        return "text"
    return _NAMES[_tag_of(resolve(node.text))]


_NAMES: Final = {
    "!!null": "nothing",
    "!!bool": "true or false",
    "!!int": "a number",
    "!!float": "a number",
    "!!timestamp": "a date",
    "!!str": "text",
}


def _tag_of(value: Json) -> str:
    match value:
        case None:
            return "!!null"
        case bool():
            return "!!bool"
        case int():
            return "!!int"
        case float():
            return "!!float"
        case Timestamp():
            return "!!timestamp"
        case _:
            return "!!str"


def _shorten(text: str) -> str:
    return printable(text[:57] + "…" if len(text) > 58 else text)
