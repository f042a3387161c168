"""Files and directories that are made below one directory: relative to descriptors, the small ones by two threads.

Opening a small file costs the file system as much as writing and closing it. So the thread that reads a layer opens
them, and the one that hashes it writes and closes them (:meth:`NewFiles.hand_over`).
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from kitops.content.body import BIG, BodyWriter
from kitops.content.mounts import claim
from kitops.content.write import write_all
from kitops.errors import FileSystemError
from kitops.layers.stamps import stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from kitops.content.cancel import CancelToken
    from kitops.layers.stamps import Stamp

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LARGE: Final = 1 << 20
"""Files from here on get their space before they are written: a full disk is told early."""
_OPEN_LIMIT: Final = 128
"""Files that are open and wait for their content, at most."""


class NewFiles:
    """Makes files below ``directory``; closed when no thread works on them any more.

    Args:
        directory: an empty directory that nobody else writes to.
        shown: where the files are going to be, for errors.
        cancel: watched while waiting for the disk.
        cached: write big files through the page cache.

    Attributes:
        count: files made.
        size: bytes in them.
        stamps: what the file system said of each when it was whole, by path.
        modes: the twelve bits that it had then.

    Raises:
        OSError: the directory cannot be opened.
    """

    def __init__(self, directory: Path, shown: Path, cancel: CancelToken, *, cached: bool) -> None:
        self.count = 0
        self.size = 0
        self.stamps: dict[str, Stamp] = {}
        self.modes: dict[str, int] = {}
        self._shown = shown
        self._cancel = cancel
        self._cached = cached
        self._root = os.open(directory, _DIRECTORY)
        self._parent = ""  # the directory of the last file, and its descriptor
        self._here = self._root
        self._waiting: deque[tuple[int, memoryview, str]] = deque()
        self._fresh = 0
        self._most_waiting = _open_limit()

    def close(self) -> None:
        """Close what is open; content that was not written by now never is."""
        while self._waiting:
            os.close(self._waiting.popleft()[0])
        self._leave()
        os.close(self._root)

    def write(self, path: str, mode: int, size: int, parts: Iterable[memoryview]) -> bool:
        """Make a file of ``parts``; False, with nothing asked of them, where something has that name already.

        Raises:
            FileSystemError: it cannot be made.
        """
        try:
            descriptor = self._open(path, mode)
            if descriptor is None:
                return False
            try:
                if size >= LARGE:
                    claim(descriptor, size)
                self._fill(descriptor, size, parts)
                self.note(path, descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self.explain(error, path, size) from error
        self.count += 1
        return True

    def note(self, path: str, descriptor: int) -> None:
        """A file is whole: keep what the file system says of it now."""
        found = os.fstat(descriptor)
        self.stamps[path] = stamp_of(found)
        self.modes[path] = stat.S_IMODE(found.st_mode)

    def _fill(self, descriptor: int, size: int, parts: Iterable[memoryview]) -> None:
        if size < BIG or self._cached:
            for part in parts:
                write_all(descriptor, part)
                self.size += len(part)
            return
        with BodyWriter(descriptor, size, self._cancel, durable=False) as body:
            for part in parts:
                body.write(part)
                self.size += len(part)

    def put_off(self, path: str, mode: int, content: memoryview) -> bool:
        """As :meth:`write`, but ``content`` is written by what :meth:`hand_over` gives, and stays as it is until then.

        Raises:
            FileSystemError: it cannot be made.
        """
        if len(self._waiting) >= self._most_waiting:
            return self.write(path, mode, 0, (content,))
        try:
            descriptor = self._open(path, mode)
        except OSError as error:
            raise self.explain(error, path, len(content)) from error
        if descriptor is None:
            return False
        self._waiting.append((descriptor, content, path))
        self._fresh += 1
        self.count += 1
        self.size += len(content)
        return True

    def hand_over(self) -> Callable[[], None] | None:
        """What writes the contents that were put off since the last call, in any thread; None where there are none."""
        count, self._fresh = self._fresh, 0
        return partial(self._work_off, count) if count else None

    def remove(self, path: str) -> None:
        """Undo :meth:`write`.

        Raises:
            FileSystemError: it cannot be removed.
        """
        try:
            os.unlink(path, dir_fd=self._root)
        except OSError as error:
            raise self.explain(error, path, 0) from error
        self.count -= 1
        self.size -= self.stamps.pop(path).size

    def make_directory(self, path: str, mode: int) -> bool:
        """Make a directory; False where there is one already.

        Raises:
            FileSystemError: it cannot be made.
        """
        try:
            try:
                os.mkdir(path, mode, dir_fd=self._root)
            except FileNotFoundError:
                self._make_directories(path.rpartition("/")[0])
                os.mkdir(path, mode, dir_fd=self._root)
        except FileExistsError:
            return False
        except OSError as error:
            raise self.explain(error, path, 0) from error
        return True

    def explain(self, error: OSError, path: str, size: int) -> FileSystemError:
        """The error about a file of ``size`` bytes; with both numbers where space is short."""
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return FileSystemError.wrap(error, "unpacking", self._shown / path)
        room = os.fstatvfs(self._root)
        free = room.f_bavail * room.f_frsize
        return FileSystemError.wrap(error, "unpacking", self._shown / path, needed=size, free=free)

    def _work_off(self, count: int) -> None:
        for _ in range(count):
            descriptor, content, path = self._waiting.popleft()
            try:
                try:
                    write_all(descriptor, content)
                    self.note(path, descriptor)
                finally:
                    os.close(descriptor)
            except OSError as error:
                raise self.explain(error, path, len(content)) from error

    def _open(self, path: str, mode: int) -> int | None:
        at = path.rfind("/")
        parent = path[: max(at, 0)]
        if parent != self._parent:
            self._enter(parent)
        try:
            return os.open(path[at + 1 :], _NEW_FILE, mode & 0o777, dir_fd=self._here)
        except FileExistsError:
            return None

    def _enter(self, parent: str) -> None:
        self._leave()
        if not parent:
            return
        try:
            self._here = os.open(parent, _DIRECTORY, dir_fd=self._root)
        except FileNotFoundError:
            self._make_directories(parent)
            self._here = os.open(parent, _DIRECTORY, dir_fd=self._root)
        self._parent = parent

    def _leave(self) -> None:
        if self._here != self._root:
            os.close(self._here)
        self._parent, self._here = "", self._root

    def _make_directories(self, path: str) -> None:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            try:
                os.mkdir("/".join(parts[:depth]), dir_fd=self._root)
            except FileExistsError:
                continue


def _open_limit() -> int:
    """How many files may wait: a quarter of what the process may have open."""
    if sys.platform == "win32":
        return _OPEN_LIMIT
    import resource  # noqa: PLC0415 - not on Windows

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _OPEN_LIMIT if limit == resource.RLIM_INFINITY else min(_OPEN_LIMIT, limit // 4)
