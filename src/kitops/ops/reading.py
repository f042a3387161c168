"""Artifacts of any format, understood as ModelKits for a verb; what was made up on the way is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.content.events import Message
from kitops.content.protocols import Gapped
from kitops.errors import InvalidValueError, printable
from kitops.formats.modelkit import read_modelkit
from kitops.layers.layer_content import LayerContent
from kitops.oci import mediatype

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kitops.content.protocols import Run, Source
    from kitops.formats.modelkit import KitLayer, ModelKit
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.reference import Reference
    from kitops.ops.locate import Located


def read_kit(located: Located, run: Run) -> ModelKit:
    """What ``located`` is; that its Kitfile was made here is told, and what of it nobody understands.

    Raises:
        InvalidValueError: nobody knows what its files are called.
        IntegrityError: a blob is not what its descriptor says.
    """
    kit = read_modelkit(located.source, located.desc)
    if kit.desc.digest != located.desc.digest:
        run.observer(Message("info", f"{located.ref} is an index of platforms: what is read is {kit.desc.digest}"))
    if not kit.is_authored:
        text = f"{located.ref} is {kit.shape.label} without a Kitfile: one was made from what is known of it"
        run.observer(Message("info", text))
    for layer in kit.unknown:
        text = f"{located.ref}: layer {layer.digest} is left out: its type is not known, {layer.media_type!r}"
        run.observer(Message("warning", text))
    return kit


def read_if_kit(source: Source, desc: Descriptor) -> ModelKit | None:
    """What ``desc`` is; None for what can only be moved, or is moved as a whole: an index."""
    if desc.media_type in mediatype.INDEXES:
        return None
    try:
        return read_modelkit(source, desc)
    except InvalidValueError:
        return None


def check_here(source: Source, blobs: Iterable[Descriptor]) -> None:
    """See that ``source`` has ``blobs``, before they are read.

    Raises:
        NotFoundError: one was left out by a filtered pull, or is lost.
    """
    if isinstance(source, Gapped) and (gaps := source.gaps(blobs)):
        raise source.explain_gap(gaps[0])


def layer_content(layer: KitLayer, ref: Reference) -> LayerContent:
    """What a layer of ``ref`` is, for whoever reads it."""
    what = f"layer {layer.desc.digest} ({printable(layer.label)}) of {ref}"
    return LayerContent(layer.desc, layer.form, layer.codec, layer.path, layer.base, what, layer.within)
