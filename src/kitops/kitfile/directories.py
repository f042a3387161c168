"""The files of a listing as directories within directories. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kitops.errors import PackError, printable
from kitops.kitfile.classify import LEFT_OUT, FileKind, classify, is_companion, is_skill

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DEPTH_LIMIT: Final = 255
"""Directories inside each other: more cannot be packed."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of the project: ``path`` with ``/``, relative; ``size`` in bytes.

    A path that ends in ``/`` is a directory without files (or one that was not looked into); ``is_link``, a symbolic
    link to one, whose files nobody knows.
    """

    path: str
    size: int
    is_link: bool = False

    @property
    def name(self) -> str:
        """Without its directories."""
        return self.path.rpartition("/")[2]


@dataclass(slots=True)
class Directory:
    """A directory; ``files`` and ``directories`` are in byte order of their names."""

    path: str
    name: str = ""
    files: list[Listed] = field(default_factory=list)
    directories: list[Directory] = field(default_factory=list)
    is_link: bool = False
    shut_out: bool = False  # something directly in it is left out on purpose

    @property
    def skill(self) -> Listed | None:
        """What makes it a skill, if it is one."""
        return next((file for file in self.files if is_skill(file.name)), None)

    @property
    def skills(self) -> list[Directory]:
        """The skills that it consists of; none where there is anything else in it."""
        if self.skill is not None:
            return [self]
        below = [directory.skills for directory in self.directories]
        return [] if self.files or not all(below) else [skill for skills in below for skill in skills]

    def walk(self) -> Iterator[tuple[Directory, Listed]]:
        """Every file in it and below, each with its directory."""
        for file in self.files:
            yield self, file
        for directory in self.directories:
            yield from directory.walk()

    def kind_of(self, file: Listed) -> FileKind:
        """The kind of one of its files, which for some depends on whether weights are beside it."""
        if is_companion(file.name) and any(classify(other.name) is FileKind.MODEL for other in self.files):
            return FileKind.METADATA
        return classify(file.name)


def build_tree(listing: Iterable[Listed]) -> Directory:
    """The root directory of ``listing``, without what a Kitfile leaves out.

    Raises:
        PackError: directories are nested too deeply.
    """
    root = Directory(".")
    known = {"": root}
    for listed in sorted(listing, key=lambda file: file.path.split("/")):
        *above, name = listed.path.split("/")
        if any(part.lower() in LEFT_OUT for part in (*above, name)):
            root.shut_out |= listed.path.split("/")[0].lower() in LEFT_OUT
            continue
        if len(above) > DEPTH_LIMIT:
            message = f"path {printable(listed.path[:80])} has more than {DEPTH_LIMIT} directories inside each other"
            raise PackError(message, hint="list it in .kitignore")
        parent = ""
        for part in above:
            path = f"{parent}/{part}" if parent else part
            if path not in known:
                known[path] = Directory(path, part)
                known[parent].directories.append(known[path])
            parent = path
        if name:
            known[parent].files.append(listed)
        else:
            known[parent].is_link = listed.is_link
    return root
