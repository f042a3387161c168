"""What an artifact is, by its manifest alone: a ModelKit, or one of the formats of other tools."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from kitops.formats.layertypes import JOZU_CONFIG, KITOPS_CONFIG, MODELPACK_CONFIGS
from kitops.layers.codec import Codec
from kitops.oci.annotations import TITLE

if TYPE_CHECKING:
    from kitops.oci.manifest import Manifest


DOCKER_CONFIG: Final = "application/vnd.docker.ai.model.config."
"""What the config types of Docker Model Runner begin with."""
OLLAMA_LAYER: Final = "application/vnd.ollama.image."
"""What the layer types of Ollama begin with."""
IMAGE_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
IMAGE_CONFIGS: Final = frozenset((IMAGE_CONFIG, "application/vnd.docker.container.image.v1+json"))
IMAGE_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
IMAGE_LAYERS: Final = {
    IMAGE_LAYER: Codec.NONE,
    f"{IMAGE_LAYER}+gzip": Codec.GZIP,
    f"{IMAGE_LAYER}+zstd": Codec.ZSTD,
    "application/vnd.docker.image.rootfs.diff.tar": Codec.NONE,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": Codec.GZIP,
    "application/vnd.docker.image.rootfs.diff.tar.zstd": Codec.ZSTD,
}
"""The layer types of container images, OCI's and Docker's, and how they are compressed."""


class Shape(Enum):
    """A format. The value is the word that people type and programs read."""

    MODELKIT = "modelkit"
    MODELPACK = "modelpack"
    IMAGE = "image"
    DOCKER = "docker"
    OLLAMA = "ollama"
    ARTIFACT = "artifact"

    @property
    def label(self) -> str:
        """What to call it in front of people."""
        return _LABELS[self]


_LABELS: Final = {
    Shape.MODELKIT: "a ModelKit",
    Shape.MODELPACK: "a ModelPack artifact",
    Shape.IMAGE: "a container image",
    Shape.DOCKER: "a model of Docker Model Runner",
    Shape.OLLAMA: "a model of Ollama",
    Shape.ARTIFACT: "a plain artifact with titles",
}


def shape_of(manifest: Manifest) -> Shape | None:
    """The format of ``manifest``; None for what holds no files that can be named."""
    media_type = manifest.config.media_type
    if media_type in (KITOPS_CONFIG, JOZU_CONFIG):
        return Shape.MODELKIT
    if media_type in MODELPACK_CONFIGS:
        return Shape.MODELPACK
    if media_type.startswith(DOCKER_CONFIG):
        return Shape.DOCKER
    if any(layer.media_type.startswith(OLLAMA_LAYER) for layer in manifest.layers):
        return Shape.OLLAMA
    titled = [layer for layer in manifest.layers if layer.annotations.get(TITLE)]
    is_each_a_file = bool(titled) and len(titled) == len(manifest.layers)  # an image's layers have no names
    if (
        media_type in IMAGE_CONFIGS
        and all(layer.media_type in IMAGE_LAYERS for layer in manifest.layers)
        and not is_each_a_file
    ):
        return Shape.IMAGE
    if titled:
        return Shape.ARTIFACT
    return None
