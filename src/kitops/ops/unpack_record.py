"""The record that ``kit unpack`` leaves in its target: which ModelKit, which layers, and the stamps of their files.

It makes ``kit status`` instant and ``kit verify`` able to work without the store. It is a help, no evidence: what is
verified is verified against digests. ``kit pack`` and ``kit init`` do not see it.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kitops.errors import FileSystemError, InvalidValueError, TrustError
from kitops.layers.codec import Codec
from kitops.layers.layer_content import LayerContent
from kitops.layers.stamps import Stamp, Tracked, stamp_of
from kitops.layers.untar import parse_path
from kitops.layers.write import Format
from kitops.oci.descriptor import MAX_SIZE, Descriptor
from kitops.oci.digest import Digest
from kitops.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from kitops.layers.stamps import Tree

NAME: Final = ".kitops-unpacked.json"
FETCHED: Final = "application/x-kitops-fetched"
"""The media type, in records only, of a file that came from a remote dataset: no store or registry has it as a blob."""
_VERSION: Final = 2
_MODES: Final = 0o7777
_TIMES: Final = (1 << 63) - 1
_INODES: Final = (1 << 64) - 1


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

    def filled_from(self, before: RecordedLayer) -> RecordedLayer:
        """The same with what an earlier unpack of it knows of those files that were left as they were."""
        if self.members is None or before.members is None:
            return self
        known = {member.path: member for member in before.members}
        return self.with_members(
            known.get(member.path, member) if member.made is None else member for member in self.members
        )

    @property
    def label(self) -> str:
        """What to call it in front of people."""
        return self.content.path or self.content.desc.digest.short


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched of remote datasets.

    Args:
        files: those made, each as a raw layer would have brought it, with its stamp, for ``kit status``.
        kept: number of files that were left as they were.
        kept_size: bytes of those.
    """

    files: tuple[tuple[LayerContent, Tracked], ...] = ()
    kept: int = 0
    kept_size: int = 0

    @property
    def size(self) -> int:
        """Bytes of the files made."""
        return sum(content.desc.size for content, _ in self.files)


class WrittenKitfile(NamedTuple):
    """The Kitfile that is there since the unpack: its content, and its stamp."""

    digest: Digest
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Record:
    """What was unpacked.

    Args:
        ref: as it was asked for.
        desc: the manifest that it was then.
        layers: those that were unpacked.
        is_partial: whether a filter left some out.
        kitfile: the one that was written; None where none was.
    """

    ref: Reference
    desc: Descriptor
    layers: tuple[RecordedLayer, ...]
    is_partial: bool
    kitfile: WrittenKitfile | None

    def merge(self, later: Record) -> Record:
        """What holds after ``later`` was unpacked into the same directory: both, where it is the same ModelKit."""
        known = {layer.key: layer for layer in self.layers}
        layers = tuple(layer.filled_from(known[layer.key]) if layer.key in known else layer for layer in later.layers)
        if later.desc.digest != self.desc.digest:
            return replace(later, layers=layers)
        known |= {layer.key: layer for layer in layers}
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
        kitfile = self.kitfile
        if kitfile is not None:
            kitfile = kitfile._replace(stamp=tree.files.get("Kitfile", kitfile.stamp))
        return replace(self, layers=layers, kitfile=kitfile)


def read_record(target: Path) -> Record | None:
    """The record in ``target``; None where there is none, or none that is one in every field."""
    path = target / NAME
    try:
        found = path.read_bytes() if path.is_file() else b""
    except OSError:
        return None
    try:
        return _read(json.loads(found))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidValueError, TrustError):
        return None


def check_readable(target: Path) -> None:
    """Tell a record that may not be read from one that is not there.

    Raises:
        FileSystemError: it cannot be read.
    """
    path = target / NAME
    try:
        if stat.S_ISREG(os.stat(path).st_mode):
            os.close(os.open(path, os.O_RDONLY))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", path) from error


def note_kitfile(path: Path) -> WrittenKitfile | None:
    """The Kitfile that is at ``path``; None where there is none, or it cannot be read."""
    try:
        stamp = stamp_of(os.stat(path))
        return WrittenKitfile(Digest.of(path.read_bytes()), stamp)
    except OSError:
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
        "kitfile": None if record.kitfile is None else (str(record.kitfile.digest), *record.kitfile.stamp),
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
        "members": None if members is None else [_row(member) for member in members if member.path != NAME],
    }


def _row(member: Tracked) -> tuple[object, ...]:
    return (member.path, member.mode, member.made, *(member.stamp or ()))


def _read(table: dict[str, object]) -> Record:
    """A record from JSON, of which nothing is believed: every field has its type and bounds."""
    if table["version"] != _VERSION:
        raise ValueError
    kitfile = table["kitfile"]
    return Record(
        Reference.parse(_text(table["reference"])),
        _descriptor(table),
        tuple(_read_layer(layer) for layer in _rows(table["layers"])),
        _boolean(table["partial"]),
        None if kitfile is None else _read_kitfile(kitfile),
    )


def _read_kitfile(value: object) -> WrittenKitfile:
    digest, *numbers = _rows(value)
    return WrittenKitfile(Digest.parse(_text(digest)), _stamp(numbers))


def _read_layer(table: Any) -> RecordedLayer:
    ref, desc = Reference.parse(_text(table["reference"])), _descriptor(table)
    path, base, within = (_text(table[key]) for key in ("path", "base", "within"))
    form, codec = Format(table["format"]), Codec(table["codec"])
    what = f"layer {desc.digest} ({path}) of {ref}"
    content = LayerContent(desc, form, codec, path, base, what, within)
    if form is Format.RAW and not parse_path(path.encode(), NAME):
        raise ValueError
    rows = table["members"]
    members = None if rows is None else tuple([_read_member(*_rows(row)) for row in _rows(rows)])
    return RecordedLayer(ref, content, members)


def _read_member(path: object, mode: object, made: object, *numbers: object) -> Tracked:
    name = _text(path)
    if not name or parse_path(name.encode(), NAME) != name:
        raise ValueError
    bits = None if made is None else _number(made, _MODES)
    return Tracked(name, _number(mode, _MODES), _stamp(numbers) if numbers else None, bits)


def _descriptor(table: dict[str, object]) -> Descriptor:
    return Descriptor(_text(table["mediaType"]), Digest.parse(_text(table["digest"])), _number(table["size"], MAX_SIZE))


def _stamp(numbers: Sequence[object]) -> Stamp:
    size, mtime_ns, inode, ctime_ns = numbers
    stamp = Stamp(_number(size, MAX_SIZE), _integer(mtime_ns), _number(inode, _INODES), _integer(ctime_ns))
    if max(abs(stamp.mtime_ns), abs(stamp.ctime_ns)) > _TIMES:  # files may be older than 1970
        raise ValueError
    return stamp


def _number(value: object, last: int) -> int:
    if type(value) is not int or not 0 <= value <= last:
        raise TypeError
    return value


def _integer(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _boolean(value: object) -> bool:
    if type(value) is not bool:
        raise TypeError
    return value


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError
    value.encode()  # no halves of characters
    return value


def _rows(value: object) -> list[object]:
    if type(value) is not list:
        raise TypeError
    return value
