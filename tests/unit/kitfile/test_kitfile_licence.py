"""Licences are recognised by their words, however they are laid out."""

import json
from pathlib import Path

import pytest

from kitops.kitfile.licence import recognise

INIT = Path(__file__).parents[2] / "golden" / "init"
MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software"
NOTICE = "shall be included in all copies or substantial portions of the Software."
AS_IS = 'THE SOFTWARE IS PROVIDED "AS IS"'
BSD = (
    "Redistribution and use in source and binary forms, with or without\nmodification, are permitted provided that\n"
    "2. Redistributions in binary form must reproduce the above copyright notice\n"
)
NAMES = (
    "3. Neither the name of the copyright holder nor the names of its contributors may be used to endorse or promote"
)
ISC = "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby"
NO_WARRANTY = 'THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES'


def text_of(vector):
    tree = json.loads((INIT / f"{vector}.json").read_text())["tree"]
    return next(entry["text"] for entry in tree if entry["path"].startswith("LICENSE"))


@pytest.mark.parametrize(
    ("vector", "identifier"), [("licence-model", "Apache-2.0"), ("licence-package", "MIT"), ("licence-unknown", "")]
)
def test_whole_texts(vector, identifier):
    assert recognise(text_of(vector)) == identifier
    assert recognise(text_of(vector).upper().replace("\n", "\r\n  * ")) == identifier


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        (f"{MIT} ... {NOTICE} {AS_IS}", "MIT"),
        (f"{MIT} ... {AS_IS}", "MIT-0"),
        (f"{MIT} ... {NOTICE} {AS_IS} Except as contained in this notice, the name of", ""),
        (BSD, "BSD-2-Clause"),
        (BSD + NAMES, "BSD-3-Clause"),
        (BSD + NAMES + " NO EXPRESS OR IMPLIED LICENSES TO ANY PARTY'S PATENT RIGHTS", "BSD-3-Clause-Clear"),
        (BSD + NAMES + " All advertising materials mentioning features", "BSD-4-Clause"),
        (f"{ISC} granted, provided that the above copyright notice appear. {NO_WARRANTY}", "ISC"),
        (f"{ISC} granted. {NO_WARRANTY}", "0BSD"),
        ("GNU GENERAL PUBLIC LICENSE\n   Version 2, June 1991", "GPL-2.0"),
        ("GNU GENERAL PUBLIC LICENSE Version 3, 29 June 2007. the GNU Affero General Public License", "GPL-3.0"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\nVersion 2.1, February 1999", "LGPL-2.1"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007", "LGPL-3.0"),
        ("GNU LIBRARY GENERAL PUBLIC LICENSE\nVersion 2, June 1991", "LGPL-2.0"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3, 19 November 2007", "AGPL-3.0"),
        ("Mozilla Public License Version 2.0 ... Covered Software is provided under this License", "MPL-2.0"),
        ("Eclipse Public License - v 2.0 THE ACCOMPANYING PROGRAM IS PROVIDED UNDER THE TERMS OF", "EPL-2.0"),
        ("This is free and unencumbered software released into the public domain.", "Unlicense"),
        ("CC0 1.0 Universal ... the Affirmer", "CC0-1.0"),
        ("Boost Software License - Version 1.0 - August 17th, 2003", "BSL-1.0"),
        ("Business Source License 1.1 ... Change Date: 2030-01-01", "BUSL-1.1"),
        ("Community Data License Agreement - Permissive - Version 2.0", "CDLA-Permissive-2.0"),
        ("Creative Commons Attribution 4.0 International Public License", "CC-BY-4.0"),
        ("Attribution-ShareAlike 4.0 International", "CC-BY-SA-4.0"),
        ("Attribution-NonCommercial-NoDerivatives 4.0 International", "CC-BY-NC-ND-4.0"),
        ("Attribution-NonCommercial-ShareAlike 3.0 Unported", "CC-BY-NC-SA-3.0"),
        ("LLAMA 2 COMMUNITY LICENSE AGREEMENT", "llama2"),
        ("META LLAMA 3 COMMUNITY LICENSE AGREEMENT", "llama3"),
        ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\nLlama 3.1 Version Release Date: July 23, 2024", "llama3.1"),
        ("LLAMA 3.3 COMMUNITY LICENSE AGREEMENT", "llama3.3"),
        ("Gemma Terms of Use ... Model Derivatives", "gemma"),
        ("CreativeML Open RAIL-M", "creativeml-openrail-m"),
        ("CreativeML Open RAIL++-M License", "openrail++"),
        ("BigScience RAIL License v1.0", "bigscience-bloom-rail-1.0"),
        ("BigScience Open RAIL-M License", "bigscience-openrail-m"),
        ("BigCode Open RAIL-M v1 License Agreement", "bigcode-openrail-m"),
        ("SPDX-License-Identifier: MPL-2.0\n", "MPL-2.0"),
        ("SPDX-License-Identifier: MIT\nSPDX-License-Identifier: ISC\n", ""),
        ("SPDX-License-Identifier: MPL-2.0\n" + "x" * 5000, ""),
        ("", ""),
        ("All rights reserved.", ""),
    ],
)
def test_words(text, identifier):
    assert recognise(text) == identifier


def test_two_licences_in_one_text_are_none():
    assert recognise(text_of("licence-model") + text_of("licence-package")) == ""
