"""The fields of a ModelPack config, and what each may hold: for who judges configs, and for who writes them.

Source: model-spec, ``docs/config.md``, ``schema/config-schema.json``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.errors import InvalidValueError
from kitops.formats.grammar import is_licence, is_param_size, is_precision, is_time, is_url
from kitops.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kitops.oci.gojson import Json

    Check = Callable[[str, Json], Iterator["Violation"]]
    Fields = Mapping[str, Check | "Fields"]

_LANGUAGE: Final = re.compile(r"[a-z]{2}", re.ASCII)
_MODALITIES: Final = frozenset({"text", "image", "audio", "video", "embedding", "other"})


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as it should be: where (``layers[2].annotations``), and what."""

    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


def check_object(where: str, value: Json, fields: Fields) -> Iterator[Violation]:
    """What is wrong with an object that may have ``fields``."""
    if not isinstance(value, dict):
        yield Violation(where, "is not an object")
        return
    for key, item in value.items():
        check = fields.get(key)
        if check is None:
            yield Violation(f"{where}.{key}", "is not known")
        elif isinstance(check, Mapping):
            yield from check_object(f"{where}.{key}", item, check)
        else:
            yield from check(f"{where}.{key}", item)


def keep_valid(where: str, value: Json, fields: Fields) -> tuple[dict[str, Json], list[Violation]]:
    """What of an object is as it should be, and what is not. Of lists and objects within, the valid items stay."""
    kept: dict[str, Json] = {}
    left_out: list[Violation] = []
    if not isinstance(value, dict):
        return kept, list(check_object(where, value, fields))
    for key, item in value.items():
        if item in (None, "", [], {}):
            continue
        check = fields.get(key)
        if isinstance(check, Mapping):
            found, problems = keep_valid(f"{where}.{key}", item, check)
            left_out += problems
            if found:
                kept[key] = found
        elif not (problems := list(check_object(where, {key: item}, fields))):
            kept[key] = item
        else:
            left_out += problems
            if isinstance(item, list) and check is not None:
                rest: list[Json] = [one for one in item if not any(check(where, [one]))]
                kept |= {key: rest} if rest else {}
    return kept, left_out


def _text(accept: Callable[[str], bool] = lambda _: True, wanted: str = "") -> Check:
    """A check for a text that ``accept`` takes."""

    def check(where: str, value: Json) -> Iterator[Violation]:
        if not isinstance(value, str):
            yield Violation(where, "is not text")
        elif not accept(value):
            yield Violation(where, f"{value!r} is not {wanted}")

    return check


def _list(item: Check, *, least: int = 0) -> Check:
    """A check for a list of at least ``least`` items, each of which ``item`` checks."""

    def check(where: str, value: Json) -> Iterator[Violation]:
        if not isinstance(value, list):
            yield Violation(where, "is not a list")
            return
        if len(value) < least:
            yield Violation(where, f"must have {least} entry at least")
        for number, found in enumerate(value):
            yield from item(f"{where}[{number}]", found)

    return check


def _boolean(where: str, value: Json) -> Iterator[Violation]:
    if not isinstance(value, bool):
        yield Violation(where, "is neither true nor false")


def _is_digest(text: str) -> bool:
    try:
        Digest.parse(text)
    except InvalidValueError:
        return False
    return True


_TIME = _text(is_time, "a time of RFC 3339")
_URL = _text(is_url, "an absolute address")
_MODALITY = _text(_MODALITIES.__contains__, f"one of {', '.join(sorted(_MODALITIES))}")
DESCRIPTOR: Final[Fields] = {
    "createdAt": _TIME,
    "authors": _list(_text()),
    "vendor": _text(),
    "family": _text(),
    "name": _text(bool, "a name of one letter at least"),
    "version": _text(),
    "title": _text(),
    "description": _text(),
    "docURL": _URL,
    "sourceURL": _URL,
    "datasetsURL": _list(_URL),
    "revision": _text(),
    "licenses": _list(_text(is_licence, "an SPDX expression")),
}
CONFIG: Final[Fields] = {
    "architecture": _text(),
    "format": _text(),
    "paramSize": _text(is_param_size, "a number of parameters like 6.7B"),
    "precision": _text(is_precision, "a precision like bfloat16, or several joined by commas"),
    "quantization": _text(),
    "capabilities": {
        "inputTypes": _list(_MODALITY),
        "outputTypes": _list(_MODALITY),
        "knowledgeCutoff": _TIME,
        "reasoning": _boolean,
        "toolUsage": _boolean,
        "reward": _boolean,
        "languages": _list(_text(lambda text: _LANGUAGE.fullmatch(text) is not None, "a language of two letters")),
    },
}
MODELFS: Final[Fields] = {
    "type": _text(lambda text: text == "layers", "'layers'"),
    "diffIds": _list(_text(_is_digest, "a digest"), least=1),
}
