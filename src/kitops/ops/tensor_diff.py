"""``kit diff --tensors``: which tensors were added, removed or changed between two ModelKits, from headers alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kitops.ops.diff import parse_side
from kitops.ops.tensors import read_tensors, tensor_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.oci.gojson import Json
    from kitops.ops.place import Place
    from kitops.ops.tensors import TensorFile, Tensors
    from kitops.weights.tensors import Tensor

Placed = tuple["TensorFile", "Tensor"]
"""A tensor, and the file that it is in."""


@dataclass(frozen=True, slots=True)
class TensorChange:
    """One tensor that is not the same on both sides; ``moved`` is in another file now, and has its dtype and shape."""

    name: str
    change: Literal["added", "removed", "changed", "moved"]
    before: Placed | None
    after: Placed | None

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "change": self.change,
            "before": _placed_json(self.before),
            "after": _placed_json(self.after),
        }


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """What differs between the tensors of ``a`` and ``b``.

    Args:
        a: the one side.
        b: the other.
        changes: tensors that were added, removed, changed in dtype or shape, or moved to another file.
        same: how many others stand at the same place of a layer that both have: they are equal for certain.
        undecided: how many others have the same dtype and shape, but are in layers that differ: headers do not tell
            whether their values do.
    """

    a: Tensors
    b: Tensors
    changes: tuple[TensorChange, ...]
    same: int
    undecided: int

    @property
    def is_equal(self) -> bool:
        """Whether every tensor is equal for certain."""
        return not (self.changes or self.undecided)

    def to_json(self) -> dict[str, Json]:
        """``equal, a, b, changes, same, undecided, notes``."""
        return {
            "equal": self.is_equal,
            "a": str(self.a.kit.desc.digest) if self.a.kit else None,
            "b": str(self.b.kit.desc.digest) if self.b.kit else None,
            "changes": [change.to_json() for change in self.changes],
            "same": self.same,
            "undecided": self.undecided,
            "notes": {"a": list(self.a.notes), "b": list(self.b.notes)},
        }


def tensor_diff(place: Place, a: str, b: str) -> TensorDifference:
    """Compare the tensors of two references, written as for :func:`kitops.ops.diff.diff`.

    Raises:
        InvalidValueError: a reference does not parse, or has neither tag nor digest.
        NotFoundError: there is no such ModelKit, or it has no weights whose header can be read.
        HeaderError: a header is malformed.
    """
    one, other = (read_tensors(place, *parse_side(text)) for text in (a, b))
    return compare_tensors(one, other)


def compare_tensors(a: Tensors, b: Tensors) -> TensorDifference:
    """What differs between ``a`` and ``b``. Pure."""
    changes: list[TensorChange] = []
    same = undecided = 0
    for before, after in _pair(a, b):
        if before is None or after is None:
            name = (before or after)[1].name  # type: ignore[index]  # one of the two is there
            changes.append(TensorChange(name, "added" if before is None else "removed", before, after))
        elif (before[1].dtype, before[1].shape) != (after[1].dtype, after[1].shape):
            changes.append(TensorChange(before[1].name, "changed", before, after))
        elif before[0].path != after[0].path:
            changes.append(TensorChange(before[1].name, "moved", before, after))
        elif _digest(before) == _digest(after) and before[1].offset == after[1].offset:
            same += 1
        else:
            undecided += 1
    return TensorDifference(a, b, tuple(changes), same, undecided)


def _pair(a: Tensors, b: Tensors) -> Iterator[tuple[Placed | None, Placed | None]]:
    """The tensors of both sides: by file and name; then, as files are split otherwise, by a name that each has once."""
    old, new = _by_place(a), _by_place(b)
    waiting: dict[str, list[Placed]] = defaultdict(list)
    for key, placed in new.items():
        if key not in old:
            waiting[key[1]].append(placed)
    left = Counter(name for path, name in old if (path, name) not in new)
    for key, before in old.items():
        if key in new:
            yield before, new[key]
        elif len(waiting[key[1]]) == 1 and left[key[1]] == 1:
            yield before, waiting.pop(key[1])[0]
        else:
            yield before, None
    for placed_list in waiting.values():
        for placed in placed_list:
            yield None, placed


def _by_place(side: Tensors) -> dict[tuple[str, str], Placed]:
    return {(file.path, tensor.name): (file, tensor) for file in side.files for tensor in file.header.tensors}


def _digest(placed: Placed) -> str | None:
    layer = placed[0].layer
    return str(layer.desc.digest) if layer else None


def _placed_json(placed: Placed | None) -> Json:
    return None if placed is None else {"file": placed[0].path, **tensor_json(placed[1])}
