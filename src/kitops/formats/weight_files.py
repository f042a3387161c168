"""The files of weights in a layer, with their headers, without the layer being read as a whole.

A raw layer is its own file; in an uncompressed archive each member is found at its place; what is compressed is read as
a stream, as far as its reader allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.errors import HeaderError, IntegrityError
from kitops.formats.parts import Kind
from kitops.layers.codec import PIECE, Codec, decompress
from kitops.layers.raw import raw_member
from kitops.layers.untar import PieceReader, read_members
from kitops.layers.write import Format
from kitops.weights.header import INDEX_SUFFIX, has_header, read_header
from kitops.weights.model_config import CONFIG_NAME, MAX_CONFIG, ModelConfig, parse_model_config
from kitops.weights.ranges import Ahead, StreamRanges, TooFarError, Window
from kitops.weights.safetensors import MAX_INDEX, ShardIndex, parse_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kitops.content.protocols import Run
    from kitops.formats.modelkit import KitLayer
    from kitops.weights.ranges import Ranges
    from kitops.weights.tensors import Header

_MODEL: Final = (Kind.MODEL, Kind.MODEL_PART, None)
_MEMBER: Final = 2048
"""Bytes that are read for a member of an archive of which nothing else is wanted: its header, an extended one too."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file of weights in a layer."""

    path: str
    layer: KitLayer
    header: Header


@dataclass(frozen=True, slots=True)
class IndexFile:
    """An index of shards in a layer."""

    path: str
    layer: KitLayer
    index: ShardIndex


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A ``config.json`` in a layer."""

    path: str
    layer: KitLayer
    config: ModelConfig


@dataclass(frozen=True, slots=True)
class Broken:
    """A file in a layer whose header, or index, is malformed."""

    path: str
    layer: KitLayer
    error: HeaderError


@dataclass(frozen=True, slots=True)
class Unread:
    """A layer that was not read to its end: its limit in bytes."""

    layer: KitLayer
    limit: int


Found = WeightFile | IndexFile | ConfigFile | Broken | Unread


def may_have_weights(layer: KitLayer) -> bool:
    """Whether ``layer`` is worth a look: a model, a part of one, or one file of that name."""
    if layer.form is Format.RAW:
        return _is_wanted(layer.path)
    return layer.kind in _MODEL


def newest(found: Iterable[Found]) -> list[Found]:
    """Without what is hidden: of an image, the last layer with a path has the file. ``found`` is in layer order."""
    seen: set[str] = set()
    kept: list[Found] = []
    for item in reversed(list(found)):
        if not isinstance(item, Unread) and item.layer.within:
            if item.path in seen:
                continue
            seen.add(item.path)
        kept.append(item)
    return kept[::-1]


def find_weights(layer: KitLayer, blob: Ranges, what: str, run: Run, *, limit: int) -> Iterator[Found]:
    """The files of weights in ``layer``, in its order.

    Args:
        layer: tells what it is.
        blob: its bytes as stored.
        what: names it in errors.
        run: watched for the end.
        limit: bytes of a stream (a compressed layer) that are read at most, compressed or uncompressed.

    Raises:
        IntegrityError: the layer is damaged.
        TrustError: it holds something unsafe.
    """
    is_archive = layer.form is not Format.RAW
    content: Ranges
    if layer.codec is not Codec.NONE:
        content = StreamRanges(decompress(_pieces(Ahead(blob), run, limit), layer.codec, what), None, limit)
    else:
        content = Ahead(blob, first=_MEMBER) if is_archive else Ahead(blob)
    try:
        if not is_archive:
            if not raw_member(layer.desc, layer.path, what).is_dir:
                yield from _look(layer, layer.path, content, what)
            return
        archive = _Archive(content, what, run)
        for member in read_members(archive, layer.base, layer.within):
            if not member.is_dir:
                if _is_wanted(member.path):
                    window = Window(content, archive.position, member.size)
                    yield from _look(layer, member.path, window, what)
                archive.skip(member.size)
    except TooFarError as error:
        yield Unread(layer, error.limit)


def _is_wanted(path: str) -> bool:
    return has_header(path) or path.lower().endswith(INDEX_SUFFIX) or path.rpartition("/")[2] == CONFIG_NAME


def _look(layer: KitLayer, path: str, content: Ranges, what: str) -> Iterator[Found]:
    named = f"{path} in {what}"
    try:
        if has_header(path):
            yield WeightFile(path, layer, read_header(content, named))
        elif path.lower().endswith(INDEX_SUFFIX):
            yield IndexFile(path, layer, parse_index(content.read_at(0, MAX_INDEX + 1), named))
        else:
            yield ConfigFile(path, layer, parse_model_config(content.read_at(0, MAX_CONFIG + 1)))
    except HeaderError as error:
        yield Broken(path, layer, error)


def _pieces(blob: Ranges, run: Run, limit: int) -> Iterator[memoryview]:
    """The blob in pieces; a stream may be long and give nothing, so that the limit holds for both its sides."""
    position = 0
    while data := blob.read_at(position, PIECE):
        run.cancel.check()
        if position >= limit:
            raise TooFarError(limit)
        yield memoryview(data)
        position += len(data)


class _Archive(PieceReader):
    """An archive that passes over the content of its members without reading it."""

    def __init__(self, content: Ranges, what: str, run: Run) -> None:
        super().__init__(iter(()), what)
        self._content = content
        self._run = run
        self.position = 0

    def read(self, size: int) -> bytes:
        self._run.cancel.check()
        data = self._content.read_at(self.position, size)
        if len(data) < size:
            raise IntegrityError(self.what, "a whole tar archive", "an early end")
        self.position += size
        return data

    def skip(self, size: int) -> None:
        self.position += size
