"""Fill in what remote datasets are known by, in a Kitfile's own text: comments and order stay. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kitops.errors import KitError
from kitops.kitfile.dump import dump
from kitops.kitfile.nodes import compose
from kitops.kitfile.parse import parse
from kitops.kitfile.schema import Kitfile
from kitops.kitfile.values import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Pin:
    """What a remote dataset gets: its ``remoteHash``, and what is added to its ``remotePath`` (``?versionId=…``)."""

    remote_hash: str
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A Kitfile with its hashes: ``text``, and whether nothing but them was changed in it."""

    kitfile: Kitfile
    text: str
    is_edited: bool


def write_pins(text: bytes, path: str, pins: Mapping[int, Pin]) -> Pinned:
    """The Kitfile ``text`` with ``pins``, by the number of the dataset.

    Every way of writing a map is tried that keeps the rest as it is; what comes out must read as what is wanted. Where
    none does (an alias, a key in a merged map), the Kitfile is written anew, without its comments.

    Args:
        text: a Kitfile that parses, but for hashes that are missing.
        path: what errors call it.
        pins: one at least.

    Raises:
        KitfileError: ``text`` is no Kitfile.
    """
    kitfile = parse(text, path, unpinned=True)
    datasets = list(kitfile.datasets)
    edited: str | None = _decode(text)
    for index, pin in sorted(pins.items(), reverse=True):
        remote_path = datasets[index].remote_path + pin.suffix
        datasets[index] = replace(datasets[index], remote_hash=pin.remote_hash, remote_path=remote_path)
        wanted = replace(kitfile, datasets=tuple(datasets))
        edited = None if edited is None else _edit(edited, path, index, pin, wanted)
    wanted = replace(kitfile, datasets=tuple(datasets))
    if edited is None:
        return Pinned(wanted, dump(wanted), is_edited=False)
    return Pinned(wanted, edited, is_edited=True)


def _decode(text: bytes) -> str | None:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:  # UTF-16 is read, not written
        return None


def _edit(text: str, path: str, index: int, pin: Pin, wanted: Kitfile) -> str | None:
    """The first text that says what is wanted; None where there is none."""
    old_path = wanted.datasets[index].remote_path.removesuffix(pin.suffix)
    for candidate in _candidates(text, path, index, old_path, pin):
        try:
            if parse(candidate, path, unpinned=True) == wanted:
                return candidate
        except KitError:
            continue
    return None


def _candidates(text: str, path: str, index: int, old_path: str, pin: Pin) -> Iterator[str]:
    root = compose(text, path)
    reader = Reader()
    if root is not None:
        reader.read_part(root, Kitfile, "")
    place = reader.places.get(f"datasets[{index}].remotePath")
    if place is None:
        return
    lines = text.splitlines(keepends=True)
    number, column = place[0] - 1, place[1] - 1
    line = lines[number]
    key = line.rfind("remotePath", 0, column)
    if key < 0:
        return
    if key and line[key - 1] in "'\"":
        key -= 1
    line = line[:column] + line[column:].replace(old_path, old_path + pin.suffix, 1)
    above, below = "".join(lines[:number]), "".join(lines[number + 1 :])
    break_ = "\r\n" if line.endswith("\r\n") else "\n"
    if (old := reader.places.get(f"datasets[{index}].remoteHash")) is not None:  # it is there, but empty
        at, start = old[0] - 1, old[1] - 1
        lines[number] = line
        rest = lines[at][start:]
        empty = next((quotes for quotes in ('""', "''", "~", "null") if rest.startswith(quotes)), "")
        lines[at] = f'{lines[at][:start]} "{pin.remote_hash}"{rest.removeprefix(empty)}'
        yield "".join(lines)
        return
    entry = f'remoteHash: "{pin.remote_hash}"'
    whole = line if line.endswith("\n") else line + break_
    yield f"{above}{whole}{' ' * key}{entry}{break_}{below}"
    yield f"{above}{line[:key]}{entry}{break_}{' ' * key}{line[key:]}{below}"
    yield f"{above}{line[:key]}{entry}, {line[key:]}{below}"
