"""YAML text to a tree of nodes with places, within bounds.

The tree is made from the parser's events, iteratively: no depth of nesting can exhaust the stack, and every node knows
what it weighs with its aliases expanded, so that a YAML bomb is refused before anything is expanded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import yaml

from kitops.errors import KitfileError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE_LIMIT: Final = 1 << 20
"""Bytes of the largest Kitfile."""
DEPTH_LIMIT: Final = 100
"""Maps and lists inside each other."""
WEIGHT_LIMIT: Final = 4 << 20
"""Characters and nodes of a Kitfile with every alias expanded."""
ALIAS_FACTOR: Final = 10
"""How many times heavier than its characters a Kitfile may be with every alias expanded."""
ALWAYS_LIGHT: Final = 64 << 10
"""Up to this weight nobody asks how long it is without its aliases."""

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE: Final = "tag:yaml.org,2002:"
# What YAML allows in a stream (1.2, production 1), the byte order mark only as the first character.
_FORBIDDEN: Final = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
_FORBIDDEN_ASCII: Final = bytes({*range(0x20), 0x7F} - set(b"\t\n\r"))
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_INDENTATION: Final = "check the indentation of this line and of the one above, and the quotes"
_HINTS: Final = (
    ("cannot start any token", "quote a text that starts with this character"),
    ("mapping values are not allowed", "quote a text that contains ': ', and check the indentation"),
    ("block end", _INDENTATION),  # the pure parser's words; the next two are libyaml's
    ("did not find expected key", _INDENTATION),
    ("did not find expected '-' indicator", _INDENTATION),
    ("expected ',' or", "close the bracket that was opened, and put commas between what is in it"),
    ("could not find expected ':'", "a key is followed by ': '; check for a missing colon or quote"),
    ("unexpected end of stream", "close the quote that was opened"),
)


@dataclass(slots=True, eq=False)
class Scalar:
    """Text, with the tag that was written before it (in full, None without one); ``plain`` where it has no quotes."""

    line: int
    column: int
    tag: str | None
    text: str
    plain: bool
    weight: int = 1
    depth: int = 0


@dataclass(slots=True, eq=False)
class Sequence:
    """A list."""

    line: int
    column: int
    tag: str | None
    items: list[Node] = field(default_factory=list)
    weight: int = 1
    depth: int = 1


@dataclass(slots=True, eq=False)
class Mapping:
    """A map: keys and values in turn, as they are written (duplicates and merge keys included)."""

    line: int
    column: int
    tag: str | None
    items: list[Node] = field(default_factory=list)
    weight: int = 1
    depth: int = 1

    def pairs(self) -> Iterator[tuple[Node, Node]]:
        """Key and value, in the order in which they are written."""
        return zip(self.items[::2], self.items[1::2], strict=True)


Node: TypeAlias = "Scalar | Sequence | Mapping"


def compose(text: str | bytes, path: str) -> Node | None:
    """The root of the only document in ``text``, or None where there is none.

    Raises:
        KitfileError: it is not UTF-8, not YAML, more than one document, or out of bounds.
    """
    decoded = _decode(text, path)
    composer = _Composer(path, min(WEIGHT_LIMIT, max(ALWAYS_LIGHT, ALIAS_FACTOR * len(decoded))))
    try:
        for event in yaml.parse(decoded, Loader=_LOADER):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        raise KitfileError(path, [_syntax_problem(error, decoded)]) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the pure parser meets \UFFFFFFFF with chr()
        raise KitfileError(path, [Problem(0, 0, "", f"is not YAML: {error}")]) from None
    return composer.root


class _Composer:
    """Builds the tree event by event; no node may weigh more than ``weight_limit``."""

    def __init__(self, path: str, weight_limit: int) -> None:
        self.path = path
        self.weight_limit = weight_limit
        self.root: Node | None = None
        self.open: list[Sequence | Mapping] = []
        self.anchors: dict[str, Node] = {}
        self.documents = 0

    def take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    self._refuse(line, column, "holds a second document", "a Kitfile is one document; remove the ---")
            case yaml.AliasEvent():
                self._add(self._aliased(event.anchor or "", line, column), line, column)
            case yaml.ScalarEvent():
                plain = not event.style
                found = Scalar(line, column, event.tag, event.value, plain, 1 + len(event.value))
                self._remember(event.anchor, found)
                self._add(found, line, column)
            case yaml.SequenceStartEvent():
                self._enter(Sequence(line, column, event.tag), event.anchor)
            case yaml.MappingStartEvent():
                self._enter(Mapping(line, column, event.tag), event.anchor)
            case yaml.CollectionEndEvent():
                closed = self.open.pop()
                self._add(closed, closed.line, closed.column)

    def _enter(self, node: Sequence | Mapping, anchor: str | None) -> None:
        self._remember(anchor, node)
        self.open.append(node)
        if len(self.open) > DEPTH_LIMIT:
            self._refuse(node.line, node.column, f"is nested more than {DEPTH_LIMIT} levels deep")

    def _remember(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self.anchors[anchor] = node

    def _aliased(self, anchor: str, line: int, column: int) -> Node:
        found = self.anchors.get(anchor)
        if found is None:
            self._refuse(line, column, f"alias *{anchor[:60]} has no anchor", f"write &{anchor[:60]} before its value")
        elif any(found is node for node in self.open):
            self._refuse(line, column, f"alias *{anchor[:60]} stands inside of what it stands for")
        else:
            return found
        raise AssertionError

    def _add(self, node: Node, line: int, column: int) -> None:
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        parent.items.append(node)
        parent.weight += node.weight
        parent.depth = max(parent.depth, node.depth + 1)
        if parent.weight > self.weight_limit:
            self._refuse(line, column, f"is larger than {self.weight_limit} characters with its aliases expanded")
        if parent.depth > DEPTH_LIMIT:
            self._refuse(line, column, f"is nested more than {DEPTH_LIMIT} levels deep with its aliases expanded")

    def _refuse(self, line: int, column: int, message: str, hint: str | None = None) -> None:
        raise KitfileError(self.path, [Problem(line, column, "", message, hint)])


def is_null(node: Node) -> bool:
    """Whether ``node`` is a null: nothing, ``~``, ``null``, or anything tagged so."""
    if not isinstance(node, Scalar):
        return False
    if node.tag == f"{_CORE}null":
        return True
    return node.tag is None and node.plain and node.text in ("", "~", "null", "Null", "NULL")


def short_tag(node: Node) -> str | None:
    """The tag as people write it: ``!!int``."""
    return None if node.tag is None else node.tag.replace(_CORE, "!!", 1)


def _decode(text: str | bytes, path: str) -> str:
    if len(text) > SIZE_LIMIT:
        message = f"is larger than {SIZE_LIMIT} bytes"
        raise KitfileError(path, [Problem(0, 0, "", message, "a Kitfile names files, it does not hold them")])
    decoded = text if isinstance(text, str) else _decode_bytes(text, path)
    decoded = decoded.removeprefix("\ufeff")
    if bad := _find_forbidden(decoded):
        line, column = _place(decoded, bad.start())
        letter = f"U+{ord(bad.group()):04X}"
        hint = f'write it with an escape in a double-quoted text, for example "\\x{ord(bad.group()):02x}"'
        raise KitfileError(
            path,
            [Problem(line, column, "", f"holds the character {letter}", hint if ord(bad.group()) < 256 else None)],
        )
    return decoded


def _find_forbidden(text: str) -> re.Match[str] | None:
    if text.isascii():  # compiling a class of all of Unicode takes longer than reading the Kitfile
        raw = text.encode()
        if len(raw.translate(None, _FORBIDDEN_ASCII)) == len(raw):
            return None
    return re.search(_FORBIDDEN, text)


def _decode_bytes(raw: bytes, path: str) -> str:
    # What Windows PowerShell writes with `>`; YAML allows it (1.2, section 5.2).
    encoding = "utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line, column = _place(raw[: error.start].decode(encoding, "replace"), None)
        message = f"is not {encoding.upper()}: byte 0x{raw[error.start]:02x}"
        raise KitfileError(path, [Problem(line, column, "", message, "save the file as UTF-8")]) from None


def _place(text: str, offset: int | None) -> tuple[int, int]:
    before = text if offset is None else text[:offset]
    breaks = list(_BREAK.finditer(before))
    start = breaks[-1].end() if breaks else 0
    return len(breaks) + 1, len(before) - start + 1


def _syntax_problem(error: yaml.MarkedYAMLError, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    message = error.problem or error.context or "is not YAML"
    hint = next((hint for part, hint in _HINTS if part in message), None)
    if mark and text[mark.index : mark.index + 1] == "\t":
        hint = "indent with spaces, not with tabs"
    if error.context and error.problem:
        message = f"{message} {error.context}"
    return Problem(mark.line + 1 if mark else 0, mark.column + 1 if mark else 0, "", message, hint)
