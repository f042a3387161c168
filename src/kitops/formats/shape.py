"""What an artifact is, by its manifest alone: a ModelKit, or one of the formats of other tools."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from kitops.formats import docker, image, ollama
from kitops.formats.layertypes import JOZU_CONFIG, KITOPS_CONFIG, MODELPACK_CONFIGS
from kitops.oci.annotations import TITLE

if TYPE_CHECKING:
    from kitops.oci.manifest import Manifest


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
    if docker.is_docker(manifest):
        return Shape.DOCKER
    if ollama.is_ollama(manifest):
        return Shape.OLLAMA
    if image.is_image(manifest):
        return Shape.IMAGE
    if any(layer.annotations.get(TITLE) for layer in manifest.layers):
        return Shape.ARTIFACT
    return None
