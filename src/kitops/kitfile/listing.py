"""The files of a directory, for ``generate``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kitops.errors import FileSystemError, PackError, printable
from kitops.kitfile.classify import LEFT_OUT, is_junk
from kitops.kitfile.directories import Listed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _nothing(_path: str, _is_dir: bool) -> bool:  # noqa: FBT001 - a callback's shape
    return False


def list_directory(context: Path, *, ignored: Callable[[str, bool], bool] = _nothing) -> list[Listed]:
    """Every file below ``context``; an empty directory is a path that ends in ``/``.

    A link to a file counts as that file (model caches are made of them); one to a directory is not followed, and is
    listed as a directory that nobody looked into, as is what a generated Kitfile leaves out anyway (``.git``).

    Args:
        context: where.
        ignored: told a path and whether it is a directory; what it takes is not listed, nor what is below.

    Raises:
        PackError: a name is not UTF-8.
        FileSystemError: a directory cannot be read.
    """
    found: list[Listed] = []
    waiting = [""]
    while waiting:
        above = waiting.pop()
        before = len(found) + len(waiting)
        for entry in _entries(context, above):
            path = f"{above}{entry.name}"
            is_dir = entry.is_dir(follow_symlinks=False)
            if is_junk(entry.name) or ignored(path, is_dir):
                continue
            _check_name(path)
            if is_dir and entry.name.lower() not in LEFT_OUT:
                waiting.append(f"{path}/")
            elif is_dir or entry.is_dir():
                found.append(Listed(f"{path}/", 0, is_link=not is_dir))
            elif entry.is_file() or entry.is_symlink():
                found.append(Listed(path, _size(entry)))
        if above and len(found) + len(waiting) == before:
            found.append(Listed(above, 0))
    return found


def _entries(context: Path, above: str) -> list[os.DirEntry[str]]:
    where = os.path.join(context, above)
    try:
        with os.scandir(where) as entries:
            return list(entries)
    except OSError as error:
        raise FileSystemError.wrap(error, "listing", where) from error


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # a link to nothing: packing will say so
        return 0


def _check_name(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = printable(os.fsencode(path))
        raise PackError(f"the name {shown} is not UTF-8", hint="rename it: a Kitfile is text") from None
