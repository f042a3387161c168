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
    """Bytes, last change of the content in ns since 1970, inode number, and last change of anything.

    The last one moves with content, permission bits, names and links; whoever writes a file can set the time of the
    content back, but not that one.
    """

    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int

    def is_rewritten(self, before: Stamp) -> bool:
        """Whether the content was written since ``before``, as far as its own time tells."""
        return self[:3] != before[:3]


class Tracked(NamedTuple):
    """A file or directory that was unpacked.

    Args:
        path: relative to the target.
        mode: the twelve bits that the layer tells.
        stamp: None for a directory.
        made: the twelve bits that it got on the disk; None where that is not known.
    """

    path: str
    mode: int
    stamp: Stamp | None
    made: int | None = None


@dataclass(slots=True)
class Tree:
    """What is in a directory, by paths with ``/``; no symbolic link is followed.

    Args:
        files: regular files.
        directories: directories.
        others: symbolic links, pipes and whatever else.
        modes: the twelve bits of every file and directory.
    """

    files: dict[str, Stamp] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    modes: dict[str, int] = field(default_factory=dict)

    def has(self, path: str) -> bool:
        """Whether anything has that name."""
        return path in self.files or path in self.directories or path in self.others


def stamp_of(found: os.stat_result) -> Stamp:
    """The stamp of a file."""
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns)


def look_again(root: int, member: Tracked) -> Tracked:
    """``member`` as it is below the descriptor ``root`` now, when it has its final name: renaming changes times.

    What somebody wrote to it meanwhile stays visible: the stamp is renewed only for the same content.
    """
    try:
        found = os.stat(member.path, dir_fd=root, follow_symlinks=False)
    except OSError:  # gone already
        return member
    if member.stamp is None:
        return member._replace(made=stat.S_IMODE(found.st_mode)) if stat.S_ISDIR(found.st_mode) else member
    stamp = stamp_of(found)
    if not stat.S_ISREG(found.st_mode) or stamp.is_rewritten(member.stamp):
        return member
    return member._replace(stamp=stamp, made=stat.S_IMODE(found.st_mode))


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
                            tree.modes[path] = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
                            waiting.append(path + "/")
                        continue
                    found = entry.stat(follow_symlinks=False)
                    if not stat.S_ISREG(found.st_mode):
                        tree.others.add(path)
                    else:
                        tree.files[path] = stamp_of(found)
                        tree.modes[path] = stat.S_IMODE(found.st_mode)
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", root / above) from error
    return tree
