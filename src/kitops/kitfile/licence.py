"""Which licence a text is: recognised by words that only that licence has, not by comparing whole texts.

SPDX identifiers where SPDX has one; the licences of models that it lacks go by the names that Hugging Face uses
(``llama3.1``, ``openrail++``), which is what people write in a Kitfile.
"""

from __future__ import annotations

import re
from typing import Final

_WORD = re.compile(r"[^a-z0-9+]+", re.ASCII)
_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+-]+)[ \t]*(?:\*/|-->)?[ \t]*$", re.MULTILINE | re.ASCII)
_SHORT: Final = 4000
"""Characters of a text that is so short that an SPDX tag in it may stand for the licence itself."""

_GNU = re.compile(
    r"gnu (?:(lesser|library|affero) )?general public license version (2|2 1|3) "
    r"(?:june 1991|february 1999|29 june 2007|19 november 2007)"
)
_GNU_NAMES: Final = {None: "GPL", "lesser": "LGPL", "library": "LGPL", "affero": "AGPL"}
_CREATIVE_COMMONS = re.compile(
    r"attribution (noncommercial )?(sharealike |noderivatives |noderivs )?(4 0 international|3 0 unported)"
)
_CREATIVE_COMMONS_TERMS: Final = {
    None: "",
    "noncommercial ": "-NC",
    "sharealike ": "-SA",
    "noderivatives ": "-ND",
    "noderivs ": "-ND",
}
_LLAMA = re.compile(r"llama ([234](?: [0-9])?)(?: version)?(?: release date)? community license agreement")

# All of the phrases must be there.
_PHRASES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Apache-2.0", ("apache license version 2 0 january 2004", "terms and conditions for use reproduction")),
    ("MPL-2.0", ("mozilla public license version 2 0", "covered software is provided under this license")),
    ("EPL-2.0", ("eclipse public license v 2 0", "accompanying program is provided under the terms")),
    ("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    ("CC0-1.0", ("cc0 1 0 universal", "affirmer")),
    ("BSL-1.0", ("boost software license version 1 0",)),
    ("BUSL-1.1", ("business source license 1 1", "change date")),
    ("CDLA-Permissive-2.0", ("community data license agreement permissive version 2 0",)),
    ("WTFPL", ("do what the fuck you want to public license", "0 you just do what")),
    (
        "Zlib",
        ("the origin of this software must not be misrepresented", "altered source versions must be plainly marked"),
    ),
    ("gemma", ("gemma terms of use", "model derivatives")),
    ("bigscience-bloom-rail-1.0", ("bigscience rail license v1 0",)),
    ("bigscience-openrail-m", ("bigscience open rail m license",)),
    ("bigcode-openrail-m", ("bigcode open rail m",)),
    ("openrail++", ("creativeml open rail++ m",)),
    ("creativeml-openrail-m", ("creativeml open rail m",)),
)
_MIT: Final = "permission is hereby granted free of charge to any person obtaining a copy"
_BSD: Final = "redistribution and use in source and binary forms with or without modification are permitted"
_ISC: Final = "permission to use copy modify and or distribute this software for any purpose with or without fee is"


def recognise(text: str) -> str:
    """The identifier of the licence that ``text`` is, or empty: unknown, or several licences."""
    words = f" {_WORD.sub(' ', text.lower()).strip()} "
    found = {identifier for identifier, phrases in _PHRASES if all(phrase in words for phrase in phrases)}
    found |= _gnu(words) | _creative_commons(words) | _llama(words) | _permissive(words)
    if not found and len(text) < _SHORT:
        found = set(_TAG.findall(text))
    return found.pop() if len(found) == 1 else ""


def _gnu(words: str) -> set[str]:
    """The GNU licence whose title comes first: each of them speaks of the others."""
    match = _GNU.search(words)
    if match is None:
        return set()
    version = match[2].replace(" ", ".")
    return {f"{_GNU_NAMES[match[1]]}-{version if '.' in version else f'{version}.0'}"}


def _creative_commons(words: str) -> set[str]:
    return {
        f"CC-BY{_CREATIVE_COMMONS_TERMS[match[1]]}{_CREATIVE_COMMONS_TERMS[match[2]]}-{match[3][:3].replace(' ', '.')}"
        for match in _CREATIVE_COMMONS.finditer(words)
    }


def _llama(words: str) -> set[str]:
    return {f"llama{match[1].replace(' ', '.')}" for match in _LLAMA.finditer(words)}


def _permissive(words: str) -> set[str]:
    """The licences that are told apart by one clause more or less."""
    found = set()
    if (
        _MIT in words
        and "the software is provided as is" in words
        and "except as contained in this notice" not in words
    ):
        noticed = "shall be included in all copies or substantial portions" in words
        found.add("MIT" if noticed else "MIT-0")
    if _BSD in words and "redistributions in binary form must reproduce" in words:
        found.add(_bsd(words))
    if _ISC in words and "the author disclaims all warranties" in words:
        found.add("ISC" if "provided that the above copyright notice" in words else "0BSD")
    return found


def _bsd(words: str) -> str:
    if "all advertising materials mentioning" in words:
        return "BSD-4-Clause"
    if "neither the name" not in words and "may not be used to endorse or promote" not in words:
        return "BSD-2-Clause"
    if "no express or implied licenses to any party s patent rights" in words:
        return "BSD-3-Clause-Clear"
    return "BSD-3-Clause"
