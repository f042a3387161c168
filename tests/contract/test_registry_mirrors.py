"""Mirrors: content by digest comes from one where it can, and from the registry where it cannot. Real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from any_artifacts import put_artifact
from kitops.content.copy import BytesReader
from kitops.content.events import Event, Message
from kitops.content.protocols import Run
from kitops.errors import IntegrityError, InvalidValueError, KitError, NotFoundError
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.ops.place import Connection, Place
from kitops.ops.pull import pull
from kitops.ops.tag import tag_remote
from kitops.registry import Credential, CredentialStore, Network, Repository, open_repository
from kitops.registry.auth import basic_header
from kitops.registry.credentials import FixedCredential
from kitops.registry.environment import read_mirrors, read_plain_hosts
from kitops.registry.mirror import Mirror, mirrors_of, parse_mirrors
from kitops.registry.network import Patience
from kitops.store import open_store
from kitops.testing import ThrowAwayRegistry
from scripted_server import Said, Scripted, Seen, raw_server, scripted_server
from small_web import read_head

QUICK = Network(plain_http=True, patience=Patience(connect=2, read=5, commit=5, attempts=3, pause=0.001))
DATA = b"the bytes of a blob" * 100
BLOB = Descriptor.of(DATA, "application/vnd.kitops.modelkit.dataset.v1.tar")
RAW_CONFIG = b'{"manifestVersion":"1.0.0","package":{},"datasets":[{"path":"data"}]}'
CONFIG = Descriptor.of(RAW_CONFIG, "application/vnd.kitops.modelkit.config.v1+json")
KIT = Manifest.build(config=CONFIG, layers=[BLOB])


def fill(registry: ThrowAwayRegistry, repository: str = "team/model") -> None:
    with registry.repository(repository) as sink:
        sink.put(CONFIG, BytesReader(RAW_CONFIG), lambda size: None)
        sink.put(BLOB, BytesReader(DATA), lambda size: None)
        sink.put(KIT.descriptor, BytesReader(KIT.raw), lambda size: None)
        sink.tag(KIT.descriptor, "v1")


@pytest.fixture
def upstream() -> Iterator[ThrowAwayRegistry]:
    with ThrowAwayRegistry() as registry:
        fill(registry)
        yield registry


def reads(registry: ThrowAwayRegistry) -> list[str]:
    return [one.target for one in registry.asked if one.method in ("GET", "HEAD") and one.target != "/v2/"]


class Told(list[str]):
    def __call__(self, event: Event) -> None:
        if isinstance(event, Message) and event.level == "warning":
            self.append(event.text)


def connect(address: str, *mirrors: str, told: Told | None = None, tags: bool = False) -> Repository:
    return open_repository(
        Reference.parse(f"{address}/team/model"),
        QUICK,
        FixedCredential(),
        Run(told if told is not None else Told()),
        [Mirror.parse(address, url, tags=tags) for url in mirrors],
    )


def read_all(repository: Repository) -> bytes:
    desc = repository.resolve("v1")
    assert repository.fetch(desc) == KIT.raw
    with repository.open(BLOB) as reader:
        buffer = bytearray(len(DATA))
        view, count = memoryview(buffer), 0
        while more := reader.readinto(view[count:]):
            count += more
    return bytes(buffer[:count])


def test_content_comes_from_the_mirror_and_the_registry_says_what_a_tag_is(upstream: ThrowAwayRegistry) -> None:
    with ThrowAwayRegistry() as near, connect(upstream.address, f"http://{near.address}") as repository:
        fill(near)
        assert read_all(repository) == DATA
        query = f"?ns={upstream.address.replace(':', '%3A')}"
        assert reads(near) == [
            f"/v2/team/model/manifests/{KIT.descriptor.digest}{query}",
            f"/v2/team/model/blobs/{BLOB.digest}{query}",
        ]
    assert set(reads(upstream)) == {"/v2/team/model/manifests/v1"}


def test_a_mirror_below_a_prefix_is_told_whose_content_it_is(upstream: ThrowAwayRegistry) -> None:
    with scripted_server(lambda seen: Said(body=DATA)) as near:
        with connect(upstream.address, f"http://{near.address}/cache/hub/") as repository:
            assert repository.fetch(BLOB) == DATA
        path = near.seen[0].target.partition("?")[0]
        assert path == f"/v2/cache/hub/team/model/blobs/{BLOB.digest}"
        assert near.sent("Oci-Namespace") == [upstream.address]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (Said(404), "not found"),
        (Said(503), "answered 503"),
        (Said(429, {"Retry-After": "30"}), "asks to wait 30 s"),
        (Said(401, {"WWW-Authenticate": 'Basic realm="x"'}), "who you are"),
        (Said(403), "refused"),
        (Said(body=b"x" * len(DATA)), "sent other bytes than"),
        (Said(body=DATA[:-1]), ""),
        (Said(body=DATA[:9], length=len(DATA)), "broke off in the middle"),
        (Said(302, {"Location": "file:///etc/passwd"}), "Location is not usable"),
    ],
)
def test_a_bad_mirror_costs_one_warning(upstream: ThrowAwayRegistry, bad: Said, says: str) -> None:
    told = Told()
    with (
        scripted_server(lambda seen: bad) as near,
        connect(upstream.address, f"http://{near.address}", told=told) as repository,
    ):
        for _ in range(2):
            assert repository.fetch(BLOB) == DATA
        assert repository.fetch(KIT.descriptor) == KIT.raw
        assert len(told) == 1
        assert told[0].startswith(f"mirror {near.address}: ")
        assert says in told[0]
        assert told[0].endswith(f"going on with {upstream.address}")


def test_a_mirror_that_is_down_is_not_asked_again(upstream: ThrowAwayRegistry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        away = f"127.0.0.1:{taken.getsockname()[1]}"
    told = Told()
    with connect(upstream.address, f"http://{away}", told=told) as repository:
        assert read_all(repository) == DATA
    assert len(told) == 1
    assert "connection refused" in told[0]


def test_a_mirror_that_breaks_off_twice_is_left(upstream: ThrowAwayRegistry) -> None:
    """For what else is to come, too: each break costs time."""
    with (
        scripted_server(lambda seen: Said(body=b"x", length=100)) as near,
        connect(upstream.address, f"http://{near.address}") as repository,
    ):
        assert repository.fetch(BLOB) == DATA
        assert repository.fetch(KIT.descriptor) == KIT.raw
        assert repository.fetch(CONFIG) == RAW_CONFIG
        assert len(near.seen) == 2


def test_a_silent_mirror_is_given_up_soon_and_asked_once(upstream: ThrowAwayRegistry) -> None:
    """Seconds to the head of an answer, whatever the patience with a registry; of its body a registry's patience."""
    reached, left = [], []

    def silent(connection: socket.socket) -> None:
        reached.append(read_head(connection))
        connection.settimeout(30)
        left.append(connection.recv(1))

    told = Told()
    network = replace(QUICK, patience=Patience(pause=0.001))
    with raw_server(silent) as near:
        mirrors = [Mirror.parse(upstream.address, f"http://{near}")]
        ref = Reference.parse(f"{upstream.address}/team/model")
        with open_repository(ref, network, FixedCredential(), Run(told), mirrors) as repository:
            assert read_all(repository) == DATA
    assert (len(reached), left) == (1, [b""])
    assert len(told) == 1
    assert "no answer in time" in told[0]


