"""What went wrong below HTTP, in words: from urllib3's and the system's exceptions to NetworkError."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from http.client import HTTPException, IncompleteRead, RemoteDisconnected

from urllib3.exceptions import HTTPError, LocationParseError, ProxyError, ReadTimeoutError

from kitops.errors import NetworkError, printable
from kitops.registry.headers import MAYBE_TLS, PROXY_LOGIN, one_line
from kitops.registry.trickle import EndlessHeadError

_REFUSED = "check the host and port, and that the server is running"
_UNKNOWN = "check its spelling and the name servers"
_TLS_HINTS = (
    # what OpenSSL says, in any of its versions; for people; what to type; in this order
    (
        ("CERTIFICATE_VERIFY_FAILED", "doesn't match", "not valid for"),
        "the certificate is not trusted",
        "trust it with --tls-cert FILE, or do without the check with --tls-verify=false",
    ),
    (
        ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"),
        "the server does not speak TLS",
        "if the registry serves plain HTTP, say --plain-http, or --plain-http=HOST where others do not",
    ),
    (
        ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE", "UNKNOWN_CA"),
        "the server refused the TLS handshake",
        "it may want a client certificate: --cert FILE --key FILE",
    ),
)


def explain(error: BaseException, doing: str) -> NetworkError:
    """The NetworkError that ``error`` is, while ``doing`` (``"GET https://…"``)."""
    causes = list(_chain(error))
    prefix = "through the proxy: " if any(isinstance(cause, ProxyError) for cause in causes) else ""
    for cause in causes:
        if found := _explain_one(cause, f"{doing}: {prefix}"):
            if prefix and found.hint in (_REFUSED, _UNKNOWN):
                found.hint = "check the proxy: --proxy, or HTTPS_PROXY and HTTP_PROXY, or NO_PROXY to do without it"
            return found
    return NetworkError(f"{doing}: {prefix}{one_line(str(error)) or type(error).__name__}")


def _chain(error: BaseException | None) -> list[BaseException]:
    """``error`` and what caused it, innermost first."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        inner = [argument for argument in error.args if isinstance(argument, BaseException)]
        error = getattr(error, "original_error", None) or (inner[0] if inner else None) or error.__cause__
    return found[::-1]


def _explain_one(cause: BaseException, prefix: str) -> NetworkError | None:
    match cause:
        case ssl.SSLError():
            return _explain_tls(cause, prefix)
        case socket.gaierror():
            return _explain_lookup(cause, prefix)
        case IncompleteRead() | RemoteDisconnected():
            may_want_tls = isinstance(cause, RemoteDisconnected) and prefix.partition(" ")[2].startswith("http://")
            return NetworkError(f"{prefix}the connection was closed early", hint=MAYBE_TLS if may_want_tls else None)
        case TimeoutError() | ReadTimeoutError():
            return NetworkError(f"{prefix}no answer in time", hint="check the address, the network and its proxies")
        case OSError():
            return _explain_system(cause, prefix)
        case LocationParseError():
            return NetworkError(f"{prefix}the address is not valid", permanent=True)
        case EndlessHeadError():
            return NetworkError(f"{prefix}the answer's headers never end", permanent=True)
        case HTTPException():
            return NetworkError(
                f"{prefix}the answer is not HTTP ({type(cause).__name__})",
                hint=MAYBE_TLS,
            )
        case HTTPError():
            return None  # its cause says more, and it stands before
    return None


def _explain_system(cause: OSError, prefix: str) -> NetworkError | None:
    text = str(cause)
    if text.startswith("Tunnel connection failed"):
        hint = PROXY_LOGIN if " 407" in text else None
        return NetworkError(f"{prefix}{one_line(text).lower()}", hint=hint, permanent=" 407" in text or " 403" in text)
    if isinstance(cause, HTTPError) or not cause.errno:
        return None
    reason = os.strerror(cause.errno).lower()
    if cause.errno == errno.ECONNREFUSED:
        return NetworkError(f"{prefix}{reason}", hint=_REFUSED)
    return NetworkError(f"{prefix}{printable(reason)}")


def _explain_lookup(cause: socket.gaierror, prefix: str) -> NetworkError:
    return NetworkError(
        f"{prefix}the name of the host is not known",
        hint=_UNKNOWN,
        permanent=cause.errno != socket.EAI_AGAIN,
    )


def _explain_tls(cause: ssl.SSLError, prefix: str) -> NetworkError:
    text = str(cause)
    said = f"{text} {getattr(cause, 'reason', '')}".upper()
    for marks, reason, hint in _TLS_HINTS:
        if any(mark.upper() in said for mark in marks):
            detail = getattr(cause, "verify_message", "")
            more = f" ({one_line(detail).lower().rstrip('.')})" if detail else ""
            return NetworkError(f"{prefix}{reason}{more}", hint=hint, permanent=True)
    if isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or "EOF" in said:
        return NetworkError(f"{prefix}the connection was closed early")
    return NetworkError(f"{prefix}TLS failed: {one_line(text)}", permanent=True)
