"""A dataset's ``remotePath`` and ``remoteHash``: where data that is not packed lies, and what it is known by. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote, urlsplit

from kitops.errors import InvalidValueError, printable
from kitops.kitfile.schema import clean_path
from kitops.oci.digest import Digest
from kitops.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kitops.kitfile.schema import Dataset

FORM: Final = "write s3://bucket/key, https://host/path, or a reference with a tag or digest"
_S3: Final = re.compile(r"s3://([^/?#]+)/([^?#]+)(?:\?versionId=([^&#]+))?", re.ASCII)
_LOOPBACK: Final = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|::1", re.ASCII)
_UNFIT: Final = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class S3Path:
    """An object of S3; ``version`` is "" for the newest."""

    bucket: str
    key: str
    version: str = ""

    @property
    def file_name(self) -> str:
        """What its file is called where the Kitfile names a directory."""
        return self.key.rpartition("/")[2]

    def __str__(self) -> str:
        return printable(f"s3://{self.bucket}/{self.key}" + (f"?versionId={self.version}" if self.version else ""))


@dataclass(frozen=True, slots=True)
class WebPath:
    """A file behind a URL, whose query is not shown to people: it may be a signature."""

    url: str

    @property
    def file_name(self) -> str:
        return unquote(urlsplit(self.url).path.rpartition("/")[2])

    def __str__(self) -> str:
        return printable(urlsplit(self.url)._replace(query="").geturl())


Remote: TypeAlias = S3Path | WebPath | Reference


def parse_remote(text: str) -> Remote:
    """Read a ``remotePath``: ``s3://bucket/key[?versionId=…]``, ``https://…``, or a reference with a tag or digest.

    ``http://`` is taken for this machine only.

    Raises:
        InvalidValueError: it is none of these, or names a folder.
    """
    if text.startswith("s3://"):
        return _parse_s3(text)
    if text.startswith(("https://", "http://")):
        return _parse_web(text)
    try:
        reference = Reference.parse(text)
    except InvalidValueError:
        reference = None
    if reference is None or (reference.tag is None and reference.digest is None):
        raise InvalidValueError(f"{show(text)} is neither an object of S3, a URL nor a ModelKit", hint=FORM)
    return reference


def _parse_s3(text: str) -> S3Path:
    match = _S3.fullmatch(text)
    if match is None:
        raise InvalidValueError(f"{show(text)} is not an object", hint="write s3://bucket/key[?versionId=…]")
    bucket, key, version = match.groups()
    if key.endswith("/"):
        hint = "name one object, or pack the folder as a ModelKit of its own and refer to that"
        raise InvalidValueError(f"{show(text)} is a folder", hint=hint)
    return S3Path(bucket, key, version or "")


def _parse_web(text: str) -> WebPath:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    if not host or _UNFIT.search(text) or "\\" in text:
        raise InvalidValueError(
            f"{show(text.partition('?')[0])} is not a URL", hint="write https://host/path, other characters as %XX"
        )
    if parts.username is not None or parts.password is not None:
        hint = "a Kitfile is public: leave them out"
        raise InvalidValueError(f"a user or password stands in the URL of {show(host)}", hint=hint)
    if parts.scheme == "http" and not _LOOPBACK.fullmatch(host):
        raise InvalidValueError(f"{show(text.partition('?')[0])} is not protected by TLS", hint="write https://")
    if parts.fragment:
        raise InvalidValueError(f"{show(text.partition('?')[0])} has a fragment (#…)", hint="leave it out")
    if parts.path.endswith("/") or not parts.path:
        raise InvalidValueError(f"{show(text.partition('?')[0])} is a folder", hint="name one file")
    return WebPath(text)


@dataclass(frozen=True, slots=True)
class RemoteHash:
    """What must come: bytes with a digest, or an object with an ETag (opaque, without quotes)."""

    digest: Digest | None = None
    etag: str = ""

    @classmethod
    def parse(cls, text: str) -> RemoteHash:
        """Read a ``remoteHash``: ``sha256:<hex>``, or an ETag with quotes or without.

        Raises:
            InvalidValueError: it is a damaged digest, or a weak ETag.
        """
        text = text.strip()
        if text.startswith(("sha256:", "sha512:")):
            return cls(digest=Digest.parse(text))
        if text.startswith("W/"):
            hint = "use the SHA-256 of the content: kit pack --pin-remote-content"
            raise InvalidValueError(f"{show(text)} is a weak ETag, which does not promise the same bytes", hint=hint)
        return cls(etag=strip_etag(text))

    def __str__(self) -> str:
        return str(self.digest) if self.digest else f"ETag {self.etag}"


def strip_etag(text: str) -> str:
    """An entity tag without its quotes."""
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def object_path(path: str, remote: S3Path | WebPath) -> str | None:
    """Where an object goes: the dataset's ``path``; below it, under its own name, where that is a directory.

    Cleaned, but not judged: it may lead out. None where the object's name is no file's.
    """
    folder = clean_path(path)
    if folder != "." and not path.endswith("/"):
        return folder
    name = remote.file_name
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        return None
    return name if folder == "." else f"{folder}/{name}"


def find_target(dataset: Dataset) -> str | None:
    """Where a dataset's remote object goes; None without one, where that is a directory, or not known."""
    try:
        where = parse_remote(dataset.remote_path) if dataset.remote_path else None
    except InvalidValueError:
        return None
    return None if where is None or isinstance(where, Reference) else object_path(dataset.path, where)


def find_clash(taken: Mapping[str, str], path: str) -> str | None:
    """Who of ``taken`` (names by path) has ``path``, a directory above it, or something below it."""
    above = path
    while above:
        if above in taken:
            return taken[above]
        above = above.rpartition("/")[0]
    return next((name for other, name in taken.items() if other.startswith(f"{path}/")), None)


def find_remote_problems(dataset: Dataset) -> list[tuple[str, str, str | None]]:
    """What is wrong with where a dataset lies: field, message, hint."""
    if not dataset.remote_path:
        return []
    found: list[tuple[str, str, str | None]] = []
    remote: Remote | None = None
    try:
        remote = parse_remote(dataset.remote_path)
    except InvalidValueError as error:
        found.append(("remotePath", error.message, error.hint))
    is_object = dataset.remote_path.startswith(("s3://", "https://", "http://"))
    if not dataset.remote_hash.strip():
        if is_object:
            hint = "write the ETag or sha256:… of what is at remotePath, or pack with --pin-remote"
            found.append(("remoteHash", "is missing", hint))
        return found
    try:
        wanted = RemoteHash.parse(dataset.remote_hash)
    except InvalidValueError as error:
        found.append(("remoteHash", error.message, error.hint))
        return found
    if isinstance(remote, Reference):
        if wanted.digest is None:
            found.append(("remoteHash", "is not a digest", "write the digest of the ModelKit's manifest: sha256:…"))
        elif remote.digest not in (None, wanted.digest):
            found.append(("remoteHash", "is not the digest that remotePath names", "leave one of them out"))
    return found


def show(text: str) -> str:
    """Text of a Kitfile for people, at most 58 characters."""
    return printable(text[:57] + "…" if len(text) > 58 else text)