def test_a_mirrors_body_may_pause_longer_than_its_head(
    upstream: ThrowAwayRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitops.registry.mirror._HEAD_SECONDS", 1.0)

    def pausing(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA) + DATA[:9])
        time.sleep(1.5)
        connection.sendall(DATA[9:])

    told = Told()
    with raw_server(pausing) as near, connect(upstream.address, f"http://{near}", told=told) as repository:
        assert repository.fetch(BLOB) == DATA
    assert (told, reads(upstream)) == ([], [])


def test_a_connection_to_a_mirror_that_lay_idle_too_long_is_opened_again(upstream: ThrowAwayRegistry) -> None:
    told = Told()

    def once(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA) + DATA)
        read_head(connection)  # the next request comes, and is not answered

    with raw_server(once) as near, connect(upstream.address, f"http://{near}", told=told) as repository:
        for _ in range(3):
            assert repository.fetch(BLOB) == DATA
    assert (told, reads(upstream)) == ([], [])


def test_the_next_mirror_is_asked_before_the_registry(upstream: ThrowAwayRegistry) -> None:
    told = Told()
    with (
        scripted_server(lambda seen: Said(404)) as empty,
        scripted_server(lambda seen: Said(body=DATA)) as full,
        connect(upstream.address, f"http://{empty.address}", f"http://{full.address}", told=told) as repository,
    ):
        assert repository.fetch(BLOB) == DATA
    assert len(told) == 1
    assert not reads(upstream)


