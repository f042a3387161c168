"""The way to a registry as a machine's environment describes it: authorities, proxies, IPv6, mirrors, by ``kit``."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kitops.content.protocols import Run
from kitops.errors import FileSystemError, InvalidValueError, NetworkError, RegistryError
from kitops.oci.reference import Reference
from kitops.registry import Credential, CredentialStore, Network, open_repository
from kitops.registry.credentials import FixedCredential
from kitops.registry.environment import complete_network
from kitops.registry.network import Patience
from kitops.testing import ThrowAwayRegistry
from scripted_server import Said, raw_server, scripted_server
from small_web import read_head
from tls_files import Authority, make_authority

QUICK = Network(patience=Patience(connect=5, read=5, attempts=1))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server_files(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("server", "127.0.0.1", "localhost", "::1")


def ping(address: str, network: Network) -> None:
    with open_repository(Reference.parse(f"{address}/a/b"), network, FixedCredential(), Run()) as repository:
        repository.ping()


# --- certificate authorities


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_authorities_of_the_environment_are_files(
    authority: Authority, server_files: tuple[Path, Path], name: str
) -> None:
    with ThrowAwayRegistry(tls_cert=server_files[0], tls_key=server_files[1]) as registry:
        with pytest.raises(NetworkError, match="not trusted"):
            ping(registry.address, complete_network(QUICK, {}))
        ping(registry.address, complete_network(QUICK, {name: str(authority.cert)}))


@pytest.mark.parametrize("hashed", [True, False])
def test_authorities_of_the_environment_are_directories(
    tmp_path: Path, authority: Authority, server_files: tuple[Path, Path], hashed: bool
) -> None:
    """With OpenSSL's hashed names, or with any; beside keys and links that lead nowhere; several of them."""
    (tmp_path / "empty").mkdir()
    there = tmp_path / "there"
    there.mkdir()
    (there / "gone.pem").symlink_to("nowhere")
    (there / "notes.pem").write_text("no certificate")
    name = "company.crt"
    if hashed:
        shown = subprocess.run(
            ["openssl", "x509", "-hash", "-noout", "-in", authority.cert], capture_output=True, text=True, check=True
        )
        name = f"{shown.stdout.strip()}.0"
    (there / name).write_bytes(authority.cert.read_bytes())
    environ = {"SSL_CERT_DIR": f"{tmp_path / 'empty'}:{there}"}
    with ThrowAwayRegistry(tls_cert=server_files[0], tls_key=server_files[1]) as registry:
        ping(registry.address, complete_network(QUICK, environ))


def test_authorities_are_added_to_those_that_were_named(tmp_path: Path) -> None:
    own, theirs = tmp_path / "own.pem", tmp_path / "theirs.pem"
    environ = {"SSL_CERT_FILE": str(theirs), "REQUESTS_CA_BUNDLE": str(theirs)}
    assert complete_network(Network(tls_certs=(own,)), environ).tls_certs == (own, theirs)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_authorities_that_are_not_there_are_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileSystemError, match="certificate authorities"):
        ping("127.0.0.1:9", complete_network(QUICK, {name: str(tmp_path / "gone")}))


def test_a_file_that_holds_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "bundle.pem").write_text("-----BEGIN CERTIFICATE-----\nnot one\n-----END CERTIFICATE-----\n")
    with pytest.raises(InvalidValueError, match="no usable PEM"):
        ping("127.0.0.1:9", complete_network(QUICK, {"REQUESTS_CA_BUNDLE": str(tmp_path / "bundle.pem")}))


def test_openssls_own_variables_do_not_take_the_systems_authorities_away(authority: Authority) -> None:
    """``SSL_CERT_FILE`` diverts OpenSSL; what the system trusts is trusted all the same."""
    code = (
        "from kitops.registry.network import Network; from kitops.registry.tls import build_context\n"
        "import ssl; context = build_context(Network())\n"
        "places = ssl.get_default_verify_paths(); print(places.cafile, len(context.get_ca_certs()))\n"
    )
    environ = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(authority.cert)}
    shown = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    cafile, count = shown.stdout.split()
    assert cafile == str(authority.cert)
    assert int(count) >= 1


# --- IPv6


@pytest.fixture(scope="module")
def has_ipv6() -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")


@pytest.mark.usefixtures("has_ipv6")
def test_a_registry_at_an_ipv6_address() -> None:
    def converse(connection: socket.socket) -> None:
        head = connection.recv(4096)
        hosts.append(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"host:")))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    hosts: list[bytes] = []
    with raw_server(converse, "::1") as address:
        assert address.startswith("[::1]:")
        ping(address, Network(plain_http=True, patience=QUICK.patience))
        assert Reference.parse(f"{address}/a/b:v1").registry == address
    assert hosts == [f"Host: {address}".encode()]


