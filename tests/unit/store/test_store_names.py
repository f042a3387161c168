import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitops.errors import InvalidValueError
from kitops.oci.digest import Digest
from kitops.oci.reference import UNNAMED, Reference
from kitops.store.names import (
    decode_digest,
    decode_tag,
    encode_digest,
    encode_tag,
    repository_directory,
    repository_name,
    repository_reference,
)

TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("v1", "v1"),
        ("V1", "v1~1"),
        ("v1-RC", "v1-rc~18"),
        ("v1.", "v1.~0"),
        ("con", "~con"),
        ("Aux.txt", "~aux.txt~1"),
        ("com1", "~com1"),
        ("console", "console"),
        ("com10", "com10"),
    ],
)
def test_tags_as_file_names(tag, name):
    assert encode_tag(tag) == name
    assert decode_tag(name) == tag


@given(TAGS)
def test_a_tag_comes_back(tag):
    assert decode_tag(encode_tag(tag)) == tag


@given(TAGS, TAGS)
def test_no_two_tags_meet_on_file_systems_that_fold(one, other):
    assert (encode_tag(one).lower().rstrip(".") == encode_tag(other).lower().rstrip(".")) == (one == other)


@given(TAGS)
def test_file_names_are_short_and_lower_case(tag):
    name = encode_tag(tag)
    assert len(name) <= 163
    assert name == name.lower()
    assert re.fullmatch(r"~?[a-z0-9._-]+(~[0-9a-f]+)?", name)


def test_repositories_as_directories():
    ref = Reference.parse("registry.example.com:5000/team/x:v1")
    assert repository_name(ref) == "registry.example.com:5000/team/x"
    assert repository_directory(ref) == "registry-example-com-5000-team-x-eae34e25fcf09fae"
    assert repository_directory(ref.with_tag(None)) == repository_directory(ref)
    assert len(repository_directory(Reference.parse("x" * 240))) == 77
    assert repository_directory(Reference.parse("a-b")) != repository_directory(Reference.parse("a/b"))


@pytest.mark.parametrize("text", ["x", "team/x", "registry.example.com:5000/team/x"])
def test_a_repository_comes_back(text):
    assert repository_reference(repository_name(Reference.parse(text))) == Reference.parse(text)


def test_the_unnamed_repository():
    assert repository_name(UNNAMED) == "localhost/_"
    assert repository_reference("localhost/_") == UNNAMED
    assert repository_directory(UNNAMED).startswith("_-")


def test_digests_as_file_names():
    digest = Digest.of(b"x")
    assert encode_digest(digest) == f"sha256-{digest.encoded}"
    assert decode_digest(encode_digest(digest)) == digest
    with pytest.raises(InvalidValueError):
        decode_digest("README")
