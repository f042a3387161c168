"""Credentials and certificates against real registries and token servers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kitops.content.copy import BytesReader
from kitops.content.protocols import Run
from kitops.errors import AuthenticationError, FileSystemError, InvalidValueError, NetworkError, RegistryError
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.registry import Credential, CredentialStore, Network, Repository, check_login, open_repository
from kitops.registry.auth import Scopes
from kitops.registry.credentials import FixedCredential
from kitops.registry.network import Patience
from kitops.registry.transport import Transport
from kitops.testing import ThrowAwayRegistry, TokenServer
from tls_files import Authority, make_authority

ME = Credential("me", "hunter2")
PLAIN = Network(plain_http=True, patience=Patience(attempts=2, pause=0.001))
TLS = replace(PLAIN, plain_http=False)
DATA = b"the bytes of a blob" * 1000
DESC = Descriptor.of(DATA, "application/octet-stream")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server_files(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("server", "127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def htpasswd(need: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("htpasswd") / "htpasswd"
    line = subprocess.run([need("htpasswd"), "-Bbn", "me", "hunter2"], capture_output=True, check=True).stdout
    path.write_bytes(line)
    return path


@pytest.fixture(scope="module")
def locked(start_docker_registry: Callable[..., object], htpasswd: Path, server_files: tuple[Path, Path]) -> str:
    """docker-registry with TLS and htpasswd: its address."""
    return str(start_docker_registry(htpasswd=htpasswd, tls=server_files).address)  # type: ignore[attr-defined]


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with TokenServer({"me": "hunter2"}, identity_tokens=frozenset({"refresh-me"})) as server:
        yield server


@pytest.fixture
def guarded(tokens: TokenServer) -> Iterator[ThrowAwayRegistry]:
    with ThrowAwayRegistry(access=tokens.access()) as registry:
        yield registry


def connect(
    address: str, network: Network, credential: Credential | None, repository: str = "team/model"
) -> Repository:
    return open_repository(Reference.parse(f"{address}/{repository}"), network, FixedCredential(credential), Run())


def round_trip(repository: Repository) -> None:
    repository.put(DESC, BytesReader(DATA), lambda size: None)
    manifest = Manifest.build(config=DESC, layers=[DESC])
    repository.put(manifest.descriptor, BytesReader(manifest.raw), lambda size: None)
    repository.tag(manifest.descriptor, "v1")
    assert repository.fetch_manifest("v1") == (manifest.descriptor, manifest.raw)
    assert repository.fetch(DESC) == DATA


# --- docker-registry with TLS and htpasswd


def test_a_locked_registry_takes_the_right_credentials(locked: str, authority: Authority) -> None:
    network = replace(TLS, tls_certs=(authority.cert,))
    check_login(locked, ME, network, Run())
    with connect(locked, network, ME) as repository:
        round_trip(repository)


@pytest.mark.parametrize("credential", [Credential("me", "wrong"), Credential("you", "hunter2"), Credential("me")])
def test_a_locked_registry_refuses_others(locked: str, authority: Authority, credential: Credential) -> None:
    network = replace(TLS, tls_certs=(authority.cert,))
    with pytest.raises(AuthenticationError, match=f"logging in to {locked}"):
        check_login(locked, credential, network, Run())
    with connect(locked, network, None) as repository, pytest.raises(AuthenticationError) as caught:
        repository.resolve("v1")
    assert caught.value.hint == f"kit login {locked}"


def test_an_unknown_authority_is_told_with_the_ways_out(locked: str) -> None:
    with pytest.raises(NetworkError, match="certificate is not trusted") as caught:
        check_login(locked, ME, TLS, Run())
    assert caught.value.permanent
    assert "--tls-cert" in (caught.value.hint or "")
    assert "--tls-verify=false" in (caught.value.hint or "")


def test_verification_can_be_left_out(locked: str) -> None:
    with connect(locked, replace(TLS, tls_verify=False), ME) as repository:
        repository.ping()


def test_a_certificate_for_another_host(authority: Authority) -> None:
    cert, key = authority.issue("other", "registry.example.com")
    network = replace(TLS, tls_certs=(authority.cert,))
    with (
        ThrowAwayRegistry(tls_cert=cert, tls_key=key) as registry,
        connect(registry.address, network, None) as repository,
        pytest.raises(NetworkError, match=r"not trusted \(ip address mismatch"),
    ):
        repository.ping()


def test_plain_http_to_a_tls_registry_hints(locked: str) -> None:
    with connect(locked, PLAIN, None) as repository, pytest.raises((RegistryError, NetworkError)) as caught:
        repository.fetch_manifest("v1")
    assert "--plain-http" in (caught.value.hint or "")


def test_login_saves_what_the_registry_took(locked: str, authority: Authority, tmp_path: Path) -> None:
    store = CredentialStore(tmp_path / "credentials.json")
    store.save(locked, ME)
    network = replace(TLS, tls_certs=(authority.cert,))
    with open_repository(Reference.parse(f"{locked}/team/model"), network, store, Run()) as repository:
        repository.ping()
    assert store.erase(locked)


def test_skopeo_reads_what_we_push_and_we_read_what_it_pushes(
    locked: str, authority: Authority, need: Callable[[str], str], tmp_path: Path
) -> None:
    skopeo = need("skopeo")
    with connect(locked, replace(TLS, tls_certs=(authority.cert,)), ME, "skopeo/theirs") as repository:
        round_trip(repository)
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    certs = tmp_path / "certs"
    certs.mkdir()
    (certs / "ca.crt").write_bytes(authority.cert.read_bytes())
    # fmt: off
    subprocess.run(
        [
            skopeo, "--policy", str(policy), "copy", "--src-cert-dir", str(certs), "--dest-cert-dir", str(certs),
            "--src-creds", "me:hunter2", "--dest-creds", "me:hunter2",
            f"docker://{locked}/skopeo/theirs:v1", f"docker://{locked}/skopeo/copied:v2",
        ],
        check=True, capture_output=True, env={**os.environ, "HOME": str(tmp_path)},
    )
    # fmt: on
    with connect(locked, replace(TLS, tls_certs=(authority.cert,)), ME, "skopeo/copied") as repository:
        assert repository.fetch(DESC) == DATA
        assert repository.tags() == ["v2"]


def test_skopeo_and_our_server(need: Callable[[str], str], tmp_path: Path) -> None:
    skopeo = need("skopeo")
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    with ThrowAwayRegistry(users={"me": "hunter2"}) as registry:
        with registry.repository("team/model", credential=ME) as repository:
            round_trip(repository)
        for source, target, side in (
            (f"docker://{registry.address}/team/model:v1", f"oci:{tmp_path}/layout:v1", "src"),
            (f"oci:{tmp_path}/layout:v1", f"docker://{registry.address}/team/back:v1", "dest"),
        ):
            # fmt: off
            subprocess.run(
                [
                    skopeo, "--policy", str(policy), "copy", "--src-tls-verify=false", "--dest-tls-verify=false",
                    f"--{side}-creds", "me:hunter2", source, target,
                ],
                check=True, capture_output=True, env={**os.environ, "HOME": str(tmp_path)},
            )
            # fmt: on
        with registry.repository("team/back", credential=ME) as repository:
            assert repository.fetch(DESC) == DATA
            assert repository.resolve("v1").media_type == mediatype.MANIFEST


# --- certificates and keys


def test_mutual_tls(authority: Authority, server_files: tuple[Path, Path]) -> None:
    cert, key = authority.issue("client")
    both = cert.with_name("both.pem")
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    trusting = replace(TLS, tls_certs=(authority.cert,))
    with ThrowAwayRegistry(tls_cert=server_files[0], tls_key=server_files[1], tls_client_ca=authority.cert) as registry:
        for network in (replace(trusting, client_cert=cert, client_key=key), replace(trusting, client_cert=both)):
            with connect(registry.address, network, None) as repository:
                round_trip(repository)
        with connect(registry.address, trusting, None) as repository, pytest.raises(NetworkError) as caught:
            repository.ping()
        assert "--cert" in (caught.value.hint or "")


def test_a_client_certificate_without_its_key(authority: Authority) -> None:
    cert, _ = authority.issue("lonely")
    with pytest.raises(InvalidValueError, match="not usable") as caught:
        send_over_tls(replace(TLS, client_cert=cert))
    assert "--key" in (caught.value.hint or "")


def send_over_tls(network: Network) -> None:
    transport = Transport(network, Run().cancel, 1)
    try:
        transport.send("GET", "https://127.0.0.1:9/", headers={})
    finally:
        transport.close()


def test_files_that_are_no_certificates(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("one")
    _, other_key = authority.issue("two")
    _, locked_key = authority.issue("three", password=b"secret")
    text, garbled, missing = tmp_path / "text", tmp_path / "garbled", tmp_path / "missing"
    text.write_text("hello")
    garbled.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for network, says in (
        (replace(TLS, tls_certs=(text,)), "not a PEM file"),
        (replace(TLS, tls_certs=(garbled,)), "no usable PEM certificate"),
        (replace(TLS, client_cert=cert, client_key=other_key), "not usable"),
        (replace(TLS, client_cert=garbled), "not usable"),
        (replace(TLS, client_cert=cert, client_key=locked_key), "encrypted"),
        (replace(TLS, client_key=key), "without a client certificate"),
    ):
        with pytest.raises(InvalidValueError, match=says):
            send_over_tls(network)
    for network in (replace(TLS, tls_certs=(missing,)), replace(TLS, client_cert=cert, client_key=tmp_path)):
        with pytest.raises(FileSystemError, match=str(tmp_path)):
            send_over_tls(network)


# --- tokens


def test_tokens_are_got_kept_and_widened(guarded: ThrowAwayRegistry, tokens: TokenServer) -> None:
    with guarded.repository("team/model", credential=ME) as repository:
        assert not repository.exists(DESC)
        assert not repository.exists(DESC)
        round_trip(repository)
    assert tokens.asked == [
        ("GET", "repository:team/model:pull"),
        ("GET", "repository:team/model:pull,push"),
    ]
    refused = [asked for asked in guarded.asked if asked.status == 401]
    assert len(refused) == 1


def test_a_mount_asks_for_both_repositories(guarded: ThrowAwayRegistry, tokens: TokenServer) -> None:
    with guarded.repository("team/source", credential=ME) as repository:
        repository.put(DESC, BytesReader(DATA), lambda size: None)
    with guarded.repository("team/target", credential=ME) as repository:
        assert repository.mount(DESC, "team/source")
    assert tokens.asked[-1][1] == "repository:team/source:pull repository:team/target:pull,push"


def test_an_identity_token(guarded: ThrowAwayRegistry, tokens: TokenServer) -> None:
    with guarded.repository("team/model", credential=Credential(identity_token="refresh-me")) as repository:
        round_trip(repository)
    assert {method for method, _ in tokens.asked} == {"POST"}
    tokens.has_oauth = False
    with guarded.repository("team/model", credential=Credential(identity_token="refresh-me")) as repository:
        repository.resolve("v1")
    assert [method for method, _ in tokens.asked][-2:] == ["POST", "GET"]


def test_a_registry_token_is_used_as_it_is(guarded: ThrowAwayRegistry, tokens: TokenServer) -> None:
    token = str(tokens.grant(Scopes.parse("repository:team/model:pull,push"))["token"])
    with guarded.repository("team/model", credential=Credential(registry_token=token)) as repository:
        round_trip(repository)
    assert tokens.asked == []
    with (
        guarded.repository("team/other", credential=Credential(registry_token=token)) as repository,
        pytest.raises(AuthenticationError),
    ):
        repository.resolve("v1")


def test_an_anonymous_visitor_may_pull_where_that_is_allowed(guarded: ThrowAwayRegistry, tokens: TokenServer) -> None:
    tokens.anonymous_pull = True
    with guarded.repository("team/model", credential=ME) as repository:
        round_trip(repository)
    with guarded.repository("team/model") as repository:
        assert repository.fetch(DESC) == DATA
        with pytest.raises(AuthenticationError, match="anonymous") as caught:
            repository.put(Descriptor.of(b"x", "application/x"), BytesReader(b"x"), lambda size: None)
    assert caught.value.hint == f"kit login {guarded.address} --plain-http"


def test_a_token_that_was_revoked_is_replaced(guarded: ThrowAwayRegistry, tokens: TokenServer) -> None:
    with guarded.repository("team/model", credential=ME) as repository:
        round_trip(repository)
        tokens.revoke_all()
        assert repository.exists(DESC)
    assert len(tokens.asked) == 2


def test_login_by_token(guarded: ThrowAwayRegistry) -> None:
    for credential in (ME, Credential.of_login("", "refresh-me")):
        check_login(guarded.address, credential, PLAIN, Run())
    for credential in (Credential("me", "wrong"), Credential.of_login("", "wrong")):
        with pytest.raises(AuthenticationError, match=f"logging in to {guarded.address}"):
            check_login(guarded.address, credential, PLAIN, Run())


def test_a_token_server_that_is_away_is_no_wrong_password(guarded: ThrowAwayRegistry, tokens: TokenServer) -> None:
    tokens.stop()
    with pytest.raises(NetworkError, match="connection refused"):
        check_login(guarded.address, ME, PLAIN, Run())
    tokens.__init__({})  # type: ignore[misc]  # so that the fixture can stop it again
