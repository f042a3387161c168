"""Nothing secret is told at any level: ``kit`` itself at its most talkative, against everything that has secrets.

A registry with tokens from another host, uploads and downloads by signed URLs of a storage, and a proxy with a user.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from kitops.oci.digest import Digest
from scripted_server import Said, Seen
from small_web import Web, small_web

REGISTRY = "registry.example.com"
PASSWORD = "hunter2-of-ada"
IDENTITY = "refresh-token-of-ada"
REGISTRY_TOKEN = "registry-token-of-ada"
TOKEN = "access-token-of-ada"
STATE = "upload-state-secret"
SIGNATURE = "signature-of-storage"
PROXY_PASSWORD = "p@ss-of-proxy"
SECRETS = [
    PASSWORD,
    base64.b64encode(f"ada:{PASSWORD}".encode()).decode(),
    IDENTITY,
    base64.b64encode(f"<token>:{IDENTITY}".encode()).decode(),
    REGISTRY_TOKEN,
    TOKEN,
    STATE,
    SIGNATURE,
    PROXY_PASSWORD,
    quote(PROXY_PASSWORD, safe=""),
    base64.b64encode(f"proxy-user:{PROXY_PASSWORD}".encode()).decode(),
]


class Shop:
    """The registry, its token server and its storage."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.refused: set[str] = set()
        self.echoes: Said | None = None
        self.gives: Said | None = None

    def registry(self, seen: Seen) -> Said:
        if self.echoes is not None and seen.headers.get("Authorization"):
            return self.echoes
        if seen.headers.get("Authorization") not in (f"Bearer {TOKEN}", f"Bearer {REGISTRY_TOKEN}"):
            realm = 'Bearer realm="https://auth.example.org/token?tenant=1",service="shop"'
            return Said(401, {"WWW-Authenticate": realm}, b'{"errors":[{"code":"UNAUTHORIZED"}]}')
        path, _, name = seen.target.partition("?")[0].rpartition("/")
        if seen.method == "POST":
            return Said(
                202, {"Location": f"https://storage.example.net/up/1?_state={STATE}&X-Amz-Signature={SIGNATURE}"}
            )
        if path.endswith("/blobs"):
            if name not in self.blobs:
                return Said(404)
            if seen.method == "HEAD":
                return Said(headers={"Docker-Content-Digest": name}, body=self.blobs[name])
            return Said(307, {"Location": f"https://storage.example.net/get/{name}?X-Amz-Signature={SIGNATURE}"})
        if path.endswith("/manifests"):
            return self._manifest(seen, name)
        return Said()

    def _manifest(self, seen: Seen, name: str) -> Said:
        if seen.method == "PUT":
            digest = str(Digest.of(seen.body))
            self.manifests[name] = self.manifests[digest] = (seen.headers["Content-Type"], seen.body)
            return Said(201, {"Docker-Content-Digest": digest, "Location": f"/v2/x?_state={STATE}"})
        if name not in self.manifests:
            return Said(404)
        kind, body = self.manifests[name]
        return Said(headers={"Content-Type": kind, "Docker-Content-Digest": str(Digest.of(body))}, body=body)

    def tokens(self, seen: Seen) -> Said:
        if self.gives is not None:
            return self.gives
        basic = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
        if seen.headers.get("Authorization") == f"Basic {basic}" or IDENTITY.encode() in seen.body:
            return Said(body=json.dumps({"token": TOKEN, "refresh_token": IDENTITY}).encode())
        return Said(401, body=b'{"details":"incorrect username or password"}')

    def storage(self, seen: Seen) -> Said:
        if "quotes" in self.refused:
            return Said(403, body=f"<Error>SignatureDoesNotMatch<Given>{SIGNATURE}</Given></Error>".encode())
        if SIGNATURE not in seen.target or "storage" in self.refused:
            return Said(403, body=b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        if seen.method == "GET":
            return Said(body=self.blobs[urlsplit(seen.target).path.rpartition("/")[2]])
        digest = parse_qs(urlsplit(seen.target).query).get("digest", [str(Digest.of(seen.body))])[0]
        self.blobs[digest] = seen.body
        return Said(201)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def web(tmp_path: Path, shop: Shop) -> Iterator[Web]:
    hosts = {
        f"{REGISTRY}:443": shop.registry,
        "auth.example.org:443": shop.tokens,
        "storage.example.net:443": shop.storage,
    }
    (tmp_path / "tls").mkdir()
    with small_web(tmp_path / "tls", hosts, proxy_user=f"proxy-user:{quote(PROXY_PASSWORD, safe='')}@") as web:
        yield web


class Kit:
    """A machine behind the proxy; gathers what was said."""

    def __init__(self, home: Path, web: Web) -> None:
        self.home = home
        home.mkdir()
        self.said = ""
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "KITOPS_HOME": str(home / "kitops"),
            "HTTPS_PROXY": web.proxy,
            "SSL_CERT_FILE": str(web.authority),
            "LC_ALL": "C.UTF-8",
        } | {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}

    def __call__(self, *words: str, text: str = "", code: int = 0) -> str:
        start = "import logging, sys; logging.basicConfig(level=1); from kitops.cli._main import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", start, *words],
            env=self._environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        self.said += done.stdout + done.stderr
        return done.stdout + done.stderr


