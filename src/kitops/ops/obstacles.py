"""What stands in the way of files that are unpacked again: links are removed, everything else is moved aside."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from kitops.content.events import Message
from kitops.errors import FileSystemError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kitops.content.protocols import Run
    from kitops.layers.stamps import Tree

ASIDE: Final = ".before-repair"
"""What the new names end in."""


def clear_way(directory: Path, tree: Tree, wanted: Iterable[tuple[str, bool]], run: Run) -> None:
    """Make room for ``wanted`` and the directories above, where something of another type has one of their names.

    A link (or a pipe, or a socket) is removed, and what it points to is not touched. A file in the place of a directory
    and a directory in the place of a file belong to somebody: they get another name, which is told. An empty directory
    goes.

    Args:
        directory: where.
        tree: what is in it.
        wanted: paths, each with whether it is a directory.
        run: told what was moved.

    Raises:
        FileSystemError: something cannot be removed or moved.
    """
    seen: set[str] = set()
    for path, is_dir in wanted:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            part = "/".join(parts[:depth])
            if part not in seen:
                seen.add(part)
                _clear(directory, tree, part, run, is_dir=is_dir or depth < len(parts))


def _clear(directory: Path, tree: Tree, path: str, run: Run, *, is_dir: bool) -> None:
    full = directory / path
    try:
        if path in tree.others:
            with suppress(FileNotFoundError):
                os.unlink(full)
        elif path in (tree.files if is_dir else tree.directories) and not _is_gone(full, is_dir=is_dir):
            aside = _free_name(full)
            os.rename(full, aside)
            run.observer(Message("warning", f"{path} was in the way: it is {aside.relative_to(directory)} now"))
    except OSError as error:
        raise FileSystemError.wrap(error, "clearing the way for", full) from error


def _is_gone(full: Path, *, is_dir: bool) -> bool:
    """Whether there is nothing to be moved: an empty directory is removed."""
    if not is_dir:
        with suppress(OSError):
            os.rmdir(full)
    return not os.path.lexists(full)


def _free_name(full: Path) -> Path:
    number = 1
    while True:
        found = full.with_name(f"{full.name}{ASIDE}{f'-{number}' if number > 1 else ''}")
        if not os.path.lexists(found):
            return found
        number += 1
