"""Which path of a target is taken by what, and how its file system folds names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from kitops.errors import TrustError, printable
from kitops.layers.staging import check_absent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kitops.layers.staging import Existing

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = 0
"""What stands in the ledger for a directory; a file has the number of its last layer, from 1."""


class Ledger:
    """Which path is taken by what, and whether that may be.

    Args:
        target: descriptor of the directory that files are to appear in.
        existing: what to do with those that are there.
        fold: how its file system folds names.
    """

    def __init__(self, target: int, existing: Existing, *, fold: Callable[[str], str]) -> None:
        self._target = target
        self._existing = existing
        self._fold = fold
        self._taken: dict[str, int] = {}
        self._spelling: dict[str, str] = {}
        self._layer = 0
        self._parent = ""  # of the last path: it needs no second look
        self._there = frozenset(map(fold, os.listdir(target)))

    def start_layer(self) -> None:
        """From now on names belong to another layer."""
        self._layer += 1

    def claim(self, path: str, *, is_dir: bool, layer: str) -> None:
        """Take a path.

        Raises:
            TrustError: it stands twice in one layer, is file and directory, or folds with another name.
            FileSystemError: something is there already.
        """
        known = self._taken.get(path)
        if known is None:
            parent = path[: max(path.rfind("/"), 0)]
            if parent != self._parent:
                self._take_parents(path, layer)
                self._parent = parent
            self._take(path, layer, _DIRECTORY if is_dir else self._layer)
            if self._fold(path.partition("/")[0]) in self._there:
                check_absent(self._target, path.split("/"), self._existing, path, is_dir=is_dir)
        elif (known == _DIRECTORY) is not is_dir:
            raise TrustError(f"{layer}: {printable(path)} is a file and a directory")
        elif not is_dir:
            if known == self._layer:
                raise TrustError(f"{layer}: {printable(path)} stands twice in it")
            self._taken[path] = self._layer

    def is_taken(self, path: str) -> bool:
        """Whether something has a path already, or a file is above it."""
        if path in self._taken or self._fold(path) in self._spelling:
            return True
        while path := path.rpartition("/")[0]:
            if self._taken.get(path, _DIRECTORY) != _DIRECTORY:
                return True
        return False

    def _take_parents(self, path: str, layer: str) -> None:
        above: list[str] = []
        while (path := path.rpartition("/")[0]) and (known := self._taken.get(path)) is None:
            above.append(path)
        if path and known != _DIRECTORY:
            raise TrustError(f"{layer}: {printable(path)} is a file and a directory")
        for parent in reversed(above):
            self._take(parent, layer, _DIRECTORY)

    def _take(self, path: str, layer: str, owner: int) -> None:
        self._taken[path] = owner
        if self._fold is _as_it_is:
            return
        other = self._spelling.setdefault(self._fold(path), path)
        if other != path:
            names = f"{printable(path)} and {printable(other)}"
            raise TrustError(f"{layer}: {names} are one name on this file system")


def probe(staging: Path) -> tuple[Callable[[str], str], int]:
    """How the target's file system folds names, and the umask: seen from a file that is made in ``staging``.

    Raises:
        OSError: it cannot be made.
    """
    found = staging / "probe-\u00e9"
    os.close(os.open(found, _NEW_FILE, 0o777))
    umask = 0o777 & ~found.stat().st_mode
    folds_case = (staging / "PROBE-\u00e9").exists()
    folds_marks = (staging / "probe-e\u0301").exists()
    found.unlink()
    if folds_case:
        return _fold_case, umask
    return (_fold_marks if folds_marks else _as_it_is), umask


def _as_it_is(path: str) -> str:
    return path


def _fold_marks(path: str) -> str:
    from unicodedata import normalize  # noqa: PLC0415 - few file systems fold names

    return normalize("NFC", path)


def _fold_case(path: str) -> str:
    return _fold_marks(path).casefold()
