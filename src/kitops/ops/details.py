"""What a listing shows of a ModelKit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.formats.modelkit import read_modelkit
from kitops.store import RefDetails

if TYPE_CHECKING:
    from kitops.content.protocols import Source
    from kitops.formats.modelkit import ModelKit
    from kitops.oci.descriptor import Descriptor


def details_of(kit: ModelKit) -> RefDetails:
    """Name, first author, and bytes of all layers."""
    return RefDetails(name=kit.kitfile.package.name, author=kit.author, size=kit.size)


def describe(source: Source, desc: Descriptor) -> RefDetails:
    """The same, read from manifest and config in ``source``.

    Raises:
        InvalidValueError: it is not a ModelKit.
    """
    return details_of(read_modelkit(source, desc))
