r"""The part of Go's templates that people use with ``--format``.

``{{.Field}}``, ``{{index .Tags 0}}``, ``{{join .Tags ","}}``, ``{{json .}}``, pipes between them, ``{{-`` and ``-}}``;
``\n`` and ``\t`` in the text around.

A template is compiled once and run for each row. Anything else is one error that says at which column.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from kitops.cli._output import NONE
from kitops.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Row: TypeAlias = "Mapping[str, Any]"
_ACTION = re.compile(r"\{\{(?P<left>- )?(?P<body>.*?)(?P<right> -)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<field>\.[A-Za-z_]\w*|\.(?![\w.]))|(?P<word>[A-Za-z_]\w*)|(?P<number>-?[0-9]+)"""
    r"""|(?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<pipe>\|))""",
    re.ASCII,
)
_ARGUMENTS = {"index": 2, "join": 2, "json": 1}
_HINT = "a template looks like '{{.Repo}}:{{join .Tags \",\"}}'; known are fields, index, join and json"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int


def read_template(text: str, fields: Sequence[str]) -> Template:
    """What ``--format`` says beside ``table`` and ``json``.

    Raises:
        InvalidValueError: it is no template, or a single word, which would stand there once for each row.
    """
    if text.isalpha():
        raise InvalidValueError(f"format {text!r} is not known", hint=f"say table or json; {_HINT}")
    return Template(text, fields)


def render_all(template: Template, rows: Iterable[Row]) -> str:
    """A line for each row."""
    return "".join(template.render(row) + "\n" for row in rows)


class Template:
    """A compiled template.

    Args:
        text: as typed.
        fields: the names that may follow a dot.

    Raises:
        InvalidValueError: it is none, or more than is supported.
    """

    def __init__(self, text: str, fields: Sequence[str]) -> None:
        self._text = text
        self._fields = tuple(fields)
        self._pieces: list[str | Callable[[Row], Any]] = []
        position, trims = 0, False
        for match in _ACTION.finditer(text):
            self._add_literal(text[position : match.start()], position, left=trims, right=bool(match["left"]))
            self._pieces.append(self._compile(match["body"], match.start("body")))
            position, trims = match.end(), bool(match["right"])
        self._add_literal(text[position:], position, left=trims, right=False)

    def render(self, row: Row) -> str:
        """The text for one row: a mapping from field name to text or list of texts.

        Raises:
            InvalidValueError: an index is out of range, or a function does not fit what it is given.
        """
        return "".join(piece if isinstance(piece, str) else to_text(piece(row)) for piece in self._pieces)

    def _add_literal(self, literal: str, start: int, *, left: bool, right: bool) -> None:
        if "{{" in literal:
            self._fail("'{{' is not closed", start + literal.index("{{"))
        literal = literal.lstrip() if left else literal
        literal = literal.rstrip() if right else literal
        if literal:
            self._pieces.append(literal.replace("\\t", "\t").replace("\\n", "\n"))

    def _fail(self, message: str, position: int) -> NoReturn:
        raise InvalidValueError(f"template {self._text!r}, column {position + 1}: {message}", hint=_HINT)

    def _compile(self, body: str, start: int) -> Callable[[Row], Any]:
        commands: list[list[_Token]] = [[]]
        for token in self._read_tokens(body, start):
            if token.kind == "pipe":
                commands.append([])
            else:
                commands[-1].append(token)
        piped: Callable[[Row], Any] | None = None
        for command in commands:
            if not command:
                self._fail("a value is missing", start)
            piped = self._compile_command(command, piped)
        if piped is None:  # there is at least one command
            raise AssertionError
        return piped

    def _read_tokens(self, body: str, start: int) -> list[_Token]:
        tokens: list[_Token] = []
        position, end = 0, len(body.rstrip())
        while position < end:
            match = _TOKEN.match(body, position)
            if match is None or match.lastgroup is None:
                skipped = len(body[position:]) - len(body[position:].lstrip())
                self._fail(f"{body[position:].strip()!r} is not supported", start + position + skipped)
            tokens.append(_Token(match.lastgroup, match[match.lastgroup], start + match.start(match.lastgroup)))
            position = match.end()
        return tokens

    def _compile_command(self, tokens: Sequence[_Token], piped: Callable[[Row], Any] | None) -> Callable[[Row], Any]:
        head, rest = tokens[0], tokens[1:]
        if head.kind != "word":
            if rest or piped is not None:
                self._fail("a function is wanted in front of values", head.column)
            return self._compile_value(head)
        if head.text not in _ARGUMENTS:
            self._fail(f"{head.text!r} is not supported", head.column)
        values = [self._compile_value(token) for token in rest]
        if piped is not None:
            values.append(piped)
        if len(values) != _ARGUMENTS[head.text]:
            self._fail(f"{head.text} takes {_ARGUMENTS[head.text]} values, not {len(values)}", head.column)
        return lambda row: self._call(head, [value(row) for value in values])

    def _compile_value(self, token: _Token) -> Callable[[Row], Any]:
        if token.kind == "field":
            name = token.text[1:]
            if name and name not in self._fields:
                known = " ".join(f".{field}" for field in self._fields)
                self._fail(f"there is no field {token.text}; there are {known}", token.column)
            return (lambda row: row[name]) if name else (lambda row: row)
        if token.kind == "number":
            number = int(token.text)
            return lambda _: number
        if token.kind == "text":
            text = token.text[1:-1] if token.text[0] == "`" else self._unquote(token)
            return lambda _: text
        return self._fail(f"{token.text!r} is not a value", token.column)

    def _unquote(self, token: _Token) -> str:
        import json

        try:
            return str(json.loads(token.text))
        except ValueError:
            self._fail(f"{token.text} has an escape that is not supported", token.column)

    def _call(self, head: _Token, values: Sequence[Any]) -> Any:
        match head.text, *values:
            case "json", value:
                return to_json(value)
            case "index", [*items], int(number):
                if not 0 <= number < len(items):
                    self._fail(f"index {number} is out of range: there are {len(items)} entries", head.column)
                return items[number]
            case "join", [*items], str(separator):
                return separator.join(map(to_text, items))
        return self._fail(f"{head.text} does not fit what it is given", head.column)


def to_text(value: Any) -> str:
    """A value as Go prints it: lists in brackets, separated by spaces; what is not known as in a table."""
    if value is None:
        return NONE
    if isinstance(value, list):
        return f"[{' '.join(map(to_text, value))}]"
    if isinstance(value, dict):
        return f"{{{' '.join(map(to_text, value.values()))}}}"
    return str(value)


def to_json(value: Any) -> str:
    """A value as compact JSON; a row's fields are named as in ``--format json``."""
    import json

    if isinstance(value, dict):
        value = {name[:1].lower() + name[1:]: item for name, item in value.items()}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
