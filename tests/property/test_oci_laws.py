"""Laws of the OCI values: parsing is total, printing and parsing are inverse."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from kitops.errors import InvalidValueError
from kitops.oci import gojson
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference

_WORD = st.from_regex(r"[a-z0-9]{1,8}(?:[._-][a-z0-9]{1,4})?", fullmatch=True)
_HOST = st.from_regex(r"[a-z]{1,8}\.[a-z]{2,5}(?::[1-9][0-9]{1,3})?", fullmatch=True)
_TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_HALVES = st.lists(st.sampled_from(["a", "\ud83d", "\ude00", "\\"])).map("".join)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(st.text())
def test_any_text_is_a_reference_or_a_clear_error(text: str) -> None:
    try:
        refs = Reference.parse_tags(text)
    except InvalidValueError as error:
        assert error.message
    else:
        for ref in refs:
            assert Reference.parse(str(ref)) == ref


@given(st.none() | _HOST, st.lists(_WORD, min_size=1, max_size=3), st.none() | _TAG)
def test_references_are_printed_as_they_are_parsed(host: str | None, words: list[str], tag: str | None) -> None:
    if "." in words[0] and len(words) > 1 and host is None:
        words = [words[0].replace(".", "-"), *words[1:]]
    text = "/".join(([host] if host else []) + words) + (f":{tag}" if tag else "")
    ref = Reference.parse(text)
    assert str(ref).removeprefix("localhost/") == text.removeprefix("localhost/")
    assert Reference.parse(str(ref)) == ref


@given(_JSON)
def test_what_is_written_reads_back(value: object) -> None:
    read = json.loads(gojson.dumps(value), parse_int=float)  # type: ignore[arg-type]
    assert read == json.loads(json.dumps(value), parse_int=float)


@given(st.recursive(_HALVES, lambda inner: st.lists(inner) | st.dictionaries(_HALVES, inner), max_leaves=8))
def test_half_a_character_is_read_as_go_reads_it(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        with suppress(InvalidValueError):  # two keys may be the same then
            read = gojson.loads(text.encode("utf-8", "surrogatepass"), "it")
            assert gojson.loads(gojson.dumps(read), "it") == read
            json.dumps(read, ensure_ascii=False).encode()


@given(st.binary())
def test_any_bytes_are_a_manifest_or_a_clear_error(raw: bytes) -> None:
    try:
        manifest = Manifest.parse(raw)
    except InvalidValueError as error:
        assert error.message
    else:
        assert manifest.raw == raw
