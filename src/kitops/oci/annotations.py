"""Annotation keys: those of the image specification, of ModelPack and of KitOps."""

from __future__ import annotations

from typing import Final

REF_NAME: Final = "org.opencontainers.image.ref.name"
TITLE: Final = "org.opencontainers.image.title"
CREATED: Final = "org.opencontainers.image.created"

SOURCE: Final = "org.opencontainers.image.source"
REVISION: Final = "org.opencontainers.image.revision"
DOCUMENTATION: Final = "org.opencontainers.image.documentation"
VENDOR: Final = "org.opencontainers.image.vendor"

FILE_PATH: Final = "org.cncf.model.filepath"
FILE_METADATA: Final = "org.cncf.model.file.metadata+json"
FILE_UNTESTED: Final = "org.cncf.model.file.mediatype.untested"
FILE_PATHS: Final = (FILE_PATH, "org.cnai.model.filepath")
"""The key of a layer's path, and the one of artifacts before model-spec 0.0.7."""
FILE_METADATAS: Final = (FILE_METADATA, "org.cnai.model.file.metadata+json", "org.cnai.model.file.metadata")

CLI_VERSION: Final = "ml.kitops.modelkit.cli-version"
KITFILE: Final = "ml.kitops.modelkit.kitfile"
LAYER_SUBTYPE: Final = "ml.kitops.modelkit.layer-subtype"
