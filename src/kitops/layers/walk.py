"""What one layer takes from the context directory: a walk in the order of the Go tool.

Directories on the way and below come before what is in them, and the names of one directory are in byte order (so
``a/x`` comes before ``a-b``). Nothing is dropped silently: what cannot be packed is refused, or told.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from kitops.errors import FileSystemError, PackError, printable
from kitops.layers.ignore import OWN, ROOT_NAMES, is_junk
from kitops.layers.rooted import from_root
from kitops.layers.tar import DEPTH_LIMIT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from kitops.layers.ignore import IgnoreRules, Verdicts

_MODE_MASK: Final = 0o7777
_OWN: Final = OWN.encode()
_SELDOM_MEANT: Final = (
    *(b".git", b".hg", b".svn", b".bzr", b".jj"),
    *(b"__pycache__", b".ipynb_checkpoints", b".venv", b"node_modules"),
    *(b".env", b".netrc"),
)


class Symlinks(Enum):
    """What to do with symbolic links (and, for ``SKIP``, with sockets, pipes and devices)."""

    REFUSE = "refuse"
    FOLLOW = "follow"
    SKIP = "skip"


@dataclass(slots=True)
class Entry:
    """One file or directory of a layer, as the file system stamps it.

    Args:
        name: relative to the context directory, with ``/``.
        root: the context directory, absolute.
        mode: the low twelve bits of the file's mode.
        size: bytes; 0 for a directory.
        mtime_ns: last change of the content, nanoseconds since 1970.
        ctime_ns: last change of anything, nanoseconds since 1970.
    """

    name: bytes
    root: bytes
    is_dir: bool
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    device: int
    inode: int

    @property
    def source(self) -> bytes:
        """The absolute path to open."""
        return self.root + b"/" + self.name


@dataclass(slots=True)
class Scan:
    """What a walk found.

    Args:
        entries: what the layer takes, in its order.
        followed: symbolic links that were followed, with what they point to.
        skipped: symbolic links and special files that were left out because that was asked for, with what they are.
        ours: files that were left out because `kit unpack` leaves files of such names.
    """

    entries: list[Entry] = field(default_factory=list)
    followed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    ours: list[str] = field(default_factory=list)


def find_seldom_meant(entries: Sequence[Entry]) -> list[str]:
    """What is packed and probably should not be: the first of each name of version control, caches and secrets.

    It is packed all the same, as the Go tool does: a layer is what the Kitfile names, less what `.kitignore` does.
    """
    found: dict[bytes, str] = {}
    for entry in entries:
        if entry.name.endswith(_SELDOM_MEANT):
            name = entry.name.rpartition(b"/")[2]
            if name in _SELDOM_MEANT and name not in found:
                found[name] = printable(entry.name)
    return list(found.values())


def scan(
    context: Path, path: str, *, ignore: IgnoreRules, deeper: Collection[str] = (), symlinks: Symlinks = Symlinks.REFUSE
) -> Scan:
    """Walk ``path`` below ``context``.

    Args:
        context: the directory of the Kitfile.
        path: a Kitfile's path, cleaned (``model/sub``, ``.``).
        ignore: what is left out.
        deeper: the cleaned paths of the other layers; what is at or below one that lies below ``path`` is theirs.
        symlinks: what to do with symbolic links.

    Raises:
        PackError: the path is missing, wholly ignored, or leaves the context; or something in it cannot be packed
            (symbolic links, special files, names that are not UTF-8: all of them are told).
        FileSystemError: something cannot be read.
    """
    return _Walk(context, path, ignore, deeper, symlinks).run()


class _Walk:
    def __init__(
        self, context: Path, path: str, ignore: IgnoreRules, deeper: Collection[str], symlinks: Symlinks
    ) -> None:
        if path == ".." or path.startswith(("/", "../")):
            raise PackError(
                f"path {path} leaves the context directory", hint="paths of a Kitfile are relative and stay below it"
            )
        self.path = path
        self.root = os.fsencode(from_root(context)).rstrip(b"/")
        self.ignore = ignore
        above = b"" if path == "." else path.encode() + b"/"
        self.deeper = frozenset(
            other
            for other in (text.encode() for text in deeper)
            if other.startswith(above) and other not in (b".", b"")
        )
        self.symlinks = symlinks
        self.found = Scan()
        self.links: list[str] = []
        self.specials: list[str] = []
        self.unreadable_names: list[str] = []
        self.broken: list[str] = []
        self.ignored = 0

    def run(self) -> Scan:
        start = self._walk_to_path()
        if start is not None:
            self._walk(start)
        self._complain()
        if not self._has_content():
            raise excluded_error(self.path)
        return self.found

    def _has_content(self) -> bool:
        """Whether the path itself, or something below it, is taken (an empty context is no mistake)."""
        if self.path == ".":
            return bool(self.found.entries) or not self.ignored
        shortest = len(self.path.encode())
        return any(len(entry.name) >= shortest for entry in reversed(self.found.entries))

    def _walk_to_path(self) -> tuple[bytes, Verdicts] | None:
        """Take the directories on the way and the path itself; give where to go on if it is a directory."""
        verdicts = self.ignore.start()
        if self.path == ".":
            self._stat_context()
            return b"", verdicts
        parts = self.path.encode().split(b"/")
        if len(parts) > DEPTH_LIMIT:
            raise too_deep_error(self.path)
        for depth in range(1, len(parts) + 1):
            name = b"/".join(parts[:depth])
            here = self._stat_on_the_way(name)
            is_last = depth == len(parts)
            if not is_last and not stat.S_ISDIR(here.st_mode):
                raise PackError(f"path {self.path}: {printable(name)} is not a directory")
            text = name.decode()
            verdicts = self.ignore.judge(text, verdicts)
            is_left_out = self._is_left_out(text, verdicts)
            if not is_left_out:
                self._take_or_complain(name, here)
        return (name, verdicts) if stat.S_ISDIR(here.st_mode) else None

    def _stat_context(self) -> None:
        try:
            here = os.stat(self.root or b"/")
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", self.root) from error
        if not stat.S_ISDIR(here.st_mode):
            raise PackError(f"{printable(self.root)} is not a directory")

    def _stat_on_the_way(self, name: bytes) -> os.stat_result:
        """The stat of a component of the path; a symbolic link there is followed or refused."""
        full = self.root + b"/" + name
        try:
            here = os.lstat(full)
            if stat.S_ISLNK(here.st_mode):
                target = printable(os.readlink(full))
                if self.symlinks is not Symlinks.FOLLOW:
                    raise PackError(
                        f"path {self.path} of the Kitfile goes through a symbolic link: {printable(name)} -> {target}",
                        hint="pack with `--symlinks follow`, or write the path it points to",
                    )
                here = os.stat(full)
                self.found.followed.append((printable(name), target))
            return here
        except FileNotFoundError as error:
            raise PackError(
                f"path {self.path} of the Kitfile does not exist in {printable(self.root or '/')}",
                hint="check the spelling in the Kitfile",
            ) from error
        except NotADirectoryError as error:
            raise PackError(f"path {self.path} of the Kitfile goes through a file") from error
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", full) from error

    def _walk(self, start: tuple[bytes, Verdicts]) -> None:
        """Walk below ``start`` without recursion: the stack holds an iterator a directory."""
        where = os.stat(self.root + b"/" + start[0])
        stack = [(self._list(*start), (where.st_dev, where.st_ino))]
        while stack:
            for name, verdicts, here in stack[-1][0]:
                identity = (here.st_dev, here.st_ino)
                if any(identity == other for _, other in stack):
                    self.broken.append(f"{printable(name)} (a loop of symbolic links)")
                    continue
                if name.count(b"/") >= DEPTH_LIMIT:
                    raise too_deep_error(self.path)
                stack.append((self._list(name, verdicts), identity))
                break
            else:
                stack.pop()

    def _list(self, name: bytes, above: Verdicts) -> Iterator[tuple[bytes, Verdicts, os.stat_result]]:
        """Take the files of a directory; yield its directories to go into, in order, at the right moment."""
        full = self.root + b"/" + name
        try:
            with os.scandir(full) as listing:
                children = sorted(listing, key=_name_of)
        except OSError as error:
            if self.ignored and self.ignore.decide(above):
                return  # nobody asked for what is in there
            raise FileSystemError.wrap(error, "reading", full) from error
        prefix = name + b"/" if name else b""
        rules = self.ignore
        for child in children:
            child_name = prefix + child.name
            try:
                text = child_name.decode()
            except UnicodeDecodeError:
                if not rules.decide(above):
                    self.unreadable_names.append(printable(child_name))
                continue
            if child_name in self.deeper:
                continue
            verdicts = rules.judge(text, above) if above else above
            is_left_out = self._is_left_out(text, verdicts)
            try:
                found = self._look(child, child_name, text, is_left_out=is_left_out)
            except OSError as error:
                raise FileSystemError.wrap(error, "reading", self.root + b"/" + child_name) from error
            if found is not None:
                yield child_name, verdicts, found

    def _look(self, child: os.DirEntry[bytes], name: bytes, text: str, *, is_left_out: bool) -> os.stat_result | None:
        """Take one child; give its stat if it is a directory to go into."""
        if child.is_symlink():
            return None if is_left_out else self._link(name, text)
        is_dir = child.is_dir(follow_symlinks=False)
        if is_left_out:
            if not is_dir and child.name.startswith(_OWN):
                self.found.ours.append(text)
            go_on = is_dir and self.ignore.takes_back and not is_builtin(text)
            return child.stat(follow_symlinks=False) if go_on else None
        here = child.stat(follow_symlinks=False)
        self._take_or_complain(name, here)
        return here if is_dir else None

    def _link(self, name: bytes, text: str) -> os.stat_result | None:
        full = self.root + b"/" + name
        target = printable(os.readlink(full))
        if self.symlinks is Symlinks.REFUSE:
            self.links.append(f"{printable(text)} -> {target}")
            return None
        if self.symlinks is Symlinks.SKIP:
            self.found.skipped.append((text, "a symbolic link"))
            return None
        try:
            here = os.stat(full)
        except OSError as error:
            self.broken.append(f"{printable(text)} -> {target} ({(error.strerror or '').lower()})")
            return None
        self.found.followed.append((text, target))
        self._take_or_complain(name, here)
        return here if stat.S_ISDIR(here.st_mode) else None

    def _take_or_complain(self, name: bytes, here: os.stat_result) -> None:
        is_dir = stat.S_ISDIR(here.st_mode)
        if not is_dir and not stat.S_ISREG(here.st_mode):
            self._special(name, here.st_mode)
            return
        self.found.entries.append(
            Entry(
                name,
                self.root,
                is_dir,
                here.st_mode & _MODE_MASK,
                0 if is_dir else here.st_size,
                here.st_mtime_ns,
                here.st_ctime_ns,
                here.st_dev,
                here.st_ino,
            )
        )

    def _special(self, name: bytes, mode: int) -> None:
        kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        text = name.decode()
        if text == self.path:
            message = f"path {printable(text)} of the Kitfile is {kind}, which cannot be packed"
            raise PackError(message, hint="take it out of the Kitfile")
        if self.symlinks is Symlinks.SKIP:
            self.found.skipped.append((text, kind))
        else:
            self.specials.append(f"{printable(text)}, {kind}")

    def _is_left_out(self, text: str, verdicts: Verdicts) -> bool:
        if is_builtin(text):
            return True
        if verdicts and self.ignore.decide(verdicts):
            self.ignored += 1
            return True
        return False

    def _complain(self) -> None:
        """Refuse what cannot be packed, all of it in one message."""
        of = f"of path {self.path}"
        if self.unreadable_names:
            raise PackError(
                f"names {of} are not UTF-8:",
                rows=self.unreadable_names,
                hint="rename them, or list them in .kitignore",
            )
        if self.broken:
            raise PackError(
                f"symbolic links {of} cannot be followed:",
                rows=self.broken,
                hint="mend them, list them in .kitignore, or pack with `--symlinks skip`",
            )
        if self.links and self.specials:
            raise PackError(
                f"symbolic links, pipes, sockets and devices {of} are not packed:",
                rows=[*self.links, *self.specials],
                hint="pack with `--symlinks skip` to leave them out, or list them in .kitignore",
            )
        if self.links:
            raise PackError(
                f"symbolic links {of} are not packed:",
                rows=self.links,
                hint="pack with `--symlinks follow` to pack what they point to, or `--symlinks skip` to leave them out",
            )
        if self.specials:
            raise PackError(
                f"pipes, sockets and devices {of} cannot be packed:",
                rows=self.specials,
                hint="list them in .kitignore, or pack with `--symlinks skip` to leave them out",
            )


def _name_of(child: os.DirEntry[bytes]) -> bytes:
    return child.name


def excluded_error(path: str) -> PackError:
    """The error of a path of a Kitfile of which nothing is taken."""
    if (reason := _never_packed(path)) is not None:
        return PackError(f"path {path} is never packed: {reason}", hint="take it out of the Kitfile")
    message = f"path {path} is excluded by .kitignore"
    return PackError(message, hint="take it out of the Kitfile or of .kitignore")


def too_deep_error(path: str) -> PackError:
    """The error of a path below which directories are nested too deeply."""
    return PackError(f"path {path[:80]} has more than {DEPTH_LIMIT} directories inside each other")


def is_builtin(text: str) -> bool:
    """Whether ``text`` is left out whatever ``.kitignore`` says."""
    return text in ROOT_NAMES or is_junk(text[text.rfind("/") + 1 :])


def _never_packed(path: str) -> str | None:
    """Which rule leaves out a path whatever `.kitignore` says; None where none does."""
    names = path.split("/")
    if any(name.startswith(OWN) for name in names):
        return "`kit unpack` leaves files of that name"
    if any(is_junk(name) for name in names):
        return "operating systems leave files of that name"
    return "it says what is packed" if names[0] in ROOT_NAMES else None
