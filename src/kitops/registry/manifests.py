"""What a registry says of manifests and tags, read with care. No I/O but an answer's body."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from kitops.errors import IntegrityError, InvalidValueError, RegistryError
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.manifest import MAX_MANIFEST_SIZE
from kitops.registry.headers import media_type, parse_length

if TYPE_CHECKING:
    from kitops.registry.transport import Answer

MANIFEST_TYPES: Final = mediatype.MANIFESTS | mediatype.INDEXES


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
        raise InvalidValueError(f"{what} is not valid JSON") from error
    inner = table.get("mediaType") if isinstance(table, dict) else None
    if isinstance(inner, str) and inner:
        if kind in MANIFEST_TYPES and kind != inner:
            raise InvalidValueError(f"{what} says it is {inner}, its registry says {kind}")
        return inner
    return kind if kind in MANIFEST_TYPES else mediatype.MANIFEST


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
