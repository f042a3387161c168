"""Digests, descriptors, references, manifests: what they take and what they refuse."""

from __future__ import annotations

import hashlib
import json
import time

import pytest

from kitops.errors import InvalidValueError
from kitops.oci import gojson, mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.oci.manifest import Manifest
from kitops.oci.reference import UNNAMED, Reference, check_registry, check_tag

A = "sha256:" + "a" * 64
CONFIG = Descriptor.of(b"{}", "application/vnd.example.config+json")


def test_digest_of_bytes_is_their_sha256() -> None:
    assert str(Digest.of(b"kit")) == f"sha256:{hashlib.sha256(b'kit').hexdigest()}"


def test_digest_of_a_hasher() -> None:
    hasher = Digest.parse("sha512:" + "0" * 128).new_hasher()
    hasher.update(b"kit")
    assert str(Digest.from_hasher(hasher)) == f"sha512:{hashlib.sha512(b'kit').hexdigest()}"


def test_digest_has_a_short_form_for_progress() -> None:
    assert Digest.parse(A).short == "a" * 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a digest"),
        ("sha256", "not a digest"),
        ("sha256:" + "A" * 64, "not a digest"),
        ("sha256:" + "a" * 63, "63 hex digits"),
        ("sha256:" + "a" * 64 + "\n", "not a digest"),
        ("md5:" + "a" * 32, "not supported"),
        ("sha256:" + "٣" * 64, "not a digest"),
    ],
)
def test_digest_refuses(text: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        Digest.parse(text)


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "shown"),
    [
        ("x", "localhost", "x", None, "x"),
        ("localhost/x:v1", "localhost", "x", "v1", "x:v1"),
        ("localhost:5000/x", "localhost:5000", "x", None, "localhost:5000/x"),
        ("team/model:v1", "localhost", "team/model", "v1", "team/model:v1"),
        (
            "Registry.Example.com/a/b__c-d:Tag_1.0",
            "registry.example.com",
            "a/b__c-d",
            "Tag_1.0",
            "registry.example.com/a/b__c-d:Tag_1.0",
        ),
        ("[::1]:5000/x:v", "[::1]:5000", "x", "v", "[::1]:5000/x:v"),
        ("x.y:v", "localhost", "x.y", "v", "x.y:v"),
    ],
)
def test_reference(text: str, registry: str, repository: str, tag: str | None, shown: str) -> None:
    ref = Reference.parse(text)
    assert (ref.registry, ref.repository, ref.tag, str(ref)) == (registry, repository, tag, shown)


def test_reference_with_digest_and_tag() -> None:
    ref = Reference.parse(f"r.io/x:v1@{A}")
    assert (ref.tag, str(ref.digest), ref.pointer) == ("v1", A, A)
    assert str(ref) == f"r.io/x:v1@{A}"


def test_reference_with_several_tags_names_each_once() -> None:
    assert [str(ref) for ref in Reference.parse_tags("x:a,b,a")] == ["x:a", "x:b"]


def test_a_single_reference_refuses_several_tags() -> None:
    with pytest.raises(InvalidValueError, match="names 2 tags"):
        Reference.parse("x:a,b")


@pytest.mark.parametrize("text", [A, f"@{A}"])
def test_a_bare_digest_has_no_repository(text: str) -> None:
    ref = Reference.parse(text)
    assert ref.is_unnamed
    assert ref.is_local
    assert str(ref) == A


def test_the_default_tag_is_added_only_where_nothing_points() -> None:
    assert str(Reference.parse("x").with_default_tag()) == "x:latest"
    assert str(Reference.parse("x:v").with_default_tag()) == "x:v"
    assert Reference.parse("x").pointer == "latest"


def test_references_change_tag_and_digest() -> None:
    ref = Reference.parse(f"r.io/x:v1@{A}")
    assert str(ref.with_tag("v2")) == "r.io/x:v2"
    assert str(ref.with_digest(Digest.parse(A))) == f"r.io/x@{A}"
    assert UNNAMED.is_unnamed


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":v",
        "X",
        "x:",
        "x:-a",
        "x:" + "a" * 129,
        "x@",
        "x@sha256:12",
        "r.io/",
        "/x",
        "a//b",
        "x:a,,b",
        "x/",
        "ex_ample.com:80/x",
        "exa mple.com/x",
        "r.io:123456/x",
        "x\n",
        "é",
        "r.io/" + "a" * 255,
        "sha256:" + "g" * 64,
        "-host.com/x",
    ],
)
def test_reference_refuses(text: str) -> None:
    with pytest.raises(InvalidValueError):
        Reference.parse(text)


