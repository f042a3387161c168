"""Small ModelKits for the tests of the store."""

from __future__ import annotations

from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.store import RefDetails

OCTETS = "application/octet-stream"


def ref(text):
    return Reference.parse(text)


def put_kit(store, lease, *layers, name="kit", absent=()):
    """Put a manifest over these layers (bytes); those in ``absent`` are named but not put."""
    config = store.blobs.put_bytes(f'{{"package":{{"name":"{name}"}}}}'.encode(), "application/x.config+json", lease)
    put = [store.blobs.put_bytes(layer, OCTETS, lease) for layer in layers]
    manifest = Manifest.build(config=config, layers=[*put, *absent], artifact_type="application/x.kit")
    return store.blobs.put_bytes(manifest.raw, manifest.media_type, lease)


def tag_kit(store, text, *layers, name="kit", author="ada"):
    """Put a ModelKit and tag it; its descriptor."""
    with store.lease("test") as lease:
        desc = put_kit(store, lease, *layers, name=name)
        store.refs.tag(ref(text), desc, RefDetails(name, author, sum(map(len, layers))), lease)
    return desc


def files_below(path):
    return sorted(str(found.relative_to(path)) for found in path.rglob("*") if not found.is_dir())


class Pieces:
    """A reader that gives these pieces one by one."""

    def __init__(self, *pieces):
        self._pieces = list(pieces)

    def readinto(self, buffer):
        if not self._pieces:
            return 0
        piece = self._pieces.pop(0)
        if isinstance(piece, BaseException):
            raise piece
        buffer[: len(piece)] = piece
        return len(piece)
