"""How ``kit inspect --tensors`` and ``kit diff --tensors`` are drawn for people."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kitops.cli._output import format_size, format_table, print_json, to_stdout
from kitops.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags
    from kitops.ops.tensor_diff import TensorChange, TensorDifference
    from kitops.ops.tensors import TensorFile, Tensors
    from kitops.weights.facts import Facts
    from kitops.weights.tensors import Tensor, Totals

FIELDS = ("File", "Name", "DType", "Shape", "Size", "Bytes", "Offset")
"""What a template may ask of a tensor."""
_HEADER = ("FILE", "TENSOR", "DTYPE", "SHAPE", "SIZE")
_UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


def print_tensors(session: Session, ref: str, output: str, network: NetworkFlags, *, remote: bool) -> None:
    """Print those of ``ref``: ``output`` is ``table``, ``json`` or a template."""
    if output in ("table", "json"):
        found = _read_tensors(session, ref, network, remote=remote)
        if output == "json":
            print_json(found.to_json())
        else:
            to_stdout(draw_tensors(found))
        return
    from kitops.cli._template import read_template, render_all

    template = read_template(output, FIELDS)
    found = _read_tensors(session, ref, network, remote=remote)
    to_stdout(render_all(template, template_rows(found)))


def _read_tensors(session: Session, ref: str, network: NetworkFlags, *, remote: bool) -> Tensors:
    """Those of a reference, or of a file."""
    from pathlib import Path

    from kitops.oci.reference import Reference
    from kitops.ops.tensors import file_tensors, tensors

    if not remote and _is_path(ref):
        return file_tensors(Path(ref))
    with session.place(network) as place:
        return tensors(place, Reference.parse(ref), remote=remote)


def _is_path(text: str) -> bool:
    """Whether a file is meant: no reference begins with a dot or slash, and a whole one has a tag or digest."""
    return text.startswith((".", "/")) or (":" not in text and "@" not in text and os.path.isfile(text))


def draw_tensors(found: Tensors) -> str:
    """A table of all tensors, a line a file, and the sums."""
    rows = [
        (file.path, tensor.name, tensor.dtype, format_shape(tensor), format_size(tensor.size))
        for file in found.files
        for tensor in file.header.tensors
    ]
    known = ", ".join(_words(found.facts))
    lines = [f"model: {known}"] if known else []
    lines += [*(f"{file.path}: {_totals(file.totals)}" for file in found.files), *found.notes]
    if len(found.files) > 1:
        lines.append(f"{len(found.files)} files: {_totals(found.totals)}")
    if found.is_remote:
        lines.append("read from the registry in parts: nothing was verified")
    return format_table(_HEADER, rows) + "\n" + "".join(f"{printable(line)}\n" for line in lines)


def template_rows(found: Tensors) -> Iterator[dict[str, object]]:
    """The fields of each tensor; ``Size`` for people, ``Bytes`` for programs."""
    for file in found.files:
        for tensor in file.header.tensors:
            yield {
                "File": file.path,
                "Name": tensor.name,
                "DType": tensor.dtype,
                "Shape": [str(length) for length in tensor.shape],
                "Size": format_size(tensor.size),
                "Bytes": str(tensor.size),
                "Offset": str(tensor.offset),
            }


def draw_tensor_difference(found: TensorDifference, a: str, b: str) -> str:
    """The difference as lines; ``a`` and ``b`` are the references as typed."""
    return "".join(f"{printable(line)}\n" for line in _difference_lines(found, a, b))


def format_shape(tensor: Tensor) -> str:
    """``4096 x 32000``; ``scalar`` for one element without an axis."""
    return " x ".join(map(str, tensor.shape)) or "scalar"


def format_count(count: int) -> str:
    """A number of parameters as people say it: ``6.7B``, ``124.4M``, ``12``."""
    for size, unit in _UNITS:
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


def _words(facts: Facts) -> Iterator[str]:
    yield from dict.fromkeys(
        word for word in (facts.architecture, facts.family, facts.format, facts.precision, facts.quantization) if word
    )
    if facts.parameters:
        yield f"{format_count(facts.parameters)} parameters"
    if facts.context_length:
        yield f"context of {facts.context_length} tokens"


def _totals(totals: Totals) -> str:
    mix = ", ".join(f"{dtype} {format_count(count)}" for dtype, count in totals.dtypes.items())
    count = f"{totals.tensors} tensor{'s' if totals.tensors != 1 else ''}"
    return f"{count}, {format_count(totals.parameters)} parameters ({mix or 'none'}), {format_size(totals.size)}"


def _difference_lines(found: TensorDifference, a: str, b: str) -> Iterator[str]:
    yield f"--- {a}   {_label(found.a)}   {_totals(found.a.totals)}"
    yield f"+++ {b}   {_label(found.b)}   {_totals(found.b.totals)}"
    for change in found.changes:
        sides = [_describe(side) for side in (change.before, change.after) if side]
        yield f"  {_SIGNS[change.change]} {change.name}   {' -> '.join(dict.fromkeys(sides))}{_values(change)}"
    for before, _ in found.unsettled:
        yield f"  ? {before[1].name}   {_describe(before)}"
    if known := found.same - found.compared:
        yield f"{_tensors(known)} the same: the layers that hold them have the same digests"
    if found.compared:
        yield f"{_tensors(found.compared)} the same: their values were compared"
    if found.unsettled:
        yield (
            f"{_tensors(found.undecided)} of the same dtype and shape in layers with other digests:"
            " their values may differ, headers do not tell"
        )
        yield "--values reads and compares them"
    yield from (f"{a}: {note}" for note in found.a.notes)
    yield from (f"{b}: {note}" for note in found.b.notes)


_SIGNS = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}


def _values(change: TensorChange) -> str:
    if change.is_value_equal is False:
        return ": other values"
    return ": values not compared" if change.change == "moved" and change.is_value_equal is None else ""


def _label(found: Tensors) -> str:
    return str(found.kit.desc.digest) if found.kit else ""


def _describe(side: tuple[TensorFile, Tensor]) -> str:
    file, tensor = side
    return f"{tensor.dtype} {format_shape(tensor)} in {file.path}"


def _tensors(count: int) -> str:
    return f"{count} tensor{'s' if count != 1 else ''}"
