"""How ``kit diff`` draws a difference for people: ``+`` added, ``-`` removed, ``~`` changed, ``=`` the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.cli._output import format_size
from kitops.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kitops.ops.diff import Difference, FieldChange, FileChange, LayerChange

_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def draw_difference(found: Difference, a: str, b: str) -> str:
    """The difference as lines; ``a`` and ``b`` are the references as typed."""
    return "".join(f"{printable(line)}\n" for line in _lines(found, a, b))


def _lines(found: Difference, a: str, b: str) -> Iterator[str]:
    yield f"--- {a}   {found.a.desc.digest}"
    yield f"+++ {b}   {found.b.desc.digest}"
    if found.is_equal:
        yield "Kitfile and layers are equal"
    yield from _field_lines("Kitfile", found.fields)
    yield from _field_lines("Annotations", found.annotations)
    if found.layers or found.shared:
        yield "Layers"
    for layer in found.shared:
        yield f"  = {layer.label}   {format_size(layer.desc.size)}"
    for change in found.layers:
        yield from _layer_lines(change)


def _field_lines(title: str, changes: Sequence[FieldChange]) -> Iterator[str]:
    if changes:
        yield title
    for change in changes:
        values = [_value(value) for value in (change.before, change.after) if value is not None]
        yield f"  {_SIGNS[change.change]} {change.field.removeprefix('.')}: {' -> '.join(values)}"


def _value(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def _layer_lines(change: LayerChange) -> Iterator[str]:
    layer = change.after or change.before
    sizes = [side.desc.size for side in (change.before, change.after) if side]
    label = layer.label if layer else change.path
    yield f"  {_SIGNS[change.change]} {label}   {_sizes(sizes)}"
    if not change.files:
        yield "      the same files, packed otherwise" if change.change == "changed" else "      no files"
    for file in change.files:
        yield f"      {_SIGNS[file.change]} {file.path}   {_file_sizes(file)}"


def _file_sizes(file: FileChange) -> str:
    if file.is_mode_only:
        return "permissions only"
    return _sizes([size for size in (file.before_size, file.after_size) if size is not None])


def _sizes(sizes: Sequence[int]) -> str:
    texts = [format_size(size) for size in sizes]
    if len(set(sizes)) > len(set(texts)):  # a few bytes more or less must show
        texts = [f"{size} B" for size in sizes]
    return " -> ".join(dict.fromkeys(texts))
