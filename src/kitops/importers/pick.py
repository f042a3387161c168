"""Which files of a tree are wanted: globs, and one format of weights where there are several. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from kitops.errors import InvalidValueError
from kitops.importers.prefer import find_others, tell_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kitops.importers.tree import RemoteFile


def pick(
    files: Sequence[RemoteFile],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    prefer: str = "",
    tell: Callable[[str], None] = lambda _: None,
) -> list[RemoteFile]:
    """The wanted files, in the order given.

    Args:
        files: of the tree.
        include: globs, one of which a path must match; none takes everything.
        exclude: globs of paths that are left out.
        prefer: a format of weights: those that are there in this format are left out in others.
        tell: told what ``prefer`` leaves out, or that it leaves out nothing.

    Raises:
        InvalidValueError: ``prefer`` is not known, or nothing is left.
    """
    found = [
        file for file in files if (not include or is_match(file.path, include)) and not is_match(file.path, exclude)
    ]
    if prefer:
        others, is_there = find_others([file.path for file in found], prefer)
        left = frozenset(others)
        found = [file for file in found if file.path not in left]
        if others:
            tell(f"--prefer {prefer} leaves out {tell_paths(others)}")
        elif not is_there:
            tell(f"--prefer {prefer}: there are no weights in this format, so nothing is left out")
    if files and not found:
        raise InvalidValueError(
            f"none of the {len(files)} files is taken by the filters", hint="loosen --include and --exclude"
        )
    return found


def is_match(path: str, globs: Iterable[str]) -> bool:
    """Whether a path matches a glob as Hugging Face reads them: ``*`` crosses ``/``, ``dir/`` takes all below it."""
    return any(fnmatchcase(path, f"{glob}*" if glob.endswith("/") else glob) for glob in globs)
