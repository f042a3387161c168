"""A Kitfile's YAML to its types, with every problem in one report."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from kitops.errors import FileSystemError, KitfileError, NotFoundError, Problem, printable
from kitops.kitfile.check import find_problems, find_warnings
from kitops.kitfile.nodes import SIZE_LIMIT, Mapping, compose, is_null
from kitops.kitfile.schema import MANIFEST_VERSION, Kitfile
from kitops.kitfile.values import PROBLEM_LIMIT, Reader, TooManyProblems

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from kitops.kitfile.nodes import Node

NAMES: Final = ("Kitfile", "kitfile", ".kitfile")
"""The names that a Kitfile is looked for under, in this order."""

_LINE: Final = 16
"""Bytes that the longest escape, or what stands around an item, takes at most."""


def _ignore(_warning: Problem) -> None:
    """Whoever wants the warnings passes something better."""


def parse(
    text: str | bytes,
    path: str = "Kitfile",
    *,
    warn: Callable[[Problem], None] = _ignore,
    unpinned: bool = False,
) -> Kitfile:
    """Read a Kitfile.

    Scalars resolve as in Go's yaml.v3; fields that are text keep the spelling of what has no quotes (``1.10``).
    Anchors, aliases and merge keys work within bounds (``nodes.SIZE_LIMIT``, ``DEPTH_LIMIT``, ``ALIAS_FACTOR``).

    Args:
        text: the YAML; bytes are UTF-8, or UTF-16 with a byte order mark.
        path: what errors call it.
        warn: told what is probably not meant, also before a KitfileError (unless what is wrong is the YAML itself).
        unpinned: take remote datasets without a ``remoteHash``: it is about to be filled in.

    Raises:
        KitfileError: with every problem, each with its line, column and field.
    """
    root = compose(text, path)
    if root is None or is_null(root):
        raise KitfileError(path, [Problem(1, 1, "", "is empty", "`kit init` writes a Kitfile")])
    reader = Reader()
    try:
        kitfile = reader.read_part(root, Kitfile, "")
    except TooManyProblems:
        raise KitfileError(path, reader.problems, hint=f"only the first {PROBLEM_LIMIT} problems are shown") from None
    broken = {field for problem in reader.problems for field in (problem.field, problem.field.rpartition(".")[0])}
    for warning in _list_warnings(kitfile, reader, root, broken):
        warn(warning)
    problems = reader.problems + find_problems(kitfile, reader.places, broken, unpinned=unpinned)
    if len(problems) > PROBLEM_LIMIT:
        shown = sorted(problems, key=lambda problem: (problem.line, problem.column))[:PROBLEM_LIMIT]
        raise KitfileError(path, shown, hint=f"only the first {PROBLEM_LIMIT} problems are shown")
    if problems:
        raise KitfileError(path, problems)
    _check_written(kitfile, root, path)
    return kitfile


def _check_written(kitfile: Kitfile, root: Node, path: str) -> None:
    """Refuse what cannot be read again once it is unpacked: ``dump`` writes a line and an indent for each item."""
    if root.weight * (2 * root.depth + _LINE) <= SIZE_LIMIT:  # more it cannot become
        return
    from kitops.kitfile.dump import dump  # noqa: PLC0415 - few Kitfiles are so large

    size = len(dump(kitfile).encode())
    if size > SIZE_LIMIT:
        message = f"is {size} bytes long as `kit unpack` writes it, with an item a line: {SIZE_LIMIT} are allowed"
        raise KitfileError(path, [Problem(0, 0, "", message, "a Kitfile names files, it does not hold them")])


def _list_warnings(kitfile: Kitfile, reader: Reader, root: Node, broken: Collection[str]) -> Iterator[Problem]:
    """What is probably not meant; nothing about entries of which something could not be read."""
    if isinstance(root, Mapping) and "manifestVersion" not in reader.places:
        hint = f"add the line manifestVersion: {MANIFEST_VERSION}"
        yield Problem(root.line, root.column, "manifestVersion", f"is missing, read as {MANIFEST_VERSION}", hint)
    for warning in find_warnings(kitfile, reader.places):
        entry = warning.field.rpartition(".")[0]
        if warning.field not in broken and not (entry and entry in broken):
            yield warning


def find(context: Path) -> Path:
    """The Kitfile of the directory ``context``.

    Raises:
        NotFoundError: there is none.
        FileSystemError: the directory cannot be read.
    """
    try:
        present = set(os.listdir(context))
    except FileNotFoundError:
        raise NotFoundError(f"looking for a Kitfile: {printable(context)} does not exist") from None
    except OSError as error:
        raise FileSystemError.wrap(error, "looking for a Kitfile in", context) from error
    for name in NAMES:
        if name in present and (context / name).is_file():
            return context / name
    where = printable(context)
    raise NotFoundError(f"no Kitfile in {where}", hint=f"write one with `kit init {where}`, or name it with --file")


def read_text(path: Path) -> bytes:
    """The bytes of the Kitfile ``path``, for :func:`parse`.

    Raises:
        FileSystemError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", path) from error
