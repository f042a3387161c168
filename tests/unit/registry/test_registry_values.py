from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kitops.errors import InvalidValueError, RegistryError
from kitops.registry.headers import (
    media_type,
    next_link,
    one_line,
    parse_length,
    parse_refusal,
    parse_warnings,
    retry_after,
)
from kitops.registry.network import Network, check_proxy, is_loopback
from kitops.registry.urls import add_query, api_base, api_repository, follow, origin, safe_url

PROXY = "http://proxy.example.com:3128"


# --- urls


@pytest.mark.parametrize("registry", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub(registry: str) -> None:
    assert api_base(registry, plain_http=False) == "https://registry-1.docker.io"
    assert api_repository(registry, "alpine") == "library/alpine"
    assert api_repository(registry, "me/alpine") == "me/alpine"


def test_other_registries_are_themselves() -> None:
    assert api_base("localhost:5000", plain_http=True) == "http://localhost:5000"
    assert api_base("[::1]:5000", plain_http=False) == "https://[::1]:5000"
    assert api_repository("ghcr.io", "alpine") == "alpine"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Host.Example.com./x", ("https", "host.example.com", 443)),
        ("http://[::1]/x", ("http", "::1", 80)),
        ("http://a:81", ("http", "a", 81)),
    ],
)
def test_origin(url: str, expected: tuple[str, str, int]) -> None:
    assert origin(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/b",
        "/x",
        "",
        "https://",
        r"https://evil.example.com\[::1]/",
        r"https://evil.example.com:81\[::1]:443/",
        r"https://evil.example.com\@a/",
        "https://a[::1]/",
        "https://[::1]a/",
        "https://[::1%25eth0]/",
        "https://\t/a",
        "https:\n//a",
    ],
)
def test_no_origin(url: str) -> None:
    with pytest.raises(ValueError):
        origin(url)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/v2/x?_state=a%2Fb==", "https://r.example.com/v2/x?_state=a%2Fb=="),
        ("next", "https://r.example.com/v2/a/next"),
        ("https://other.example.com/y#fragment", "https://other.example.com/y"),
        ("//third.example.com/z", "https://third.example.com/z"),
    ],
)
def test_follow(location: str, expected: str) -> None:
    assert follow("https://r.example.com/v2/a/b", location) == expected


@pytest.mark.parametrize(
    "location",
    [
        "",
        "http://r.example.com/v2/x",
        "ftp://a/b",
        "https://user@host/x",
        "file:///etc/passwd",
        "https://[",
        r"https://evil.example.com\[::1]/x",
    ],
)
def test_locations_that_lead_nowhere_good(location: str) -> None:
    with pytest.raises(RegistryError):
        follow("https://r.example.com/v2/a/b?token=secret", location)


def test_plain_http_may_lead_to_tls() -> None:
    assert follow("http://localhost:1/a", "https://localhost:2/b") == "https://localhost:2/b"


def test_add_query_leaves_the_rest_alone() -> None:
    assert add_query("http://a/b", "digest", "sha256:1") == "http://a/b?digest=sha256%3A1"
    assert add_query("http://a/b?_state=x==", "digest", "sha256:1") == "http://a/b?_state=x==&digest=sha256%3A1"


def test_safe_urls_have_no_secrets() -> None:
    url = (
        "https://user:pass@host:1/v2/x?X-Amz-Signature=topsecret&digest=sha256:ab&token=t&scope=repository:a:pull,push"
    )
    assert safe_url(url) == "https://host:1/v2/x?digest=sha256:ab&scope=repository:a:pull,push"
    assert safe_url("https://[") == "a URL that does not parse"
    assert "\x1b" not in safe_url("https://host/\x1b[31m")


# --- headers


@pytest.mark.parametrize(
    ("body", "codes", "text"),
    [
        (
            b'{"errors":[{"code":"MANIFEST_INVALID","message":"bad","detail":"why"},{"code":"UNKNOWN"}]}',
            ("MANIFEST_INVALID", "UNKNOWN"),
            "MANIFEST_INVALID: bad: why; UNKNOWN",
        ),
        (b'{"errors":[{"code":"DENIED","message":"DENIED","detail":{"a":1}}, 7]}', ("DENIED",), "DENIED"),
        (b'{"message":"slow\\ndown"}', (), "slow down"),
        (b'{"error":"invalid_grant"}', (), "invalid_grant"),
        (b'{"errors":"x"}', (), ""),
        (b'"text"', (), '"text"'),
        (b"<html><b>413</b> Request Entity Too Large</html>", (), "413 Request Entity Too Large"),
        (b"\xff\x1b[31mred", (), "\ufffd\\x1b[31mred"),
        (b"", (), ""),
    ],
)
def test_refusals(body: bytes, codes: tuple[str, ...], text: str) -> None:
    found = parse_refusal(body)
    assert (found.codes, found.text) == (codes, text)


