"""``kit info``: the Kitfile of a ModelKit, or one field of it."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from kitops.errors import InvalidValueError, NotFoundError
from kitops.kitfile.dump import to_json
from kitops.ops.locate import check_pointer, locate
from kitops.ops.reading import read_kit

if TYPE_CHECKING:
    from kitops.kitfile.schema import Kitfile
    from kitops.oci.gojson import Json
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place

_STEP = re.compile(r"\.([^.\[\]]+)|\[([0-9]+)\]", re.ASCII)


def info(place: Place, ref: Reference, *, remote: bool = False) -> Kitfile:
    """The Kitfile of ``ref`` in the local store, or with ``remote`` in its registry.

    Raises:
        InvalidValueError: ``ref`` has neither tag nor digest.
        NotFoundError: there is no such ModelKit.
    """
    check_pointer(ref)
    with locate(place, ref, "remote" if remote else "local") as located:
        return read_kit(located, place.run).kitfile


def select_field(kitfile: Kitfile, path: str) -> Json:
    """One field of a Kitfile: ``.model.name``, ``.datasets[0].path``; field names in any case.

    Raises:
        InvalidValueError: the path does not parse.
        NotFoundError: the Kitfile has no such field.
    """
    value: Json = dict(to_json(kitfile))
    position = 0
    path = path if path.startswith((".", "[")) else f".{path}"
    while position < len(path) and path != ".":
        step = _STEP.match(path, position)
        if step is None:
            raise InvalidValueError(
                f"field {path!r} does not parse at column {position + 1}", hint="a field looks like .datasets[0].path"
            )
        key, number = step.groups()
        value = _select_key(value, key, path) if key is not None else _select_item(value, int(number), path)
        position = step.end()
    return value


def _select_key(value: Json, key: str, path: str) -> Json:
    if isinstance(value, dict):
        by_lower = {known.lower(): known for known in value}
        if key in value:
            return value[key]
        if key.lower() in by_lower:
            return value[by_lower[key.lower()]]
        near = get_close_matches(key.lower(), by_lower, n=1)
        hint = f"did you mean {by_lower[near[0]]!r}?" if near else f"there are {', '.join(value) or 'none'}"
        raise NotFoundError(f"field {path!r}: there is no {key!r}", hint=hint)
    raise NotFoundError(f"field {path!r}: {key!r} is looked for in something that has no fields")


def _select_item(value: Json, number: int, path: str) -> Json:
    if not isinstance(value, list):
        raise NotFoundError(f"field {path!r}: [{number}] is looked for in something that is no list")
    if number >= len(value):
        raise NotFoundError(f"field {path!r}: the list has {len(value)} entries, counted from 0")
    return value[number]
