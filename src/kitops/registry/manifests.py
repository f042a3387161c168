"""What a registry says of manifests and tags, read with care. No I/O but an answer's body."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from kitops.errors import IntegrityError, InvalidValueError, RegistryError
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.oci.manifest import MAX_MANIFEST_SIZE, Manifest
from kitops.registry.headers import media_type, one_line, parse_length

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.registry.transport import Answer

MANIFEST_TYPES: Final = mediatype.MANIFESTS | mediatype.INDEXES


class MalformedError(RegistryError, InvalidValueError):
    """What a registry has does not parse: its error, and for who looks for something of a kind no such thing."""


def describe_answer(answer: Answer, pointer: str, what: str) -> Descriptor | None:
    """The descriptor in the headers of a HEAD answer, or None where one of its parts is missing, as its length may be.

    Some say ``Content-Length: 0`` of every HEAD.
    """
    kind = media_type(answer.header("Content-Type"))
    said, length = said_digest(answer), parse_length(answer.header("Content-Length"))
    if said is None or kind not in MANIFEST_TYPES or not length or length > MAX_MANIFEST_SIZE:
        return None
    if ":" in pointer and str(said) != pointer:
        raise IntegrityError(what, pointer, said)
    return Descriptor(kind, said, length)


def said_digest(answer: Answer) -> Digest | None:
    """The digest that the registry names, if it is one that we can check."""
    try:
        return Digest.parse(answer.header("Docker-Content-Digest") or "")
    except InvalidValueError:
        return None


def body_type(data: bytes, kind: str, what: str) -> str:
    """The media type of a manifest: what it says itself, which must be what the header says where both do."""
    try:
        table = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{what} is not valid JSON") from error
    inner = table.get("mediaType") if isinstance(table, dict) else None
    if isinstance(inner, str) and inner:
        if kind in MANIFEST_TYPES and kind != inner:
            raise MalformedError(f"{what} says it is {one_line(inner)}, its registry says {kind}")
        return inner
    return kind if kind in MANIFEST_TYPES else mediatype.MANIFEST


def check_manifest(data: bytes, kind: str, what: str) -> None:
    """Raise MalformedError unless a manifest or index with these bytes parses; ``what`` names it."""
    if kind in mediatype.INDEXES:
        read_index(data, what)
        return
    with _of_the_registry():
        Manifest.parse(data, what)


def read_index(data: bytes, what: str) -> Index:
    """An index, or a list of referrers, with these bytes.

    Raises:
        MalformedError: it is none.
    """
    with _of_the_registry():
        return Index.parse(data, what)


@contextmanager
def _of_the_registry() -> Iterator[None]:
    """In the block, what does not parse is the registry's error."""
    try:
        yield
    except InvalidValueError as error:
        raise MalformedError(error.message) from error


def read_tags(data: bytes, locator: str) -> list[str]:
    """The tags in one page of a listing.

    Raises:
        RegistryError: it is no list of tags.
    """
    try:
        table = json.loads(data)
        tags = table["tags"] or []
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise RegistryError(f"listing tags of {locator}: the answer is not a list of tags") from error
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise RegistryError(f"listing tags of {locator}: the answer is not a list of tags")
    return tags
