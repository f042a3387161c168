"""What ``list`` shows of a ModelKit, read once from its manifest and config and then kept in its refs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from kitops.errors import InvalidValueError
from kitops.oci import annotations as keys
from kitops.oci import gojson, mediatype
from kitops.oci.index import Index
from kitops.oci.manifest import Manifest
from kitops.store.records import RefDetails

if TYPE_CHECKING:
    from collections.abc import Callable

    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.oci.gojson import Json
    from kitops.store.blobs import Blobs

Describe: TypeAlias = "Callable[[Blobs, Descriptor, tuple[Digest, ...]], RefDetails]"
"""Makes the row of a manifest that is in the store; given the blobs, the manifest, and the absent layers."""

_MAX_CONFIG: Final = 4 * 1024 * 1024


def describe_kit(blobs: Blobs, desc: Descriptor, absent: tuple[Digest, ...] = ()) -> RefDetails:
    """The row of a ModelKit, ModelPack artifact, or anything else with a manifest.

    The size is that of all layers, absent ones too, without config and manifest, as the Go tool shows it. Name and
    first author are those of the Kitfile's package, else of the ModelPack descriptor; empty where there are none.

    Raises:
        NotFoundError, IntegrityError, InvalidValueError: the manifest or config is missing, damaged or something else.
    """
    if desc.media_type in mediatype.INDEXES:
        index = Index.parse(blobs.fetch(desc), f"index {desc.digest}")
        subject = None if index.subject is None else index.subject.digest
        return RefDetails(size=sum(item.size for item in index.manifests), absent=absent, subject=subject)
    manifest = Manifest.parse(blobs.fetch(desc), f"manifest {desc.digest}")
    size = sum(layer.size for layer in manifest.layers)
    kitfile = manifest.annotations.get(keys.KITFILE)
    try:
        if kitfile is not None:
            config = gojson.loads(kitfile, "Kitfile annotation")
        elif manifest.config.size <= _MAX_CONFIG and "json" in manifest.config.media_type:
            config = _label_or(gojson.loads(blobs.fetch(manifest.config), "config"))
        else:
            config = None
    except InvalidValueError:  # a config of another tool: it is listed by its size alone
        config = None
    name, author = _name_and_author(config)
    subject = None if manifest.subject is None else manifest.subject.digest
    return RefDetails(name, author, size, absent, subject)


def _label_or(config: Json) -> Json:
    """The Kitfile that the config of an image carries as a label, else the config."""
    inner = config.get("config") if isinstance(config, dict) else None
    labels = inner.get("Labels") if isinstance(inner, dict) else None
    text = labels.get(keys.KITFILE) if isinstance(labels, dict) else None
    return gojson.loads(text, "Kitfile label") if isinstance(text, str) else config


def _name_and_author(config: Json) -> tuple[str, str]:
    if not isinstance(config, dict):
        return "", ""
    package = config.get("package", config.get("descriptor"))
    if not isinstance(package, dict):
        return "", ""
    name, authors = package.get("name"), package.get("authors")
    author = authors[0] if isinstance(authors, list) and authors else None
    return name if isinstance(name, str) else "", author if isinstance(author, str) else ""
