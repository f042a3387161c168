"""Image manifests (image-spec, manifest.md): parsed from bytes that are kept, or built into bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kitops.errors import InvalidValueError
from kitops.oci import gojson, mediatype
from kitops.oci.descriptor import (
    NO_ANNOTATIONS,
    Descriptor,
    expect_annotations,
    expect_list,
    expect_map,
    expect_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kitops.oci.gojson import Json

MAX_MANIFEST_SIZE: Final = 16 * 1024 * 1024
"""Bytes of manifest that we read into memory; the distribution specification asks for 4 MiB at least."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest and the exact bytes that it was read from. Nothing re-serialises it."""

    raw: bytes = field(repr=False)
    media_type: str
    artifact_type: str | None
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(hash=False)
    subject: Descriptor | None

    @classmethod
    def parse(cls, raw: bytes, what: str = "manifest") -> Manifest:
        """Read a manifest; ``what`` names it in errors.

        Raises:
            InvalidValueError: it is not an image manifest.
        """
        table = expect_map(gojson.loads(raw, what), what)
        if table.get("schemaVersion") != 2:
            raise InvalidValueError(f"{what}: schemaVersion must be 2, not {table.get('schemaVersion')!r}")
        media_type = expect_text(table.get("mediaType", mediatype.MANIFEST), f"{what}: mediaType")
        if media_type not in mediatype.MANIFESTS:
            raise InvalidValueError(f"{what}: media type {media_type!r} is not an image manifest")
        artifact_type = table.get("artifactType")
        subject = table.get("subject")
        return cls(
            raw=raw,
            media_type=media_type,
            artifact_type=None if artifact_type is None else expect_text(artifact_type, f"{what}: artifactType"),
            config=Descriptor.from_json(table.get("config"), f"{what}: config"),
            layers=tuple(
                Descriptor.from_json(item, f"{what}: layers[{number}]")
                for number, item in enumerate(expect_list(table.get("layers"), f"{what}: layers"))
            ),
            annotations=expect_annotations(table.get("annotations"), f"{what}: annotations"),
            subject=None if subject is None else Descriptor.from_json(subject, f"{what}: subject"),
        )

    @classmethod
    def build(
        cls,
        *,
        config: Descriptor,
        layers: Sequence[Descriptor],
        artifact_type: str | None = None,
        annotations: Mapping[str, str] = NO_ANNOTATIONS,
        subject: Descriptor | None = None,
    ) -> Manifest:
        """Make a manifest; its bytes depend on the arguments alone."""
        table: dict[str, Json] = {"schemaVersion": 2, "mediaType": mediatype.MANIFEST}
        if artifact_type is not None:
            table["artifactType"] = artifact_type
        table["config"] = config.to_json()
        table["layers"] = [layer.to_json() for layer in layers]
        if subject is not None:
            table["subject"] = subject.to_json()
        if annotations:
            table["annotations"] = {key: annotations[key] for key in sorted(annotations, key=str.encode)}
        return cls.parse(gojson.dumps(table))

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of the manifest's own bytes."""
        return Descriptor.of(self.raw, self.media_type)

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """The blobs below it: config, then layers. The subject is not one."""
        return (self.config, *self.layers)