def test_a_break_in_the_middle_of_a_stream_is_continued_from_the_registry(
    upstream: ThrowAwayRegistry, tmp_path: Path
) -> None:
    told = Told()
    with scripted_server(lambda seen: Said(body=DATA[:9], length=len(DATA))) as near:
        place = make_place(tmp_path, told, Mirror.parse(upstream.address, f"http://{near.address}"))
        with (
            place.registry(upstream.reference("team/model:v1"), mirrored=True) as source,
            source.open(BLOB) as reader,
        ):
            buffer, count = memoryview(bytearray(len(DATA))), 0
            while more := reader.readinto(buffer[count:]):
                count += more
        assert len(near.seen) == 1
    assert bytes(buffer) == DATA
    assert len(told) == 1


def make_place(home: Path, told: Told, *mirrors: Mirror) -> Place:
    run = Run(told)
    connection = Connection(QUICK, CredentialStore(home / "credentials.json"), mirrors)
    return Place(home, open_store(home / "store", run=run), lambda: connection, run)


@pytest.mark.parametrize(
    "wrong",
    [Said(body=b"x" * len(DATA)), Said(body=DATA[:9], length=len(DATA)), Said(body=DATA + b"x"), Said(404)],
    ids=["bytes", "break", "longer", "missing"],
)
def test_a_pull_survives_a_bad_mirror(upstream: ThrowAwayRegistry, tmp_path: Path, wrong: Said) -> None:
    told = Told()
    with scripted_server(lambda seen: wrong) as near:
        place = make_place(tmp_path, told, Mirror.parse("*", f"http://{near.address}"))
        pulled = pull(place, [upstream.reference("team/model:v1")])[0]
        assert pulled.desc.digest == KIT.descriptor.digest
        assert near.seen
    assert sum(text.startswith("mirror ") for text in told) == 1
    with place.store.lease("read") as lease:
        assert place.store.repository(pulled.references[0], lease).fetch(BLOB) == DATA


def test_a_large_blob_survives_a_bad_mirror(upstream: ThrowAwayRegistry, tmp_path: Path) -> None:
    told = Told()
    with scripted_server(lambda seen: Said(body=b"x" * len(DATA))) as near:
        place = make_place(tmp_path, told, Mirror.parse("*", f"http://{near.address}"))
        ref = upstream.reference("team/model:v1")
        with place.store.lease("pull") as lease, place.registry(ref, mirrored=True) as source:
            sink = place.store.repository(ref, lease)
            with sink.land(BLOB) as landing:
                source.deliver(BLOB, landing, lambda size: None, place.run)
            assert sink.fetch(BLOB) == DATA
    assert sum(text.startswith("mirror ") for text in told) == 1


