"""Laws of what people are shown: any text can be printed, and hides nothing."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from kitops.errors import printable
from kitops.registry.headers import one_line, parse_refusal

_HALVES = st.text(st.characters(categories=["Cs"]), max_size=2)
_ANY = st.lists(_HALVES | st.text(max_size=5), max_size=5).map("".join)


@given(_ANY)
def test_any_text_is_shown_on_one_line(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown
    if text.isprintable():
        assert shown == text


@given(st.binary())
def test_any_name_of_a_file_is_shown_the_same_as_bytes_and_as_text(name: bytes) -> None:
    assert printable(name) == printable(name.decode("utf-8", "surrogateescape"))


@given(_ANY)
def test_what_a_registry_says_is_shown_whatever_it_is(text: str) -> None:
    assert one_line(text).isprintable()
    for table in ({"message": text}, {"errors": [{"code": text, "message": text}]}):
        refusal = parse_refusal(json.dumps(table).encode())
        assert all(line.isprintable() for line in (refusal.text, *refusal.codes))
