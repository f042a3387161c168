"""What the distribution specification 1.1 asks of a registry, one test a behaviour, over a real socket.

The endpoints are numbered as in the specification's table. The order is that of the official suite's workflows: pull,
push, content discovery, content management; then what it asks beyond them. Everything is asked of both shelves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.oci.manifest import Manifest
from kitops.server import DirectoryShelf, RegistryServer
from kitops.server.store_shelf import StoreShelf
from kitops.store import open_store
from registry_visitor import EMPTY_JSON, Answer, Visitor

REPO = "conformance/repo1"
REPO2 = "conformance/repo2"
BLOB = b"a blob of the conformance tests " * 64
DIGEST = str(Digest.of(BLOB))
LAYER = Descriptor.of(BLOB, "application/vnd.oci.image.layer.v1.tar")
MISSING = str(Digest.of(b"never pushed"))
TYPE_A, TYPE_B = "application/vnd.example.a", "application/vnd.example.b"
CODES = {
    "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED",
    "UNSUPPORTED", "TOOMANYREQUESTS",
}  # fmt: skip


@pytest.fixture(params=["directory", "store"])
def visitor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Visitor]:
    root = tmp_path / "root"
    shelf = DirectoryShelf(root) if request.param == "directory" else StoreShelf(root, open_store(root))
    with RegistryServer(shelf) as server, Visitor(server.address) as found:
        yield found


@pytest.fixture
def is_store(request: pytest.FixtureRequest) -> bool:
    return "[store" in request.node.name or "-store" in request.node.name


def start(visitor: Visitor, repository: str = REPO) -> str:
    answer = visitor.ask("POST", f"/v2/{repository}/blobs/uploads/", Content_Length="0")
    assert answer.status == 202
    return place(answer)


def place(answer: Answer) -> str:
    """Its Location, used as it stands."""
    parts = urlsplit(answer.headers["location"])
    return parts.path + (f"?{parts.query}" if parts.query else "")


def with_digest(location: str, digest: object = DIGEST) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def check_blob(visitor: Visitor, done: Answer, data: bytes = BLOB, digest: str = DIGEST) -> None:
    assert (done.status, done.headers["docker-content-digest"]) == (201, digest)
    assert visitor.ask("GET", place(done)).body == data


def artifact(
    visitor: Visitor, text: str, subject: Descriptor | None, kind: str | None = TYPE_A, tag: str | None = None
) -> tuple[Manifest, Answer]:
    """Push a manifest with annotations of its own."""
    visitor.put_blob(b"{}", REPO)
    config = EMPTY_JSON if kind else Descriptor(TYPE_B, EMPTY_JSON.digest, EMPTY_JSON.size)
    manifest = Manifest.build(
        config=config, layers=[EMPTY_JSON], artifact_type=kind, subject=subject, annotations={"text": text}
    )
    pointer = tag or str(manifest.descriptor.digest)
    answer = visitor.ask("PUT", f"/v2/{REPO}/manifests/{pointer}", manifest.raw, Content_Type=mediatype.MANIFEST)
    assert answer.status == 201
    return manifest, answer


def referrers(visitor: Visitor, subject: object, query: str = "") -> Answer:
    answer = visitor.ask("GET", f"/v2/{REPO}/referrers/{subject}{query}")
    assert (answer.status, answer.headers["content-type"]) == (200, mediatype.INDEX)
    assert (answer.json["schemaVersion"], answer.json["mediaType"]) == (2, mediatype.INDEX)
    return answer


def texts(answer: Answer) -> list[str]:
    return sorted(desc.annotations["text"] for desc in Index.parse(answer.body).manifests)


# --- pull


def test_end_1_the_version_check(visitor: Visitor) -> None:
    answer = visitor.ask("GET", "/v2/")
    assert (answer.status, answer.headers["docker-distribution-api-version"]) == (200, "registry/2.0")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_end_2_a_blob_that_is_not_there(visitor: Visitor, method: str) -> None:
    assert visitor.ask(method, f"/v2/{REPO}/blobs/{MISSING}").status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_end_2_a_blob(visitor: Visitor, method: str) -> None:
    visitor.put_blob(BLOB, REPO)
    answer = visitor.ask(method, f"/v2/{REPO}/blobs/{DIGEST}")
    assert (answer.status, answer.headers["content-length"]) == (200, str(len(BLOB)))
    assert answer.headers["docker-content-digest"] == DIGEST
    assert answer.body == (BLOB if method == "GET" else b"")


@pytest.mark.parametrize("data", [b"", b"{}"])
def test_end_2_blobs_that_everybody_has(visitor: Visitor, data: bytes) -> None:
    visitor.put_blob(data, REPO)
    answer = visitor.ask("GET", f"/v2/{REPO}/blobs/{Digest.of(data)}")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, data, str(len(data)))


@pytest.mark.parametrize(
    ("asked", "part", "told"),
    [
        ("bytes=500-1499", slice(500, 1500), "bytes 500-1499/2048"),
        ("bytes=500-", slice(500, None), "bytes 500-2047/2048"),
        ("bytes=-500", slice(-500, None), "bytes 1548-2047/2048"),
        ("bytes=2000-5000", slice(2000, None), "bytes 2000-2047/2048"),
        ("bytes=0-0", slice(0, 1), "bytes 0-0/2048"),
    ],
)
def test_end_2_a_part_of_a_blob(visitor: Visitor, asked: str, part: slice, told: str) -> None:
    visitor.put_blob(BLOB, REPO)
    answer = visitor.ask("GET", f"/v2/{REPO}/blobs/{DIGEST}", Range=asked)
    assert (answer.status, answer.body, answer.headers["content-range"]) == (206, BLOB[part], told)
    head = visitor.ask("HEAD", f"/v2/{REPO}/blobs/{DIGEST}", Range=asked)
    assert (head.status, head.headers["content-length"]) == (206, str(len(BLOB[part])))


@pytest.mark.parametrize("asked", ["bytes=500-0", "bytes=5000-10000", "bytes=2048-", "bytes=-0"])
def test_end_2_a_range_without_a_byte(visitor: Visitor, asked: str) -> None:
    visitor.put_blob(BLOB, REPO)
    answer = visitor.ask("GET", f"/v2/{REPO}/blobs/{DIGEST}", Range=asked)
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */2048")


def test_end_2_a_range_of_what_has_changed(visitor: Visitor) -> None:
    visitor.put_blob(BLOB, REPO)
    same = visitor.ask("GET", f"/v2/{REPO}/blobs/{DIGEST}", Range="bytes=0-9", If_Range=f'"{DIGEST}"')
    other = visitor.ask("GET", f"/v2/{REPO}/blobs/{DIGEST}", Range="bytes=0-9", If_Range='"other"')
    assert (same.status, other.status, other.body) == (206, 200, BLOB)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("pointer", ["nothing", MISSING])
def test_end_3_a_manifest_that_is_not_there(visitor: Visitor, method: str, pointer: str) -> None:
    assert visitor.ask(method, f"/v2/{REPO}/manifests/{pointer}").status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_end_3_a_manifest_by_tag_and_digest(visitor: Visitor, method: str) -> None:
    manifest = visitor.put_manifest("v1", REPO, BLOB)
    for pointer in ("v1", manifest.descriptor.digest):
        answer = visitor.ask(method, f"/v2/{REPO}/manifests/{pointer}", Accept=mediatype.MANIFEST)
        assert (answer.status, answer.headers["content-type"]) == (200, mediatype.MANIFEST)
        assert answer.headers["docker-content-digest"] == str(manifest.descriptor.digest)
        assert answer.headers["content-length"] == str(len(manifest.raw))
        assert answer.body == (manifest.raw if method == "GET" else b"")


def test_errors_are_json_with_a_code_of_the_specification(visitor: Visitor) -> None:
    answer = visitor.ask("PUT", f"/v2/{REPO}/manifests/sha256:totallywrong", b"blah", Content_Type=mediatype.MANIFEST)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    errors = json.loads(answer.body)["errors"]
    assert all(error["code"] in CODES and error["message"] for error in errors)


# --- push


def test_end_4a_and_6_post_then_put(visitor: Visitor) -> None:
    check_blob(visitor, visitor.ask("PUT", with_digest(start(visitor)), BLOB))


def test_end_4b_a_single_post(visitor: Visitor) -> None:
    check_blob(visitor, visitor.ask("POST", f"/v2/{REPO}/blobs/uploads/?digest={DIGEST}", BLOB))


def test_end_4c_the_algorithm_said_before(visitor: Visitor) -> None:
    digest = f"sha512:{hashlib.sha512(BLOB).hexdigest()}"
    location = place(visitor.ask("POST", f"/v2/{REPO}/blobs/uploads/?digest-algorithm=sha512"))
    visitor.ask("PATCH", location, BLOB)
    check_blob(visitor, visitor.ask("PUT", with_digest(location, digest)), digest=digest)
    assert visitor.ask("POST", f"/v2/{REPO}/blobs/uploads/?digest-algorithm=md5").code == "DIGEST_INVALID"


def test_end_5_a_streamed_body(visitor: Visitor) -> None:
    patched = visitor.ask("PATCH", start(visitor), [BLOB[:5], BLOB[5:]], Transfer_Encoding="chunked")
    assert patched.status == 202
    check_blob(visitor, visitor.ask("PUT", with_digest(place(patched))))


@pytest.mark.parametrize("put_last", [False, True])
def test_end_5_chunks(visitor: Visitor, put_last: bool) -> None:
    location, done = start(visitor), 0
    while done < len(BLOB):
        chunk = BLOB[done : done + 700]
        last = put_last and done + len(chunk) == len(BLOB)
        target = with_digest(location) if last else location
        answer = visitor.ask("PUT" if last else "PATCH", target, chunk, Content_Range=f"{done}-{done + len(chunk) - 1}")
        assert answer.status == (201 if last else 202)
        done += len(chunk)
        if not last:
            location = place(answer)
            assert answer.headers["range"] == f"0-{done - 1}"
    check_blob(visitor, answer if put_last else visitor.ask("PUT", with_digest(location)))


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_end_5_and_13_chunks_out_of_order_and_how_it_goes_on(visitor: Visitor, method: str) -> None:
    location = place(visitor.ask("PATCH", start(visitor), BLOB[:1024], Content_Range="0-1023"))
    target = with_digest(location) if method == "PUT" else location
    for first in (1500, 0):
        body = BLOB[first : first + 500]
        wrong = visitor.ask(method, target, body, Content_Range=f"{first}-{first + len(body) - 1}")
        assert (wrong.status, wrong.headers["range"]) == (416, "0-1023")
    status = visitor.ask("GET", location)
    assert (status.status, status.headers["range"]) == (204, "0-1023")
    rest = visitor.ask("PATCH", place(status), BLOB[1024:], Content_Range="1024-2047")
    check_blob(visitor, visitor.ask("PUT", with_digest(place(rest))))


@pytest.mark.parametrize("way", ["post", "put", "chunk", "stream"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_end_6_bytes_of_another_digest(visitor: Visitor, way: str, algorithm: str) -> None:
    digest = f"{algorithm}:{hashlib.new(algorithm, b'other').hexdigest()}"
    if way == "post":
        answer = visitor.ask("POST", f"/v2/{REPO}/blobs/uploads/?digest={digest}", BLOB)
    else:
        location = start(visitor)
        if way == "stream":
            visitor.ask("PATCH", location, [BLOB], Transfer_Encoding="chunked")
        elif way == "chunk":
            visitor.ask("PATCH", location, BLOB, Content_Range=f"0-{len(BLOB) - 1}")
        answer = visitor.ask("PUT", with_digest(location, digest), BLOB if way == "put" else None)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert visitor.ask("HEAD", f"/v2/{REPO}/blobs/{digest}").status == 404


@pytest.mark.parametrize("way", ["post", "put", "chunk"])
def test_end_6_sha512(visitor: Visitor, way: str) -> None:
    digest = f"sha512:{hashlib.sha512(BLOB).hexdigest()}"
    if way == "post":
        done = visitor.ask("POST", f"/v2/{REPO}/blobs/uploads/?digest={digest}", BLOB)
    else:
        location = start(visitor)
        if way == "chunk":
            visitor.ask("PATCH", location, BLOB)
        done = visitor.ask("PUT", with_digest(location, digest), BLOB if way == "put" else None)
    check_blob(visitor, done, digest=digest)


def test_end_7a_manifests_under_tags(visitor: Visitor) -> None:
    for number in range(4):
        manifest = visitor.put_manifest(f"test{number}", REPO, BLOB)
    assert visitor.ask("GET", f"/v2/{REPO}/manifests/{manifest.descriptor.digest}").status == 200
    for number in range(4):
        assert visitor.ask("GET", f"/v2/{REPO}/manifests/test{number}").body == manifest.raw


def test_end_7a_the_location_of_a_manifest(visitor: Visitor) -> None:
    manifest, answer = artifact(visitor, "one", None, tag="v1")
    assert answer.headers["docker-content-digest"] == str(manifest.descriptor.digest)
    assert visitor.ask("GET", place(answer)).body == manifest.raw


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_end_7b_tags_beside_a_digest(visitor: Visitor, algorithm: str) -> None:
    visitor.put_blob(b"{}", REPO)
    manifest = Manifest.build(config=EMPTY_JSON, layers=[])
    digest = f"{algorithm}:{hashlib.new(algorithm, manifest.raw).hexdigest()}"
    target = f"/v2/{REPO}/manifests/{digest}?tag=one&tag=two"
    answer = visitor.ask("PUT", target, manifest.raw, Content_Type=mediatype.MANIFEST)
    assert (answer.status, answer.headers["oci-tag"]) == (201, "one, two")
    for tag in ("one", "two"):
        found = visitor.ask("GET", f"/v2/{REPO}/manifests/{tag}")
        assert (found.body, found.headers["docker-content-digest"]) == (manifest.raw, digest)
    refused = visitor.ask("PUT", target + "&tag=-", manifest.raw, Content_Type=mediatype.MANIFEST)
    assert (refused.status, refused.code) == (400, "MANIFEST_INVALID")


def test_end_7_a_manifest_of_almost_four_mebibytes(visitor: Visitor) -> None:
    visitor.put_blob(b"{}", REPO)
    annotations = {f"large-{number}": "A" * 10_000 for number in range(390)}
    manifest = Manifest.build(config=EMPTY_JSON, layers=[], annotations=annotations)
    answer = visitor.ask("PUT", f"/v2/{REPO}/manifests/large", manifest.raw, Content_Type=mediatype.MANIFEST)
    assert answer.status == 201
    assert visitor.ask("GET", f"/v2/{REPO}/manifests/large").body == manifest.raw


def test_end_7_a_manifest_whose_blobs_are_missing(visitor: Visitor) -> None:
    visitor.put_blob(b"{}", REPO)
    manifest = Manifest.build(config=EMPTY_JSON, layers=[LAYER, Descriptor.of(b"x", "x")])
    answer = visitor.ask("PUT", f"/v2/{REPO}/manifests/v1", manifest.raw, Content_Type=mediatype.MANIFEST)
    errors = json.loads(answer.body)["errors"]
    assert answer.status == 404
    assert [error["code"] for error in errors] == ["MANIFEST_BLOB_UNKNOWN"] * 2
    assert [error["detail"]["digest"] for error in errors] == [DIGEST, str(Digest.of(b"x"))]


def test_end_7_a_manifest_that_lies_about_a_size(visitor: Visitor) -> None:
    visitor.put_blob(b"{}", REPO)
    config = Descriptor(mediatype.EMPTY, EMPTY_JSON.digest, 3)
    manifest = Manifest.build(config=config, layers=[])
    answer = visitor.ask("PUT", f"/v2/{REPO}/manifests/v1", manifest.raw, Content_Type=mediatype.MANIFEST)
    assert (answer.status, answer.code) == (400, "SIZE_INVALID")


def test_end_7_a_manifest_of_another_digest(visitor: Visitor) -> None:
    manifest, _ = artifact(visitor, "one", None)
    answer = visitor.ask(
        "PUT", f"/v2/{REPO}/manifests/{MISSING}", manifest.raw + b"  ", Content_Type=mediatype.MANIFEST
    )
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


def test_end_7_layers_that_are_by_nature_elsewhere(visitor: Visitor) -> None:
    visitor.put_blob(b"{}", REPO)
    foreign = Descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Digest.of(b"far"), 12345)
    manifest = Manifest.build(config=EMPTY_JSON, layers=[foreign])
    answer = visitor.ask("PUT", f"/v2/{REPO}/manifests/far", manifest.raw, Content_Type=mediatype.MANIFEST)
    assert answer.status == 201
    assert visitor.ask("GET", f"/v2/{REPO}/manifests/far").body == manifest.raw


def test_end_7_fields_that_nobody_knows(visitor: Visitor) -> None:
    visitor.put_blob(b"{}", REPO)
    raw = json.dumps({**json.loads(Manifest.build(config=EMPTY_JSON, layers=[]).raw), "org.example": {"a": [1]}})
    target = f"/v2/{REPO}/manifests/custom"
    assert visitor.ask("PUT", target, raw.encode(), Content_Type=mediatype.MANIFEST).status == 201
    assert visitor.ask("GET", target).body == raw.encode()


def put_index(visitor: Visitor, index: Index, pointer: str) -> Answer:
    return visitor.ask("PUT", f"/v2/{REPO}/manifests/{pointer}", index.raw, Content_Type=mediatype.INDEX)


def test_end_7_indexes_nested_empty_and_sparse(visitor: Visitor) -> None:
    manifest, _ = artifact(visitor, "one", None)
    inner = Index.build([manifest.descriptor])
    assert put_index(visitor, inner, str(Digest.of(inner.raw))).status == 201
    outer = Index.build([Descriptor.of(inner.raw, mediatype.INDEX)])
    sparse = Index.build([manifest.descriptor, Descriptor(mediatype.MANIFEST, Digest.of(b"elsewhere"), 1024)])
    for tag, index in (("outer", outer), ("empty", Index.build([])), ("sparse", sparse)):
        assert put_index(visitor, index, tag).status == 201
        found = visitor.ask("GET", f"/v2/{REPO}/manifests/{tag}")
        assert (found.body, found.headers["content-type"]) == (index.raw, mediatype.INDEX)
    assert visitor.ask("GET", f"/v2/{REPO}/manifests/{manifest.descriptor.digest}").body == manifest.raw


def test_end_11_a_mount(visitor: Visitor) -> None:
    visitor.put_blob(BLOB, REPO2)
    check_blob(visitor, visitor.ask("POST", f"/v2/{REPO}/blobs/uploads/?mount={DIGEST}&from={REPO2}"))


def test_end_11_a_mount_from_wherever_it_is(visitor: Visitor) -> None:
    visitor.put_blob(BLOB, REPO2)
    check_blob(visitor, visitor.ask("POST", f"/v2/{REPO}/blobs/uploads/?mount={DIGEST}"))


@pytest.mark.parametrize("source", [f"&from={REPO2}", "", "&from=../x"])
def test_end_11_a_mount_that_is_refused_is_an_upload(visitor: Visitor, source: str) -> None:
    answer = visitor.ask("POST", f"/v2/{REPO}/blobs/uploads/?mount={DIGEST}{source}")
    assert answer.status == 202
    check_blob(visitor, visitor.ask("PUT", with_digest(place(answer)), BLOB))


def test_end_14_a_cancelled_upload(visitor: Visitor) -> None:
    location = start(visitor)
    assert visitor.ask("DELETE", location, Content_Length="0").status == 204
    for method in ("GET", "PATCH", "DELETE"):
        assert visitor.ask(method, location).code == "BLOB_UPLOAD_UNKNOWN"


# --- content discovery


def test_end_8_the_tags_of_nothing(visitor: Visitor) -> None:
    answer = visitor.ask("GET", f"/v2/{REPO}/tags/list")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


def test_end_8_tags_with_n_and_last_and_link(visitor: Visitor) -> None:
    for tag in ("test3", "test1", "Test2", "test0"):
        visitor.put_manifest(tag, REPO)
    every = visitor.ask("GET", f"/v2/{REPO}/tags/list").json
    assert every == {"name": REPO, "tags": ["Test2", "test0", "test1", "test3"]}
    first = visitor.ask("GET", f"/v2/{REPO}/tags/list?n=2")
    assert first.json["tags"] == ["Test2", "test0"]
    link = first.headers["link"]
    assert link.endswith('; rel="next"')
    rest = visitor.ask("GET", link[1 : link.index(">")])
    assert (rest.json["tags"], "link" in rest.headers) == (["test1", "test3"], False)
    assert visitor.ask("GET", f"/v2/{REPO}/tags/list?n=2&last=test0").json["tags"] == ["test1", "test3"]
    assert visitor.ask("GET", f"/v2/{REPO}/tags/list?last=test0").json["tags"] == ["test1", "test3"]
    assert visitor.ask("GET", f"/v2/{REPO}/tags/list?n=0").json["tags"] == []


def test_end_12_the_referrers_of_nothing(visitor: Visitor) -> None:
    answer = referrers(visitor, MISSING)
    assert (answer.json["manifests"], "oci-filters-applied" in answer.headers) == ([], False)


@pytest.mark.parametrize("subject_first", [True, False])
def test_end_12_referrers_before_and_after_their_subject(visitor: Visitor, subject_first: bool) -> None:
    subject = Manifest.build(config=EMPTY_JSON, layers=[], annotations={"text": "subject"})
    if subject_first:
        artifact(visitor, "subject", None, TYPE_B)
    pushed = [
        artifact(visitor, text, subject.descriptor, kind)
        for text, kind in (("one", TYPE_A), ("two", TYPE_B), ("config", None))
    ]
    index = {
        "schemaVersion": 2,
        "mediaType": mediatype.INDEX,
        "artifactType": TYPE_A,
        "manifests": [],
        "subject": subject.descriptor.to_json(),
        "annotations": {"text": "index"},
    }
    raw = json.dumps(index).encode()
    answer = visitor.ask("PUT", f"/v2/{REPO}/manifests/{Digest.of(raw)}", raw, Content_Type=mediatype.INDEX)
    assert answer.status == 201
    for one in (answer, *(pair[1] for pair in pushed)):
        assert one.headers["oci-subject"] == str(subject.descriptor.digest)
    every = referrers(visitor, subject.descriptor.digest)
    assert texts(every) == ["config", "index", "one", "two"]
    by_text = {desc.annotations["text"]: desc for desc in Index.parse(every.body).manifests}
    assert by_text["config"].artifact_type == TYPE_B
    assert (by_text["one"].size, by_text["one"].media_type) == (len(pushed[0][0].raw), mediatype.MANIFEST)
    some = referrers(visitor, subject.descriptor.digest, f"?artifactType={TYPE_A}")
    assert (texts(some), some.headers["oci-filters-applied"]) == (["index", "one"], "artifactType")
    none = referrers(visitor, subject.descriptor.digest, "?artifactType=application/nothing")
    assert (texts(none), none.headers["oci-filters-applied"]) == ([], "artifactType")


def test_end_12_a_digest_that_is_none(visitor: Visitor) -> None:
    answer = visitor.ask("GET", f"/v2/{REPO}/referrers/v1")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


def test_end_12_referrers_in_pages(visitor: Visitor) -> None:
    subject = Descriptor(mediatype.MANIFEST, Digest.of(b"missing content"), 123)
    for text in "abc":
        artifact(visitor, text, subject)
    page = referrers(visitor, subject.digest, f"?artifactType={TYPE_A}&n=2")
    link = page.headers["link"]
    rest = visitor.ask("GET", link[1 : link.index(">")])
    assert sorted(texts(page) + texts(rest)) == ["a", "b", "c"]
    assert rest.headers["oci-filters-applied"] == "artifactType"
    assert "link" not in rest.headers


def test_end_12_referrers_with_long_annotations_come_in_pages_that_clients_take(visitor: Visitor) -> None:
    subject = Descriptor(mediatype.MANIFEST, Digest.of(b"missing content"), 123)
    long = [letter * 900_000 for letter in "abcde"] + ["f" * 4_000_000]
    for text in long:
        artifact(visitor, text, subject)
    pages = [referrers(visitor, subject.digest)]
    while link := pages[-1].headers.get("link"):
        pages.append(visitor.ask("GET", link[1 : link.index(">")]))
    assert sorted(text for page in pages for text in texts(page)) == long
    assert all(len(page.body) < 4 << 20 or len(texts(page)) == 1 for page in pages)
    assert len(pages) <= 5


def test_the_catalog(visitor: Visitor) -> None:
    visitor.put_blob(BLOB, "only/blobs")
    for name in ("b", "a/b", "c"):
        visitor.put_manifest("v1", name)
    assert visitor.ask("GET", "/v2/_catalog").json == {"repositories": ["a/b", "b", "c"]}
    page = visitor.ask("GET", "/v2/_catalog?n=2")
    assert (page.json["repositories"], page.headers["link"]) == (["a/b", "b"], '</v2/_catalog?n=2&last=b>; rel="next"')
    assert visitor.ask("GET", "/v2/_catalog?n=2&last=b").json["repositories"] == ["c"]


# --- content management


def test_end_9_a_tag_goes_and_its_manifest_stays(visitor: Visitor) -> None:
    manifest = visitor.put_manifest("v1", REPO, BLOB)
    assert visitor.ask("DELETE", f"/v2/{REPO}/manifests/v1").status == 202
    assert visitor.ask("HEAD", f"/v2/{REPO}/manifests/v1").status == 404
    assert visitor.ask("HEAD", f"/v2/{REPO}/manifests/{manifest.descriptor.digest}").status == 200
    assert visitor.ask("GET", f"/v2/{REPO}/tags/list").json["tags"] == []
    assert visitor.ask("DELETE", f"/v2/{REPO}/manifests/v1").status == 404


def test_end_9_a_manifest_goes_with_its_tags(visitor: Visitor) -> None:
    manifest = visitor.put_manifest("v1", REPO, BLOB)
    other = visitor.put_manifest("v2", REPO)
    target = f"/v2/{REPO}/manifests/{manifest.descriptor.digest}"
    assert visitor.ask("DELETE", target).status == 202
    assert visitor.ask("GET", target).status == 404
    assert visitor.ask("GET", f"/v2/{REPO}/tags/list").json["tags"] == ["v2"]
    assert visitor.ask("GET", f"/v2/{REPO}/manifests/v2").body == other.raw
    assert visitor.ask("DELETE", target).status == 404


def test_end_9_a_referrer_that_goes_is_listed_no_more(visitor: Visitor) -> None:
    subject = Descriptor(mediatype.MANIFEST, Digest.of(b"missing content"), 123)
    gone, _ = artifact(visitor, "gone", subject)
    artifact(visitor, "kept", subject, tag="kept")
    assert visitor.ask("DELETE", f"/v2/{REPO}/manifests/{gone.descriptor.digest}").status == 202
    assert texts(referrers(visitor, subject.digest)) == ["kept"]


@pytest.mark.parametrize("pointer", ["-", "sha256:short"])
def test_end_9_what_cannot_be_there(visitor: Visitor, pointer: str) -> None:
    answer = visitor.ask("DELETE", f"/v2/{REPO}/manifests/{pointer}")
    assert (answer.status, answer.code) in [(404, "MANIFEST_UNKNOWN"), (400, "DIGEST_INVALID")]


def test_end_10_a_blob_goes(visitor: Visitor) -> None:
    visitor.put_blob(BLOB, REPO)
    assert visitor.ask("DELETE", f"/v2/{REPO}/blobs/{DIGEST}").status == 202
    assert visitor.ask("GET", f"/v2/{REPO}/blobs/{DIGEST}").status == 404
    assert visitor.ask("DELETE", f"/v2/{REPO}/blobs/{DIGEST}").status == 404
    visitor.put_blob(BLOB, REPO)
    assert visitor.ask("GET", f"/v2/{REPO}/blobs/{DIGEST}").body == BLOB


def test_end_10_a_blob_after_and_before_its_manifest(visitor: Visitor, is_store: bool) -> None:
    manifest = visitor.put_manifest("v1", REPO, BLOB)
    before = visitor.ask("DELETE", f"/v2/{REPO}/blobs/{DIGEST}")
    if is_store:  # a ModelKit of the store stays whole
        assert (before.status, before.code) == (405, "UNSUPPORTED")
        assert visitor.ask("GET", f"/v2/{REPO}/blobs/{DIGEST}").body == BLOB
    else:
        assert before.status == 202
    assert visitor.ask("DELETE", f"/v2/{REPO}/manifests/{manifest.descriptor.digest}").status == 202
    assert visitor.ask("DELETE", f"/v2/{REPO}/blobs/{DIGEST}").status == 404
    assert visitor.ask("HEAD", f"/v2/{REPO}/blobs/{DIGEST}").status == 404
