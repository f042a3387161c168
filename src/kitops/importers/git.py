"""Any git repository, by the ``git`` command: a shallow clone of one revision, with git-lfs where it has large files.

Only pointers are checked out of what lies in LFS. A pointer tells the SHA-256 of the file, so what the store has
already is never asked for; the rest comes by ``git lfs fetch``, which goes on where a killed one ended.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kitops.content.events import Waiting
from kitops.errors import FileSystemError, SourceError, printable
from kitops.importers.git_command import Git
from kitops.importers.tree import Origin, RemoteFile
from kitops.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from io import FileIO

    from kitops.content.protocols import Run

_POINTER: Final = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]+\n)*"
    rb"oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n"
)
_POINTER_LIMIT: Final = 1024
"""Bytes that a pointer has at most (git-lfs, docs/spec.md)."""
_REVISION: Final = re.compile(r"[A-Za-z0-9_./+@^=-]+", re.ASCII)
_ONE_TIME: Final = 100
"""Paths of one ``git lfs fetch``: an argument list has an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitOptions:
    """How to clone.

    Args:
        revision: a branch, tag or commit; empty is the repository's default branch.
        token: for its host; None leaves it to git's own credential helpers.
        submodules: whether to take in submodules, which are refused otherwise.
        lfs_storage: where git-lfs keeps what it fetched, and finds it again after a kill.
    """

    revision: str = ""
    token: str | None = None
    submodules: bool = False
    lfs_storage: Path | None = None


def open_git(url: str, directory: Path, options: GitOptions, run: Run) -> GitTree:
    """Clone one revision of ``url`` into the empty ``directory``.

    Raises:
        SourceError: git is missing, or the repository, or the revision; or it holds submodules or links that lead out.
        NetworkError: the connection failed.
    """
    revision = options.revision or "HEAD"
    if revision.startswith(("-", "+")) or not _REVISION.fullmatch(revision):
        raise SourceError(f"{revision!r} is not the name of a branch, tag or commit")
    run.observer(Waiting(f"git to fetch {url}"))
    git = Git(directory, url, run.cancel, options.token)
    git.run("init", "--quiet", "--initial-branch=kitops")
    git.run("remote", "add", "--", "origin", url)
    git.run("fetch", "--quiet", "--depth=1", "--no-recurse-submodules", "origin", revision)
    git.run("checkout", "--quiet", "--detach", "FETCH_HEAD", more={"GIT_LFS_SKIP_SMUDGE": "1"})
    commit = git.run("rev-parse", "HEAD").strip()
    _take_submodules(git, url, submodules=options.submodules)
    files = tuple(_list(directory, _blobs(git)))
    name = _name_of(url)
    origin = Origin("git", url, commit, revision, name, {"gitCommit": commit})
    return GitTree(origin, files, directory, git, options.lfs_storage or directory / ".git/lfs")


@dataclass(frozen=True, slots=True)
class GitTree:
    """A clone (``kitops.importers.tree.Tree`` and ``OnDisk``)."""

    origin: Origin
    files: Sequence[RemoteFile]
    directory: Path
    _git: Git = field(repr=False)
    _lfs_storage: Path = field(repr=False)

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        """Bytes of a file; of one in LFS those of its pointer, which is all that is here.

        Raises:
            FileSystemError: it cannot be read.
        """
        with self._opened(self.directory / path) as file:
            file.seek(offset)
            return file.read(size)

    @contextmanager
    def open(self, file: RemoteFile, offset: int = 0) -> Iterator[FileIO]:
        """The bytes of a prepared file from ``offset`` on.

        Raises:
            FileSystemError: it cannot be read.
        """
        with self._opened(self.path_of(file)) as opened:
            opened.seek(offset)
            yield opened

    def prepare(self, files: Sequence[RemoteFile], run: Run) -> None:
        """Have ``files`` on the disk: those in LFS are fetched.

        Raises:
            SourceError: git-lfs is not installed, or the server does not have them.
            NetworkError: the connection failed.
        """
        wanted = [file for file in files if file.digest is not None and not self.path_of(file).is_file()]
        if not wanted:
            return
        run.observer(Waiting(f"git lfs to fetch {len(wanted)} files of {self.origin.uri}"))
        self._check_lfs()
        for start in range(0, len(wanted), _ONE_TIME):
            names = ",".join(dict.fromkeys(_as_pattern(file.path) for file in wanted[start : start + _ONE_TIME]))
            storage = f"lfs.storage={self._lfs_storage.absolute()}"
            self._git.run("-c", storage, "lfs", "fetch", f"--include={names}", "--exclude=", "origin", "HEAD")
        missing = [file.path for file in wanted if not self.path_of(file).is_file()]
        if missing:
            raise SourceError(f"{self.origin.uri}: git lfs did not bring {', '.join(missing[:5])}")

    def path_of(self, file: RemoteFile) -> Path:
        """Where a file lies: in the work tree, or with the objects of git-lfs."""
        if file.digest is None:
            return Path(os.path.realpath(self.directory / file.path))
        oid = file.digest.encoded
        return self._lfs_storage / "objects" / oid[:2] / oid[2:4] / oid

    def _check_lfs(self) -> None:
        try:
            self._git.run("lfs", "version")
        except SourceError as error:
            raise SourceError(
                f"{self.origin.uri} has files in git-lfs, which is not installed",
                hint="install git-lfs (apt-get install git-lfs)",
            ) from error

    @contextmanager
    def _opened(self, path: Path) -> Iterator[FileIO]:
        try:
            with open(path, "rb", buffering=0) as file:
                yield file
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", path) from error


