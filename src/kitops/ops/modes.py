"""Permission bits: which files and directories have others than they were made with."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, suppress
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from kitops.errors import FileSystemError
from kitops.layers.raw import told_mode
from kitops.layers.write import Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from kitops.layers.stamps import Tree
    from kitops.ops.unpack_record import RecordedLayer


_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class OtherMode(NamedTuple):
    """A file or directory whose permission bits are others.

    Args:
        path: relative to the directory.
        bits: what it should have.
        is_exact: whether just those; else a umask takes some of them.
    """

    path: str
    bits: int
    is_exact: bool


def find_other_modes(layer: RecordedLayer, members: Iterable[tuple[str, int, bool]], tree: Tree) -> Iterator[OtherMode]:
    """What has other bits than the record of the unpack says; without a record, bits that the layer cannot give.

    Args:
        layer: with what is recorded of its members.
        members: path, bits that the layer tells, whether it is a directory.
        tree: what is there; what is of another type is passed over.
    """
    made = {member.path: member.made for member in layer.members or ()}
    is_silent = layer.content.form is Format.RAW and told_mode(layer.content.desc) is None
    for path, mode, is_dir in members:
        found = tree.modes.get(path)
        if found is None or (path in tree.directories) is not is_dir:
            continue
        wanted = made.get(path)
        if wanted is not None:
            if found != wanted:
                yield OtherMode(path, wanted, is_exact=True)
        elif not is_silent and _is_other(mode, found, is_dir=is_dir):
            yield OtherMode(path, mode & 0o777, is_exact=False)


def open_up(root: Path, layers: Iterable[RecordedLayer]) -> list[str]:
    """Give back the recorded bits of what its owner may not read: it can be neither compared nor replaced else.

    Returns:
        The paths of those whose bits were mended; what cannot be changed stays as it is.
    """
    members = [member for layer in layers for member in layer.members or ()]
    mended = []
    for path, _, stamp, made in sorted(members, key=attrgetter("path")):  # directories before what is in them
        needed = stat.S_IRUSR if stamp is not None else stat.S_IRUSR | stat.S_IXUSR
        if made is None or made & needed != needed:
            continue
        with suppress(OSError, FileSystemError):
            found = os.lstat(root / path)
            is_same_kind = stat.S_ISDIR(found.st_mode) if stamp is None else stat.S_ISREG(found.st_mode)
            if is_same_kind and found.st_mode & needed != needed:
                set_mode(root, path, made)
                mended.append(path)
    return mended


def set_mode(root: Path, path: str, bits: int) -> None:
    """Give a file or directory below ``root`` its permission bits; no link is followed.

    Whatever is asked for, no file becomes set-user-id: a record may be forged.

    Raises:
        FileSystemError: that cannot be done.
    """
    *above, name = path.split("/")
    try:
        with ExitStack() as stack:
            here = os.open(root, _DIRECTORY & ~os.O_NOFOLLOW)
            stack.callback(os.close, here)
            for part in above:
                here = os.open(part, _DIRECTORY, dir_fd=here)
                stack.callback(os.close, here)
            found = os.stat(name, dir_fd=here, follow_symlinks=False).st_mode
            if not stat.S_ISLNK(found):
                os.chmod(name, bits & (0o2777 if stat.S_ISDIR(found) else 0o777), dir_fd=here)
    except OSError as error:
        raise FileSystemError.wrap(error, "changing the permission bits of", root / path) from error


def _is_other(told: int, found: int, *, is_dir: bool) -> bool:
    """Whether the bits on the disk cannot come from those that a layer tells.

    A umask may have taken some from group and others, and a directory may have inherited its group's bit.
    """
    told, found = told & 0o777, found & (0o777 if is_dir else 0o7777)
    return bool((told ^ found) & 0o700 or found & ~told)
