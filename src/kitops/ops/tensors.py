"""``kit inspect --tensors``: the tensors in the weights of a ModelKit, from their headers alone."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from kitops.content.parallel import run_all
from kitops.errors import NotFoundError
from kitops.formats.modelkit import read_modelkit
from kitops.formats.weight_files import (
    Broken,
    ConfigFile,
    IndexFile,
    Unread,
    WeightFile,
    find_weights,
    may_have_weights,
    newest,
)
from kitops.kitfile.schema import clean_path
from kitops.layers.codec import Codec
from kitops.ops.locate import check_pointer, locate
from kitops.ops.reading import check_here
from kitops.weights.facts import Facts, gather_facts
from kitops.weights.header import SUFFIXES, has_header, read_header
from kitops.weights.model_config import ModelConfig, find_config
from kitops.weights.ranges import RangedSource, open_file
from kitops.weights.tensors import sum_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kitops.content.protocols import Run
    from kitops.formats.modelkit import KitLayer, ModelKit
    from kitops.formats.weight_files import Found
    from kitops.oci.gojson import Json
    from kitops.oci.reference import Reference
    from kitops.ops.locate import Located
    from kitops.ops.place import Place
    from kitops.weights.ranges import Ranges
    from kitops.weights.tensors import Header, Tensor, Totals

REMOTE_LIMIT: Final = 64 << 20
"""Bytes of one layer that are read from a registry where only a stream can be had."""
LOCAL_LIMIT: Final = 64 << 30
"""The same in the store, where a compressed layer is read in passing over what is not wanted."""


@dataclass(frozen=True, slots=True)
class TensorFile:
    """The header of one file of weights; ``layer`` is None for a file outside of any ModelKit."""

    path: str
    header: Header
    layer: KitLayer | None = None

    @property
    def totals(self) -> Totals:
        return sum_up(self.header.tensors)

    def to_json(self) -> dict[str, Json]:
        """``path, format, layer, headerSize, metadata, tensors`` and the totals."""
        return {
            "path": self.path,
            "format": self.header.format,
            **({"version": self.header.version} if self.header.version else {}),
            "layer": str(self.layer.desc.digest) if self.layer else None,
            "headerSize": self.header.size,
            "metadata": dict(self.header.metadata),
            **_totals_json(self.totals),
            "tensors": [tensor_json(tensor) for tensor in self.header.tensors],
        }


@dataclass(frozen=True, slots=True)
class Tensors:
    """The tensors of a ModelKit, or of a file.

    Args:
        files: in the order of their layers.
        notes: what could not be read, and what an index says that is not so.
        kit: the ModelKit; None for a file.
        facts: what they and a ``config.json`` say of the model.
        is_remote: whether they were read from a registry: then nothing was verified, as no whole blob was read.
    """

    files: tuple[TensorFile, ...]
    notes: tuple[str, ...] = ()
    kit: ModelKit | None = None
    facts: Facts = field(default_factory=Facts)
    is_remote: bool = False

    @property
    def totals(self) -> Totals:
        return sum_up(tensor for file in self.files for tensor in file.header.tensors)

    def to_json(self) -> dict[str, Json]:
        """``digest, remote, model, notes, files`` and the totals."""
        return {
            "digest": str(self.kit.desc.digest) if self.kit else None,
            "remote": self.is_remote,
            "model": self.facts.to_json(),
            "notes": list(self.notes),
            **_totals_json(self.totals),
            "files": [file.to_json() for file in self.files],
        }


def tensors(place: Place, ref: Reference, *, remote: bool = False) -> Tensors:
    """The tensors of ``ref`` in the local store, or with ``remote`` in its registry, which is read in small parts.

    Raises:
        InvalidValueError: ``ref`` has neither tag nor digest.
        NotFoundError: there is no such ModelKit, or it has no weights whose header can be read.
        HeaderError: a header is malformed.
    """
    check_pointer(ref)
    with locate(place, ref, "remote" if remote else "local") as located:
        return read_tensors(place, located)


def read_tensors(place: Place, located: Located) -> Tensors:
    """Those of a ModelKit that was found.

    Raises:
        KitError: as :func:`tensors`.
    """
    ref = located.ref
    kit = read_modelkit(located.source, located.desc)
    layers = [layer for layer in kit.layers if may_have_weights(layer)]
    found = read_layers(place, located, layers, limit=LOCAL_LIMIT if located.is_local else REMOTE_LIMIT)
    for item in found:
        if isinstance(item, Broken):
            raise item.error
    files = tuple(TensorFile(item.path, item.header, item.layer) for item in found if isinstance(item, WeightFile))
    notes = (*_tell_unread(found, is_local=located.is_local), *_compare_indexes(found))
    if not files and not notes:
        raise NotFoundError(
            f"{ref} has no file of weights whose header can be read", hint=f"those are called *{', *'.join(SUFFIXES)}"
        )
    return Tensors(files, notes, kit, facts_of(kit, found), is_remote=not located.is_local)


def file_tensors(path: Path) -> Tensors:
    """The tensors of a file on this machine.

    Raises:
        HeaderError: its header is malformed.
        FileSystemError: it cannot be read.
    """
    name = str(path)
    with open_file(path) as content:
        header = read_header(content, name)
    return Tensors((TensorFile(name, header),), facts=gather_facts([(name, header)], name, ModelConfig()))


def tensor_json(tensor: Tensor) -> dict[str, Json]:
    """``name, dtype, shape, bytes, offset``."""
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "bytes": tensor.size,
        "offset": tensor.offset,
    }


def read_layers(place: Place, located: Located, layers: Sequence[KitLayer], *, limit: int) -> list[Found]:
    """What is told of weights in ``layers``, in their order, of an image what its newest layers have.

    Args:
        place: has the store.
        located: the artifact of the layers.
        layers: those that are looked into.
        limit: bytes of a layer that are read at most where it can only be read as a stream.

    Raises:
        NotFoundError: a filtered pull left one of them out.
    """
    check_here(located.source, [layer.desc for layer in layers])
    jobs = [partial(_read_layer, place, located, layer, limit) for layer in layers]
    return newest(item for items in run_all(jobs, place.run, workers=place.run.concurrency) for item in items)


def _read_layer(place: Place, located: Located, layer: KitLayer, limit: int, run: Run) -> list[Found]:
    what = f"layer {layer.desc.digest.short} of {located.ref}"
    with ExitStack() as stack:
        blob: Ranges
        if located.is_local:
            blob = stack.enter_context(open_file(place.store.blobs.path(layer.desc.digest)))
        elif isinstance(located.source, RangedSource):
            blob = stack.enter_context(located.source.ranges(layer.desc, limit=limit))
        else:
            raise AssertionError("a registry gives ranges")
        return list(find_weights(layer, blob, what, run, limit=limit))


def facts_of(kit: ModelKit, found: Sequence[Found]) -> Facts:
    """What headers and ``config.json`` say of the model of ``kit``."""
    files = [(item.path, item.header) for item in found if isinstance(item, WeightFile)]
    configs = {item.path: item.config for item in found if isinstance(item, ConfigFile)}
    path = clean_path(kit.kitfile.model.path) if kit.kitfile.model else ""
    lost = [item.path for item in found if isinstance(item, Broken) and has_header(item.path)]
    lost += [path for item in found if isinstance(item, Unread)]
    return gather_facts(files, path, find_config(configs, path), lost)


def _tell_unread(found: Sequence[Found], *, is_local: bool) -> Iterator[str]:
    for item in found:
        if isinstance(item, Unread):
            reason = "it is compressed" if item.layer.codec is not Codec.NONE else "its registry has no ranges"
            advice = "" if is_local else "; `kit pull` shows all of it"
            yield f"layer {item.layer.label}: only the first {item.limit} bytes were read, as {reason}{advice}"


def _compare_indexes(found: Sequence[Found]) -> Iterator[str]:
    """What an index of shards says that the shards do not."""
    names = {
        item.path: {tensor.name for tensor in item.header.tensors} for item in found if isinstance(item, WeightFile)
    }
    for item in found:
        if not isinstance(item, IndexFile):
            continue
        above = item.path.rpartition("/")[0]
        base = f"{above}/" if above else ""
        absent = sorted(file for file in item.index.files if base + file not in names)
        if absent:
            yield f"{item.path}: not here is {_first(absent)}"
        wrong = [
            name
            for name, file in item.index.weight_map.items()
            if (known := names.get(base + file)) is not None and name not in known
        ]
        if wrong:
            yield f"{item.path}: not in its file is {_first(wrong)}"


def _first(names: Sequence[str]) -> str:
    more = len(names) - 1
    return repr(names[0]) + (f", and {more} more" if more else "")


def _totals_json(totals: Totals) -> dict[str, Json]:
    return {
        "tensorCount": totals.tensors,
        "parameters": totals.parameters,
        "bytes": totals.size,
        "dtypes": dict(totals.dtypes),
    }
