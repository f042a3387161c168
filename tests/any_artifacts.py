"""Small artifacts for tests of the verbs, put into any sink."""

from __future__ import annotations

from collections.abc import Mapping

from kitops.content.copy import BytesReader
from kitops.content.protocols import Sink
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.index import Index
from kitops.oci.manifest import Manifest

SIGNATURE = "application/vnd.example.signature"


def put_bytes(sink: Sink, data: bytes, media_type: str = "application/vnd.example.blob") -> Descriptor:
    desc = Descriptor.of(data, media_type)
    sink.put(desc, BytesReader(data), lambda size: None)
    return desc


def put_artifact(
    sink: Sink,
    *layers: bytes,
    artifact_type: str | None = "application/vnd.example.thing",
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Descriptor:
    """An artifact of a type that nobody knows."""
    config = put_bytes(sink, b"{}", mediatype.EMPTY)
    blobs = [put_bytes(sink, layer) for layer in layers]
    manifest = Manifest.build(
        config=config, layers=blobs, artifact_type=artifact_type, subject=subject, annotations=annotations or {}
    )
    return put_bytes(sink, manifest.raw, mediatype.MANIFEST)


def put_signature(sink: Sink, subject: Descriptor, text: str = "signed") -> Descriptor:
    return put_artifact(
        sink, text.encode(), artifact_type=SIGNATURE, subject=subject, annotations={"org.example.text": text}
    )


def put_index(sink: Sink, *children: Descriptor) -> Descriptor:
    return put_bytes(sink, Index.build(children).raw, mediatype.INDEX)
