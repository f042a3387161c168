"""The few ways in which the store changes a file: whole or not at all.

A file is written under a name of its own in ``ingest/``, flushed where it matters, and renamed into place. The rename
replaces what was there (:func:`replace_file`) or refuses to (:func:`link_new`).
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from kitops.content.write import flush_file, write_all
from kitops.errors import FileSystemError

if TYPE_CHECKING:
    from collections.abc import Iterator

NEW_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
READ_FILE: Final = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe that somebody put in a file's place must not block
)
FILE_MODE: Final = 0o666
"""Less the umask: a store that a group shares is a matter of the umask."""
READ_ONLY: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_CHUNK = 64 * 1024


@contextmanager
def told(doing: str, path: str) -> Iterator[None]:
    """In the block, an OSError becomes FileSystemError: ``doing`` (``"writing"``) ``path``."""
    try:
        yield
    except OSError as error:
        raise FileSystemError.wrap(error, doing, path) from error


def unique_name() -> str:
    """Sixteen hex digits that no other process on any machine draws."""
    return os.urandom(8).hex()


def read_small(path: str) -> bytes | None:
    """The bytes of a small file, None when there is none.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        descriptor = os.open(path, READ_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found = os.read(descriptor, _CHUNK)
        if len(found) < _CHUNK:
            return found
        chunks = [found]
        while found := os.read(descriptor, _CHUNK):
            chunks.append(found)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def flush_directory(path: str) -> None:
    """Return when the names in a directory are on the disk (nothing to do where directories cannot be flushed)."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network and FUSE file systems
            raise
    finally:
        os.close(descriptor)


def write_new(path: str, content: bytes, *, durable: bool) -> None:
    """Write a file that must not exist yet; with ``durable`` return when its content is on the disk.

    Raises:
        OSError: it failed; there is no file then.
    """
    descriptor = os.open(path, NEW_FILE, FILE_MODE)
    try:
        write_all(descriptor, content)
        if durable:
            flush_file(descriptor)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def replace_file(temporary: str, path: str, content: bytes, *, durable: bool) -> None:
    """Give ``path`` this content by one rename of ``temporary`` (same file system, not there yet).

    With ``durable`` the content is on the disk before the rename, and the rename when this returns.

    Raises:
        OSError: it failed; ``path`` is what it was then (or, if only the last flush failed, new).
    """
    write_new(temporary, content, durable=durable)
    try:
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        flush_directory(os.path.dirname(path))


def link_new(source: str, path: str) -> bool:
    """Give the file ``source`` the name ``path`` unless that is taken; ``source`` is gone afterwards either way.

    Where the file system has no hard links, a look and a rename take the place of the link: a file that appears
    between the two is then replaced.

    Returns:
        Whether ``path`` is ours now.
    """
    try:
        os.link(source, path)
    except FileExistsError:
        os.unlink(source)
        return False
    except FileNotFoundError:
        return False
    except OSError:
        if os.path.lexists(path):
            os.unlink(source)
            return False
        os.replace(source, path)
        return True
    remove_file(source)
    return True


def remove_file(path: str) -> bool:
    """Unlink; False when it was not there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def entries(path: str) -> list[os.DirEntry[str]]:
    """The entries of a directory, none when it does not exist.

    Raises:
        FileSystemError: it cannot be read.
    """
    try:
        with os.scandir(path) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", path) from error
