"""Filters: which parts of a ModelKit are wanted.

``type[,type][:name-or-path[,…]]``, types ``kitfile model datasets code docs prompts mcpservers``; several filters are
OR-ed; ``model`` covers its parts. A name or path is matched exactly, or as a glob (``*``, ``?``, ``[…]``; ``*`` does
not cross ``/``, ``**`` does).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.errors import InvalidValueError, NotFoundError
from kitops.formats.parts import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.formats.modelkit import KitLayer, ModelKit

KITFILE: Final = "kitfile"
_TYPES: Final[dict[str, frozenset[Kind]]] = {
    KITFILE: frozenset(),
    "model": frozenset({Kind.MODEL, Kind.MODEL_PART}),
    "datasets": frozenset({Kind.DATASET}),
    "code": frozenset({Kind.CODE}),
    "docs": frozenset({Kind.DOCS}),
    "prompts": frozenset({Kind.PROMPT}),
    "mcpservers": frozenset({Kind.MCP_SERVER}),
}


class NoPartError(NotFoundError):
    """No part of a ModelKit fits the filters.

    Args:
        ref: the ModelKit.
        look: the command that shows its parts.
    """

    def __init__(self, ref: object, look: str) -> None:
        hint = f"`{look}` shows names and paths; in a glob only ** crosses a slash"
        super().__init__(f"no part of {ref} fits the filter", hint=hint)


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter. Cannot be wrong: make one with :meth:`parse`."""

    types: frozenset[str]
    patterns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Read ``type[,type][:name-or-path[,…]]``.

        Raises:
            InvalidValueError: a type is unknown, or something is empty.
        """
        types_text, colon, patterns_text = text.partition(":")
        types = frozenset(word.strip().lower() for word in types_text.split(","))
        for word in sorted(types - _TYPES.keys()):
            from difflib import get_close_matches  # noqa: PLC0415 - only on the way out

            near = get_close_matches(word, _TYPES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"types are {', '.join(_TYPES)}"
            raise InvalidValueError(f"filter {text!r}: type {word!r} is not known", hint=hint)
        patterns = tuple(word.strip() for word in patterns_text.split(",")) if colon else ()
        if not all(patterns):
            raise InvalidValueError(f"filter {text!r}: a name or path is empty")
        for pattern in patterns:
            try:
                _compile(pattern)
            except re.error as error:
                raise InvalidValueError(f"filter {text!r}: pattern {pattern!r} is not valid: {error}") from error
        return cls(types, patterns)

    @property
    def has_kitfile(self) -> bool:
        """Whether the Kitfile itself is asked for."""
        return KITFILE in self.types

    def is_match(self, layer: KitLayer) -> bool:
        """Whether a layer is asked for."""
        kinds = frozenset[Kind]().union(*(_TYPES[word] for word in self.types))
        if layer.kind is not None and layer.kind not in kinds:
            return False
        if layer.kind is None and (layer.part is None or layer.part.kind not in kinds):
            return False
        if not self.patterns:
            return True
        names = {layer.path.removeprefix("./")}
        if layer.part is not None:  # its path is above the layer's where a directory is spread over a layer a file
            names |= {layer.part.name, layer.part.path}
        return any(_is_glob_match(pattern, name) for pattern in self.patterns for name in names if name)


def select_layers(kit: ModelKit, filters: Sequence[Filter]) -> tuple[KitLayer, ...]:
    """The layers that any of ``filters`` asks for; all of them without filters."""
    if not filters:
        return kit.layers
    return tuple(layer for layer in kit.layers if any(wanted.is_match(layer) for wanted in filters))


def is_dataset_selected(filters: Sequence[Filter], names: Sequence[str]) -> bool:
    """Whether a dataset without a layer, known by ``names`` (its name and its path), is wanted."""
    return not filters or any(
        "datasets" in wanted.types
        and (
            not wanted.patterns
            or any(_is_glob_match(pattern, name) for pattern in wanted.patterns for name in names if name)
        )
        for wanted in filters
    )


def is_model_selected(filters: Sequence[Filter]) -> bool:
    """Whether anything of a model may be wanted: without filters it is."""
    return not filters or any("model" in wanted.types for wanted in filters)


def is_kitfile_selected(filters: Sequence[Filter]) -> bool:
    """Whether the Kitfile is wanted: without filters it is."""
    return not filters or any(wanted.has_kitfile for wanted in filters)


def _is_glob_match(pattern: str, name: str) -> bool:
    pattern = pattern.removeprefix("./").rstrip("/") or "."
    return pattern == name or _compile(pattern).fullmatch(name) is not None


def _compile(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression; a bracket that is never closed is itself."""
    found = []
    position = 0
    while position < len(pattern):
        letter = pattern[position]
        position += 1
        if letter == "*":
            if pattern.startswith("*", position):
                position += 1
                found.append(".*")
            else:
                found.append("[^/]*")
        elif letter == "?":
            found.append("[^/]")
        elif letter == "[" and (end := pattern.find("]", position + 1)) > 0:
            inner = pattern[position:end].replace("\\", r"\\").replace("[", r"\[")
            found.append(f"[{'^' + inner[1:] if inner[0] in '!^' else inner}]")
            position = end + 1
        else:
            found.append(re.escape(letter))
    return re.compile("".join(found), re.ASCII | re.DOTALL)
