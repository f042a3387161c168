"""Uploads to registries with every habit that was seen in the wild: the right bytes arrive, without undue traffic."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from faulty_registry import Faults, FaultyRegistry, faulty_registry
from kitops.content.copy import BytesReader
from kitops.content.events import Event, Message, Waiting
from kitops.content.protocols import Run
from kitops.errors import IntegrityError, NetworkError, RegistryError
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.registry import Network, Repository, open_repository
from kitops.registry.credentials import FixedCredential
from kitops.registry.memory import Memory
from kitops.registry.network import Patience

MIB = 1024 * 1024
BLOB = "application/vnd.kitops.modelkit.model.v1.tar"
QUICK = Network(plain_http=True, patience=Patience(connect=2, read=5, commit=5, attempts=4, pause=0.001))
PART = os.urandom(MIB)
LARGE = b"".join(bytes([count]) + PART[1:] for count in range(18))
LARGE_DESC = Descriptor.of(LARGE, BLOB)
SMALL = PART[: 100 * 1024]
SMALL_DESC = Descriptor.of(SMALL, BLOB)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blobs") / "large"
    path.write_bytes(LARGE)
    return path


def connect(registry: FaultyRegistry, *, memory: Memory | None = None, run: Run | None = None) -> Repository:
    ref = Reference.parse(f"{registry.address}/team/model:v1")
    return open_repository(ref, QUICK, FixedCredential(), run or Run(), memory=memory)


Moved = Callable[[int], None]


def send(repository: Repository, path: Path, moved: Moved = lambda size: None) -> None:
    with path.open("rb", buffering=0) as file:
        repository.put(LARGE_DESC, file, moved)


def has(registry: FaultyRegistry) -> bool:
    return registry.blobs.get(("team/model", str(LARGE_DESC.digest))) == LARGE


GOOD = [
    Faults(),
    Faults(location="absolute"),
    Faults(location="once"),
    Faults(location="elsewhere"),
    Faults(has_state=True),
    Faults(has_state=True, location="elsewhere"),
    Faults(patch_status=201),
    Faults(refuses_empty_put=True),
    Faults(minimum=5 * MIB),
]


@pytest.mark.parametrize("faults", GOOD, ids=str)
def test_habits_that_cost_nothing(faults: Faults, large: Path) -> None:
    steps: list[int] = []
    with faulty_registry(faults) as registry, connect(registry) as repository:
        send(repository, large, steps.append)
        assert has(registry)
    assert registry.methods() == ["POST", "PATCH", "PUT"]
    assert registry.came == sum(steps) == len(LARGE)
    assert not registry.uploads


def test_a_location_elsewhere_gets_no_credentials(large: Path) -> None:
    faults = Faults(location="elsewhere", expires_after=[100])
    with faulty_registry(faults) as registry, connect(registry) as repository:
        send(repository, large)
        assert has(registry)
    assert [(call.method, bool(call.authorization)) for call in registry.calls if "uploads" in call.target] == [
        ("POST", False),
        ("POST", True),
        ("PATCH", False),
        ("PUT", False),
    ]


@pytest.mark.parametrize(
    ("faults", "most"),
    [
        (Faults(cap=4 * MIB), 4 * MIB),
        (Faults(patch_cap=4 * MIB), 4 * MIB),
        (Faults(cap=MIB), MIB),
        (Faults(patch_status=405), None),
        (Faults(patch_status=404), None),
        (Faults(patch_status=501), None),
        (Faults(chunks=0), None),
        (Faults(refuses_riders=True), None),
        (Faults(refuses_riders=True, cap=8 * MIB), 8 * MIB),
        (Faults(says_minimum=str(10**15)), None),
        (Faults(says_minimum="-5"), None),
        (Faults(says_minimum="plenty"), None),
    ],
    ids=str,
)
def test_limits_are_found_once(faults: Faults, most: int | None, large: Path) -> None:
    memory = Memory()
    with faulty_registry(faults) as registry:
        with connect(registry, memory=memory) as repository:
            send(repository, large)
        assert has(registry)
        assert registry.came <= len(LARGE) + 17 * MIB + 5 * MIB
        registry.calls.clear()
        registry.blobs.clear()
        with connect(registry, memory=memory) as repository:
            send(repository, large)
        assert has(registry)
        assert registry.came == len(LARGE)
        assert {call.status for call in registry.calls} <= {201, 202, 204}
        if most is not None:
            assert max(call.size for call in registry.calls) <= most


def test_a_second_chunk_that_is_refused(large: Path) -> None:
    """Google's registry takes no more than one."""
    with faulty_registry(Faults(chunks=1, refuses_riders=True)) as registry, connect(registry) as repository:
        send(repository, large)
        assert has(registry)
    assert registry.methods() == ["POST", "PATCH", "PUT", "GET", "PATCH", "DELETE", "POST", "PUT"]


