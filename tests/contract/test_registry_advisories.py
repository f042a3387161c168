"""The rules of the advisories of 2026 against a widespread registry client, as tests of this one.

Hosts have names and TLS here; a proxy knows the way to them (see ``small_web``), so that "another host" is one.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from kitops.content.copy import BytesReader
from kitops.content.events import Event, Message
from kitops.content.protocols import Run
from kitops.errors import AuthenticationError, FileSystemError, InvalidValueError, KitError, RegistryError
from kitops.layers.codec import Codec
from kitops.layers.extract import Existing, Extraction
from kitops.layers.layer_content import LayerContent
from kitops.layers.write import Format
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.manifest import MAX_MANIFEST_SIZE, Manifest
from kitops.oci.reference import Reference
from kitops.registry import Credential, CredentialStore, Repository, check_login, open_repository
from kitops.registry.auth import basic_header
from kitops.registry.credentials import FixedCredential
from kitops.store import open_store
from scripted_server import Said, Script, Seen
from small_web import Web, small_web

HOST = "registry.example.com"
HOME = f"{HOST}:443"
EVIL = "evil.example.org:443"
AUTH = "auth.example.org:443"
ME = Credential("me", "hunter2")
BASIC = basic_header(ME)
TOKEN = "t0ken-of-mine"
DATA = b"the bytes of a blob"
BLOB = Descriptor.of(DATA, "application/octet-stream")
KIT = Manifest.build(config=Descriptor.of(b"{}", "application/x"), layers=[BLOB])
KINDS = {"Content-Type": mediatype.MANIFEST}


def connect(
    web: Web, credential: Credential | None = ME, *, registry: str = HOST, realm: str | None = None
) -> Repository:
    ref = Reference.parse(f"{registry}/team/model:v1")
    return open_repository(ref, web.network, FixedCredential(credential, realm), Run())


def guarded(then: Script, challenge: str = 'Basic realm="x"', wanted: str = BASIC) -> Script:
    """A registry that wants ``wanted`` before everything."""

    def script(seen: Seen) -> Said:
        if seen.headers.get("Authorization") != wanted:
            return Said(401, {"WWW-Authenticate": challenge})
        return then(seen)

    return script


def bearer(realm: str, then: Script = lambda seen: Said(body=DATA)) -> Script:
    """A registry that wants a token of ``realm``."""
    return guarded(then, f'Bearer realm="{realm}",service="s"', f"Bearer {TOKEN}")


def moving(now: Mapping[str, str]) -> Script:
    """One whose realm is what ``now`` says."""

    def script(seen: Seen) -> Said:
        return bearer(now["realm"])(seen)

    return script


def gives_tokens(seen: Seen) -> Said:
    return Said(body=json.dumps({"token": TOKEN}).encode())


def open_to_all(seen: Seen) -> Said:
    if "/manifests/" in seen.target:
        return Said(headers=KINDS, body=KIT.raw)
    return Said(201, {"Location": "/v2/x"}) if seen.method in ("PUT", "PATCH", "POST") else Said(body=DATA)


def leads_to(location: str, status: int = 307) -> Script:
    return lambda seen: Said(status, {"Location": f"{location}{seen.target}?sig=1"})


# --- no Authorization across origins on a redirect (GHSA-vh4v-2xq2-g5cg)


@pytest.mark.parametrize(
    ("elsewhere", "status"),
    [(EVIL, 301), (EVIL, 302), (f"{HOST}:8443", 303), (f"cdn.{HOST}:443", 307), ("example.com:443", 308)],
)
def test_a_redirect_to_another_origin_gets_no_credentials(tmp_path: Path, elsewhere: str, status: int) -> None:
    hosts = {HOME: guarded(leads_to(f"https://{elsewhere}", status)), elsewhere: open_to_all}
    with small_web(tmp_path, hosts) as web, connect(web) as repository:
        assert repository.fetch_manifest("v1")[1] == KIT.raw
        assert repository.fetch(BLOB) == DATA
        assert repository.exists(BLOB)
        assert len(web.seen(elsewhere)) == 3
        assert web.secrets(elsewhere) == []
        assert set(web.secrets(HOME)) == {BASIC}


def test_a_token_does_not_follow_either(tmp_path: Path) -> None:
    script = bearer(f"https://{HOST}/token", leads_to(f"https://{EVIL}"))
    hosts = {HOME: lambda seen: gives_tokens(seen) if "/token" in seen.target else script(seen), EVIL: open_to_all}
    with small_web(tmp_path, hosts) as web, connect(web) as repository:
        assert repository.fetch(BLOB) == DATA
        assert web.secrets(EVIL) == []
        assert web.secrets(HOME) == [BASIC, f"Bearer {TOKEN}"]


def test_whoever_was_redirected_to_may_not_ask_for_credentials(tmp_path: Path) -> None:
    asked = ['Basic realm="x"', f'Bearer realm="https://{EVIL}/token"', f'Bearer realm="https://{HOST}/token"']
    challenges = iter(asked)
    hosts = {
        HOME: guarded(leads_to(f"https://{EVIL}")),
        EVIL: lambda seen: Said(401, {"WWW-Authenticate": next(challenges)}),
    }
    with small_web(tmp_path, hosts) as web, connect(web) as repository:
        for _ in asked:
            with pytest.raises(RegistryError, match="answered 401"):
                repository.fetch(BLOB)
        assert len(web.seen(EVIL)) == len(asked)
        assert web.secrets(EVIL) == []


LOCATIONS = [
    f"http://{HOST}/v2/x",
    "http://evil.example.org/x",
    "file:///etc/passwd",
    "ftp://evil.example.org/x",
    "gopher://evil.example.org/x",
    "https://me:pw@evil.example.org/x",
    "https://169.254.169.254/latest/meta-data",
    "https://[fd00:ec2::254]/latest",
    "https://127.0.0.1/x",
    "https://localhost:5000/x",
    "https://0x7f000001/x",
    "https://0.0.0.0/x",
    "https://[::1]/x",
    "https://[::ffff:169.254.169.254]/x",
    "//127.0.0.1/x",
    "",
    f"//{HOST}\\evil.example.org/x",
]


def test_locations_that_are_not_followed(tmp_path: Path) -> None:
    """Scheme downgrades, local files, and addresses that mean this machine: neither by redirect nor by upload."""
    now: dict[str, str] = {}

    def script(seen: Seen) -> Said:
        return Said(202 if seen.method == "POST" else 307, now)

    with small_web(tmp_path, {HOME: guarded(script)}) as web, connect(web) as repository:
        for now["Location"] in LOCATIONS:
            with pytest.raises(RegistryError):
                repository.fetch(BLOB)
            with pytest.raises(RegistryError):
                repository.put(BLOB, BytesReader(DATA), lambda size: None)
        assert {line.split(" ")[1] for line in web.reached} == {HOME}
        assert not [seen for seen in web.seen(HOME) if seen.body and seen.method != "POST"]


# --- the realm of a challenge (GHSA-28r5-37g7-p6mp, GHSA-xf85-363p-868w)

HOSTILE = [
    "https://evil.example.org/token",
    f"https://{HOST}.evil.example.org/token",
    "http://evil.example.org/token",
    f"http://{HOST}/token",
    "https://169.254.169.254/token",
    "https://127.0.0.1:8500/token",
    "https://user:pass@evil.example.org/token",
    rf"https://{HOST}\\.evil.example.org/token",
    r"https://evil.example.org\\[::1]/token",
    r"https://evil.example.org\\[2001:db8::1]/token",
    "file:///etc/passwd",
    "",
]


@pytest.mark.parametrize("credential", [ME, Credential(identity_token="refresh-me")], ids=["password", "identity"])
def test_a_hostile_realm_gets_nothing(tmp_path: Path, credential: Credential) -> None:
    now = {"realm": ""}
    hosts = {HOME: moving(now), EVIL: gives_tokens}
    with small_web(tmp_path, hosts) as web, connect(web, credential) as repository:
        for now["realm"] in HOSTILE:
            with pytest.raises(AuthenticationError) as caught:
                repository.fetch(BLOB)
            assert "hunter2" not in f"{caught.value}{caught.value.hint}"
            assert "refresh-me" not in f"{caught.value}{caught.value.hint}"
        assert {line.split(" ")[1] for line in web.reached} == {HOME}
        assert web.secrets(HOME) == []


def test_an_anonymous_token_may_come_from_anywhere_over_tls(tmp_path: Path) -> None:
    with small_web(tmp_path, {HOME: bearer(f"https://{AUTH}/token"), AUTH: gives_tokens}) as web:
        with connect(web, None) as repository:
            assert repository.fetch(BLOB) == DATA
        assert web.secrets(AUTH) == []
        assert web.secrets(HOME) == [f"Bearer {TOKEN}"]


@pytest.mark.parametrize(
    ("registry", "api", "auth"),
    [
        ("docker.io", "registry-1.docker.io:443", "auth.docker.io:443"),
        ("registry.gitlab.com", "registry.gitlab.com:443", "gitlab.com:443"),
    ],
)
def test_known_pairs_work_without_a_login(tmp_path: Path, registry: str, api: str, auth: str) -> None:
    hosts = {api: bearer(f"https://{auth.removesuffix(':443')}/token"), auth: gives_tokens}
    with small_web(tmp_path, hosts) as web, connect(web, registry=registry) as repository:
        assert repository.fetch(BLOB) == DATA
        assert web.secrets(auth) == [BASIC]
        assert web.secrets(api) == [f"Bearer {TOKEN}"]


def test_a_token_server_is_not_followed_elsewhere(tmp_path: Path) -> None:
    hosts = {HOME: bearer(f"https://{AUTH}/token"), AUTH: leads_to(f"https://{EVIL}"), EVIL: gives_tokens}
    with small_web(tmp_path, hosts) as web, connect(web, realm="https://auth.example.org") as repository:
        with pytest.raises(RegistryError, match="answered 307"):
            repository.fetch(BLOB)
        assert web.seen(EVIL) == []


def test_a_login_shows_and_records_the_token_server_and_a_change_is_refused(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path / "home" / "credentials.json")
    now = {"realm": f"https://{AUTH}/token"}
    told: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, Message) and event.level == "warning":
            told.append(event.text)

    def log_in(web: Web) -> None:
        pinned = store.pinned_realm(HOST)
        store.save(HOST, ME, realm=check_login(HOST, ME, web.network, Run(watch), pinned=pinned))

    def read(web: Web) -> bytes:
        ref = Reference.parse(f"{HOST}/team/model:v1")
        with open_repository(ref, web.network, store, Run()) as repository:
            return repository.fetch(BLOB)

    with small_web(tmp_path, {HOME: moving(now), AUTH: gives_tokens, EVIL: gives_tokens}) as web:
        store.save(HOST, ME)
        with pytest.raises(AuthenticationError, match="on another host") as caught:
            read(web)
        assert (caught.value.hint or "").endswith(f"kit login {HOST}")
        log_in(web)
        assert len(told) == 1
        assert "its token server https://auth.example.org" in told[0]
        log_in(web)
        assert len(told) == 1
        assert read(web) == DATA
        now["realm"] = f"https://{EVIL}/token"
        with pytest.raises(AuthenticationError, match=r"it was https://auth\.example\.org when you logged in"):
            read(web)
        assert web.secrets(EVIL) == []
        log_in(web)
        assert "https://evil.example.org (it was https://auth.example.org)" in told[1]
        assert read(web) == DATA


def test_a_login_that_fails_records_nothing(tmp_path: Path) -> None:
    hosts = {HOME: bearer(f"https://{AUTH}/token"), AUTH: lambda seen: Said(401)}
    with small_web(tmp_path, hosts) as web, pytest.raises(AuthenticationError):
        check_login(HOST, ME, web.network, Run())


def test_no_login_makes_an_unsafe_token_server_safe(tmp_path: Path) -> None:
    now = {"realm": ""}
    with small_web(tmp_path, {HOME: moving(now)}) as web:
        for now["realm"] in ("http://auth.example.org/token", "https://127.0.0.1/token"):
            with pytest.raises(AuthenticationError):
                check_login(HOST, ME, web.network, Run())
        assert {line.split(" ")[1] for line in web.reached} == {HOME}


# --- the Location of an upload (GHSA-jxpm-75mh-9fp7)


@pytest.mark.parametrize("elsewhere", [EVIL, f"{HOST}:8443"])
def test_an_upload_that_leads_to_another_origin_takes_no_credentials_along(tmp_path: Path, elsewhere: str) -> None:
    hosts = {
        HOME: guarded(lambda seen: Said(202, {"Location": f"https://{elsewhere}/up?state=1"})),
        elsewhere: lambda seen: Said(201),
    }
    with small_web(tmp_path, hosts) as web, connect(web) as repository:
        repository.put(BLOB, BytesReader(DATA), lambda size: None)
        assert [seen.method for seen in web.seen(elsewhere)] == ["PUT"]
        assert web.seen(elsewhere)[0].body == DATA
        assert web.secrets(elsewhere) == []


@pytest.mark.parametrize("elsewhere", [EVIL, f"{HOST}:8443"])
def test_an_upload_that_is_opened_at_another_origin_gets_no_credentials(tmp_path: Path, elsewhere: str) -> None:
    hosts = {
        HOME: guarded(leads_to(f"https://{elsewhere}")),
        elsewhere: lambda seen: Said(202, {"Location": "/up"}) if seen.method == "POST" else Said(201),
    }
    with small_web(tmp_path, hosts) as web, connect(web) as repository:
        repository.put(BLOB, BytesReader(DATA), lambda size: None)
        assert [seen.method for seen in web.seen(elsewhere)] == ["POST", "PUT"]
        assert web.secrets(elsewhere) == []


def test_an_upload_elsewhere_that_wants_credentials_gets_none(tmp_path: Path) -> None:
    hosts = {
        HOME: guarded(lambda seen: Said(202, {"Location": f"https://{EVIL}/up"})),
        EVIL: guarded(lambda seen: Said(201), wanted="never"),
    }
    with small_web(tmp_path, hosts) as web, connect(web) as repository:
        with pytest.raises(KitError, match="401"):
            repository.put(BLOB, BytesReader(DATA), lambda size: None)
        assert web.secrets(EVIL) == []


# --- sizes that lie or are absurd (GHSA-f36w-mj3v-6jqv)


@pytest.mark.parametrize("size", [-1, 2**63, 2**70, 1.5, "12", True, None, []])
def test_sizes_that_are_none(size: object) -> None:
    table = {"mediaType": "application/x", "digest": str(BLOB.digest), "size": size}
    with pytest.raises(InvalidValueError, match="size"):
        Descriptor.from_json(table, "layer")
    raw = json.dumps({"schemaVersion": 2, "mediaType": mediatype.MANIFEST, "config": table, "layers": []}).encode()
    with pytest.raises(InvalidValueError, match="size"):
        Manifest.parse(raw, "manifest")


def test_a_size_that_is_absurd_costs_no_memory_and_no_request(tmp_path: Path) -> None:
    with small_web(tmp_path, {HOME: open_to_all}) as web, connect(web) as repository:
        for size in (MAX_MANIFEST_SIZE + 1, 2**40, 2**63 - 1):
            blob, manifest = (
                Descriptor(kind, Digest.of(b"x"), size) for kind in ("application/octet-stream", mediatype.MANIFEST)
            )
            for desc in (blob, manifest):
                with pytest.raises(RegistryError, match="too many"):
                    repository.fetch(desc)
            with pytest.raises(RegistryError, match="too many"):
                repository.put(manifest, BytesReader(b"x"), lambda size: None)
        assert web.reached == []


def test_answers_beyond_their_bounds_are_cut_off(tmp_path: Path) -> None:
    hosts = {
        HOME: lambda seen: Said(headers=KINDS, body=b"[" * (MAX_MANIFEST_SIZE + 1)),
        f"{HOST}:5000": bearer(f"https://{HOST}:5001/token"),
        f"{HOST}:5001": lambda seen: Said(body=b'"' * 2_000_000),
    }
    with small_web(tmp_path, hosts) as web:
        with connect(web) as repository, pytest.raises(RegistryError, match="more than"):
            repository.fetch_manifest("v1")
        with connect(web, registry=f"{HOST}:5000") as repository, pytest.raises(RegistryError, match="more than"):
            repository.fetch(BLOB)


def test_a_length_that_is_absurd_is_not_believed(tmp_path: Path) -> None:
    headers = {**KINDS, "Docker-Content-Digest": str(KIT.descriptor.digest)}
    now: dict[str, str] = {}

    def script(seen: Seen) -> Said:
        if seen.method == "HEAD":
            return Said(headers={**headers, **now}, length=-1)
        if "/blobs/" in seen.target:
            return Said(headers={**now, "Connection": "close"}, body=DATA, length=-1)
        return Said(headers=headers, body=KIT.raw)

    with small_web(tmp_path, {HOME: script}) as web, connect(web) as repository:
        for now["Content-Length"] in ("-5", "1e9", "0x10", "9" * 30, "9" * 5000):
            assert repository.resolve("v1") == KIT.descriptor
            with suppress(KitError):
                assert repository.fetch(BLOB) == DATA


# --- links on the way of a write (GHSA-8xwf-rjm4-xvhv)


def tar_of(*members: tuple[str, bytes, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            member.size = len(DATA) if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(DATA))
    return buffer.getvalue()


def unpack_into(target: Path, raw: bytes) -> None:
    desc = Descriptor.of(raw, "application/vnd.kitops.modelkit.dataset.v1.tar")
    content = LayerContent(desc, Format.TAR, Codec.NONE, "data", "", "layer data")
    with Extraction(target, existing=Existing.OVERWRITE, run=Run()) as extraction:
        extraction.add_stream(BytesReader(raw), content, lambda size: None)
        extraction.commit()


@pytest.mark.parametrize(
    "members",
    [
        [("data/out", tarfile.SYMTYPE, "{outside}"), ("data/out/file", tarfile.REGTYPE, "")],
        [
            ("data/a", tarfile.SYMTYPE, "."),
            ("data/a/b", tarfile.SYMTYPE, "../.."),
            ("data/a/b/file", tarfile.REGTYPE, ""),
        ],
        [("data/hard", tarfile.LNKTYPE, "{outside}/victim")],
        [("data/hard", tarfile.LNKTYPE, "../outside/victim")],
        [("../outside/file", tarfile.REGTYPE, "")],
        [("data/../../outside/file", tarfile.REGTYPE, "")],
        [("{outside}/file", tarfile.REGTYPE, "")],
    ],
    ids=["symlink", "two-hops", "hard-absolute", "hard-relative", "parent", "parent-below", "absolute"],
)
def test_no_archive_writes_outside(tmp_path: Path, members: list[tuple[str, bytes, str]]) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"safe")
    raw = tar_of(*((name.format(outside=outside), kind, link.format(outside=outside)) for name, kind, link in members))
    with suppress(KitError):
        unpack_into(tmp_path / "target", raw)
    assert os.listdir(outside) == ["victim"]
    assert (outside / "victim").read_bytes() == b"safe"
    assert (outside / "victim").stat().st_nlink == 1


@pytest.mark.parametrize("depth", ["data", "data/deep"])
def test_a_link_that_stands_in_the_target_is_not_walked_through(tmp_path: Path, depth: str) -> None:
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    (target / depth).parent.mkdir(parents=True)
    (target / depth).symlink_to(outside)
    with pytest.raises(FileSystemError, match="another type"):
        unpack_into(target, tar_of(("data/deep/file", tarfile.REGTYPE, "")))
    assert os.listdir(outside) == []


def test_a_blob_is_never_written_through_a_link(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    victim = tmp_path / "victim"
    path = tmp_path / "store" / "blobs" / "sha256" / BLOB.digest.encoded
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(victim)
    with store.lease("test") as lease, suppress(KitError):
        store.repository(Reference.parse("team/model"), lease).put(BLOB, BytesReader(DATA), lambda size: None)
        assert not victim.exists()
        assert path.read_bytes() == DATA
    assert not victim.exists()
