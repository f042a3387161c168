"""The TLS context of a run: the system's authorities, the user's own, and a client certificate."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from kitops.errors import FileSystemError, InvalidValueError, printable

if TYPE_CHECKING:
    from pathlib import Path

    from kitops.registry.network import Network

_MARK = b"-----BEGIN "
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, Red Hat
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)
"""Where systems keep their authorities: a Python that was built elsewhere looks in another place."""


def build_context(network: Network) -> ssl.SSLContext:
    """The context for connections under ``network``. Reads its files; takes about 40 ms for the system's authorities.

    Raises:
        InvalidValueError: a certificate or key is not one.
        FileSystemError: a file cannot be read.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _trust_system(context)
    for path in network.tls_certs:
        if os.path.isdir(path):
            _trust_directory(context, path)
        else:
            _trust(context, path)
    if not network.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if network.client_cert is not None:
        _identify(context, network.client_cert, network.client_key)
    elif network.client_key is not None:
        raise InvalidValueError("a client key without a client certificate", hint="give --cert as well as --key")
    return context


def _trust_system(context: ssl.SSLContext) -> None:
    """Trust the system's authorities also where OpenSSL did not look: variables of its own divert it, or its build."""
    places = ssl.get_default_verify_paths()
    own = [path for path in (places.openssl_cafile, places.openssl_capath) if os.path.exists(path)]
    diverted = [path for path in own if path not in (places.cafile, places.capath)]
    bundles = [path for path in _BUNDLES if os.path.exists(path)][:1] if not own else []
    with suppress(OSError):  # what is broken there is not the user's doing: what they name themselves is told
        for path in (*diverted, *bundles):
            is_directory = os.path.isdir(path)
            context.load_verify_locations(None if is_directory else path, path if is_directory else None)


def _trust_directory(context: ssl.SSLContext, directory: Path) -> None:
    """Trust what OpenSSL finds there by its hashed names, and every other file that holds certificates."""
    try:
        names = sorted(os.listdir(directory))
        context.load_verify_locations(capath=directory)
    except OSError as error:
        raise FileSystemError.wrap(error, "reading certificate authorities from", directory) from error
    for name in names:
        if name.endswith((".pem", ".crt", ".cer")):
            with suppress(InvalidValueError, FileSystemError):  # a directory may hold keys and dangling links as well
                _trust(context, directory / name)


def _trust(context: ssl.SSLContext, path: Path) -> None:
    pem = _read_pem(path, "certificate authorities")
    if str(path) == ssl.get_default_verify_paths().cafile:
        return  # SSL_CERT_FILE: OpenSSL has read it, and it may be large
    try:
        context.load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise InvalidValueError(f"{printable(path)} holds no usable PEM certificate") from error


def _identify(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    pems = [_read_pem(path, "a certificate or key") for path in (cert, key) if path is not None]
    try:
        context.load_cert_chain(cert, key, password=_refuse_password)
    except _EncryptedKeyError as error:
        raise InvalidValueError(
            f"the key in {printable(key or cert)} is encrypted", hint="decrypt it: openssl pkey -in KEY -out PLAIN"
        ) from error
    except (ssl.SSLError, ValueError) as error:
        hint = "the key does not belong to the certificate" if "MISMATCH" in str(error).upper() else None
        if not any(b"PRIVATE KEY-----" in pem for pem in pems):
            hint = "there is no key in it: name the file that has it with --key"
        raise InvalidValueError(f"client certificate {printable(cert)} is not usable", hint=hint) from error


class _EncryptedKeyError(ValueError):
    """OpenSSL asked for a pass phrase."""


def _refuse_password() -> str:
    raise _EncryptedKeyError


def _read_pem(path: Path, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            pem = file.read(16 * 1024 * 1024)
    except OSError as error:
        raise FileSystemError.wrap(error, f"reading {what} from", path) from error
    if _MARK not in pem:
        raise InvalidValueError(f"{printable(path)} is not a PEM file", hint="PEM files have a line -----BEGIN …-----")
    return pem
