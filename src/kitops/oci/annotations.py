"""Annotation keys: those of the image specification, of ModelPack and of KitOps."""

from __future__ import annotations

from typing import Final

REF_NAME: Final = "org.opencontainers.image.ref.name"
TITLE: Final = "org.opencontainers.image.title"
CREATED: Final = "org.opencontainers.image.created"

FILE_PATH: Final = "org.cncf.model.filepath"
FILE_METADATA: Final = "org.cncf.model.file.metadata+json"

CLI_VERSION: Final = "ml.kitops.modelkit.cli-version"
KITFILE: Final = "ml.kitops.modelkit.kitfile"
LAYER_SUBTYPE: Final = "ml.kitops.modelkit.layer-subtype"