def test_the_registrys_own_wrong_bytes_are_an_error() -> None:
    wrong = Said(body=b"x" * len(DATA))
    with scripted_server(lambda seen: wrong) as upstream, scripted_server(lambda seen: wrong) as near:
        with connect(upstream.address, f"http://{near.address}") as repository, pytest.raises(IntegrityError):
            repository.fetch(BLOB)
        assert (len(near.seen), len(upstream.seen)) == (1, 1)


# --- tags


def test_a_registry_out_of_reach_leaves_the_tag_to_the_mirror() -> None:
    told = Told()
    with scripted_server(lambda seen: Said(503)) as away, ThrowAwayRegistry() as near:
        fill(near)
        with connect(away.address, f"http://{near.address}", told=told) as repository:
            assert read_all(repository) == DATA
    assert len(told) == 1
    assert "a mirror says what v1 points to" in told[0]


def test_a_tag_that_the_registry_does_not_have_is_not_the_mirrors_to_give(upstream: ThrowAwayRegistry) -> None:
    with ThrowAwayRegistry() as near:
        fill(near)
        with near.repository("team/model") as sink:
            sink.tag(KIT.descriptor, "v2")
        with connect(upstream.address, f"http://{near.address}") as repository, pytest.raises(NotFoundError):
            repository.resolve("v2")


def test_a_mirror_that_is_trusted_with_tags_is_asked_first(upstream: ThrowAwayRegistry) -> None:
    with ThrowAwayRegistry() as near:
        fill(near)
        with connect(upstream.address, f"http://{near.address}", tags=True) as repository:
            assert read_all(repository) == DATA
    assert not reads(upstream)


def test_nobody_has_the_tag() -> None:
    with (
        scripted_server(lambda seen: Said(503)) as away,
        scripted_server(lambda seen: Said(404)) as near,
        connect(away.address, f"http://{near.address}") as repository,
        pytest.raises(KitError, match="503"),
    ):
        repository.resolve("v1")


# --- writing, listing, credentials


def test_what_is_tagged_is_what_the_registry_says(upstream: ThrowAwayRegistry, tmp_path: Path) -> None:
    with ThrowAwayRegistry() as near:
        with near.repository("team/model") as sink:
            sink.tag(put_artifact(sink, b"an old one"), "v1")
        near.asked.clear()
        mirror = Mirror.parse(upstream.address, f"http://{near.address}", tags=True)
        place = make_place(tmp_path, Told(), mirror)
        names = [upstream.reference("team/model:stable"), upstream.reference("team/other:v1")]
        assert tag_remote(place, upstream.reference("team/model:v1"), names).desc == KIT.descriptor
        for name in names:
            with place.registry(name) as repository:
                assert repository.resolve(name.pointer) == KIT.descriptor
        assert near.asked == []


def test_listing_and_writing_are_the_registrys(upstream: ThrowAwayRegistry) -> None:
    with scripted_server(lambda seen: Said(500)) as near:
        with connect(upstream.address, f"http://{near.address}") as repository:
            assert repository.tags() == ["v1"]
            repository.put(BLOB, BytesReader(DATA), lambda size: None)
            repository.delete("v1")
        assert near.seen == []


def test_a_place_without_the_word_has_no_mirror(upstream: ThrowAwayRegistry, tmp_path: Path) -> None:
    with scripted_server(lambda seen: Said(body=DATA)) as near:
        place = make_place(tmp_path, Told(), Mirror.parse("*", f"http://{near.address}"))
        with place.registry(upstream.reference("team/model:v1")) as repository:
            assert repository.exists(BLOB)
            assert repository.fetch(BLOB) == DATA
        assert near.seen == []


def by_basic(password: str) -> Callable[[Seen], Said]:
    header = {"WWW-Authenticate": 'Basic realm="x"'}
    value = basic_header(Credential("me", password))
    return lambda seen: Said(body=DATA) if seen.headers.get("Authorization") == value else Said(401, header)