def project(root: Path) -> Path:
    root.mkdir()
    (root / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {path: model.bin}\n")
    (root / "model.bin").write_bytes(bytes(range(256)) * 400)
    return root


def no_secrets(said: str) -> None:
    assert [secret for secret in SECRETS if secret in said] == []


def test_a_password_its_tokens_and_signed_urls(tmp_path: Path, web: Web, shop: Shop) -> None:
    kit = Kit(tmp_path / "one", web)
    ref = f"{REGISTRY}/team/model:v1"
    kit("login", REGISTRY, "-u", "ada", "--password-stdin", "-vvv", text="wrong-" + PASSWORD, code=6)
    said = kit("login", REGISTRY, "-u", "ada", "--password-stdin", "-vvv", text=PASSWORD)
    assert "go to its token server https://auth.example.org" in said
    kit("pack", str(project(tmp_path / "project")), "-t", ref, "-vvv")
    assert f"https://{REGISTRY}/v2/" in kit("push", ref, "-vvv")
    kit("remove", ref, "-f")
    assert "storage.example.net" in kit("pull", ref, "--log-level", "trace")
    kit("push", ref, "-vv", "--progress", "json")
    shop.blobs.clear()
    shop.refused.add("storage")
    kit("push", ref, "--log-level", "trace", "--format", "json", code=7)
    assert {"X-Amz-Signature" in seen.target for seen in web.seen("storage.example.net:443")} == {True}
    assert web.secrets("storage.example.net:443") == []
    assert json.loads((kit.home / "kitops" / "realms.json").read_text()) == {REGISTRY: "https://auth.example.org"}
    no_secrets(kit.said)


def echo(text: str, status: int, shape: str) -> Said:
    """An answer that says ``text`` in one of the ways in which servers say things."""
    match shape:
        case "errors":
            body = json.dumps({"errors": [{"code": text, "message": f"no: {text}", "detail": text}]})
        case "page":
            body = f"<html><b>Bad request</b><pre>{text}</pre></html>"
        case "long":
            body = json.dumps({"message": "x" * 480 + text})  # a text that is cut in the middle of a secret
        case _:
            body = json.dumps({"message": f"what is {text}?"})
    return Said(status, {"Warning": f'299 - "you said {text}"', "Retry-After": "0"}, body.encode())


@pytest.mark.parametrize(
    ("status", "shape", "code"),
    [(400, "errors", 7), (401, "message", 6), (403, "page", 6), (429, "long", 7), (500, "message", 7)],
)
def test_what_a_registry_and_its_token_server_say_back(
    tmp_path: Path, web: Web, shop: Shop, status: int, shape: str, code: int
) -> None:
    kit = Kit(tmp_path / "one", web)
    kit("login", REGISTRY, "-u", "ada", "--password-stdin", text=PASSWORD)
    ref = f"{REGISTRY}/team/model:v1"
    kit("pack", str(project(tmp_path / "project")), "-t", ref)
    basic = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
    said = f"Basic {basic} ada:{PASSWORD} {quote(PASSWORD)}"
    shop.echoes = echo(f"Bearer {TOKEN} {IDENTITY} {said}", status, shape)
    assert "you said Bearer *** *** Basic *** ada:*** ***" in kit("push", ref, code=code)
    kit("push", ref, "-vvv", "--format", "json", code=code)
    shop.echoes, shop.gives = None, echo(said, status, shape)
    assert "***" in kit("push", ref, "-v", code=6 if status == 400 else code)
    no_secrets(kit.said)


def test_what_storage_says_back(tmp_path: Path, web: Web, shop: Shop) -> None:
    kit = Kit(tmp_path / "one", web)
    kit("login", REGISTRY, "-u", "ada", "--password-stdin", text=PASSWORD)
    ref = f"{REGISTRY}/team/model:v1"
    kit("pack", str(project(tmp_path / "project")), "-t", ref)
    kit("push", ref)
    kit("remove", ref, "-f")
    shop.refused.add("quotes")
    assert "SignatureDoesNotMatch" in kit("pull", ref, "-vvv", code=7)
    no_secrets(kit.said)


def test_identity_and_registry_tokens(tmp_path: Path, web: Web) -> None:
    kit = Kit(tmp_path / "one", web)
    kit("login", REGISTRY, "--password-stdin", "-vvv", text=IDENTITY)
    kit("inspect", f"{REGISTRY}/team/model:none", "--remote", "-vvv", code=4)
    kit("logout", REGISTRY, "-vvv")
    assert not json.loads((kit.home / "kitops" / "realms.json").read_text())
    (kit.home / ".docker").mkdir()
    config = {"auths": {REGISTRY: {"registrytoken": REGISTRY_TOKEN}}}
    (kit.home / ".docker" / "config.json").write_text(json.dumps(config))
    kit("inspect", f"{REGISTRY}/team/model:none", "--remote", "-vvv", code=4)
    (kit.home / ".docker" / "config.json").write_text(json.dumps(config)[:-1] + "," + REGISTRY_TOKEN)
    kit("inspect", f"{REGISTRY}/team/model:none", "--remote", "-vvv", code=6)
    no_secrets(kit.said)


def test_the_proxys_password_is_the_proxys_alone(tmp_path: Path, web: Web) -> None:
    kit = Kit(tmp_path / "one", web)
    kit("login", REGISTRY, "-u", "ada", "--password-stdin", "-vvv", text=PASSWORD)
    kit("inspect", "unknown.example.com/team/model:v1", "--remote", "-vvv", code=8)
    proxied = base64.b64encode(f"proxy-user:{PROXY_PASSWORD}".encode())
    assert all(b"roxy-authorization: Basic " + proxied in head for head in web.heads)
    assert all(PASSWORD.encode() not in head for head in web.heads)
    for host in web.hosts:
        assert set(web.hosts[host].sent("Proxy-Authorization")) <= {None}
    no_secrets(kit.said)
