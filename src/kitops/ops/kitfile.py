"""``kit kitfile``: check a Kitfile, and print its JSON Schema; and whether a file says what a Kitfile says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.errors import KitfileError, NotFoundError, printable
from kitops.kitfile.dump import dump, to_json
from kitops.kitfile.parse import find, parse, read_text

if TYPE_CHECKING:
    from pathlib import Path

    from kitops.errors import Problem
    from kitops.kitfile.schema import Kitfile


@dataclass(frozen=True, slots=True)
class Linted:
    """What is wrong with a Kitfile (``problems``), what only seems so (``warnings``), and whether that is not all."""

    path: str
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    hint: str | None = None


def lint(path: Path, text: bytes | None = None) -> Linted:
    """Check the Kitfile ``path``, or the one in the directory ``path``; with ``text`` that instead of the file's.

    Raises:
        NotFoundError: there is none.
        FileSystemError: it cannot be read.
    """
    if text is None:
        path = _find(path) if path.is_dir() else path
        text = read_text(path)
    warnings: list[Problem] = []
    try:
        parse(text, str(path), warn=warnings.append)
    except KitfileError as error:
        return Linted(str(path), error.problems, tuple(warnings), error.hint)
    return Linted(str(path), (), tuple(warnings))


def _find(directory: Path) -> Path:
    try:
        return find(directory)
    except NotFoundError as error:
        where = printable(directory)
        raise NotFoundError(error.message, hint=f"write one with `kit init {where}`, or name the file itself") from None


def says_the_same(path: Path, kitfile: Kitfile) -> bool:
    """Whether the file ``path`` is ``kitfile``, in whatever spelling and with whatever comments.

    Raises:
        FileSystemError: it cannot be read.
    """
    text = read_text(path)
    if text == dump(kitfile).encode():
        return True
    try:
        return to_json(parse(text, str(path))) == to_json(kitfile)
    except KitfileError:
        return False
