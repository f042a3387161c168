"""The record that ``kit unpack`` leaves in its target: which ModelKit, which layers, and the stamps of their files.

It makes ``kit status`` instant and ``kit verify`` able to work without the store. It is a help, no evidence: what is
verified is verified against digests. ``kit pack`` and ``kit init`` do not see it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from kitops.errors import FileSystemError, InvalidValueError
from kitops.layers.codec import Codec
from kitops.layers.extract import LayerContent
from kitops.layers.stamps import Stamp, Tracked
from kitops.layers.write import Format
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kitops.layers.stamps import Tree

NAME: Final = ".kitops-unpacked.json"
FETCHED: Final = "application/x-kitops-fetched"
"""The media type, in records only, of a file that came from a remote dataset: no store or registry has it as a blob."""
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class RecordedLayer:
    """A layer that was unpacked.

    Args:
        ref: the ModelKit that it came from (a parent's layers come with the child).
        content: what it is.
        members: what is in it, in its order; None where that is not known.
    """

    ref: Reference
    content: LayerContent
    members: tuple[Tracked, ...] | None

    @property
    def key(self) -> tuple[Digest, str]:
        """What tells it apart from the others."""
        return self.content.desc.digest, self.content.path

    def with_members(self, members: Iterable[Tracked]) -> RecordedLayer:
        """The same with these members."""
        return replace(self, members=tuple(members))

    @property
    def label(self) -> str:
        """What to call it in front of people."""
        return self.content.path or self.content.desc.digest.short


@dataclass(frozen=True, slots=True)
class Record:
    """What was unpacked.

    Args:
        ref: as it was asked for.
        desc: the manifest that it was then.
        layers: those that were unpacked.
        is_partial: whether a filter left some out.
        kitfile: of the Kitfile that was written; None where none was.
    """

    ref: Reference
    desc: Descriptor
    layers: tuple[RecordedLayer, ...]
    is_partial: bool
    kitfile: Stamp | None

    def merge(self, later: Record) -> Record:
        """What holds after ``later`` was unpacked into the same directory: both, where it is the same ModelKit."""
        if later.desc.digest != self.desc.digest:
            return later
        known = {layer.key: layer for layer in self.layers} | {layer.key: layer for layer in later.layers}
        is_partial = self.is_partial and later.is_partial
        return replace(
            later, layers=tuple(known.values()), is_partial=is_partial, kitfile=later.kitfile or self.kitfile
        )

    def stamped(self, tree: Tree) -> Record:
        """The same with the stamps that the files have in ``tree``."""
        layers = tuple(
            replace(layer, members=tuple(_restamp(member, tree) for member in layer.members))
            if layer.members is not None
            else layer
            for layer in self.layers
        )
        kitfile = None if self.kitfile is None else tree.files.get("Kitfile", self.kitfile)
        return replace(self, layers=layers, kitfile=kitfile)


def read_record(target: Path) -> Record | None:
    """The record in ``target``; None where there is none, or none that can be understood."""
    try:
        found = (target / NAME).read_bytes()
    except OSError:
        return None
    try:
        table = json.loads(found)
        if table["version"] != _VERSION:
            return None
        kitfile = table["kitfile"]
        return Record(
            Reference.parse(table["reference"]),
            Descriptor(table["mediaType"], Digest.parse(table["digest"]), int(table["size"])),
            tuple(_read_layer(layer) for layer in table["layers"]),
            bool(table["partial"]),
            None if kitfile is None else Stamp(*kitfile),
        )
    except (ValueError, KeyError, TypeError, AttributeError, InvalidValueError):
        return None


def write_record(target: Path, record: Record) -> None:
    """Put the record into ``target``, whole.

    Raises:
        FileSystemError: it cannot be written.
    """
    path = target / NAME
    table = {
        "version": _VERSION,
        "reference": str(record.ref),
        "digest": str(record.desc.digest),
        "mediaType": record.desc.media_type,
        "size": record.desc.size,
        "partial": record.is_partial,
        "kitfile": record.kitfile,
        "layers": [_layer_to_json(layer) for layer in record.layers],
    }
    temporary = f"{path}-{os.getpid()}"
    try:
        with open(temporary, "x", encoding="utf-8", errors="surrogateescape") as file:
            file.write(json.dumps(table, ensure_ascii=False, separators=(",", ":")) + "\n")
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        raise FileSystemError.wrap(error, "writing", path) from error


def _restamp(member: Tracked, tree: Tree) -> Tracked:
    if member.stamp is None:
        return member
    return member._replace(stamp=tree.files.get(member.path, member.stamp))


def _layer_to_json(layer: RecordedLayer) -> dict[str, object]:
    content = layer.content
    members = layer.members
    return {
        "reference": str(layer.ref),
        "digest": str(content.desc.digest),
        "mediaType": content.desc.media_type,
        "size": content.desc.size,
        "format": content.form.value,
        "codec": content.codec.value,
        "path": content.path,
        "base": content.base,
        "within": content.within,
        "members": None
        if members is None
        else [(path, mode) if stamp is None else (path, mode, *stamp) for path, mode, stamp in members if path != NAME],
    }


def _read_layer(table: dict[str, object]) -> RecordedLayer:
    desc = Descriptor(str(table["mediaType"]), Digest.parse(str(table["digest"])), int(str(table["size"])))
    ref = Reference.parse(str(table["reference"]))
    path, base, within = str(table["path"]), str(table["base"]), str(table["within"])
    what = f"layer {desc.digest} ({path}) of {ref}"
    content = LayerContent(desc, Format(table["format"]), Codec(table["codec"]), path, base, what, within)
    rows = table["members"]
    if rows is None:
        return RecordedLayer(ref, content, None)
    if not isinstance(rows, list):
        raise TypeError
    members = tuple(Tracked(row[0], row[1], Stamp(*row[2:]) if len(row) > 2 else None) for row in rows)
    return RecordedLayer(ref, content, members)