@pytest.mark.usefixtures("has_ipv6")
def test_what_only_some_parsers_take_for_an_ipv6_host_is_not_followed() -> None:
    """Of ``http://evil\\[::1]/`` Python says that its host is ``::1``; urllib3, which connects, takes ``evil``."""

    def converse(connection: socket.socket) -> None:
        while head := read_head(connection):
            answer = b'401 X\r\nWWW-Authenticate: Basic realm="x"'
            if b"Authorization: Basic" in head:
                port = connection.getsockname()[1]
                answer = b"307 X\r\nLocation: http://%b\\[::1]:%d/x" % (evil.address.encode(), port)
            connection.sendall(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % answer)

    with scripted_server(lambda seen: Said(body=b"{}")) as evil, raw_server(converse, "::1") as address:
        ref, known = Reference.parse(f"{address}/a/b:v1"), FixedCredential(Credential("me", "six"))
        network = Network(plain_http=True, patience=QUICK.patience)
        with (
            open_repository(ref, network, known, Run()) as repository,
            pytest.raises(RegistryError, match="Location is not usable"),
        ):
            repository.ping()
    assert evil.seen == []


@pytest.mark.usefixtures("has_ipv6")
def test_credentials_of_an_ipv6_host_are_its_own(tmp_path: Path) -> None:
    with scripted_server(lambda seen: Said(401, {"WWW-Authenticate": 'Basic realm="x"'})) as registry:
        port = registry.address.rpartition(":")[2]
        (tmp_path / "docker").mkdir()
        entry = {"auths": {f"[::1]:{port}": {"username": "me", "password": "six"}}}
        (tmp_path / "docker" / "config.json").write_text(json.dumps(entry))
        store = CredentialStore(tmp_path / "credentials.json", [tmp_path / "docker" / "config.json"])
        assert store.find(f"[::1]:{port}") == Credential("me", "six")
        assert store.find(registry.address) is None


# --- by the command, against docker-registry with TLS and htpasswd


def run_kit(home: Path, *words: str, text: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    own = {"PATH": os.environ["PATH"], "HOME": str(home), "KITOPS_HOME": str(home / "kitops"), "LC_ALL": "C.UTF-8"}
    own |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
    return subprocess.run(
        [str(Path(sys.executable).with_name("kit")), *words],
        env=own | environ,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def test_authorities_logins_and_mirrors_of_one_machine(
    tmp_path: Path,
    need: Callable[[str], str],
    start_docker_registry: Callable[..., object],
    authority: Authority,
    server_files: tuple[Path, Path],
) -> None:
    htpasswd = tmp_path / "htpasswd"
    htpasswd.write_bytes(subprocess.run([need("htpasswd"), "-Bbn", "me", "pw"], capture_output=True, check=True).stdout)
    address = str(start_docker_registry(htpasswd=htpasswd, tls=server_files).address)  # type: ignore[attr-defined]
    trusting = {"SSL_CERT_FILE": str(authority.cert)}
    one, two = tmp_path / "one", tmp_path / "two"
    for home in (one, two):
        home.mkdir()
        run_kit(home, "login", address, "-u", "me", "--password-stdin", text="pw", **trusting)
    (tmp_path / "Kitfile").write_text("manifestVersion: 1.0.0\ndocs: [{path: notes.txt}]\n")
    (tmp_path / "notes.txt").write_text("notes")
    ref = f"{address}/team/notes:v1"
    run_kit(one, "pack", str(tmp_path), "-t", ref)
    run_kit(one, "push", ref, **trusting)
    with ThrowAwayRegistry() as near:
        pulled = run_kit(two, "pull", ref, KITOPS_MIRRORS=f"{address}=http://{near.address}/cache", **trusting)
        assert near.asked[0].target.startswith("/v2/cache/team/notes/manifests/sha256:")
    assert pulled.stderr.count("Warning: mirror ") == 1
    assert f"going on with {address}" in pulled.stderr
    (two / "kitops" / "settings.toml").write_text(f'[[mirror]]\nregistry = "*"\nurl = "http://{near.address}"\n')
    inspected = run_kit(two, "inspect", ref, "--remote", **trusting)
    assert "connection refused" in inspected.stderr
    assert run_kit(two, "inspect", ref, "--remote", KITOPS_MIRRORS="", **trusting).stderr == ""
