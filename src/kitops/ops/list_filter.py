"""Which ModelKits ``kit list`` shows.

``repo=``, ``tag=``, ``name=`` and ``author=`` take globs; a filter as for ``unpack`` (``model``, ``datasets:train``)
asks for a ModelKit that has such a part. Of the same key one must fit; every key that is used must fit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from kitops.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kitops.formats.modelkit import ModelKit
    from kitops.formats.select import Filter

_KEYS: Final = ("repo", "tag", "name", "author")
_FIELD = re.compile(r"([a-z]+)=(.*)", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class ListFilter:
    """Cannot be wrong: make one with :meth:`parse`.

    Args:
        globs: by key, at least one each.
        parts: what a ModelKit is to have one of.
    """

    globs: Mapping[str, tuple[str, ...]]
    parts: tuple[Filter, ...]

    @classmethod
    def parse(cls, texts: Iterable[str]) -> ListFilter:
        """Read filters; none lets everything pass.

        Raises:
            InvalidValueError: a key or type is unknown.
        """
        from kitops.formats.select import Filter  # noqa: PLC0415 - listings without filters open no manifest

        globs: dict[str, tuple[str, ...]] = {}
        parts: list[Filter] = []
        for text in texts:
            match = _FIELD.fullmatch(text)
            if match is None:
                parts.append(Filter.parse(text))
                continue
            key, glob = match.groups()
            if key not in _KEYS:
                near = get_close_matches(key, _KEYS, n=1)
                hint = f"did you mean {near[0]}=?" if near else f"keys are {', '.join(_KEYS)}"
                raise InvalidValueError(f"filter {text!r}: key {key!r} is not known", hint=hint)
            globs[key] = (*globs.get(key, ()), glob)
        return cls(globs, tuple(parts))

    def is_match(self, **values: str) -> bool:
        """Whether the values, by key, fit; keys that are not given are not asked."""
        return all(
            any(fnmatchcase(value, glob) for glob in self.globs[key])
            for key, value in values.items()
            if key in self.globs
        )

    def has_part(self, kit: ModelKit) -> bool:
        """Whether a ModelKit has what is asked for."""
        return not self.parts or any(
            wanted.has_kitfile or any(wanted.is_match(layer) for layer in kit.layers) for wanted in self.parts
        )


EVERYTHING: Final = ListFilter({}, ())
