"""The hidden directory inside the target where files are made, and how they get their final names.

A mounted volume has no parent that could be written to, so staging is inside the target. It is private to its process
(mode 0700); what a killed process left is taken over by the next run, which goes on with it where that is of use, and
removes it.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kitops.errors import FileSystemError, printable
from kitops.layers.rooted import from_root

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX: Final = ".kitops-unpack-"
_DAY: Final = 86_400.0
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Existing(Enum):
    """What to do with a file that is there already."""

    REFUSE = "refuse"
    OVERWRITE = "overwrite"
    KEEP = "keep"


@dataclass(slots=True)
class Moved:
    """What became of the names in a staging directory.

    Args:
        kept: the paths that were not moved, with the bytes of the files that are there.
        renamed: the paths that were; what is below a directory among them came along as it was.
    """

    kept: dict[str, int] = field(default_factory=dict)
    renamed: set[str] = field(default_factory=set)


class Staging:
    """A staging directory below ``target``, which is made where it is missing.

    Attributes:
        path: where files are made.
        abandoned: the staging directories of killed runs, which are ours now, and go with ours.

    Raises:
        FileSystemError: the target is no directory, or cannot be written to.
    """

    def __init__(self, target: Path) -> None:
        self.target = absolute(target)
        self.root = self.target / f"{PREFIX}{_owner()}-{os.urandom(4).hex()}"
        self.path = self.root / "files"
        self.abandoned: list[Path] = []
        try:
            self._made = _make_directories(self.target)
            os.mkdir(self.root, 0o700)
            os.mkdir(self.path, 0o700)
            self._take_over()
        except FileExistsError as error:
            message = f"unpacking into {printable(self.target)}: it is no directory, or a link that leads nowhere"
            raise FileSystemError(message, path=str(self.target), hint="move it away, or choose another") from error
        except OSError as error:
            raise FileSystemError.wrap(error, "unpacking into", self.target) from error

    def close(self) -> None:
        """Remove the staging directory, and the target where it was made for nothing."""
        shutil.rmtree(self.root, ignore_errors=True)
        for made in self._made:
            with suppress(OSError):
                os.rmdir(made)

    @property
    def journals(self) -> Path:
        """Where it is noted what came of layers that stream in."""
        return self.root / "journal"

    def leave(self) -> bool:
        """Leave the staging directory to the next run, if there is something in it to go on with."""
        try:
            with os.scandir(self.journals) as notes:
                if not any(entry.stat().st_size for entry in notes):
                    return False
            machine = _owner().partition("-")[0]
            os.rename(self.root, self.target / f"{PREFIX}{machine}-0-0-{os.urandom(4).hex()}")
        except OSError:
            return False
        return True

    def move(self, existing: Existing) -> Moved:
        """Give everything its final name.

        Raises:
            FileSystemError: something is in the way, or cannot be written.
        """
        self._made = []
        try:
            source = os.open(self.path, _DIRECTORY)
            try:
                target = os.open(self.target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    moved = Moved()
                    _move(source, target, existing, f"{self.target}/", "", moved)
                    return moved
                finally:
                    os.close(target)
            finally:
                os.close(source)
        except OSError as error:
            raise FileSystemError.wrap(error, "unpacking into", self.target) from error

    def _take_over(self) -> None:
        """Make the staging directories of killed runs our own: of two who try, one rename succeeds."""
        for name in os.listdir(self.target):
            path = self.target / name
            if name.startswith(PREFIX) and path != self.root and _is_stale(name, path):
                with suppress(OSError):
                    self._adopt(path)

    def _adopt(self, path: Path) -> None:
        """Take one over, with those that it had taken over itself."""
        mine = self.root / f"old-{len(self.abandoned)}"
        os.rename(path, mine)
        self.abandoned.append(mine)
        for inner in sorted(mine.glob("old-*")):
            self._adopt(inner)


def check_absent(target: int, parts: list[str], existing: Existing, shown: str, *, is_dir: bool) -> None:
    """Judge one path against what is in the directory ``target``, following no symbolic link.

    Raises:
        FileSystemError: a file is there and may not be replaced, or something of another type is.
    """
    here = target
    opened: list[int] = []
    try:
        for number, part in enumerate(parts):
            try:
                found = os.stat(part, dir_fd=here, follow_symlinks=False)
            except FileNotFoundError:
                return
            is_last = number == len(parts) - 1
            if is_last and not is_dir:
                _check_file(found, existing, shown)
                return
            if not stat.S_ISDIR(found.st_mode):
                raise in_the_way(shown, "/".join(parts[: number + 1]))
            here = os.open(part, _DIRECTORY, dir_fd=here)
            opened.append(here)
    except OSError as error:
        raise FileSystemError.wrap(error, "unpacking", shown) from error
    finally:
        for descriptor in opened:
            os.close(descriptor)


def in_the_way(shown: str, part: str) -> FileSystemError:
    """The error about something of another type at the place of a path."""
    text = printable(shown)
    message = f"unpacking {text}: {printable(part)} is there already and is of another type"
    return FileSystemError(message, path=text, hint="move it away")


def _check_file(found: os.stat_result, existing: Existing, shown: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise in_the_way(shown, shown)
    if existing is Existing.REFUSE:
        raise FileSystemError(
            f"unpacking {printable(shown)}: it is there already",
            path=printable(shown),
            hint="use --overwrite to replace files, --ignore-existing to keep them, or --dir for another place",
        )


def _move(  # noqa: PLR0917 - it calls itself
    source: int, target: int, existing: Existing, shown: str, above: str, moved: Moved
) -> None:
    there = set(os.listdir(target))
    for name in sorted(os.listdir(source)):
        path = f"{shown}{above}{name}"
        try:
            if name not in there:
                os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
                moved.renamed.add(above + name)
                continue
            is_dir = stat.S_ISDIR(os.stat(name, dir_fd=source, follow_symlinks=False).st_mode)
            found = os.stat(name, dir_fd=target, follow_symlinks=False)
            if is_dir:
                if not stat.S_ISDIR(found.st_mode):
                    raise in_the_way(path, path)
                with _opened(name, source) as below, _opened(name, target) as there_below:
                    _move(below, there_below, existing, shown, f"{above}{name}/", moved)
                continue
            _check_file(found, existing, path)
            if existing is Existing.KEEP:
                moved.kept[above + name] = found.st_size
            else:
                os.replace(name, name, src_dir_fd=source, dst_dir_fd=target)
                moved.renamed.add(above + name)
        except OSError as error:
            raise FileSystemError.wrap(error, "writing", path) from error


@contextmanager
def _opened(name: str, above: int) -> Iterator[int]:
    descriptor = os.open(name, _DIRECTORY, dir_fd=above)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def absolute(target: Path) -> Path:
    """A target from the root of the file system.

    Raises:
        FileSystemError: it is relative to a current directory that was deleted.
    """
    try:
        return Path(from_root(target))
    except OSError as error:
        raise FileSystemError.wrap(error, "unpacking into", target) from error


def _make_directories(target: Path) -> list[Path]:
    """Make ``target`` and what is missing above it; what was made, the deepest first."""
    missing = [path for path in (target, *target.parents) if not path.exists()]
    target.mkdir(parents=True, exist_ok=True)
    return missing


def _owner() -> str:
    """This process, told apart from a later one of the same number: machine, process id, start."""
    machine = zlib.crc32(os.uname().nodename.encode())
    return f"{machine:08x}-{os.getpid()}-{_start_of(os.getpid())}"


def _start_of(pid: int) -> str:
    """When a process started, in ticks since boot; empty where it is gone or the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _is_stale(name: str, path: Path) -> bool:
    fields = name.removeprefix(PREFIX).split("-")
    machine, _, start = _owner().partition("-")
    if len(fields) == 4 and fields[0] == machine and fields[1].isdigit() and start:
        return _start_of(int(fields[1])) != fields[2]
    try:  # of another machine on a shared file system: only its age tells
        return time.time() - path.stat().st_mtime > _DAY
    except OSError:
        return False