def test_a_body_that_is_too_large_however_small(large: Path) -> None:
    with (
        faulty_registry(Faults(cap=1000)) as registry,
        connect(registry) as repository,
        pytest.raises(RegistryError, match="413") as caught,
    ):
        send(repository, large)
    assert "client_max_body_size" in (caught.value.hint or "")


def test_a_registry_that_takes_blobs_whole_only_and_not_so_large(large: Path) -> None:
    with (
        faulty_registry(Faults(cap=17 * MIB, patch_status=405)) as registry,
        connect(registry) as repository,
        pytest.raises(RegistryError, match="413") as caught,
    ):
        send(repository, large)
    assert "whole only" in (caught.value.hint or "")
    assert len(registry.calls) < 10


@pytest.mark.parametrize("keeps_cut", [True, False])
def test_requests_that_are_cut_after_a_time_on_a_slow_link(keeps_cut: bool, large: Path) -> None:
    faults = Faults(rate=32 * MIB, cut_seconds=0.4, keeps_cut=keeps_cut)
    with faulty_registry(faults) as registry, connect(registry) as repository:
        send(repository, large)
        assert has(registry)
    assert 0 in {call.status for call in registry.calls}
    assert registry.came < 3 * len(LARGE)


@pytest.mark.parametrize("keeps_cut", [True, False])
def test_cut_connections_are_gone_on_with(keeps_cut: bool, large: Path) -> None:
    faults = Faults(cut_bytes=[5 * MIB, 3 * MIB, MIB], keeps_cut=keeps_cut, has_state=True)
    steps: list[int] = []
    with faulty_registry(faults) as registry, connect(registry) as repository:
        send(repository, large, steps.append)
        assert has(registry)
    assert registry.methods("POST") == ["POST"]
    lost = 0 if keeps_cut else 9 * MIB
    assert registry.came <= len(LARGE) + lost + 3 * 64 * 1024
    assert sum(steps) == len(LARGE)
    assert min(steps) < 0


def test_an_upload_that_is_lost_with_its_connection_is_begun_anew(large: Path) -> None:
    faults = Faults(cut_bytes=[5 * MIB], loses_cut=True)
    with faulty_registry(faults) as registry, connect(registry) as repository:
        send(repository, large)
        assert has(registry)
    assert registry.methods("POST") == ["POST", "POST"]


def test_patience_ends(large: Path) -> None:
    faults = Faults(cut_bytes=[1] * 100, keeps_cut=False)
    with (
        faulty_registry(faults) as registry,
        connect(registry) as repository,
        pytest.raises(NetworkError),
    ):
        send(repository, large)
    assert len(registry.calls) < 100


@pytest.mark.parametrize("busy", [[(429, "0")], [(503, "0"), (503, "0")], [(429, "1")]])
def test_a_busy_registry_is_waited_for(busy: list[tuple[int, str]], large: Path) -> None:
    events: list[Event] = []
    faults = Faults(busy=list(busy))
    with faulty_registry(faults) as registry, connect(registry, run=Run(events.append)) as repository:
        send(repository, large)
        assert has(registry)
    assert registry.methods("POST") == ["POST"]
    waits = [event for event in events if isinstance(event, Waiting)]
    assert bool(waits) == (busy[0][1] == "1")


@pytest.mark.parametrize("after", [1, 2])
def test_tokens_are_renewed_in_the_middle(after: int, large: Path) -> None:
    """The token is refused at the PATCH, or at the PUT."""
    with faulty_registry(Faults(expires_after=[after])) as registry, connect(registry) as repository:
        send(repository, large)
        assert has(registry)
    assert registry.tokens == 2
    assert registry.methods("POST") == ["POST", "POST"]  # the first had no token


@pytest.mark.parametrize("busy", [[(503, "1")], [(429, "0"), (503, "0"), (500, "")]])
def test_a_token_server_that_is_busy_in_the_middle_is_waited_for(busy: list[tuple[int, str]], large: Path) -> None:
    events: list[Event] = []
    faults = Faults(expires_after=[1], token_busy=list(busy), token_busy_from=1)
    with faulty_registry(faults) as registry, connect(registry, run=Run(events.append)) as repository:
        send(repository, large)
        assert has(registry)
        told = f"token server http://{registry.address}/token, which asks for 1 s of patience"
    assert registry.tokens == 2
    assert (told in [event.what for event in events if isinstance(event, Waiting)]) == (busy[0][1] == "1")


