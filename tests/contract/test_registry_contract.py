"""The sentences of Source and Sink, and of the distribution protocol, against our server and Debian's."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitops.content.copy import BytesReader, copy
from kitops.content.events import Event, Message
from kitops.content.protocols import Run
from kitops.errors import FileSystemError, IntegrityError, InvalidValueError, NotFoundError, RegistryError
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.registry import Network, Repository, open_repository
from kitops.registry.credentials import FixedCredential
from kitops.testing import ThrowAwayRegistry

BLOB = "application/vnd.kitops.modelkit.model.v1.tar"


@pytest.fixture(params=["ours", "debian"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "debian":
        yield request.getfixturevalue("docker_registry").address
        return
    with ThrowAwayRegistry() as registry:
        yield registry.address


def connect(address: str, repository: str, run: Run | None = None) -> Repository:
    ref = Reference.parse(f"{address}/{repository}")
    return open_repository(ref, Network(plain_http=True), FixedCredential(), run or Run())


@pytest.fixture
def repository(address: str) -> Iterator[Repository]:
    with connect(address, f"team/{os.urandom(6).hex()}") as found:
        yield found


def put(repository: Repository, data: bytes, media_type: str = BLOB) -> Descriptor:
    desc = Descriptor.of(data, media_type)
    repository.put(desc, BytesReader(data), lambda size: None)
    return desc


def put_kit(repository: Repository, *layers: bytes) -> Manifest:
    config = put(repository, b"{}", "application/vnd.kitops.modelkit.config.v1+json")
    manifest = Manifest.build(config=config, layers=[put(repository, layer) for layer in layers])
    put(repository, manifest.raw, mediatype.MANIFEST)
    return manifest


def read(reader: object) -> bytes:
    found = b""
    buffer = memoryview(bytearray(70_000))
    while count := reader.readinto(buffer):  # type: ignore[attr-defined]
        found += buffer[:count]
    return found


@pytest.mark.parametrize("size", [0, 1, 300_000, 3 * 1024 * 1024])
def test_a_blob_that_was_put_exists_and_is_the_same(repository: Repository, size: int) -> None:
    data = os.urandom(size)
    desc = Descriptor.of(data, BLOB)
    moved: list[int] = []
    assert not repository.exists(desc)
    repository.put(desc, BytesReader(data), moved.append)
    assert sum(moved) == size
    assert repository.exists(desc)
    assert repository.fetch(desc) == data
    with repository.open(desc) as reader:
        assert read(reader) == data
    with repository.stream(desc) as reader:
        assert read(reader) == data


def test_a_sha512_blob(repository: Repository) -> None:
    data = b"longer names"
    desc = Descriptor(BLOB, Digest("sha512", hashlib.sha512(data).hexdigest()), len(data))
    repository.put(desc, BytesReader(data), lambda size: None)
    assert repository.fetch(desc) == data


def test_what_is_not_there(repository: Repository) -> None:
    desc = Descriptor.of(b"nowhere", BLOB)
    assert not repository.exists(desc)
    with pytest.raises(NotFoundError, match=repository.locator):
        repository.fetch(desc)
    with pytest.raises(NotFoundError), repository.open(desc):
        pass
    with pytest.raises(NotFoundError, match=f"{repository.locator}:v1"):
        repository.resolve("v1")
    with pytest.raises(NotFoundError):
        repository.resolve(str(desc.digest))
    with pytest.raises(NotFoundError):
        repository.tags()


@pytest.mark.parametrize(("data", "size"), [(b"wrong bytes", 11), (b"too few", 8), (b"too many", 7)])
def test_bytes_that_are_not_the_descriptors_are_refused_and_nothing_exists(
    repository: Repository, data: bytes, size: int
) -> None:
    desc = Descriptor(BLOB, Digest.of(b"right bytes"), size)
    with pytest.raises(IntegrityError):
        repository.put(desc, BytesReader(data), lambda size: None)
    assert not repository.exists(desc)


def test_a_manifest_that_is_not_its_descriptors_is_refused_before_it_is_sent(repository: Repository) -> None:
    with pytest.raises(IntegrityError):
        repository.put(Descriptor.of(b"{ }", mediatype.MANIFEST), BytesReader(b"{}x"), lambda size: None)


def test_manifests_and_tags(repository: Repository) -> None:
    manifest = put_kit(repository, b"one", b"two")
    desc = manifest.descriptor
    assert repository.exists(desc)
    assert repository.resolve(str(desc.digest)) == desc
    repository.tag(desc, "v1")
    repository.tag(desc, "Latest")
    assert repository.resolve("v1") == desc
    assert repository.fetch_manifest("Latest") == (desc, manifest.raw)
    assert repository.fetch(desc) == manifest.raw
    assert sorted(repository.tags()) == ["Latest", "v1"]


def test_a_tag_of_a_manifest_that_somebody_else_put(address: str, repository: Repository) -> None:
    desc = put_kit(repository, b"one").descriptor
    with connect(address, repository.locator.partition("/")[2]) as other:
        other.tag(desc, "v1")
        assert other.resolve("v1") == desc


def test_a_tag_moves(repository: Repository) -> None:
    first, second = put_kit(repository, b"one").descriptor, put_kit(repository, b"two").descriptor
    repository.tag(first, "v1")
    repository.tag(second, "v1")
    assert repository.resolve("v1") == second
    assert repository.exists(first)


def test_an_index(repository: Repository) -> None:
    index = Index.build([put_kit(repository, b"one").descriptor, put_kit(repository, b"two").descriptor])
    desc = put(repository, index.raw, mediatype.INDEX)
    repository.tag(desc, "all")
    assert repository.resolve("all") == desc
    assert repository.fetch(desc) == index.raw


def test_pointers_are_tags_or_digests(repository: Repository) -> None:
    for pointer in ("../../v2", "a b", "sha256:1", "", "-x"):
        with pytest.raises(InvalidValueError):
            repository.resolve(pointer)
    with pytest.raises(InvalidValueError):
        repository.tag(Descriptor.of(b"{}", mediatype.MANIFEST), "../x")


def test_delete_by_digest(repository: Repository) -> None:
    desc = put_kit(repository, b"one").descriptor
    repository.tag(desc, "v1")
    repository.delete(str(desc.digest))
    assert not repository.exists(desc)
    with pytest.raises(NotFoundError):
        repository.resolve("v1")
    with pytest.raises(NotFoundError):
        repository.delete(str(desc.digest))


def test_a_manifest_without_its_blobs_is_refused(repository: Repository) -> None:
    missing = Descriptor.of(b"missing", BLOB)
    manifest = Manifest.build(config=put(repository, b"{}"), layers=[missing])
    with pytest.raises((RegistryError, NotFoundError)) as caught:
        put(repository, manifest.raw, mediatype.MANIFEST)
    assert "BLOB_UNKNOWN" in str(caught.value)


def test_mount(address: str, repository: Repository) -> None:
    desc = put(repository, b"mounted")
    source = repository.locator.partition("/")[2]
    with connect(address, f"other/{os.urandom(6).hex()}") as other:
        assert not other.exists(desc)
        assert other.mount(desc, source)
        assert other.fetch(desc) == b"mounted"
        assert not other.mount(Descriptor.of(b"nobody has it", BLOB), source)


def test_inline_data_needs_no_request_and_is_verified(repository: Repository) -> None:
    desc = Descriptor(BLOB, Digest.of(b"inline"), 6, data=b"inline")
    assert repository.fetch(desc) == b"inline"
    with pytest.raises(IntegrityError):
        repository.fetch(Descriptor(BLOB, Digest.of(b"inline"), 6, data=b"onlined"))


def test_what_is_too_large_is_not_held_in_memory(repository: Repository) -> None:
    huge = Descriptor(BLOB, Digest.of(b""), 2**62)
    with pytest.raises(RegistryError, match="too many"):
        repository.fetch(huge)
    with pytest.raises(RegistryError, match="too many"):
        repository.put(Descriptor(mediatype.MANIFEST, Digest.of(b""), 2**62), BytesReader(b""), lambda size: None)


def test_ping(repository: Repository) -> None:
    events: list[Event] = []
    repository.ping()
    with connect(repository.locator.partition("/")[0], "x", Run(observer=events.append)) as other:
        other.ping()
    assert [event for event in events if isinstance(event, Message) and "/v2/: 200" in event.text]


def test_a_graph_copied_from_one_repository_to_another(address: str, repository: Repository) -> None:
    manifest = put_kit(repository, os.urandom(500_000), b"two", b"three")
    run = Run(concurrency=3)
    with connect(address, f"copy/{os.urandom(6).hex()}", run) as other:
        first = copy(repository, other, manifest.descriptor, run)
        again = copy(repository, other, manifest.descriptor, run)
        assert other.fetch(manifest.layers[0]) == repository.fetch(manifest.layers[0])
        assert other.exists(manifest.descriptor)
    assert (first.moved, first.existed, again.moved, again.existed) == (5, 0, 0, 5)


def test_a_source_that_fails_to_be_read_is_no_network_error(repository: Repository, tmp_path: Path) -> None:
    class Failing(io.RawIOBase):
        def readinto(self, buffer: object) -> int:
            raise OSError(5, "Input/output error")

    desc = Descriptor.of(b"never", BLOB)
    with pytest.raises(FileSystemError, match="input/output error"):
        repository.put(desc, Failing(), lambda size: None)
    assert not repository.exists(desc)


def test_references_without_a_repository_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="names no repository"):
        open_repository(Reference.parse(str(Digest.of(b""))), Network(), FixedCredential(), Run())


def test_a_kit_is_read_by_its_own_bytes(repository: Repository) -> None:
    manifest = put_kit(repository, b"one")
    repository.tag(manifest.descriptor, "v1")
    _, raw = repository.fetch_manifest("v1")
    assert json.loads(raw)["layers"][0]["digest"] == str(Digest.of(b"one"))
