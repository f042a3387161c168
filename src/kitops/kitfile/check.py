"""The rules between the fields of a Kitfile: paths, names, types of parts. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kitops.errors import KitfileError, Problem, printable
from kitops.kitfile.remote import find_clash, find_remote_problems, find_target, show
from kitops.kitfile.schema import (
    MANIFEST_VERSION,
    PART_TYPE,
    PART_TYPE_LIMIT,
    Dataset,
    Kitfile,
    clean_path,
    paths,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

DRIVE: Final = re.compile(r"[A-Za-z]:[\\/]", re.ASCII)
"""How an absolute path of Windows begins."""
_NOWHERE: Final[Mapping[str, tuple[int, int]]] = {}


def check(kitfile: Kitfile, path: str = "Kitfile") -> None:
    """Check a Kitfile that a program made.

    Raises:
        KitfileError: with every problem (without lines: there are none).
    """
    if problems := find_problems(kitfile, _NOWHERE):
        raise KitfileError(path, problems)


def find_problems(
    kitfile: Kitfile,
    places: Mapping[str, tuple[int, int]],
    broken: Collection[str] = (),
    *,
    unpinned: bool = False,
) -> list[Problem]:
    """Everything wrong between the fields.

    Args:
        kitfile: what was read.
        places: line and column of each field.
        broken: fields (``code[0]``) of which something could not be read: what is missing there is not told again.
        unpinned: a missing ``remoteHash`` is no problem: it is about to be filled in.
    """
    found = _Findings(places)
    _check_paths(kitfile, found, broken)
    _check_part_types(kitfile, found)
    _check_servers(kitfile, found, broken)
    for index, dataset in enumerate(kitfile.datasets):
        _check_remote(dataset, f"datasets[{index}]", found, unpinned=unpinned)
    _check_targets(kitfile, found)
    return found.problems


def find_warnings(kitfile: Kitfile, places: Mapping[str, tuple[int, int]]) -> list[Problem]:
    """What is probably not meant, but can be packed."""
    found = _Findings(places)
    if kitfile.manifest_version != MANIFEST_VERSION:
        shown = printable(kitfile.manifest_version[:60])
        found.add("manifestVersion", f"{shown!r} is not known, read as {MANIFEST_VERSION}", f"write {MANIFEST_VERSION}")
    for field, first, path in _doubles(kitfile):
        if field.startswith("prompts["):
            found.add(field, f"the same path as {first}: {show(path)} is packed twice")
    for index, dataset in enumerate(kitfile.datasets):
        if dataset.remote_hash and not dataset.remote_path:
            found.add(f"datasets[{index}].remoteHash", "means nothing without a remotePath")
    return found.problems


class _Findings:
    def __init__(self, places: Mapping[str, tuple[int, int]]) -> None:
        self.places = places
        self.problems: list[Problem] = []

    def add(self, field: str, message: str, hint: str | None = None) -> None:
        """Note a problem where ``field`` stands, or what it would stand in."""
        place = field
        while place not in self.places and place:
            place = place.rpartition("." if place.rfind(".") > place.rfind("[") else "[")[0]
        line, column = self.places.get(place, (0, 0))
        self.problems.append(Problem(line, column, field, message, hint))


def _check_paths(kitfile: Kitfile, found: _Findings, broken: Collection[str]) -> None:
    wrong = {field for field, _ in paths(kitfile) if field.removesuffix(".path") in broken}
    for field, path in paths(kitfile):
        if reason := _path_problem(path):
            wrong.add(field)
            found.add(field, *reason)
    for field, first, path in _doubles(kitfile):
        if field not in wrong and first not in wrong and not field.startswith("prompts["):
            found.add(field, f"the same path as {first}: {show(path)}", "each path belongs to one entry")


def _doubles(kitfile: Kitfile) -> list[tuple[str, str, str]]:
    """Field, earlier field, and cleaned path of each entry whose path an earlier one has.

    Prompts may share their path with anything (as in the Go tool): they are compared last.
    """
    ordered = sorted(paths(kitfile), key=lambda entry: entry[0].startswith("prompts["))
    first: dict[str, str] = {}
    doubles = []
    for field, path in ordered:
        cleaned = clean_path(path)
        if cleaned in first:
            doubles.append((field, first[cleaned], cleaned))
        else:
            first[cleaned] = field
    return doubles


def _path_problem(path: str) -> tuple[str, str | None] | None:
    if path.startswith(("/", "\\\\")) or DRIVE.match(path):
        return f"{show(path)} is an absolute path", "write it relative to the Kitfile's directory"
    if "\\" in path:
        return (
            f"{show(path)} holds a backslash",
            "write / between directories; a file with a backslash in its name must be renamed",
        )
    if "\0" in path:
        return f"{show(path)} holds a NUL character", None
    cleaned = clean_path(path)
    if cleaned == ".." or cleaned.startswith("../"):
        return f"{show(path)} leaves the Kitfile's directory", "move the files below it, or pack the directory above"
    return None


def _check_part_types(kitfile: Kitfile, found: _Findings) -> None:
    for index, part in enumerate(kitfile.model.parts if kitfile.model else ()):
        field = f"model.parts[{index}].type"
        if not part.type:
            continue
        if len(part.type) > PART_TYPE_LIMIT:
            found.add(field, f"has {len(part.type)} characters, {PART_TYPE_LIMIT} are allowed")
        elif not PART_TYPE.fullmatch(part.type):
            hint = "use letters, digits, '_', '.' and '-', not starting with '.' or '-'"
            found.add(field, f"{show(part.type)} is not a type", hint)


def _check_servers(kitfile: Kitfile, found: _Findings, broken: Collection[str]) -> None:
    first: dict[str, int] = {}
    for index, server in enumerate(kitfile.mcp_servers):
        if f"mcpServers[{index}]" in broken:
            continue
        if not server.name:
            found.add(f"mcpServers[{index}].name", "is missing", "each MCP server needs a name of its own")
        elif server.name in first:
            message = f"the same name as mcpServers[{first[server.name]}]: {show(server.name)}"
            found.add(f"mcpServers[{index}].name", message, "each MCP server needs a name of its own")
        else:
            first[server.name] = index
        if not server.path:
            found.add(f"mcpServers[{index}].path", "is missing", "name the server's .mcpb bundle")


def _check_remote(dataset: Dataset, field: str, found: _Findings, *, unpinned: bool) -> None:
    for key, message, hint in find_remote_problems(dataset):
        if not (unpinned and key == "remoteHash" and not dataset.remote_hash.strip()):
            found.add(f"{field}.{key}", message, hint)


def _check_targets(kitfile: Kitfile, found: _Findings) -> None:
    """Every remote object needs a file of its own, which shows only when it is fetched."""
    remote = {f"datasets[{index}].path": dataset for index, dataset in enumerate(kitfile.datasets)}
    remote = {field: dataset for field, dataset in remote.items() if dataset.remote_path}
    packed = {clean_path(path): field for field, path in paths(kitfile) if field not in remote}
    taken: dict[str, str] = {}
    for field, dataset in remote.items():
        target, own = find_target(dataset), clean_path(dataset.path)
        if target is None:
            continue
        first = find_clash(taken, target) or (packed.get(target) if target != own else None)
        if first is None:
            taken[target] = field
        elif first not in remote or clean_path(remote[first].path) != own:  # equal paths are told already
            found.add(field, f"the same file as {first}: {show(target)}", "each remote dataset needs a file of its own")
