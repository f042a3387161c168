"""The values of tensors as digests of their bytes, read from their layers, which are verified on the way."""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from kitops.content.events import Advanced, Finished, Planned, Started
from kitops.content.parallel import run_all
from kitops.errors import IntegrityError
from kitops.layers.compose import read_files
from kitops.ops.reading import layer_content

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kitops.content.protocols import Run
    from kitops.formats.modelkit import KitLayer
    from kitops.layers.untar import Member
    from kitops.oci.digest import Digest
    from kitops.ops.locate import Located
    from kitops.ops.tensors import TensorFile
    from kitops.weights.tensors import Tensor

Placed: TypeAlias = "tuple[TensorFile, Tensor]"
"""A tensor, and the file that it is in."""
Values: TypeAlias = "dict[tuple[str, str], bytes]"
"""The digests of tensors, by file and name."""


def read_values(sides: Sequence[tuple[Located, Iterable[Placed]]], run: Run) -> list[Values]:
    """The digests of the tensors of each side.

    Every layer that holds one of them is read once, and whole, so that what is compared is what was verified.

    Args:
        sides: ModelKits with some of their tensors.
        run: watched for the end, and told how far it is.

    Raises:
        IntegrityError: a layer is damaged, or a file ends before its tensors do.
        NetworkError: a registry cannot be reached.
    """
    found: list[Values] = [{} for _ in sides]
    jobs = []
    size = 0
    for (located, placed), values in zip(sides, found, strict=True):
        for layer, wanted in _group(placed):
            jobs.append(partial(_read_layer, located, layer, wanted, values))
            size += layer.desc.size
    run.observer(Planned("compare", len(jobs), size))
    run_all(jobs, run, workers=run.concurrency)
    return found


def digest_tensors(parts: Iterable[memoryview], tensors: Iterable[Tensor], what: str) -> Iterator[tuple[str, bytes]]:
    """Name and SHA-256 of each of ``tensors`` in a file, of which all parts are read.

    Args:
        parts: the file, in order; each is good until the next is asked for.
        tensors: apart from one another, as in every header that was understood.
        what: names the file in errors.

    Raises:
        IntegrityError: the file ends within a tensor.
    """
    waiting = deque(sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size)))
    hasher = hashlib.sha256()
    position = 0
    for part in parts:
        end = position + len(part)
        while waiting and waiting[0].offset < end:
            first, last = waiting[0].offset, waiting[0].offset + waiting[0].size
            hasher.update(part[max(first, position) - position : last - position])
            if last > end:
                break
            yield waiting.popleft().name, hasher.digest()
            hasher = hashlib.sha256()
        position = end
    for tensor in waiting:
        if tensor.size:
            raise IntegrityError(what, f"at least {tensor.offset + tensor.size} bytes", f"{position} bytes")
        yield tensor.name, hashlib.sha256().digest()


def _group(placed: Iterable[Placed]) -> Iterator[tuple[KitLayer, Mapping[str, list[Tensor]]]]:
    """Each layer with the tensors that are wanted of it, by file."""
    layers: dict[tuple[Digest, str], KitLayer] = {}
    wanted: dict[tuple[Digest, str], dict[str, list[Tensor]]] = {}
    for file, tensor in placed:
        if file.layer is not None:
            key = file.layer.desc.digest, file.layer.path
            layers[key] = file.layer
            wanted.setdefault(key, defaultdict(list))[file.path].append(tensor)
    for key, layer in layers.items():
        yield layer, wanted[key]


def _read_layer(
    located: Located, layer: KitLayer, wanted: Mapping[str, list[Tensor]], values: Values, run: Run
) -> None:
    content = layer_content(layer, located.ref)
    item = f"{located.ref} {layer.path} {layer.desc.digest}"
    run.observer(Started(item, f"{layer.label} of {located.ref}", layer.desc.size))

    def take(member: Member, parts: Iterator[memoryview]) -> None:
        what = f"{member.path} in {content.what}"
        for name, digest in digest_tensors(parts, wanted.get(member.path, ()), what):
            values[member.path, name] = digest

    with located.source.stream(layer.desc) as reader:
        read_files(reader, content, run, take, lambda size: run.observer(Advanced(item, size)))
    run.observer(Finished(item, "done"))