def _take_submodules(git: Git, url: str, *, submodules: bool) -> None:
    """Refuse submodules, or check them out when they are wanted."""
    found = [line.split("\t", 1)[1] for line in git.run("ls-files", "-s").splitlines() if line.startswith("160000 ")]
    if not found:
        return
    if not submodules:
        raise SourceError(
            f"{url} has submodules: {', '.join(found)}", hint="take them in with --submodules, or leave them out"
        )
    git.run("submodule", "update", "--quiet", "--init", "--recursive", "--depth=1", more={"GIT_LFS_SKIP_SMUDGE": "1"})


def _blobs(git: Git) -> dict[str, str]:
    """Path to object id of every file of the revision (submodules have their own)."""
    found = {}
    for line in git.run("ls-tree", "-r", "-z", "HEAD").split("\0"):
        if line:
            kind, path = line.split("\t", 1)
            found[path] = kind.split(" ")[2]
    return found


def _list(directory: Path, blobs: dict[str, str]) -> Iterator[RemoteFile]:
    """The files of a work tree; a link that stays in it counts as the file that it leads to.

    Raises:
        SourceError: a link leads out of the repository, or to a directory; or a name is not UTF-8.
    """
    root = os.path.realpath(directory)
    refused = []
    for above, directories, names in os.walk(directory):
        refused += [os.path.join(above, name) for name in directories if os.path.islink(os.path.join(above, name))]
        directories[:] = sorted(name for name in directories if name != ".git")
        for name in sorted(set(names) - {".git"}):
            full = os.path.join(above, name)
            path = os.path.relpath(full, directory).replace(os.sep, "/")
            _check_name(path)
            if os.path.islink(full) and not _stays_in(full, root):
                refused.append(full)
                continue
            yield _file(Path(full), path, blobs.get(path, ""))
    if refused:
        names = sorted(printable(os.fsencode(os.path.relpath(path, directory))) for path in refused)
        raise SourceError(
            f"the repository has symbolic links that lead out of it or to directories: {', '.join(names)}",
            hint="leave them out with --exclude, or clone it yourself and pack with --symlinks",
        )


def _file(full: Path, path: str, git_blob: str) -> RemoteFile:
    found = full.stat()
    executable = bool(found.st_mode & stat.S_IXUSR)
    if found.st_size <= _POINTER_LIMIT and (pointer := _POINTER.fullmatch(full.read_bytes())):
        return RemoteFile(path, int(pointer[2]), Digest("sha256", pointer[1].decode()), executable=executable)
    return RemoteFile(path, found.st_size, git_blob="" if full.is_symlink() else git_blob, executable=executable)


def _stays_in(link: str, root: str) -> bool:
    """Whether a link leads to a file of the work tree, not of git's own directory."""
    target = os.path.realpath(link)
    inside = os.path.relpath(target, root).split(os.sep)
    return os.path.isfile(target) and inside[0] != ".." and ".git" not in inside


def _check_name(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = printable(os.fsencode(path))
        raise SourceError(f"the repository has a name that is not UTF-8: {shown}") from None


def _as_pattern(path: str) -> str:
    """A path as git-lfs's filters read it: what is special to them, the comma between two above all, is any letter."""
    return re.sub(r"[\\*?\[\],{}]", "?", f"/{path}")


def _name_of(url: str) -> str:
    """``org/repo`` of a URL, or the last name of a path."""
    path = urlsplit(url).path if "://" in url else url.partition(":")[2]
    words = [word for word in path.removesuffix("/").removesuffix(".git").split("/") if word]
    return "/".join(words[-2:] if urlsplit(url).scheme in ("http", "https", "ssh", "git") or ":" in url else words[-1:])
