"""A request of the distribution specification: which endpoint it means, on what, by whom."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote, urlsplit

from kitops.errors import InvalidValueError
from kitops.oci.digest import Digest
from kitops.oci.reference import check_tag
from kitops.server.answers import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kitops.server.access import Access
    from kitops.server.body import Body
    from kitops.server.wire import Request

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = rf"(?P<repository>{_PART}(?:/{_PART})*)"
_ROUTES: Final = tuple(
    (re.compile(rf"/v2/{pattern}", re.ASCII), endpoint)
    for pattern, endpoint in (
        ("", "base"),
        ("_catalog", "catalog"),
        (rf"{_NAME}/blobs/uploads/?", "uploads"),
        (rf"{_NAME}/blobs/uploads/(?P<pointer>[^/]+)", "upload"),
        (rf"{_NAME}/blobs/(?P<pointer>[^/]+)", "blob"),
        (rf"{_NAME}/manifests/(?P<pointer>[^/]+)", "manifest"),
        (rf"{_NAME}/referrers/(?P<pointer>[^/]+)", "referrers"),
        (rf"{_NAME}/tags/list", "tags"),
    )
)
_REPOSITORY: Final = re.compile(rf"{_PART}(?:/{_PART})*", re.ASCII)
_ACTIONS: Final = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}
_MAX_NAME: Final = 255
_MAX_FIELDS: Final = 64


@dataclass(frozen=True, slots=True)
class Call:
    """A request: where it goes and what it brings. ``headers`` has lower-case names."""

    method: str
    endpoint: str
    repository: str
    pointer: str
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: Body
    access: Access

    @property
    def scope(self) -> str:
        """What a token has to allow."""
        if self.endpoint == "catalog":
            return "registry:catalog:*"
        return f"repository:{self.repository}:{_ACTIONS.get(self.method, 'pull,push')}" if self.repository else ""

    @property
    def digest(self) -> Digest:
        """Its pointer.

        Raises:
            RefusedError: it is not a digest.
        """
        return parse_digest(self.pointer)

    def asked(self, name: str) -> str | None:
        """The last value of a parameter of the query, None where there is none."""
        values = self.query.get(name)
        return values[-1] if values else None

    def check_access(self) -> None:
        """Raise RefusedError unless whoever calls may do this."""
        challenge = self.access.challenge(self.headers.get("authorization"), self.scope)
        if challenge is not None:
            raise RefusedError(401, "UNAUTHORIZED", "who are you?", (("WWW-Authenticate", challenge),))

    def may_pull(self, repository: str) -> bool:
        """Whether whoever calls may read another repository."""
        return self.access.challenge(self.headers.get("authorization"), f"repository:{repository}:pull") is None


def parse_call(request: Request, access: Access) -> Call:
    """Read a request.

    Raises:
        RefusedError: it goes nowhere.
    """
    try:
        parts = urlsplit(request.target)
        query = parse_qs(parts.query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise RefusedError(400, "UNSUPPORTED", "the request's target is not valid") from error
    path = unquote(parts.path)
    path = "/v2/" if path == "/v2" else path
    for pattern, endpoint in _ROUTES:
        if match := pattern.fullmatch(path):
            found = match.groupdict()
            repository = found.get("repository", "")
            if len(repository) > _MAX_NAME:
                raise RefusedError(400, "NAME_INVALID", f"a repository's name has at most {_MAX_NAME} characters")
            pointer = found.get("pointer", "")
            return Call(request.method, endpoint, repository, pointer, query, request.headers, request.body, access)
    if path.startswith("/v2/"):
        raise RefusedError(404, "NAME_INVALID", "there is no such endpoint, or the repository's name is not valid")
    raise RefusedError(404, "UNSUPPORTED", "this is a registry; its endpoints are below /v2/")


def is_repository(name: str) -> bool:
    """Whether ``name`` can be a repository's."""
    return len(name) <= _MAX_NAME and _REPOSITORY.fullmatch(name) is not None


def parse_digest(text: str) -> Digest:
    """Read a digest.

    Raises:
        RefusedError: it is none.
    """
    try:
        return Digest.parse(text)
    except InvalidValueError as error:
        raise RefusedError(400, "DIGEST_INVALID", error.message) from error


def is_tag(text: str) -> bool:
    """Whether ``text`` can be a tag."""
    try:
        check_tag(text)
    except InvalidValueError:
        return False
    return True