def test_a_token_server_that_stays_busy_ends_it(large: Path) -> None:
    faults = Faults(expires_after=[1], token_busy=[(503, "0")] * 100, token_busy_from=1)
    with (
        faulty_registry(faults) as registry,
        connect(registry) as repository,
        pytest.raises(RegistryError, match=r"token server .* answered 503"),
    ):
        send(repository, large)
    assert len(faults.token_busy) >= 100 - 4 * 4  # tries of a request, and requests after the break


@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_token_server_that_moved_on_its_own_host_is_followed(status: int, large: Path) -> None:
    faults = Faults(expires_after=[1], token_moves=status)
    with faulty_registry(faults) as registry, connect(registry) as repository:
        send(repository, large)
        assert has(registry)
    assert registry.tokens == 2


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("faults", [Faults(), Faults(takes_single=True), Faults(mounts=True)], ids=str)
def test_the_post_that_opens_an_upload_is_followed(status: int, faults: Faults, large: Path) -> None:
    faults.opens_elsewhere = status
    with faulty_registry(faults) as registry, connect(registry) as repository:
        registry.blobs["team/other", str(SMALL_DESC.digest)] = SMALL
        send(repository, large)
        if not repository.mount(SMALL_DESC, "team/other"):
            repository.put(SMALL_DESC, BytesReader(SMALL), lambda size: None)
        assert has(registry)
        assert registry.blobs["team/model", str(SMALL_DESC.digest)] == SMALL


def test_a_commit_whose_answer_is_lost(large: Path) -> None:
    with faulty_registry(Faults(drops_commit=1)) as registry, connect(registry) as repository:
        send(repository, large)
        assert has(registry)
    assert registry.came == len(LARGE)


def test_an_empty_put_that_is_refused_after_a_break(large: Path) -> None:
    """Everything had come with the request that broke: nothing is left to ride on another."""
    faults = Faults(refuses_empty_put=True, cut_bytes=[100 * MIB, 2 * MIB])
    with faulty_registry(faults) as registry, connect(registry) as repository:
        send(repository, large)
        assert has(registry)
    assert registry.methods("POST") == ["POST", "POST"]


def test_a_slow_commit_is_told(large: Path) -> None:
    events: list[Event] = []
    with (
        faulty_registry(Faults(commit_seconds=1.8)) as registry,
        connect(registry, run=Run(events.append)) as repository,
    ):
        send(repository, large)
    assert Waiting(f"{registry.address} to take in what was sent") in events


def test_warnings_are_told_once_in_a_run(large: Path) -> None:
    events: list[Event] = []
    memory = Memory()
    with faulty_registry(Faults(warning='299 - "moving soon"')) as registry:
        for _ in range(2):
            with connect(registry, run=Run(events.append), memory=memory) as repository:
                send(repository, large)
    told = [event.text for event in events if isinstance(event, Message) and event.level == "warning"]
    assert told == [f"{registry.address}: moving soon"]


@pytest.mark.parametrize("takes_single", [True, False])
def test_small_blobs_go_with_the_post_where_that_is_taken(takes_single: bool, tmp_path: Path) -> None:
    tiny = Descriptor.of(SMALL[:1000], BLOB)
    (tmp_path / "small").write_bytes(SMALL)
    (tmp_path / "tiny").write_bytes(SMALL[:1000])
    with faulty_registry(Faults(takes_single=takes_single)) as registry, connect(registry) as repository:
        for desc, name in ((tiny, "tiny"), (SMALL_DESC, "small")):
            with (tmp_path / name).open("rb", buffering=0) as file:
                repository.put(desc, file, lambda size: None)
        assert registry.blobs["team/model", str(SMALL_DESC.digest)] == SMALL
    assert registry.methods() == (["POST", "POST"] if takes_single else ["POST", "PUT", "POST", "PUT"])


@pytest.mark.parametrize("mounts", [True, False])
def test_mounts(mounts: bool, large: Path) -> None:
    """Accepted, nothing is sent; refused, the upload that was opened instead is used."""
    with faulty_registry(Faults(mounts=mounts)) as registry, connect(registry) as repository:
        registry.blobs["other/model", str(LARGE_DESC.digest)] = LARGE
        if not repository.mount_from(LARGE_DESC, f"{registry.address}/other/model"):
            send(repository, large)
        assert has(registry)
    assert registry.methods("POST") == ["POST"]
    assert registry.came == (0 if mounts else len(LARGE))