def test_long_foreign_text_is_cut() -> None:
    assert len(one_line("x" * 10_000)) == 501


def test_a_refusal_full_of_open_tags_takes_no_longer_than_its_length() -> None:
    started = time.process_time()
    assert parse_refusal(b"<" * 600_000).text == "<" * 500 + "…"
    assert time.process_time() - started < 10


def test_warnings() -> None:
    assert parse_warnings(['299 - "this is \\"old\\""', '199 - "no"', '299 - "a", 299 host "b"']) == [
        'this is "old"',
        "a",
        "b",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('</v2/x/tags/list?n=2&last=b>; rel="next"', "/v2/x/tags/list?n=2&last=b"),
        ("<https://h/a,b>; rel=next", "https://h/a,b"),
        ('</p>; rel="prev", </n>; rel="next"', "/n"),
        ('</n>; title="x"; REL=NEXT', "/n"),
        ('</p>; rel="prev"', None),
        ("", None),
        ("nonsense", None),
    ],
)
def test_links(value: str, expected: str | None) -> None:
    assert next_link([value]) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("5", 5.0),
        ("Wed, 01 Jan 2025 00:00:10 GMT", 10.0),
        ("Wed, 01 Jan 2025 00:00:10 -0000", 10.0),
        ("Tue, 31 Dec 2024 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("9" * 400, 999999999.0),
        (f"Wed, 01 Jan {'9' * 20} 00:00:10 GMT", None),
        (f"Wed, 01 Jan 2025 00:00:10 +{'9' * 14}", None),
    ],
)
def test_retry_after(value: str | None, expected: float | None) -> None:
    assert retry_after(value, datetime(2025, 1, 1, tzinfo=UTC)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        (" 12 ", 12),
        ("", None),
        (None, None),
        ("-1", None),
        ("1, 1", None),
        ("9" * 19, None),
        ("9" * 5000, None),
    ],
)
def test_lengths(value: str | None, expected: int | None) -> None:
    assert parse_length(value) == expected


def test_media_type_loses_its_parameters() -> None:
    assert media_type("application/json; charset=utf-8") == "application/json"
    assert media_type(None) == ""


# --- proxies


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "direct"),
    [
        ("", "registry.example.com", 443, False),
        ("*", "registry.example.com", 443, True),
        ("example.com", "registry.example.com", 443, True),
        ("example.com", "example.com", 443, True),
        (".example.com", "registry.example.com", 443, True),
        (".example.com", "example.com", 443, False),
        ("*.example.com", "a.example.com", 443, True),
        ("ample.com", "registry.example.com", 443, False),
        ("other.org, EXAMPLE.com ", "Registry.Example.COM", 443, True),
        ("example.com:5000", "example.com", 443, False),
        ("example.com:\u00b2", "example.org", 443, False),
        ("[fd00::1]:\u00b2", "example.org", 443, False),
        ("example.com:5000", "example.com", 5000, True),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.0.0.0/8", "registry.example.com", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("fd00::/8", "[fd00::1]", 443, True),
        ("fd00::1", "fd00:0::1", 443, True),
        ("[fd00::1]:5000", "[fd00::1]", 5000, True),
        ("[fd00::1]:5000", "[fd00::1]", 443, False),
        ("bad/cidr", "10.1.2.3", 443, False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, port: int, direct: bool) -> None:
    network = Network(https_proxy=PROXY, no_proxy=no_proxy)
    assert network.proxy_for("https", host, port) == (None if direct else PROXY)


def test_each_scheme_has_its_proxy() -> None:
    network = Network(http_proxy="http://plain:1", https_proxy="tls:2")
    assert network.proxy_for("http", "a.example", 80) == "http://plain:1"
    assert network.proxy_for("https", "a.example", 443) == "http://tls:2"
    assert Network(http_proxy="http://plain:1").proxy_for("https", "a.example", 443) is None


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.8.9.1", "[::1]"])
def test_loopback_has_no_proxy_unless_it_is_the_one_that_was_asked_for(host: str) -> None:
    assert is_loopback(host)
    assert Network(http_proxy=PROXY).proxy_for("http", host, 80) is None
    assert Network(proxy=PROXY, no_proxy="*").proxy_for("http", host, 80) == PROXY


@pytest.mark.parametrize("host", ["localhost.example.com", "10.0.0.1", "example.com"])
def test_what_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("text", ["socks5://host:1", "http://", "http://host:port", "http://[", "ftp://x"])
def test_proxies_that_are_none(text: str) -> None:
    with pytest.raises(InvalidValueError):
        check_proxy(text)


def test_a_proxys_password_does_not_show() -> None:
    network = Network(proxy="http://me:hunter2@proxy:1", client_cert=Path("c.pem"))
    assert "hunter2" not in repr(network)
    with pytest.raises(InvalidValueError) as caught:
        check_proxy("socks5://me:hunter2@proxy:1")
    assert "hunter2" not in str(caught.value)
