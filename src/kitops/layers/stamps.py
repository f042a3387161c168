"""What the file system says of unpacked files: cheap to ask again, and enough to see that nothing happened to them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from kitops.errors import FileSystemError
from kitops.layers.ignore import OWN

if TYPE_CHECKING:
    from pathlib import Path

    from kitops.content.protocols import Run


class Stamp(NamedTuple):
    """Bytes, last change of the content in ns since 1970, inode number."""

    size: int
    mtime_ns: int
    inode: int


class Tracked(NamedTuple):
    """A file or directory that was unpacked.

    Args:
        path: relative to the target.
        mode: the twelve bits that the layer tells.
        stamp: None for a directory.
    """

    path: str
    mode: int
    stamp: Stamp | None


@dataclass(slots=True)
class Tree:
    """What is in a directory, by paths with ``/``; no symbolic link is followed.

    Args:
        files: regular files.
        directories: directories.
        others: symbolic links, pipes and whatever else.
    """

    files: dict[str, Stamp] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)

    def has(self, path: str) -> bool:
        """Whether anything has that name."""
        return path in self.files or path in self.directories or path in self.others


def stamp_of(found: os.stat_result) -> Stamp:
    """The stamp of a file."""
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ino)


def read_tree(root: Path, run: Run) -> Tree:
    """List ``root``, staging directories of other runs left out.

    Raises:
        FileSystemError: a directory cannot be read.
    """
    tree = Tree()
    waiting = [""]
    while waiting:
        run.cancel.check()
        above = waiting.pop()
        try:
            with os.scandir(f"{os.fspath(root)}/{above}") as listing:
                for entry in listing:
                    path = above + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith(OWN):
                            tree.directories.add(path)
                            waiting.append(path + "/")
                        continue
                    found = entry.stat(follow_symlinks=False)
                    if not stat.S_ISREG(found.st_mode):
                        tree.others.add(path)
                    else:
                        tree.files[path] = stamp_of(found)
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", root / above) from error
    return tree