@pytest.mark.parametrize("status", [400, 415, 422])
def test_types_that_are_not_on_the_list(status: int) -> None:
    kit = "application/vnd.kitops.modelkit.manifest.v1+json"
    manifest = Manifest.build(config=SMALL_DESC, layers=[], artifact_type=kit)
    faults = Faults(types=("application/vnd.cncf.helm.config.v1+json",), types_status=status)
    with (
        faulty_registry(faults) as registry,
        connect(registry) as repository,
        pytest.raises(RegistryError) as caught,
    ):
        repository.put(manifest.descriptor, BytesReader(manifest.raw), lambda size: None)
    assert registry.address in caught.value.message
    assert kit in caught.value.message
    assert "--use-model-pack" in (caught.value.hint or "")
    assert "--to image" in (caught.value.hint or "")
    assert caught.value.codes == ("MANIFEST_INVALID",)


def test_a_registry_that_sees_late_what_it_took() -> None:
    manifest = Manifest.build(config=SMALL_DESC, layers=[])
    with faulty_registry(Faults(unseen=2)) as registry, connect(registry) as repository:
        repository.put(manifest.descriptor, BytesReader(manifest.raw), lambda size: None)
        assert registry.methods("PUT") == ["PUT"] * 3
        assert ("team/model", str(manifest.descriptor.digest)) in registry.manifests


def test_a_registry_that_never_sees_a_blob() -> None:
    manifest = Manifest.build(config=SMALL_DESC, layers=[])
    with faulty_registry(Faults(unseen=99)) as registry, connect(registry) as repository:
        with pytest.raises(RegistryError, match="MANIFEST_BLOB_UNKNOWN"):
            repository.put(manifest.descriptor, BytesReader(manifest.raw), lambda size: None)
        assert not registry.manifests


@pytest.mark.parametrize("size", [len(LARGE) - 1, len(LARGE) + 1])
def test_a_file_that_is_not_the_blob_is_never_committed(size: int, tmp_path: Path) -> None:
    path = tmp_path / "wrong"
    path.write_bytes((LARGE + b"!")[:size])
    with faulty_registry() as registry, connect(registry) as repository:
        with pytest.raises(IntegrityError):
            send(repository, path)
        assert not registry.blobs
        assert not registry.uploads


@pytest.mark.parametrize("faults", [Faults(trusts=True), Faults(trusts=True, patch_cap=2 * MIB)], ids=str)
@pytest.mark.parametrize("at", [0, len(LARGE) - 1], ids=["first", "last"])
def test_other_bytes_are_never_committed_even_where_nobody_else_looks(tmp_path: Path, faults: Faults, at: int) -> None:
    path = tmp_path / "wrong"
    path.write_bytes(LARGE[:at] + b"!" + LARGE[at + 1 :])
    with faulty_registry(faults) as registry, connect(registry) as repository:
        with pytest.raises(IntegrityError, match="expected sha256:"):
            send(repository, path)
        assert not registry.blobs
    assert registry.methods("POST") == ["POST"]


def test_other_bytes_as_the_registry_has_them(large: Path) -> None:
    with faulty_registry(Faults(spoils=True)) as registry, connect(registry) as repository:
        with pytest.raises(IntegrityError, match="as the registry says"):
            send(repository, large)
        assert not registry.blobs
    assert registry.methods("POST") == ["POST"]


class OnceReader:
    """A reader that does not seek, as a download's."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def test_a_source_that_does_not_seek_is_opened_again_and_read_to_where_it_was() -> None:
    with faulty_registry(Faults(cut_bytes=[5 * MIB])) as registry, connect(registry) as repository:
        with pytest.raises(NetworkError, match="from its beginning"):
            repository.put(LARGE_DESC, OnceReader(LARGE), lambda size: None)
        repository.put(LARGE_DESC, OnceReader(LARGE), lambda size: None)
        assert has(registry)
    assert registry.methods("POST") == ["POST"]
    assert registry.came <= len(LARGE) + 64 * 1024


class Counter:
    """What moved, and what an earlier attempt had left there."""

    def __init__(self) -> None:
        self.moved, self.left = 0, 0

    def __call__(self, size: int, /) -> None:
        self.moved += size

    def found(self, size: int) -> None:
        self.left += size


def test_what_an_earlier_upload_left_is_told_apart(large: Path) -> None:
    counter = Counter()
    with faulty_registry(Faults(cut_bytes=[5 * MIB])) as registry, connect(registry) as repository:
        with pytest.raises(NetworkError):
            repository.put(LARGE_DESC, OnceReader(LARGE), lambda size: None)
        send(repository, large, counter)
        assert has(registry)
    assert counter.moved + counter.left == len(LARGE)
    assert 5 * MIB <= counter.left <= 6 * MIB