def test_upper_case_repository_is_told_with_what_to_type() -> None:
    with pytest.raises(InvalidValueError) as caught:
        Reference.parse("Team/Model:v1")
    assert caught.value.hint == "use lower case: team/model"


def test_the_address_of_a_page_is_no_reference() -> None:
    with pytest.raises(InvalidValueError) as caught:
        Reference.parse("https://registry.example.com/team/model:v1")
    assert caught.value.hint == "leave out the scheme: registry.example.com/team/model:v1"


def test_check_tag() -> None:
    check_tag("v1.0")
    with pytest.raises(InvalidValueError):
        check_tag("no/slash")


def test_descriptor_round_trip() -> None:
    desc = Descriptor(
        "application/x", Digest.parse(A), 3, {"b": "2", "a": "1"}, artifact_type="application/y", data=b"abc"
    )
    table = desc.to_json()
    assert list(table) == ["mediaType", "digest", "size", "annotations", "data", "artifactType"]
    assert list(table["annotations"]) == ["a", "b"]
    assert Descriptor.from_json(table, "it") == desc


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": -1}, "size"),
        ({"size": True}, "size"),
        ({"size": 2**63}, "size"),
        ({"size": "3"}, "size"),
        ({"digest": 1}, "digest must be text"),
        ({"mediaType": None}, "mediaType must be text"),
        ({"annotations": {"a": 1}}, "annotations"),
        ({"annotations": []}, "annotations must be an object"),
        ({"data": "***"}, "not base64"),
        ({"artifactType": 5}, "artifactType"),
    ],
)
def test_descriptor_refuses(change: dict, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        Descriptor.from_json({"mediaType": "x", "digest": A, "size": 1} | change, "it")


def test_descriptor_refuses_what_is_no_object() -> None:
    with pytest.raises(InvalidValueError, match="it must be an object"):
        Descriptor.from_json([], "it")


def test_manifest_keeps_its_bytes() -> None:
    built = Manifest.build(config=CONFIG, layers=[], artifact_type="application/x", annotations={"b": "1", "a": "2"})
    spaced = json.dumps(json.loads(built.raw), indent=3).encode()
    parsed = Manifest.parse(spaced)
    assert parsed.raw == spaced
    assert parsed.descriptor.digest == Digest.of(spaced)
    assert parsed.config == built.config
    assert list(built.annotations) == ["a", "b"]


def test_manifest_build_does_not_depend_on_the_order_of_annotations() -> None:
    one = Manifest.build(config=CONFIG, layers=[CONFIG], annotations={"a": "1", "b": "2"})
    other = Manifest.build(config=CONFIG, layers=[CONFIG], annotations={"b": "2", "a": "1"})
    assert one.raw == other.raw
    assert one.children == (CONFIG, CONFIG)


def test_manifest_reads_null_layers_as_none() -> None:
    raw = gojson.dumps({"schemaVersion": 2, "config": CONFIG.to_json(), "layers": None})
    manifest = Manifest.parse(raw)
    assert manifest.layers == ()
    assert manifest.media_type == mediatype.MANIFEST


def test_manifest_has_a_subject() -> None:
    manifest = Manifest.build(config=CONFIG, layers=[], subject=CONFIG)
    assert manifest.subject == CONFIG


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not valid JSON"),
        (b"[]", "must be an object"),
        (b'{"schemaVersion":1}', "schemaVersion must be 2"),
        (b'{"schemaVersion":2,"mediaType":"application/x"}', "is not an image manifest"),
        (b'{"schemaVersion":2}', "config must be an object"),
        (b'{"schemaVersion":2,"schemaVersion":2}', "stands twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":NaN}', "not a JSON number"),
    ],
)
def test_manifest_refuses(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        Manifest.parse(raw)


def test_a_key_that_stands_twice_is_found_in_no_more_time_than_reading_takes() -> None:
    keys = b"".join(b'"%d":0,' % number for number in range(200_000))
    started = time.process_time()
    with pytest.raises(InvalidValueError, match="'199999' stands twice"):
        Manifest.parse(b'{%b"199999":0}' % keys)
    assert time.process_time() - started < 20


def test_a_digest_that_is_none_is_told_with_its_place() -> None:
    layer = {"mediaType": "x", "digest": "md5:00", "size": 1}
    table = {"schemaVersion": 2, "config": CONFIG.to_json(), "layers": [layer]}
    with pytest.raises(InvalidValueError, match=r"^my kit: layers\[0\]\.digest: digest algorithm 'md5'"):
        Manifest.parse(json.dumps(table).encode(), "my kit")


def test_index_round_trip() -> None:
    index = Index.build([CONFIG])
    assert Index.parse(index.raw).children == (CONFIG,)
    assert index.subject is None


@pytest.mark.parametrize(
    "raw", [b"{}", b'{"schemaVersion":2,"mediaType":"application/x"}', b'{"schemaVersion":2,"manifests":3}']
)
def test_index_refuses(raw: bytes) -> None:
    with pytest.raises(InvalidValueError):
        Index.parse(raw)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-7, "1e-7"),
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (1.5e-9, "1.5e-9"),
        (3.0, "3"),
        (1.2345678901234568e29, "1.2345678901234568e+29"),
        (0.000001, "0.000001"),
        (-0.00001234, "-0.00001234"),
        (1e16, "10000000000000000"),
        (1.5e17, "150000000000000000"),
        (5e-324, "5e-324"),
        (-0.0, "-0"),
        (0.1, "0.1"),
    ],
)
def test_floats_are_written_as_go_does(value: float, text: str) -> None:
    assert gojson.format_float(value) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_floats_that_json_lacks_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no JSON form"):
        gojson.dumps([value])