def test_each_host_gets_its_own_credentials(tmp_path: Path) -> None:
    def share(upstream: Scripted, near: Scripted) -> tuple[set[str | None], set[str | None]]:
        store = CredentialStore(tmp_path / "credentials.json")
        store.save(upstream.address, Credential("me", "for-upstream"))
        store.save(near.address, Credential("me", "for-mirror"))
        mirror = Mirror.parse(upstream.address, f"http://{near.address}")
        ref = Reference.parse(f"{upstream.address}/team/model")
        with open_repository(ref, QUICK, store, Run(), [mirror]) as repository:
            assert repository.fetch(BLOB) == DATA
            with pytest.raises(KitError):
                repository.resolve("v1")
        return set(upstream.sent("Authorization")), set(near.sent("Authorization"))

    with scripted_server(by_basic("for-upstream")) as upstream, scripted_server(by_basic("for-mirror")) as near:
        at_upstream, at_mirror = share(upstream, near)
    assert len(at_upstream - {None}) == 1
    assert len(at_mirror - {None}) == 1
    assert not (at_upstream & at_mirror) - {None}


# --- settings


def test_mirrors_are_read_from_the_environment_before_the_settings(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    assert read_mirrors(settings, {}) == ()
    settings.write_text("[other]\nx = 1\n")
    assert read_mirrors(settings, {}) == ()
    settings.write_text(
        '[[mirror]]\nregistry = "docker.io"\nurl = "https://M.example.com:5000/hub-cache/"\ntags = true\n'
    )
    (found,) = read_mirrors(settings, {})
    assert found == Mirror(registry="docker.io", host="m.example.com:5000", prefix="hub-cache", tags=True)
    assert read_mirrors(settings, {"KITOPS_MIRRORS": ""}) == ()
    text = "docker.io=m.example.com, *=http://[::1]:5000,"
    assert read_mirrors(settings, {"KITOPS_MIRRORS": text}) == (
        Mirror(registry="docker.io", host="m.example.com"),
        Mirror(registry="*", host="[::1]:5000", plain_http=True),
    )


@pytest.mark.parametrize(
    "text",
    [
        "m.example.com",
        "docker.io=",
        "docker.io=ftp://x",
        "=m.example.com",
        "a=https://me:secret@m",
        "a=https://me:sec#secret@m",
        "https://me:secret@m",
        "a=m?x=1",
        "a=m/UP/../x",
    ],
)
def test_mirrors_that_do_not_parse(text: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_mirrors(text)
    assert "docker.io=https://" in (caught.value.hint or "")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "[[mirror]",
        'mirror = "x"',
        "mirror = [1]",
        '[[mirror]]\nurl = "x"',
        '[[mirror]]\nregistry = "a"\nurl = "x"\ntags = "yes"',
        '[[mirror]]\nregistry = "a"\nurl = "x"\ninsecure = true',
    ],
)
def test_settings_that_do_not_parse(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(InvalidValueError, match="settings") as caught:
        read_mirrors(tmp_path / "settings.toml", {})
    assert caught.value.message.startswith(f"settings file {tmp_path / 'settings.toml'}: ")


def test_settings_that_nobody_knows_are_told(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('[[registy]]\nhost = "a:1"\nplain_http = true\n[[registry]]\nhost = "b:1"\nplain_http = true\n')
    told: list[str] = []
    assert read_plain_hosts(settings, told.append) == ("b:1",)
    assert told == [f"settings file {settings}: 'registy' is not a setting; there are [[registry]] and [[mirror]]"]


def test_settings_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="reading settings"):
        read_mirrors(tmp_path, {})


def test_whose_mirror_it_is() -> None:
    hub, every = Mirror.parse("docker.io", "m.example.com"), Mirror.parse("*", "m.example.com")
    assert mirrors_of("index.docker.io", [hub, every]) == [hub, every]
    assert mirrors_of("ghcr.io", [hub, every]) == [every]
    assert mirrors_of("m.example.com", [hub, every]) == []
