from __future__ import annotations

import errno
import http.client
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from urllib3.exceptions import HTTPError, LocationParseError, ProtocolError, ProxyError

import kitops.registry
from kitops.registry.link_errors import explain

if TYPE_CHECKING:
    from kitops.errors import NetworkError


def tls(reason: str) -> ssl.SSLError:
    return ssl.SSLError(1, f"[SSL: {reason}] {reason.lower()} (_ssl.c:1000)")


@pytest.mark.parametrize(
    ("error", "says", "hint", "permanent"),
    [
        (
            ProtocolError("aborted", OSError(errno.ECONNREFUSED, "x")),
            "connection refused",
            "that the server is running",
            False,
        ),
        (OSError(errno.ENETUNREACH, "x"), "network is unreachable", None, False),
        (ProtocolError("aborted", http.client.RemoteDisconnected("x")), "closed early", None, False),
        (http.client.IncompleteRead(b""), "closed early", None, False),
        (socket.gaierror(socket.EAI_NONAME, "x"), "not known", "spelling", True),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "not known", "spelling", False),
        (TimeoutError("x"), "no answer in time", "network", False),
        (http.client.BadStatusLine("x"), "not HTTP", "--plain-http", False),
        (LocationParseError("x"), "not valid", None, True),
        (tls("WRONG_VERSION_NUMBER"), "does not speak TLS", "--plain-http", True),
        (tls("CERTIFICATE_VERIFY_FAILED"), "not trusted", "--tls-cert", True),
        (tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "refused the TLS handshake", "--cert", True),
        (tls("NO_CIPHERS_AVAILABLE"), "TLS failed", None, True),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "closed early", None, False),
        (ProxyError("x", OSError("Tunnel connection failed: 407 Auth")), "through the proxy: .*407", "user", True),
        (ProxyError("x", OSError("Tunnel connection failed: 502 Bad")), "through the proxy: .*502", None, False),
        (ProxyError("x", socket.gaierror(socket.EAI_NONAME, "x")), "through the proxy: .*not known", "--proxy", True),
        (ProxyError("cannot connect", OSError("odd")), "through the proxy: ", None, False),
        (HTTPError("something\nelse"), "something else", None, False),
        (HTTPError(), "HTTPError", None, False),
    ],
)
def test_what_went_wrong_in_words(error: BaseException, says: str, hint: str | None, permanent: bool) -> None:
    found: NetworkError = explain(error, "GET https://registry.example.com/v2/")
    assert found.message.startswith("GET https://registry.example.com/v2/: ")
    assert "\n" not in found.message
    with pytest.raises(type(found), match=says):
        raise found
    assert found.permanent is permanent
    assert (found.hint is None) if hint is None else (hint in (found.hint or ""))


def test_a_connection_without_tls_that_is_closed_at_once_may_want_it() -> None:
    error = ProtocolError("aborted", http.client.RemoteDisconnected("x"))
    assert "--plain-http" in (explain(error, "GET http://registry.example.com/v2/").hint or "")
    assert explain(error, "GET https://registry.example.com/v2/?next=http://x").hint is None


def test_the_package_names_what_it_has() -> None:
    for name in kitops.registry.__all__:
        assert getattr(kitops.registry, name)
    with pytest.raises(AttributeError):
        getattr(kitops.registry, "nothing")  # noqa: B009 - a type checker knows that it is not there
