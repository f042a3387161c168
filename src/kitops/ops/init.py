"""``kit init``: write a Kitfile for a directory, from the names of its files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.errors import FileSystemError, InvalidValueError, KitfileError, PackError, printable
from kitops.importers.directory import open_directory
from kitops.kitfile.check import check
from kitops.kitfile.dump import dump
from kitops.kitfile.generate import Listed, generate
from kitops.kitfile.parse import NAMES
from kitops.kitfile.schema import Package
from kitops.layout.newfile import is_special, write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kitops.kitfile.schema import Kitfile


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """How to generate.

    Args:
        name: of the package.
        description: of the package.
        author: of the package.
        depth: how many directories deep files are looked at one by one; 0 chooses, negative is every file by itself.
        force: replace a Kitfile that is there.
        output: where to write instead of ``Kitfile`` in the directory.
        write: whether to write at all.
    """

    name: str = ""
    description: str = ""
    author: str = ""
    depth: int = 0
    force: bool = False
    output: Path | None = None
    write: bool = True


@dataclass(frozen=True, slots=True)
class Initialised:
    """The Kitfile, its text, and where it was written (None when it was not)."""

    kitfile: Kitfile
    text: str
    path: Path | None


def init(context: Path, options: InitOptions | None = None) -> Initialised:
    """Generate a Kitfile for the directory ``context``.

    Raises:
        PackError: it is no directory, or directories in it are nested too deeply.
        InvalidValueError: there is a Kitfile already and ``force`` is not set.
        KitfileError: the name of a file cannot stand in a Kitfile.
        FileSystemError: the Kitfile cannot be written.
    """
    options = options or InitOptions()
    check_target(context, options)
    tree = open_directory(context)
    target = options.output or context / "Kitfile"
    package = Package(
        name=options.name,
        description=options.description,
        authors=(options.author,) if options.author else (),
    )

    def read(path: str, size: int) -> bytes:
        return tree.read_at(path, 0, size)

    listing = [Listed(file.path, file.size, is_link=file.is_link) for file in tree.files]
    kitfile = generate(listing, read=read, package=package, depth=options.depth)
    _check(kitfile)
    text = dump(kitfile)
    if options.write:
        write_kitfile(target, text)
    return Initialised(kitfile, text, target if options.write else None)


def check_target(context: Path, options: InitOptions) -> None:
    """Refuse what :func:`init` would, before anybody is asked what it is called.

    Raises:
        PackError: ``context`` is no directory.
        InvalidValueError: there is a Kitfile already and ``force`` is not set.
    """
    if not context.is_dir():
        raise PackError(f"{printable(context)} is not a directory")
    if options.write:
        names = [options.output] if options.output else [context / name for name in NAMES]
        check_absent(names, force=options.force)


def _check(kitfile: Kitfile) -> None:
    """Refuse what `kit pack` would refuse: names that no Kitfile can hold."""
    try:
        check(kitfile, "the Kitfile for these files")
    except KitfileError as error:
        error.hint = "rename them, or list them in .kitignore"
        raise


def check_absent(paths: Sequence[Path], *, force: bool) -> None:
    """Refuse to write a Kitfile where there is one.

    Args:
        paths: where it is to be written; and under which other names there may be one (a directory is none).
        force: replace one that is there.

    Raises:
        InvalidValueError: one of ``paths`` is there, and ``force`` is not set; or the first is a directory.
    """
    if paths[0].is_dir():
        raise InvalidValueError(f"{printable(paths[0])} is a directory, no Kitfile can be written there")
    there = None if force else next((path for path in paths if os.path.lexists(path) and not path.is_dir()), None)
    if there is not None:
        raise InvalidValueError(f"{printable(there)} is there already", hint="use --force to replace it")


def write_kitfile(target: Path, text: str) -> None:
    """A Kitfile is whole or not there; what is no file (``/dev/stdout``, a pipe) is written into.

    One that is there keeps its permission bits.

    Raises:
        FileSystemError: it cannot be written.
    """
    if not is_special(os.fspath(target)):
        write_whole(os.fspath(target), text.encode())
        return
    try:
        target.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise FileSystemError.wrap(error, "writing", target) from error
