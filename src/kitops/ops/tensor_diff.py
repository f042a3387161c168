"""``kit diff --tensors``: which tensors were added, removed or changed between two ModelKits.

Headers tell names, types and shapes. Of tensors that agree in those, the values are compared by their bytes, unless the
layers tell already that they are the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kitops.layers.codec import Codec
from kitops.layers.write import Format
from kitops.ops.diff import parse_side
from kitops.ops.locate import locate
from kitops.ops.tensor_values import read_values
from kitops.ops.tensors import read_tensors, tensor_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.oci.gojson import Json
    from kitops.ops.place import Place
    from kitops.ops.tensor_values import Placed, Values
    from kitops.ops.tensors import Tensors


@dataclass(frozen=True, slots=True)
class TensorChange:
    """One tensor that is not the same on both sides.

    Args:
        name: of the tensor.
        change: added, removed, changed (other dtype, shape or values), or only moved to another file.
        before: the one side.
        after: the other.
        is_value_equal: whether its values are; None where there is nothing to compare, or nobody did.
    """

    name: str
    change: Literal["added", "removed", "changed", "moved"]
    before: Placed | None
    after: Placed | None
    is_value_equal: bool | None = None

    def to_json(self) -> dict[str, Json]:
        """``name, change, valuesEqual, before, after``."""
        return {
            "name": self.name,
            "change": self.change,
            "valuesEqual": self.is_value_equal,
            "before": _placed_json(self.before),
            "after": _placed_json(self.after),
        }


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """What differs between the tensors of ``a`` and ``b``.

    Args:
        a: the one side.
        b: the other.
        changes: tensors that were added, removed, changed, or moved to another file.
        same: how many others are equal for certain.
        compared: how many of those were found so by their bytes; the others stand at one place of a layer that both
            have.
        unsettled: the others: they agree in dtype and shape, are in layers that differ, and nobody compared their
            values.
    """

    a: Tensors
    b: Tensors
    changes: tuple[TensorChange, ...]
    same: int
    compared: int
    unsettled: tuple[tuple[Placed, Placed], ...]

    @property
    def undecided(self) -> int:
        """How many tensors may have other values."""
        return len(self.unsettled)

    @property
    def is_equal(self) -> bool:
        """Whether every tensor is equal for certain."""
        return not (self.changes or self.unsettled)

    def to_json(self) -> dict[str, Json]:
        """``equal, a, b, changes, same, compared, undecided, undecidedTensors, notes``."""
        return {
            "equal": self.is_equal,
            "a": str(self.a.kit.desc.digest) if self.a.kit else None,
            "b": str(self.b.kit.desc.digest) if self.b.kit else None,
            "changes": [change.to_json() for change in self.changes],
            "same": self.same,
            "compared": self.compared,
            "undecided": self.undecided,
            "undecidedTensors": [
                {"name": before[1].name, "before": _placed_json(before), "after": _placed_json(after)}
                for before, after in self.unsettled
            ],
            "notes": {"a": list(self.a.notes), "b": list(self.b.notes)},
        }


def tensor_diff(place: Place, a: str, b: str, *, values: bool | None = None) -> TensorDifference:
    """Compare the tensors of two references, written as for :func:`kitops.ops.diff.diff`.

    Args:
        place: where.
        a: the one.
        b: the other.
        values: read the layers of tensors of which headers do not tell whether they are the same; None does it where
            both sides are in the local store.

    Raises:
        InvalidValueError: a reference does not parse, or has neither tag nor digest.
        NotFoundError: there is no such ModelKit, or it has no weights whose header can be read.
        HeaderError: a header is malformed.
        IntegrityError: a layer is damaged.
    """
    parsed = [parse_side(text) for text in (a, b)]
    with ExitStack() as stack:
        one, other = (stack.enter_context(locate(place, ref, where)) for ref, where in parsed)
        found = compare_tensors(read_tensors(place, one), read_tensors(place, other))
        if values if values is not None else one.is_local and other.is_local:
            pairs = _list_unsettled(found)
            sides = [(one, [before for before, _ in pairs]), (other, [after for _, after in pairs])]
            old, new = read_values(sides, place.run)
            found = compare_tensors(found.a, found.b, (old, new))
    return found


def compare_tensors(a: Tensors, b: Tensors, values: tuple[Values, Values] | None = None) -> TensorDifference:
    """What differs between ``a`` and ``b``, as far as headers and ``values`` of both sides tell. Pure."""
    changes: list[TensorChange] = []
    pairs: list[tuple[Placed, Placed]] = []
    same = compared = 0
    for before, after in _pair(a, b):
        if before is None or after is None:
            name = (before or after)[1].name  # type: ignore[index]  # one of the two is there
            changes.append(TensorChange(name, "added" if before is None else "removed", before, after))
            continue
        name = before[1].name
        if (before[1].dtype, before[1].shape) != (after[1].dtype, after[1].shape):
            changes.append(TensorChange(name, "changed", before, after))
            continue
        is_known = _is_same_place(before, after)
        is_equal = True if is_known else _compare(before, after, values)
        if is_equal is False:
            changes.append(TensorChange(name, "changed", before, after, is_equal))
        elif before[0].path != after[0].path:
            changes.append(TensorChange(name, "moved", before, after, is_equal))
        elif is_equal is None:
            pairs.append((before, after))
        else:
            same += 1
            compared += not is_known
    return TensorDifference(a, b, tuple(changes), same, compared, tuple(pairs))


def _list_unsettled(found: TensorDifference) -> list[tuple[Placed, Placed]]:
    """The tensors of which only their bytes tell whether they are the same, those that moved too."""
    moved = [
        (change.before, change.after)
        for change in found.changes
        if change.change == "moved" and change.is_value_equal is None and change.before and change.after
    ]
    return [*found.unsettled, *moved]


def _is_same_place(before: Placed, after: Placed) -> bool:
    """Whether both are the same bytes of the same file: of a layer that both have, or of raw layers of one digest."""
    old, new = before[0].layer, after[0].layer
    if old is None or new is None or old.desc.digest != new.desc.digest or before[1].offset != after[1].offset:
        return False
    is_file = old.form is new.form is Format.RAW and old.codec is new.codec is Codec.NONE
    return is_file or before[0].path == after[0].path


def _compare(before: Placed, after: Placed, values: tuple[Values, Values] | None) -> bool | None:
    if values is None:
        return None
    old, new = (
        side.get((placed[0].path, placed[1].name)) for side, placed in zip(values, (before, after), strict=True)
    )
    return None if old is None or new is None else old == new


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


def _placed_json(placed: Placed | None) -> Json:
    return None if placed is None else {"file": placed[0].path, **tensor_json(placed[1])}
