"""A plain directory as a source, like any other: so the same files give the same Kitfile."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.errors import FileSystemError, PackError
from kitops.importers.tree import Origin, RemoteFile
from kitops.kitfile.listing import list_directory
from kitops.layers.ignore import read_ignore
from kitops.layers.rooted import from_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from io import FileIO
    from pathlib import Path


def open_directory(path: Path, *, skip_links: bool = False) -> DirectoryTree:
    """The files below ``path`` that its ``.kitignore`` does not leave out; ``skip_links`` leaves out links, too.

    Raises:
        PackError: it is no directory, or a name in it is not UTF-8.
        FileSystemError: it cannot be read.
    """
    if not path.is_dir():
        raise PackError(f"{path} is not a directory")
    rules = read_ignore(path)

    def is_ignored(below: str, is_dir: bool) -> bool:  # noqa: FBT001 - as the listing calls it
        return rules.is_ignored(below, is_dir=is_dir) or (skip_links and os.path.islink(path / below))

    listed = list_directory(path, ignored=is_ignored)
    files = tuple(RemoteFile(file.path, file.size, is_link=file.is_link) for file in listed)
    return DirectoryTree(origin_of(path), files, path)


def origin_of(path: Path) -> Origin:
    """A directory by its name, however it was written: where it lies is nobody's business."""
    name = os.path.basename(from_root(path))
    return Origin("directory", name, "", "", name)


@dataclass(frozen=True, slots=True)
class DirectoryTree:
    """A directory (``kitops.importers.tree.Tree``); an empty directory in it is a path that ends in ``/``."""

    origin: Origin
    files: Sequence[RemoteFile]
    directory: Path

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        """``size`` bytes of a file from ``offset`` on.

        Raises:
            FileSystemError: it cannot be read.
        """
        with self._opened(path, offset) as file:
            return file.read(size)

    @contextmanager
    def open(self, file: RemoteFile, offset: int = 0) -> Iterator[FileIO]:
        """The bytes of a file from ``offset`` on.

        Raises:
            FileSystemError: it cannot be read.
        """
        with self._opened(file.path, offset) as opened:
            yield opened

    @contextmanager
    def _opened(self, path: str, offset: int) -> Iterator[FileIO]:
        try:
            with open(self.directory / path, "rb", buffering=0) as file:
                file.seek(offset)
                yield file
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", path) from error
