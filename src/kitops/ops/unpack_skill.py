"""``kit unpack --as-skill``: the skills of a ModelKit, each in the directories where AI agents look for them.

A skill is a directory with a ``SKILL.md`` (agentskills.io) among the prompts of a ModelKit.
"""

from __future__ import annotations

import errno
import filecmp
import os
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from kitops.errors import FileSystemError, InvalidValueError, NotFoundError, printable
from kitops.formats.select import Filter, NoPartError
from kitops.kitfile.skill import parse_front_matter
from kitops.ops.skill import Installed
from kitops.ops.unpack import UnpackOptions, unpack
from kitops.store.filesystem import check_room
from kitops.store.process import is_alive, this_process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.oci.descriptor import Descriptor
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place

_FILE: Final = "SKILL.md"
_FRONT: Final = 64 * 1024
"""Bytes of a SKILL.md that are read for its front matter."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
"""What agents take as a name, and no file system as anything else."""

_TEMPORARY: Final = "kitops-skills-"
_NEW: Final = ".new"
_OLD: Final = ".old"
_TRIES: Final = 8
"""Times that a place is tried again which another process writes to as well."""
_OTHERS: Final = frozenset((errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.ENOENT))
"""What the system says where another process was faster."""


@dataclass(frozen=True, slots=True)
class UnpackedSkills:
    """What was unpacked: the ModelKit, and each skill in each directory."""

    desc: Descriptor
    skills: tuple[Installed, ...]


def unpack_skills(
    place: Place,
    ref: Reference,
    directories: Sequence[Path],
    *,
    filters: Sequence[Filter] = (),
    existing: Literal["refuse", "overwrite", "keep"] = "refuse",
) -> UnpackedSkills:
    """Unpack the skills of ``ref``; one that is refused leaves everything as it was.

    Args:
        place: where things are.
        ref: the ModelKit, of the store or its registry.
        directories: of skills; made where they are missing.
        filters: which parts are looked at; the prompts where there are none.
        existing: what to do with a skill of that name that is there and is another one.

    Raises:
        NotFoundError: there is no skill in it.
        InvalidValueError: two skills have one name, or one has a name that cannot be a directory's.
        FileSystemError: another skill is there, or something cannot be written.
        KitError: see :func:`kitops.ops.unpack.unpack`.
    """
    _clear_temporary()
    with tempfile.TemporaryDirectory(prefix=f"{_TEMPORARY}{this_process()}-") as temporary:
        root = Path(temporary, "kit")
        wanted = tuple(filters) or (Filter.parse("prompts"),)
        try:
            done = unpack(place, ref, root, UnpackOptions(filters=wanted, record=False))
        except NoPartError as error:
            if filters:
                raise
            raise _no_skill(ref) from error
        skills = _find_skills(root, ref)
        pairs = [
            (source, directory / name) for directory in dict.fromkeys(directories) for name, source in skills.items()
        ]
        for _, target in pairs:
            _clear_beside(target)
        places = [(source, target, _compare(source, target)) for source, target in pairs]
        for _, target, found in places:
            if found == "other" and existing == "refuse":
                raise _refusal(target)
        return UnpackedSkills(done.desc, tuple(_install(*one, existing) for one in places))


def _find_skills(root: Path, ref: Reference) -> dict[str, Path]:
    """The directories of skills by name; one within another one belongs to that."""
    found: dict[str, Path] = {}
    for above, directories, files in os.walk(root):
        if _FILE not in files:
            directories.sort()
            continue
        directories.clear()
        directory = Path(above)
        name = _name_of(directory, directory.name if directory != root else ref.repository.rpartition("/")[2])
        if name in found:
            raise InvalidValueError(f"{ref} has two skills that are called {name}", hint="choose one by --filter")
        found[name] = directory
    if not found:
        raise _no_skill(ref)
    return found


def _no_skill(ref: Reference) -> NotFoundError:
    return NotFoundError(f"{ref} has no skill: none of its prompts has a {_FILE}", hint=f"kit info {ref}")


def _name_of(directory: Path, other: str) -> str:
    with (directory / _FILE).open("rb") as file:
        name = parse_front_matter(file.read(_FRONT)).name or other
    if not _NAME.fullmatch(name):
        raise InvalidValueError(
            f"a skill is called {printable(name)}, which cannot be the name of its directory",
            hint="a skill's name has letters, digits and hyphens, up to 64",
        )
    return name


def _compare(source: Path, target: Path) -> Literal["nothing", "same", "other"]:
    """What is at the place of a skill."""
    if not os.path.lexists(target):
        return "nothing"
    try:
        return "same" if not target.is_symlink() and _is_same(source, target) else "other"
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", target) from error


def _is_same(one: Path, other: Path) -> bool:
    names = _files(one)
    return names == _files(other) and all(filecmp.cmp(one / name, other / name, shallow=False) for name in names)


def _files(root: Path) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(above, name), root) for above, _, names in os.walk(root) for name in names
    )


def _refusal(target: Path) -> FileSystemError:
    return FileSystemError(
        f"writing {target}: another skill is there already",
        path=str(target),
        hint="use --overwrite to replace it, or --ignore-existing to keep it",
    )


def _install(source: Path, target: Path, found: str, existing: str) -> Installed:
    """Give a skill its place. Another process may give one the same place at the same time: what it left is judged."""
    for left in reversed(range(_TRIES)):
        if found == "same":
            return Installed(target, "same")
        if found == "other" and existing == "keep":
            return Installed(target, "kept")
        if found == "other" and existing == "refuse":
            raise _refusal(target)
        try:
            _replace(source, target, is_there=found == "other")
        except OSError as error:
            now = _compare(source, target)
            if error.errno not in _OTHERS or not left or (now == found and error.errno != errno.ENOENT):
                raise FileSystemError.wrap(error, "writing", target) from error
            found = now
        else:
            break
    return Installed(target, "written")


def _replace(source: Path, target: Path, *, is_there: bool) -> None:
    beside = f".{target.name}.{this_process() or os.getpid()}"
    new, old = target.with_name(f"{beside}{_NEW}"), target.with_name(f"{beside}{_OLD}")
    check_room(str(target), sum((source / name).stat().st_size for name in _files(source)), "writing")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(source, new)
        if is_there:
            os.rename(target, old)
        try:
            os.rename(new, target)
        except BaseException:
            with suppress(OSError):  # where it cannot go back, it stays under its other name
                os.rename(old, target)
            raise
    finally:
        _remove(new)
    _remove(old)


def _copy(source: Path, new: Path) -> None:
    """Copy a directory; the first file that cannot be written is the error."""
    made: list[tuple[str, Path]] = []
    for above, _, names in os.walk(source):
        there = new / os.path.relpath(above, source)
        there.mkdir()
        made.append((above, there))
        for name in names:
            shutil.copy2(os.path.join(above, name), there / name)
    for above, there in reversed(made):
        shutil.copymode(above, there)


def _clear_beside(target: Path) -> None:
    """Remove what a killed process left beside a skill; a skill that it had moved aside goes back to its place."""
    for found in target.parent.glob(f".{target.name}.*"):
        owner = found.name[len(target.name) + 2 : -len(_NEW)]
        if not found.name.endswith((_NEW, _OLD)) or is_alive(owner) is not False:
            continue
        if found.name.endswith(_OLD) and not os.path.lexists(target):
            with suppress(OSError):
                os.rename(found, target)
        _remove(found)


def _clear_temporary() -> None:
    """Remove the skills that a killed process had on the way."""
    for found in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*"):
        if is_alive(found.name.removeprefix(_TEMPORARY).rpartition("-")[0]) is False:
            shutil.rmtree(found, ignore_errors=True)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
