"""Image indexes (image-spec, image-index.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kitops.errors import InvalidValueError
from kitops.oci import gojson, mediatype
from kitops.oci.descriptor import Descriptor, expect_annotations, expect_list, expect_map, expect_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kitops.oci.gojson import Json


@dataclass(frozen=True, slots=True)
class Index:
    """An index and the exact bytes that it was read from."""

    raw: bytes = field(repr=False)
    media_type: str
    artifact_type: str | None
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(hash=False)
    subject: Descriptor | None

    @classmethod
    def parse(cls, raw: bytes, what: str = "index") -> Index:
        """Read an index; ``what`` names it in errors.

        Raises:
            InvalidValueError: it is not an image index.
        """
        table = expect_map(gojson.loads(raw, what), what)
        if table.get("schemaVersion") != 2:
            raise InvalidValueError(f"{what}: schemaVersion must be 2, not {table.get('schemaVersion')!r}")
        media_type = expect_text(table.get("mediaType", mediatype.INDEX), f"{what}: mediaType")
        if media_type not in mediatype.INDEXES:
            raise InvalidValueError(f"{what}: media type {media_type!r} is not an image index")
        artifact_type = table.get("artifactType")
        subject = table.get("subject")
        return cls(
            raw=raw,
            media_type=media_type,
            artifact_type=None if artifact_type is None else expect_text(artifact_type, f"{what}: artifactType"),
            manifests=tuple(
                Descriptor.from_json(item, f"{what}: manifests[{number}]")
                for number, item in enumerate(expect_list(table.get("manifests"), f"{what}: manifests"))
            ),
            annotations=expect_annotations(table.get("annotations"), f"{what}: annotations"),
            subject=None if subject is None else Descriptor.from_json(subject, f"{what}: subject"),
        )

    @classmethod
    def build(cls, manifests: Iterable[Descriptor]) -> Index:
        """Make an index of ``manifests``, in their order."""
        table: dict[str, Json] = {
            "schemaVersion": 2,
            "mediaType": mediatype.INDEX,
            "manifests": [manifest.to_json() for manifest in manifests],
        }
        return cls.parse(gojson.dumps(table))

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """The manifests below it."""
        return self.manifests