def test_json_is_escaped_as_go_does() -> None:
    value = {"k": "<a href='x'>&\u2028\u2029\x00\b\f\t\n\r\"\\\x7f日本\ud800", "z": [None, True, False, 1, []]}
    assert gojson.dumps(value).decode() == (
        r'{"k":"\u003ca href='
        "'x'"
        r"\u003e\u0026\u2028\u2029\u0000\u0008\u000c\t\n\r\"\\"
        '\x7f日本\ufffd","z":[null,true,false,1,[]]}'
    )


@pytest.mark.parametrize("text", [b"[-0,0,-1,-0.5]", b"[18446744073709551615]"])
def test_numbers_are_written_as_they_were_read(text: bytes) -> None:
    assert gojson.dumps(gojson.loads(text, "test")) == text


def test_json_refuses_what_it_has_no_form_for() -> None:
    with pytest.raises(TypeError, match="set is not JSON"):
        gojson.dumps({"a": {1}})  # type: ignore[dict-item]


def test_maps_are_sorted_by_bytes_all_the_way_down() -> None:
    value = {"b": [{"z": 1, "a": 2}], "a": "\uffff", "\U0001f600": 1, "\uffff": 2}
    assert gojson.dumps(gojson.sort_maps(value)).decode() == '{"a":"\uffff","b":[{"a":2,"z":1}],"\uffff":2,"😀":1}'


@pytest.mark.parametrize("host", ["a", "a.b:1", "localhost:65535", "[::1]", "[2001:db8::1]:5000", f"{'a' * 63}.com"])
def test_registries(host: str) -> None:
    check_registry(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "%s",
        "a b",
        "a/b",
        "a:",
        "a:0",
        "a:65536",
        "a:99999",
        "[::1",
        "[:::]",
        "[]",
        "[::1]:70000",
        f"{'a' * 64}.com",
    ],
)
def test_what_is_no_registry(host: str) -> None:
    with pytest.raises(InvalidValueError, match="is not a host"):
        check_registry(host)
    if host and "/" not in host:
        with pytest.raises(InvalidValueError):
            Reference.parse(f"{host}/x:1")


def test_a_registry_is_no_url() -> None:
    with pytest.raises(InvalidValueError) as caught:
        check_registry("https://registry.example.com/")
    assert caught.value.hint == "leave out the scheme: registry.example.com"
