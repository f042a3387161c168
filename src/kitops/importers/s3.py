"""Objects of S3 and of servers that speak like it, through boto3.

Where the server is and who asks is found in boto3's own ways: ``AWS_ENDPOINT_URL``, ``AWS_PROFILE``, ``AWS_REGION``,
roles of machines, ``AWS_CA_BUNDLE``, ``HTTPS_PROXY``. Without any credentials requests are not signed, as public
buckets want it. Source: Amazon S3 API reference, HeadObject, GetObject.
"""

from __future__ import annotations

import base64
import binascii
import re
import socket
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from kitops.errors import IntegrityError, KitError, NetworkError, SourceError, printable
from kitops.importers.remote_object import ObjectFacts, replaced
from kitops.oci.digest import Digest
from kitops.registry.dial import shut_down

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.content.cancel import CancelToken
    from kitops.content.protocols import Reader

CONNECT_SECONDS: Final = 10
SILENT_SECONDS: Final = 60
_MD5: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})


class S3:
    """The way to S3, opened when the first object is asked for. Thread-safe once that was done.

    Args:
        user_agent: what to say of ourselves.
        connections: how many objects are read at a time.
        cancel: watched by readers.

    Raises:
        SourceError: boto3 is not installed, or finds its settings wanting.
    """

    def __init__(self, user_agent: str, connections: int, cancel: CancelToken) -> None:
        try:
            import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra, and 200 ms
            from botocore import UNSIGNED  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
            from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
        except ImportError as error:
            raise SourceError(
                "data in S3 needs boto3, which is not installed", hint="pip install 'kitops[s3]'"
            ) from error
        self.cancel = cancel
        with _told("reaching S3"):
            session = boto3.session.Session()
            self.is_signed = session.get_credentials() is not None
            config = Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=SILENT_SECONDS,
                max_pool_connections=connections,
                retries={"mode": "standard", "total_max_attempts": 3},
                user_agent_extra=user_agent,
                signature_version=None if self.is_signed else UNSIGNED,
            )
            self.calls: Any = session.client("s3", config=config)

    def open(self, bucket: str, key: str, version: str) -> S3Object:
        """Ask what is at ``key``; "" is its newest version.

        Raises:
            SourceError: there is no such object, or we may not read it.
            NetworkError: the server cannot be reached, or is busy.
        """
        name = printable(f"s3://{bucket}/{key}" + (f"?versionId={version}" if version else ""))
        asked = {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})
        self.cancel.check()
        with _told(f"asking for {name}", is_signed=self.is_signed):
            head = self.calls.head_object(**asked, ChecksumMode="ENABLED")
        return S3Object(name, _read_facts(bucket, head), asked, self)


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object of S3 (``RemoteObject``)."""

    name: str
    facts: ObjectFacts
    _asked: dict[str, str] = field(repr=False)
    _s3: S3 = field(repr=False)

    @contextmanager
    def open(self, offset: int) -> Iterator[Reader]:
        """As :meth:`kitops.importers.remote_object.RemoteObject.open`."""
        doing = f"reading {self.name}"
        condition = {"IfMatch": f'"{self.facts.etag}"'} if self.facts.etag else {}
        ranged = {"Range": f"bytes={offset}-"} if offset else {}
        self._s3.cancel.check()
        with _told(doing, is_signed=self._s3.is_signed, replaced_etag=self.facts.etag, name=self.name):
            answer = self._s3.calls.get_object(**self._asked, **condition, **ranged)
        found = str(answer.get("ETag", "")).strip('"')
        body = answer["Body"]
        try:
            if found != self.facts.etag:
                raise replaced(self.name, self.facts.etag, found)
            if offset and not str(answer.get("ContentRange", "")).startswith(f"bytes {offset}-"):
                raise SourceError(f"{self.name}: the server gives other bytes than those asked for")
            reader = _BodyReader(body, doing, self._s3.cancel)
            with self._s3.cancel.closing(reader.abort):
                yield reader
        finally:
            body.close()


class _BodyReader:
    """The body of an answer; a break is NetworkError, and the end that is asked for wakes it."""

    def __init__(self, body: Any, doing: str, cancel: CancelToken) -> None:
        self._body = body
        self._doing = doing
        self._cancel = cancel

    def readinto(self, buffer: memoryview, /) -> int:
        self._cancel.check()
        try:
            with _told(self._doing):
                found: bytes = self._body.read(len(buffer))
        except KitError:
            self._cancel.check()
            raise
        self._cancel.check()
        buffer[: len(found)] = found
        return len(found)

    def abort(self) -> None:
        """Break the connection. Never raises."""
        raw = getattr(self._body, "_raw_stream", None)
        sock = getattr(getattr(raw, "connection", None), "sock", None)
        if isinstance(sock, socket.socket):
            shut_down(sock)


def _read_facts(bucket: str, head: dict[str, Any]) -> ObjectFacts:
    etag = str(head.get("ETag", "")).strip('"')
    version = str(head.get("VersionId") or "")
    digest = None
    # of several parts, S3 keeps the checksum of their checksums unless the type says otherwise: "<base64>-<parts>"
    if (text := head.get("ChecksumSHA256")) and head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT":
        try:
            digest = Digest.parse(f"sha256:{base64.b64decode(text, validate=True).hex()}")
        except (binascii.Error, KitError):
            digest = None
    # in directory buckets, and where it is encrypted with a key of its own, an object has an ETag that is no MD5
    is_plain = (
        not bucket.endswith("--x-s3")
        and head.get("ServerSideEncryption", "AES256") == "AES256"
        and not head.get("SSECustomerAlgorithm")
    )
    md5 = etag if is_plain and _MD5.fullmatch(etag) else ""
    return ObjectFacts(int(head["ContentLength"]), etag, "" if version == "null" else version, digest, md5)


@contextmanager
def _told(doing: str, *, is_signed: bool = True, replaced_etag: str = "", name: str = "") -> Iterator[None]:
    """In the block, what boto3 raises becomes SourceError (nothing is mended by trying again) or NetworkError."""
    import urllib3.exceptions as http  # noqa: PLC0415 - boto3 lets these through
    from botocore import exceptions as boto  # noqa: PLC0415 - an extra

    try:
        yield
    except boto.ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status == 412 and replaced_etag:
            raise replaced(name, replaced_etag, "") from error
        raise _by_status(doing, error, status, is_signed=is_signed) from error
    except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.TokenRetrievalError) as error:
        raise SourceError(f"{doing}: {_line(error)}", hint=_LOGIN) from error
    except (boto.HTTPClientError, boto.ResponseStreamingError, boto.IncompleteReadError, boto.ConnectionError) as error:
        raise NetworkError(f"{doing}: {_line(error)}", hint="run the same command again") from error
    except boto.FlexibleChecksumError as error:
        raise IntegrityError(name or doing, "the checksum that S3 tells", "bytes with another") from error
    except boto.BotoCoreError as error:
        raise SourceError(
            f"{doing}: {_line(error)}", hint="check the settings of AWS (`aws configure list`)"
        ) from error
    except (http.HTTPError, OSError) as error:
        raise NetworkError(f"{doing}: {_line(error)}", hint="run the same command again") from error
    except ValueError as error:  # an endpoint that is no URL
        raise SourceError(f"{doing}: {_line(error)}", hint="check AWS_ENDPOINT_URL") from error


_LOGIN: Final = "sign in as boto3 wants it: AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"


def _by_status(doing: str, error: Any, status: int, *, is_signed: bool) -> KitError:
    said = error.response.get("Error", {})
    code = str(said.get("Code", status))
    if status == 404:
        return SourceError(f"{doing}: there is no such object", hint="check remotePath in the Kitfile")
    if status in (301, 307, 400) and code in ("301", "400", "PermanentRedirect", "AuthorizationHeaderMalformed"):
        return SourceError(f"{doing}: S3 answers {code}", hint="set AWS_REGION to the bucket's region")
    if status in (400, 401, 403):
        who = "your credentials may not read it" if is_signed else "it is not public, and there are no credentials"
        return SourceError(f"{doing}: {who} ({code}), or it does not exist", hint=_LOGIN)
    if status in _BUSY:
        return NetworkError(f"{doing}: S3 answers {code}", hint="run the same command again")
    return SourceError(f"{doing}: S3 answers {code}")


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
