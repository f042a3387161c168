"""Which token server gets what: the rules of realms, and the file of those that logins recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kitops.errors import AuthenticationError, FileSystemError, InvalidValueError
from kitops.registry.realms import RealmPins, check_realm, is_of_registry, realm_origin

REGISTRY = "https://registry.example.com"
HUB = "https://registry-1.docker.io"


@pytest.mark.parametrize(
    ("realm", "registry"),
    [
        ("https://registry.example.com/token", REGISTRY),
        ("https://registry.example.com:8443/token", REGISTRY),  # GitLab and its registry share a host
        ("https://Registry.Example.com./token", REGISTRY),
        ("https://auth.docker.io/token", HUB),
        ("https://gitlab.com/jwt/auth", "https://registry.gitlab.com"),
        ("https://authn.nvidia.com/token", "https://nvcr.io"),
        ("https://api.digitalocean.com/v2/registry/auth", "https://registry.digitalocean.com"),
        ("https://api.scaleway.com/x", "https://rg.fr-par.scw.cloud"),
        ("https://scc.suse.com/api", "https://registry.suse.com"),
        ("https://dockerauth.cn-hangzhou.aliyuncs.com/auth", "https://registry.cn-beijing.aliyuncs.com"),
        ("https://dockerauth-ee-vpc.us-west-1.aliyuncs.com/auth", "https://x-registry.us-west-1.cr.aliyuncs.com"),
        ("http://registry.example.com:5000/token", "http://registry.example.com:5000"),
        ("https://registry.example.com/token", "http://registry.example.com:5000"),
        ("http://127.0.0.1:9/token", "http://localhost:5000"),
        ("https://127.0.0.1:9/token", "https://localhost:5000"),
        ("http://[::1]:9/token", "http://127.0.0.1:5000"),
    ],
)
def test_credentials_go_to_the_registrys_own_token_server(realm: str, registry: str) -> None:
    assert check_realm(realm, registry, secret=True) is None
    assert check_realm(realm, registry, secret=False) is None


@pytest.mark.parametrize(
    ("realm", "registry"),
    [
        ("https://auth.example.org/token", REGISTRY),
        ("https://auth.example.com/token", REGISTRY),  # a sibling is another host
        ("https://sub.registry.example.com/token", REGISTRY),
        ("https://example.com/token", REGISTRY),
        ("https://registry.example.com.evil.example/token", REGISTRY),
        ("https://auth.example.org/token", "http://registry.example.com:5000"),
        ("https://auth.docker.io/token", REGISTRY),  # known, but for Docker Hub
        ("https://auth.docker.io:8443/token", HUB),
        ("https://auth.docker.io/token", "https://registry-1.docker.io:5000"),
        ("https://auth.docker.io.evil.example/token", HUB),
        ("https://evil.aliyuncs.com/auth", "https://registry.cn-beijing.aliyuncs.com"),
        ("https://dockerauth-x.oss-cn-beijing.aliyuncs.com/auth", "https://registry.cn-beijing.aliyuncs.com"),
        ("https://gitlab.com/jwt/auth", "https://registry.gitlab.com.evil.example"),
        ("https://10.0.0.7/token", REGISTRY),
    ],
)
def test_credentials_go_to_no_other_host_but_anonymous_requests_may(realm: str, registry: str) -> None:
    with pytest.raises(AuthenticationError, match="on another host") as caught:
        check_realm(realm, registry, secret=True)
    assert "kit login " in (caught.value.hint or "")
    assert check_realm(realm, registry, secret=False) is None


def test_a_recorded_token_server_gets_them_and_no_other() -> None:
    assert check_realm("https://auth.example.org/t?a", REGISTRY, secret=True, pinned="https://auth.example.org") is None
    for pinned in ("https://auth.example.org:444", "http://auth.example.org", "https://other.example.org"):
        with pytest.raises(AuthenticationError, match=f"it was {pinned} when you logged in"):
            check_realm("https://auth.example.org/token", REGISTRY, secret=True, pinned=pinned)


@pytest.mark.parametrize(
    ("realm", "registry"),
    [
        ("http://registry.example.com/token", REGISTRY),  # TLS given up
        ("http://169.254.169.254/latest", "http://registry.example.com:5000"),
        ("http://registry.example.com:5001/token", "http://registry.example.com:5000"),
        ("http://127.0.0.1:80/token", REGISTRY),  # our own machine, on a stranger's behalf
        ("http://127.0.0.1:80/token", "https://127.0.0.1:5000"),
        ("https://127.0.0.1/token", REGISTRY),
        ("https://127.1/token", REGISTRY),
        ("https://2130706433/token", REGISTRY),
        ("https://0x7f.0.0.1/token", REGISTRY),
        ("https://localhost/token", REGISTRY),
        ("https://x.localhost/token", REGISTRY),
        ("https://0.0.0.0/token", REGISTRY),
        ("https://[::]/token", REGISTRY),
        ("https://[::ffff:127.0.0.1]/token", REGISTRY),
        ("https://169.254.169.254/token", REGISTRY),
        ("https://[fe80::1]/token", REGISTRY),
        ("https://[fd00:ec2::254]/token", REGISTRY),
        ("https://[64:ff9b::a9fe:a9fe]/token", REGISTRY),
        ("https://100.100.100.200/token", REGISTRY),
        ("https://224.0.0.1/token", REGISTRY),
        ("ftp://registry.example.com/token", REGISTRY),
        ("file:///etc/passwd", REGISTRY),
        ("https://", REGISTRY),
        ("/token", REGISTRY),
        ("https://host:99999999/token", REGISTRY),
        ("https://user:pass@auth.example.org/token", REGISTRY),
        (r"https://registry.example.com\.evil.example/token", REGISTRY),
        ("https://registry.example.com\u3002evil.example/token", REGISTRY),
        ("https://registry.example.com%2eevil.example/token", REGISTRY),
        ("", REGISTRY),
    ],
)
@pytest.mark.parametrize("secret", [True, False])
def test_a_realm_that_nobody_asks(realm: str, registry: str, secret: bool) -> None:
    with pytest.raises(AuthenticationError):
        check_realm(realm, registry, secret=secret, pinned=None)


def test_an_address_that_is_the_registrys_own_is_not_off_limits() -> None:
    assert check_realm("https://169.254.1.1/token", "https://169.254.1.1:5000", secret=True) is None


def test_origins_of_realms() -> None:
    assert realm_origin("https://Auth.example.org./token?x=1") == "https://auth.example.org"
    assert realm_origin("http://[::1]:80/token") == "http://[::1]"
    assert realm_origin("https://[::1]:444/token") == "https://[::1]:444"


def test_pairs_hold_for_their_port_only() -> None:
    assert is_of_registry("https://auth.docker.io/token", HUB)
    assert not is_of_registry("http://auth.docker.io/token", HUB)


def test_pins_are_kept_beside_the_credentials(tmp_path: Path) -> None:
    pins = RealmPins(tmp_path / "home" / "realms.json")
    assert pins.find("a.example") is None
    pins.pin("a.example", None)
    assert not (tmp_path / "home").exists()
    pins.pin("a.example", "https://auth.example")
    pins.pin("b.example", "https://auth.example")
    assert (pins.find("a.example"), pins.find("c.example")) == ("https://auth.example", None)
    assert (tmp_path / "home" / "realms.json").stat().st_mode & 0o777 == 0o600
    pins.pin("a.example", None)
    assert json.loads((tmp_path / "home" / "realms.json").read_text()) == {"b.example": "https://auth.example"}


def test_pins_that_cannot_be_read_keep_credentials_at_home(tmp_path: Path) -> None:
    path = tmp_path / "realms.json"
    path.write_text("[]")
    with pytest.raises(InvalidValueError, match="token servers file"):
        RealmPins(path).find("a.example")
    path.write_text('{"a.example": 7}')
    assert RealmPins(path).find("a.example") is None
    path.unlink()
    path.mkdir()
    with pytest.raises(FileSystemError, match="reading token servers"):
        RealmPins(path).find("a.example")
