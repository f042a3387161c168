"""A file that appears under its name whole, or not at all.

Where the system can (Linux: ``O_TMPFILE``) the file has no name until then, so that not even ``kill -9`` leaves
anything of it. Elsewhere it has a hidden name beside its own, which is removed unless the process is killed.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.content.write import write_at
from kitops.errors import FileSystemError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODE: Final = 0o666
"""Less the umask."""
_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@dataclass(slots=True)
class NewFile:
    """A file that is being written.

    Args:
        fd: open for reading and writing; closed by the block that gave it.
        path: what it will be called.
        hidden: what it is called until then; None where it has no name.
    """

    fd: int
    path: str
    hidden: str | None

    def publish(self) -> None:
        """Flush it and give it its name; what had that name before is replaced.

        Raises:
            FileSystemError: it could not be done; what had the name is as it was.
        """
        with telling("writing", self.path):
            os.fsync(self.fd)
            if self.hidden is None:
                self.hidden = _link(self.fd, _hidden(self.path))
            os.replace(self.hidden, self.path)
            self.hidden = None


@contextmanager
def new_file(path: str) -> Iterator[NewFile]:
    """A file beside ``path``; it is gone after the block unless :meth:`NewFile.publish` was called.

    A symbolic link stays one: the file that it leads to is what is written. A file that is there keeps its mode.

    Raises:
        FileSystemError: it cannot be made, or ``path`` is a pipe, a socket or a device, which stays what it is.
    """
    with telling("writing", path):
        if is_special(path):
            message = f"writing {printable(path)}: it is a pipe, a socket or a device, not a file"
            raise FileSystemError(message, path=printable(path), hint="name a file")
        file = _open(os.path.realpath(path) if os.path.islink(path) else path)
    _keep_mode(file)
    try:
        yield file
    finally:
        os.close(file.fd)
        if file.hidden is not None:
            with suppress(OSError):
                os.unlink(file.hidden)


def is_special(path: str) -> bool:
    """Whether ``path`` is something that no file may take the place of: ``/dev/null``, a pipe."""
    try:
        mode = os.stat(path).st_mode
    except OSError:  # nothing is there; what else is wrong shows when it is written
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


@contextmanager
def telling(doing: str, path: str, *, needed: int | None = None) -> Iterator[None]:
    """In the block, an OSError becomes FileSystemError, with both numbers where space for ``needed`` bytes is short."""
    try:
        yield
    except OSError as error:
        raise FileSystemError.wrap(error, doing, path, needed=needed, free=free_space(path)) from error


def free_space(path: str) -> int | None:
    """Bytes free for us where ``path`` is or will be; None where the system does not tell."""
    try:
        found = os.statvfs(os.path.dirname(path) or ".")
    except (OSError, AttributeError):
        return None
    return found.f_bavail * found.f_frsize


def write_whole(path: str, content: bytes) -> None:
    """Give ``path`` this content, all at once.

    Raises:
        FileSystemError: it could not be done.
    """
    with new_file(path) as file:
        with telling("writing", path):
            write_at(file.fd, content, 0)
        file.publish()


def _open(path: str) -> NewFile:
    directory = os.path.dirname(path) or "."
    if hasattr(os, "O_TMPFILE") and os.path.exists("/proc/self/fd"):
        with suppress(OSError):  # a file system that has no files without names; what else is wrong shows below
            return NewFile(os.open(directory, os.O_TMPFILE | os.O_RDWR | _CLOEXEC, _MODE), path, None)
    hidden = _hidden(path)
    return NewFile(os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | _CLOEXEC, _MODE), path, hidden)


def _keep_mode(file: NewFile) -> None:
    """Give it the permission bits of the file in whose place it will be."""
    with suppress(OSError, AttributeError):  # there is none; or the system has no such bits
        os.fchmod(file.fd, stat.S_IMODE(os.stat(file.path).st_mode) & 0o777)


def _hidden(path: str) -> str:
    directory, base = os.path.split(path)
    return os.path.join(directory, f".{base[:200]}.{os.urandom(8).hex()}")


def _link(descriptor: int, path: str) -> str:
    """Give a file without a name the name ``path`` (open(2), ``O_TMPFILE``); ``path``."""
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC)
    try:  # with a directory given, Python calls linkat(2) with AT_SYMLINK_FOLLOW
        os.link(f"/proc/self/fd/{descriptor}", os.path.basename(path), dst_dir_fd=directory, follow_symlinks=True)
    finally:
        os.close(directory)
    return path
