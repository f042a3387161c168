"""Referrers: found by their subject, by the API or the fallback tag, whoever else edits the list meanwhile."""

from __future__ import annotations

import json
import os
import re
import threading
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from any_artifacts import SIGNATURE, put_artifact, put_bytes, put_signature
from kitops.content.events import Event
from kitops.content.protocols import Run
from kitops.errors import IntegrityError, InvalidValueError, RegistryError
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.oci.subject import fallback_tag, is_fallback_tag
from kitops.registry import Network, Repository, open_repository
from kitops.registry.credentials import FixedCredential
from kitops.registry.network import Patience
from kitops.testing import ThrowAwayRegistry
from scripted_server import Said, Seen, scripted_server

SUBJECT = Descriptor.of(b"the subject", mediatype.MANIFEST)
QUICK = Network(plain_http=True, patience=Patience(pause=0.001, attempts=2))


def connect(address: str, repository: str = "team/model", events: list[Event] | None = None) -> Repository:
    run = Run() if events is None else Run(events.append)
    return open_repository(Reference.parse(f"{address}/{repository}"), QUICK, FixedCredential(), run)


@pytest.fixture(params=["ours", "debian"])
def repository(request: pytest.FixtureRequest) -> Iterator[Repository]:
    name = f"team/{os.urandom(6).hex()}"
    if request.param == "debian":
        with connect(request.getfixturevalue("docker_registry").address, name) as found:
            yield found
        return
    with ThrowAwayRegistry() as registry, connect(registry.address, name) as found:
        yield found


def test_a_referrer_that_was_put_is_found_by_its_subject(repository: Repository) -> None:
    subject = put_artifact(repository, b"weights")
    assert repository.referrers(subject.digest) == []
    first = put_signature(repository, subject, "one")
    second = put_artifact(repository, b"bill", artifact_type="application/vnd.example.bill", subject=subject)
    found = {desc.digest: desc for desc in repository.referrers(subject.digest)}
    assert set(found) == {first.digest, second.digest}
    assert found[first.digest].artifact_type == SIGNATURE
    assert dict(found[first.digest].annotations) == {"org.example.text": "one"}
    assert [desc.digest for desc in repository.referrers(subject.digest, SIGNATURE)] == [first.digest]


def test_putting_it_again_lists_it_once(repository: Repository) -> None:
    subject = put_artifact(repository, b"weights")
    put_signature(repository, subject)
    signature = put_signature(repository, subject)
    repository.tag(signature, "signature")
    repository.keep(signature)
    assert [desc.digest for desc in repository.referrers(subject.digest)] == [signature.digest]


def test_what_has_no_artifact_type_shows_that_of_its_config(repository: Repository) -> None:
    subject = put_artifact(repository, b"weights")
    put_artifact(repository, b"x", artifact_type=None, subject=subject)
    assert [desc.artifact_type for desc in repository.referrers(subject.digest)] == [mediatype.EMPTY]


def test_an_index_may_refer_too(repository: Repository) -> None:
    subject = put_artifact(repository, b"weights")
    table = json.loads(Index.build([subject]).raw) | {
        "artifactType": "application/vnd.example.set",
        "subject": subject.to_json(),
    }
    put_bytes(repository, json.dumps(table).encode(), mediatype.INDEX)
    assert [desc.artifact_type for desc in repository.referrers(subject.digest)] == ["application/vnd.example.set"]


def test_a_deleted_referrer_is_not_listed_any_more(repository: Repository) -> None:
    subject = put_artifact(repository, b"weights")
    first, second = put_signature(repository, subject, "one"), put_signature(repository, subject, "two")
    repository.delete(str(first.digest))
    assert [desc.digest for desc in repository.referrers(subject.digest)] == [second.digest]
    repository.delete(str(second.digest))
    assert repository.referrers(subject.digest) == []


