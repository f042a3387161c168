"""Descriptors: media type, digest and size of a blob (image-spec, descriptor.md)."""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kitops.errors import InvalidValueError
from kitops.oci.digest import Digest

if TYPE_CHECKING:
    from kitops.oci.gojson import Json

MAX_SIZE: Final = 2**63 - 1


class Annotations(Mapping[str, str]):
    """Texts by their keys, which nobody changes; unlike a ``mappingproxy`` they can be pickled and copied.

    Args:
        table: must not change afterwards.
    """

    __slots__ = ("_table",)

    def __init__(self, table: dict[str, str]) -> None:
        self._table = table

    def __getitem__(self, key: str) -> str:
        return self._table[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        return repr(self._table)


NO_ANNOTATIONS: Final = Annotations({})


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a blob is, how it is called by content, and how many bytes it has."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=lambda: NO_ANNOTATIONS, hash=False)
    artifact_type: str | None = None
    data: bytes | None = None

    @classmethod
    def of(cls, data: bytes, media_type: str, annotations: Mapping[str, str] = NO_ANNOTATIONS) -> Descriptor:
        """The descriptor of ``data`` itself."""
        return cls(media_type, Digest.of(data), len(data), annotations)

    @classmethod
    def from_json(cls, value: Json, what: str) -> Descriptor:
        """Read one from parsed JSON; ``what`` names it in errors (``"layers[2]"``).

        Raises:
            InvalidValueError: a field is missing, of the wrong type, or absurd.
        """
        table = expect_map(value, what)
        size = table.get("size")
        if type(size) is not int or not 0 <= size <= MAX_SIZE:
            raise InvalidValueError(f"{what}.size must be a number of bytes, not {size!r}")
        artifact_type = table.get("artifactType")
        return cls(
            media_type=expect_text(table.get("mediaType"), f"{what}.mediaType"),
            digest=_expect_digest(table.get("digest"), f"{what}.digest"),
            size=size,
            annotations=expect_annotations(table.get("annotations"), f"{what}.annotations"),
            artifact_type=None if artifact_type is None else expect_text(artifact_type, f"{what}.artifactType"),
            data=_decode_data(table.get("data"), f"{what}.data"),
        )

    def to_json(self) -> dict[str, Json]:
        """The JSON object, fields in the specification's order, annotation keys sorted."""
        found: dict[str, Json] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.annotations:
            found["annotations"] = {key: self.annotations[key] for key in sorted(self.annotations, key=str.encode)}
        if self.data is not None:
            found["data"] = binascii.b2a_base64(self.data, newline=False).decode()
        if self.artifact_type is not None:
            found["artifactType"] = self.artifact_type
        return found


def expect_map(value: Json, what: str) -> dict[str, Json]:
    """``value`` if it is a JSON object, else InvalidValueError."""
    if not isinstance(value, dict):
        raise InvalidValueError(f"{what} must be an object")
    return value


def expect_list(value: Json, what: str) -> list[Json]:
    """``value`` if it is a list; null (as Go writes an empty one) is an empty list; else InvalidValueError."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidValueError(f"{what} must be a list")
    return value


def expect_text(value: Json, what: str) -> str:
    """``value`` if it is a string, else InvalidValueError."""
    if not isinstance(value, str):
        raise InvalidValueError(f"{what} must be text")
    return value


def expect_annotations(value: Json, what: str) -> Mapping[str, str]:
    """A read-only map of text to text; null is empty.

    Raises:
        InvalidValueError: it is anything else.
    """
    if value is None:
        return NO_ANNOTATIONS
    table = expect_map(value, what)
    return Annotations({key: expect_text(item, f"{what}[{key!r}]") for key, item in table.items()})


def _expect_digest(value: Json, what: str) -> Digest:
    text = expect_text(value, what)
    try:
        return Digest.parse(text)
    except InvalidValueError as error:
        raise InvalidValueError(f"{what}: {error.message}") from error


def _decode_data(value: Json, what: str) -> bytes | None:
    if value is None:
        return None
    try:
        return binascii.a2b_base64(expect_text(value, what), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValueError(f"{what} is not base64") from error
