"""References: ``[HOST[:PORT]/][NAMESPACE/]REPOSITORY[:TAG][@DIGEST]`` (distribution-spec, "Pulling manifests").

Without a host the registry is ``localhost``, shown without it; ``localhost/x`` and ``x`` are the same. A bare digest
names a ModelKit of the local store that has no repository.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from kitops.errors import InvalidValueError
from kitops.oci.digest import Digest

LOCAL_REGISTRY: Final = "localhost"
DEFAULT_TAG: Final = "latest"
FORM: Final = "a reference looks like registry.example.com/team/model:tag"

_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?", re.ASCII)
_MAX_NAME = 255
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a ModelKit is. Cannot be wrong: make one with :meth:`parse`.

    ``repository`` is empty for a bare digest (the unnamed repository of the local store).
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference with at most one tag.

        Raises:
            InvalidValueError: it is not one.
        """
        found = cls.parse_tags(text)
        if len(found) > 1:
            raise InvalidValueError(f"{text!r} names {len(found)} tags, one is wanted here")
        return found[0]

    @classmethod
    def parse_tags(cls, text: str) -> tuple[Reference, ...]:
        """Read a reference that may name several tags (``x:a,b``): one Reference a tag, in their order, each once.

        Raises:
            InvalidValueError: it is not one.
        """
        if bare := _parse_bare_digest(text):
            return (bare,)
        locator, at, digest_text = text.partition("@")
        digest = Digest.parse(digest_text) if at else None
        registry, rest = _split_registry(locator)
        repository, colon, tags_text = rest.partition(":")
        if not _REPOSITORY.fullmatch(repository):
            hint = f"use lower case: {repository.lower()}" if _REPOSITORY.fullmatch(repository.lower()) else FORM
            raise InvalidValueError(f"{text!r}: repository {repository!r} is not valid", hint=hint)
        if len(registry) + 1 + len(repository) > _MAX_NAME:
            raise InvalidValueError(f"{text!r}: registry and repository have more than {_MAX_NAME} characters")
        tags = dict.fromkeys(tags_text.split(",")) if colon else {None: None}
        for tag in tags:
            if tag is not None and not _TAG.fullmatch(tag):
                raise InvalidValueError(
                    f"{text!r}: tag {tag!r} is not valid",
                    hint="a tag has up to 128 letters, digits, '_', '.', '-', and does not start with '.' or '-'",
                )
        return tuple(cls(registry, repository, tag, digest) for tag in tags)

    @property
    def is_local(self) -> bool:
        """Whether it names no registry: it can only be in the local store."""
        return self.registry == LOCAL_REGISTRY

    @property
    def is_unnamed(self) -> bool:
        """Whether it is a bare digest."""
        return not self.repository

    @property
    def locator(self) -> str:
        """Registry and repository as people see them: ``registry/repository``, or the repository of a local one."""
        return self.repository if self.is_local else f"{self.registry}/{self.repository}"

    @property
    def pointer(self) -> str:
        """The digest, else the tag, else the default tag: what a registry is asked for."""
        return str(self.digest) if self.digest else self.tag or DEFAULT_TAG

    def with_tag(self, tag: str | None) -> Reference:
        """The same repository with another tag and no digest."""
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """The same repository with this digest and no tag."""
        return replace(self, tag=None, digest=digest)

    def with_default_tag(self) -> Reference:
        """Itself, or with the tag ``latest`` where it has neither tag nor digest."""
        return self if self.tag or self.digest else self.with_tag(DEFAULT_TAG)

    def __str__(self) -> str:
        if self.is_unnamed:
            return str(self.digest)
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.locator}{tag}{digest}"


UNNAMED: Final = Reference(LOCAL_REGISTRY, "")
"""The unnamed repository: where kits live that were packed or pulled without a name."""


def check_tag(tag: str) -> None:
    """Raise InvalidValueError unless ``tag`` is a tag of the distribution specification."""
    if not _TAG.fullmatch(tag):
        raise InvalidValueError(f"tag {tag!r} is not valid")


def check_registry(host: str) -> None:
    """Raise InvalidValueError unless ``host`` is a host, with a port or without."""
    port = host.rpartition("]")[2].partition(":")[2]
    if not _HOST.fullmatch(host) or not 1 <= int(port or "443") <= _MAX_PORT or not _is_address(host):
        _, scheme, rest = host.partition("://")
        hint = (
            f"leave out the scheme: {rest.rstrip('/')}" if scheme else "a registry looks like registry.example.com:5000"
        )
        raise InvalidValueError(f"registry {host!r} is not a host", hint=hint)


def _is_address(host: str) -> bool:
    """Whether what stands in brackets, if anything does, is an address of IPv6."""
    if not host.startswith("["):
        return True
    from ipaddress import AddressValueError, IPv6Address  # noqa: PLC0415 - takes milliseconds, and is rarely needed

    try:
        IPv6Address(host[1:].partition("]")[0])
    except AddressValueError:
        return False
    return True


def _parse_bare_digest(text: str) -> Reference | None:
    algorithm, _, encoded = text.removeprefix("@").partition(":")
    if algorithm not in ("sha256", "sha512") or len(encoded) not in (64, 128) or not encoded.isalnum():
        return None
    return Reference(LOCAL_REGISTRY, "", None, Digest.parse(text.removeprefix("@")))


def _split_registry(locator: str) -> tuple[str, str]:
    host, slash, rest = locator.partition("/")
    if not slash or not (host.lower() == LOCAL_REGISTRY or any(letter in host for letter in ".:[")):
        return LOCAL_REGISTRY, locator
    try:
        check_registry(host)
    except InvalidValueError as error:
        _, scheme, bare = locator.partition("://")
        hint = f"leave out the scheme: {bare}" if scheme and bare else FORM
        raise InvalidValueError(f"{locator!r}: {error.message}", hint=hint) from error
    return host.lower(), rest
