"""What a hub's server may say, read strictly; tokens and addresses at the edge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitops.errors import InvalidValueError, SourceError
from kitops.importers.hub_listing import parse_page
from kitops.importers.location import check_endpoint
from kitops.importers.token import parse_token
from kitops.importers.tree import Origin, RemoteFile, check_paths

OID = "0" * 40
GOOD: dict[str, object] = {"type": "file", "path": "a.txt", "size": 1, "oid": OID}
LFS: dict[str, object] = {"oid": "1" * 64, "size": 5, "pointerSize": 130}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["type", "path", "size", "oid", "lfs", "xetHash"])


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ({}, "no list"),
        (None, "no list"),
        ("<html>", "no list"),
        ([5], "no object"),
        ([GOOD | {"path": 7}], "no path"),
        ([GOOD | {"path": ""}], "no path"),
        ([GOOD | {"path": "a\ud800"}], "no text"),
        ([GOOD | {"type": "link"}], "neither"),
        ([GOOD | {"size": None}], "no size"),
        ([GOOD | {"size": "12"}], "no size"),
        ([GOOD | {"size": True}], "no size"),
        ([GOOD | {"size": -1}], "no size"),
        ([GOOD | {"size": 1.5}], "no size"),
        ([GOOD | {"size": 1 << 70}], "no size"),
        ([{key: value for key, value in GOOD.items() if key != "size"}], "no size"),
        ([GOOD | {"lfs": "x"}], "in LFS"),
        ([GOOD | {"lfs": {}}], "no SHA-256"),
        ([GOOD | {"lfs": LFS | {"oid": "abc"}}], "no SHA-256"),
        ([GOOD | {"lfs": LFS | {"size": None}}], "no size"),
    ],
)
def test_listings_that_make_no_sense_are_refused(page: object, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        parse_page(page, "org/x")
    assert "org/x" in caught.value.message
    assert caught.value.hint


def test_listings_that_do() -> None:
    page = [GOOD, {"type": "directory", "path": "d"}, GOOD | {"path": "b", "lfs": LFS, "xetHash": "a" * 64}]
    first, second = parse_page(page, "org/x")
    assert (first.file.path, first.file.size, first.file.git_blob, first.xet_id) == ("a.txt", 1, OID, "")
    assert (second.file.size, str(second.file.digest), second.xet_id) == (5, f"sha256:{'1' * 64}", "a" * 64)


@given(JSON, st.dictionaries(FIELDS, JSON, max_size=4))
def test_whatever_a_server_says_is_a_listing_or_refused(page: object, changed: dict[str, object]) -> None:
    for said in (page, [GOOD | changed], [GOOD | {"lfs": LFS | changed}]):
        try:
            found = parse_page(said, "org/x")
            check_paths([one.file for one in found], Origin("huggingface", "https://x", "", "", "org/x"))
        except SourceError:
            continue


@pytest.mark.parametrize(
    "text", ["http://[::1", "hub.example", "ftp://hub", "https://", "http://a:b:c", "http://ä.example"]
)
def test_addresses_of_no_hub(text: str) -> None:
    with pytest.raises(InvalidValueError, match="not the address"):
        check_endpoint(text)


@pytest.mark.parametrize("text", ["https://bob:s3cret@hub.example", "https://s3cret@hub.example/x"])
def test_an_address_with_a_secret_is_refused_and_not_told(text: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        check_endpoint(text)
    assert "s3cret" not in caught.value.message


def test_an_address() -> None:
    assert check_endpoint("https://hub.example:8443/prefix/") == "https://hub.example:8443/prefix"


@pytest.mark.parametrize("text", ["", " \n", "hf_a b", "hf_ä", "hf_a\nb", "hf\x00x"])
def test_tokens_that_are_none_are_refused_and_not_told(text: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_token(text)
    assert "hf" not in caught.value.message


def test_tokens_lose_what_stands_around_them() -> None:
    assert parse_token(" hf_x\n") == "hf_x"
    assert parse_token(None) is None


def test_a_name_that_is_no_text_is_told() -> None:
    with pytest.raises(SourceError, match="unsafe name"):
        check_paths([RemoteFile("../\ud800", 1)], Origin("huggingface", "https://x", "", "", "org/x"))
    with pytest.raises(SourceError, match="as a file and as a directory"):
        check_paths([RemoteFile("a/b", 1), RemoteFile("a", 1)], Origin("huggingface", "https://x", "", "", "org/x"))