def test_writers_at_the_same_time_lose_nothing(docker_registry: object) -> None:
    name = f"team/{os.urandom(6).hex()}"
    address = docker_registry.address  # type: ignore[attr-defined]
    with connect(address, name) as repository:
        subject = put_artifact(repository, b"weights")
        threads = [
            threading.Thread(target=put_signature, args=(repository, subject, str(number))) for number in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(repository.referrers(subject.digest)) == 6


def test_members_that_are_gone_do_not_stop_the_list(docker_registry: object) -> None:
    """Debian's registry takes no index with members that it has not: somebody deleted one without telling it."""
    name = f"team/{os.urandom(6).hex()}"
    address = docker_registry.address  # type: ignore[attr-defined]
    with connect(address, name) as repository:
        subject = put_artifact(repository, b"weights")
        gone = put_signature(repository, subject, "gone")
        url = f"http://{address}/v2/{name}/manifests/{gone.digest}"
        urllib.request.urlopen(urllib.request.Request(url, method="DELETE")).close()
        assert [desc.digest for desc in repository.referrers(subject.digest)] == [gone.digest]
        later = put_signature(repository, subject, "later")
        assert [desc.digest for desc in repository.referrers(subject.digest)] == [later.digest]


# --- against scripts


def page(*descs: Descriptor) -> bytes:
    return Index.build(descs).raw


def referrer(text: str, artifact_type: str = SIGNATURE) -> Descriptor:
    return Descriptor(mediatype.MANIFEST, Digest.of(text.encode()), 5, artifact_type=artifact_type)


def api(*answers: Said) -> Callable[[Seen], Said]:
    waiting = list(answers)
    return lambda seen: waiting.pop(0)


OK = {"Content-Type": mediatype.INDEX}


def test_the_api_comes_in_pages() -> None:
    script = api(
        Said(200, OK | {"Link": '</v2/team/model/referrers/x?last=1>; rel="next"'}, page(referrer("a"))),
        Said(200, OK, page(referrer("b"))),
    )
    with scripted_server(script) as server, connect(server.address) as repository:
        assert len(repository.referrers(SUBJECT.digest)) == 2
    assert [seen.target for seen in server.seen] == [
        f"/v2/team/model/referrers/{SUBJECT.digest}",
        "/v2/team/model/referrers/x?last=1",
    ]


def test_what_the_registry_does_not_filter_is_filtered_here() -> None:
    script = api(Said(200, OK, page(referrer("a"), referrer("b", "other"))))
    with scripted_server(script) as server, connect(server.address) as repository:
        assert repository.referrers(SUBJECT.digest, SIGNATURE) == [referrer("a")]
    assert server.seen[0].target.endswith("?artifactType=application%2Fvnd.example.signature")


def test_what_the_registry_filtered_is_believed() -> None:
    bare = Descriptor(mediatype.MANIFEST, Digest.of(b"a"), 5)
    script = api(Said(200, OK | {"OCI-Filters-Applied": "artifactType"}, page(bare)))
    with scripted_server(script) as server, connect(server.address) as repository:
        (found,) = repository.referrers(SUBJECT.digest, SIGNATURE)
    assert found.artifact_type == SIGNATURE


def test_an_empty_answer_of_the_api_is_final() -> None:
    with scripted_server(api(Said(200, OK, page()))) as server, connect(server.address) as repository:
        assert repository.referrers(SUBJECT.digest) == []
    assert len(server.seen) == 1


@pytest.mark.parametrize("first", [Said(404), Said(405), Said(400), Said(200, {"Content-Type": "text/html"}, b"<p>")])
def test_without_the_api_the_fallback_tag_is_asked(first: Said) -> None:
    script = api(first, Said(200, OK, page(referrer("a"))), Said(200, OK, page(referrer("a"))))
    with scripted_server(script) as server, connect(server.address) as repository:
        assert repository.referrers(SUBJECT.digest) == [referrer("a")]
        assert repository.referrers(SUBJECT.digest, "other") == []
    tag = f"/v2/team/model/manifests/sha256-{SUBJECT.digest.encoded}"
    assert [seen.target for seen in server.seen][1:] == [tag, tag]


def test_a_repository_that_is_not_there_yet_says_nothing_about_the_api() -> None:
    unknown = Said(404, {"Content-Type": "application/json"}, b'{"errors":[{"code":"NAME_UNKNOWN"}]}')
    script = api(unknown, Said(404), Said(200, OK, page(referrer("a"))))
    with scripted_server(script) as server, connect(server.address) as repository:
        assert repository.referrers(SUBJECT.digest) == []
        assert repository.referrers(SUBJECT.digest) == [referrer("a")]
    assert "/referrers/" in server.seen[2].target


def test_a_listing_that_is_none() -> None:
    with (
        scripted_server(api(Said(200, OK, b"{}"))) as server,
        connect(server.address) as repository,
        pytest.raises(InvalidValueError, match="the referrers of"),
    ):
        repository.referrers(SUBJECT.digest)


def test_a_fallback_tag_with_something_else_is_not_overwritten() -> None:
    manifest = Manifest.build(config=Descriptor.of(b"{}", mediatype.EMPTY), layers=[]).raw

    def script(seen: Seen) -> Said:
        if "/referrers/" in seen.target:
            return Said(404)
        if seen.method == "PUT":
            return Said(201)
        return Said(200, {"Content-Type": mediatype.MANIFEST}, manifest)

    with scripted_server(script) as server, connect(server.address) as repository:
        data = Manifest.build(config=Descriptor.of(b"{}", mediatype.EMPTY), layers=[], subject=SUBJECT).raw
        with pytest.raises(InvalidValueError, match=f"sha256-{SUBJECT.digest.encoded}"):
            put_bytes(repository, data, mediatype.MANIFEST)
    assert [seen.target for seen in server.seen if seen.method == "PUT"] == [
        f"/v2/team/model/manifests/{Digest.of(data)}"
    ]


def test_a_fallback_index_with_other_bytes_than_its_digest() -> None:
    wrong = Said(200, OK | {"Docker-Content-Digest": str(SUBJECT.digest)}, page(referrer("a")))
    with (
        scripted_server(api(Said(404), wrong)) as server,
        connect(server.address) as repository,
        pytest.raises(IntegrityError),
    ):
        repository.referrers(SUBJECT.digest)


def test_a_registry_that_names_the_subject_keeps_the_list_itself() -> None:
    script = lambda seen: Said(201, {"OCI-Subject": str(SUBJECT.digest)})  # noqa: E731
    with scripted_server(script) as server, connect(server.address) as repository:
        data = Manifest.build(config=Descriptor.of(b"{}", mediatype.EMPTY), layers=[], subject=SUBJECT).raw
        put_bytes(repository, data, mediatype.MANIFEST)
    assert [seen.method for seen in server.seen] == ["PUT"]


class Shelf:
    """A registry without the API and with ETags, where others write too."""

    def __init__(self, *, rivals: int, honours_etags: bool) -> None:
        self.index: bytes | None = None
        self.rivals = rivals
        self.honours_etags = honours_etags
        self.refused = 0

    def __call__(self, seen: Seen) -> Said:
        if "/referrers/" in seen.target:
            return Said(404)
        if not re.search(r"manifests/sha256-", seen.target):
            return Said(201)
        if seen.method == "GET":
            answer = Said(404) if self.index is None else Said(200, OK | {"ETag": self.etag}, self.index)
            if self.rivals and seen.method == "GET":
                self.rivals -= 1  # between this answer and what its reader does next, somebody else writes
                old = () if self.index is None else Index.parse(self.index).manifests
                self.index = page(*old, referrer(f"rival {self.rivals}"))
            return answer
        if self.honours_etags and self.index is not None and seen.headers.get("If-Match") not in (None, self.etag):
            self.refused += 1
            return Said(412)
        self.index = seen.body
        return Said(201)

    @property
    def etag(self) -> str:
        return f'"{Digest.of(self.index or b"")}"'


def test_an_etag_keeps_what_others_write_meanwhile() -> None:
    shelf = Shelf(rivals=0, honours_etags=True)
    shelf.index = page(referrer("first"))
    shelf.rivals = 3
    with scripted_server(shelf) as server, connect(server.address) as repository:
        data = Manifest.build(config=Descriptor.of(b"{}", mediatype.EMPTY), layers=[], subject=SUBJECT).raw
        put_bytes(repository, data, mediatype.MANIFEST)
        found = {desc.digest for desc in repository.referrers(SUBJECT.digest)}
    assert shelf.refused == 3
    wanted = [referrer("first"), *(referrer(f"rival {number}") for number in range(3))]
    assert found == {Digest.of(data), *(desc.digest for desc in wanted)}


def test_a_list_that_others_change_all_the_time() -> None:
    shelf = Shelf(rivals=0, honours_etags=True)
    shelf.index = page(referrer("first"))
    shelf.rivals = 1000
    with scripted_server(shelf) as server, connect(server.address) as repository:
        data = Manifest.build(config=Descriptor.of(b"{}", mediatype.EMPTY), layers=[], subject=SUBJECT).raw
        with pytest.raises(RegistryError, match="others change it all the time"):
            put_bytes(repository, data, mediatype.MANIFEST)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        (fallback_tag(SUBJECT.digest), True),
        (f"{fallback_tag(SUBJECT.digest)}.sig", True),
        ("v1", False),
        ("main-0123456789abcdef0123456789abcdef01234567", False),
        ("sha256-short", False),
    ],
)
def test_fallback_tags_are_known(tag: str, expected: bool) -> None:
    assert is_fallback_tag(tag) is expected
    assert len(fallback_tag(Digest("sha512", "a" * 128))) == len("sha512-") + 64
