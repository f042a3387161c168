"""Any git repository, by the ``git`` command: a shallow clone of one revision, with git-lfs where it has large files.

Only pointers are checked out of what lies in LFS: see :mod:`kitops.importers.git_lfs`.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kitops.content.events import Waiting
from kitops.errors import FileSystemError, SourceError, printable
from kitops.importers.git_command import Git
from kitops.importers.git_lfs import POINTER_LIMIT, LfsObjects, parse_pointer
from kitops.importers.git_parts import list_parts
from kitops.importers.location import SCP
from kitops.importers.tree import Origin, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from io import FileIO

    from kitops.content.protocols import Run
    from kitops.importers.location import Location
    from kitops.registry.network import Network

_REVISION: Final = re.compile(r"[A-Za-z0-9_./+@^=-]+", re.ASCII)
_SHORT: Final = re.compile(r"[0-9a-f]{4,39}", re.ASCII)
"""What may be the beginning of a commit's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitOptions:
    """How to clone.

    Args:
        revision: a branch, tag or commit; empty is the repository's default branch.
        token: for its host; None leaves it to git's own credential helpers.
        submodules: whether to take in submodules, which are refused otherwise.
        lfs_storage: where git-lfs keeps what it fetched, and finds it again after a kill.
        network: how servers of git-lfs are reached for the heads of files; None fetches whole files for that.
    """

    revision: str = ""
    token: str | None = None
    submodules: bool = False
    lfs_storage: Path | None = None
    network: Callable[[], Network] | None = None


@dataclass(frozen=True, slots=True)
class _Blob:
    """A git object: its id, and its size in bytes."""

    oid: str
    size: int


@contextmanager
def open_git(location: Location, directory: Path, options: GitOptions, run: Run) -> Iterator[GitTree]:
    """Clone one revision of a repository into the empty ``directory``.

    Raises:
        SourceError: git is missing, or the repository, or the revision; or it holds submodules, or a name that is not
            UTF-8.
        NetworkError: the connection failed.
    """
    url = location.where
    revision = options.revision or "HEAD"
    if revision.startswith(("-", "+")) or not _REVISION.fullmatch(revision):
        raise SourceError(f"{revision!r} is not the name of a branch, tag or commit")
    run.observer(Waiting(f"git to fetch {url}"))
    git = Git(directory, url, run.cancel, options.token)
    git.run("init", "--quiet", "--initial-branch=kitops")
    git.run("remote", "add", "--", "origin", url)
    _fetch(git, revision)
    git.run("checkout", "--quiet", "--detach", "FETCH_HEAD", more={"GIT_LFS_SKIP_SMUDGE": "1"})
    commit = git.run("rev-parse", "HEAD").strip()
    _take_submodules(git, url, submodules=options.submodules)
    below = f"{location.folder}/" if location.folder else ""
    files = tuple(file for file in _list(directory, _blobs(git)) if file.path.startswith(below))
    name = _name_of(url)
    parts = list_parts(git) if options.submodules else ()
    origin = Origin(
        "git",
        url,
        commit,
        revision,
        name,
        {"gitCommit": commit},
        is_dataset=location.is_dataset,
        folder=location.folder,
        parts=parts,
    )
    lfs = LfsObjects(git, options.lfs_storage or directory / ".git/lfs", run, options.network)
    try:
        yield GitTree(origin, files, directory, lfs, {file.path: file for file in files})
    finally:
        lfs.close()


@dataclass(frozen=True, slots=True)
class GitTree:
    """A clone (``kitops.importers.tree.Tree`` and ``OnDisk``)."""

    origin: Origin
    files: Sequence[RemoteFile]
    directory: Path
    _lfs: LfsObjects = field(repr=False)
    _by_path: Mapping[str, RemoteFile] = field(repr=False)

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        """Bytes of a file; of one in LFS that was not fetched, its server is asked for them.

        Raises:
            SourceError: the server does not give them.
            NetworkError: it cannot be reached.
            FileSystemError: it cannot be read.
        """
        file = self._by_path[path]
        if file.digest is not None:
            return self._lfs.read_at(file, file.digest, offset, size)
        with self._opened(self.directory / path) as opened:
            opened.seek(offset)
            return opened.read(size)

    @contextmanager
    def open(self, file: RemoteFile, offset: int = 0) -> Iterator[FileIO]:
        """The bytes of a prepared file from ``offset`` on.

        Raises:
            FileSystemError: it cannot be read.
        """
        with self._opened(self.path_of(file)) as opened:
            opened.seek(offset)
            yield opened

    def prepare(self, files: Sequence[RemoteFile], run: Run) -> None:  # noqa: ARG002 - the clone has its own
        """Have ``files`` on the disk: those in LFS are fetched.

        Raises:
            SourceError: git-lfs is not installed, or the server does not have them.
            IntegrityError: a pointer is wrong about the size of its file.
            NetworkError: the connection failed.
        """
        self._lfs.fetch(files)

    def path_of(self, file: RemoteFile) -> Path:
        """Where a file lies: in the work tree, or with the objects of git-lfs."""
        if file.digest is None:
            return Path(os.path.realpath(self.directory / file.path))
        return self._lfs.path_of(file.digest)

    @contextmanager
    def _opened(self, path: Path) -> Iterator[FileIO]:
        try:
            with open(path, "rb", buffering=0) as file:
                yield file
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", path) from error


def _fetch(git: Git, revision: str) -> None:
    """Fetch one commit. A server takes whole ids only: what may be a short one is looked up in the history.

    Raises:
        SourceError: there is no such revision.
    """
    arguments = ("fetch", "--quiet", "--depth=1", "--no-recurse-submodules", "origin")
    try:
        git.run(*arguments, revision)
    except SourceError:
        commit = _find_commit(git, revision) if _SHORT.fullmatch(revision) else ""
        if not commit:
            raise
        git.run(*arguments, commit)


def _find_commit(git: Git, short: str) -> str:
    """The only commit whose id begins with ``short``; empty where there is none, or several."""
    history = git.directory / ".git/kitops-history"
    there = f"--git-dir={history}"
    try:
        git.run(there, "init", "--quiet", "--bare")
        git.run(there, "fetch", "--quiet", "--filter=tree:0", "--", git.url, "+refs/*:refs/*")
        return git.run(there, "rev-parse", "--verify", "--quiet", f"{short}^{{commit}}").strip()
    except SourceError:
        return ""
    finally:
        shutil.rmtree(history, ignore_errors=True)


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


def _blobs(git: Git) -> dict[str, _Blob]:
    """Path to object of every file of the revision, and of submodules that were taken in."""
    found: dict[str, _Blob] = {}
    for line in git.run("ls-tree", "-r", "--long", "-z", "HEAD").split("\0"):
        if not line:
            continue
        row, path = line.split("\t", 1)
        _, kind, oid, size = row.split()
        if kind == "commit":
            inner = _blobs(replace(git, directory=git.directory / path))
            found |= {f"{path}/{below}": blob for below, blob in inner.items()}
        else:
            found[path] = _Blob(oid, int(size))
    return found


def _list(directory: Path, blobs: dict[str, _Blob]) -> Iterator[RemoteFile]:
    """The files of a work tree; a link that stays in it counts as the file that it leads to.

    Raises:
        SourceError: a name is not UTF-8.
    """
    root = os.path.realpath(directory)
    for above, directories, names in os.walk(directory):
        links = {name for name in directories if os.path.islink(os.path.join(above, name))}
        directories[:] = sorted(name for name in directories if name != ".git")
        for name in sorted({*names, *links} - {".git"}):
            full = os.path.join(above, name)
            path = os.path.relpath(full, directory).replace(os.sep, "/")
            _check_name(path)
            if os.path.islink(full) and not _stays_in(full, root):
                yield RemoteFile(path, 0, is_stray=True)
                continue
            target = os.path.relpath(os.path.realpath(full), root).replace(os.sep, "/")
            yield _file(Path(full), path, blobs.get(target))


def _file(full: Path, path: str, blob: _Blob | None) -> RemoteFile:
    """A file; one that was converted as it was checked out (line ends, ``ident``) is not what its object is."""
    found = full.stat()
    executable = bool(found.st_mode & stat.S_IXUSR)
    if found.st_size <= POINTER_LIMIT and (pointer := parse_pointer(full.read_bytes())):
        digest, size = pointer
        return RemoteFile(path, size, digest, executable=executable)
    git_blob = blob.oid if blob is not None and blob.size == found.st_size else ""
    return RemoteFile(path, found.st_size, git_blob=git_blob, executable=executable)


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


def _name_of(url: str) -> str:
    """``org/repo`` of a URL or a path on a host, or the last name of a path."""
    on_host = SCP.fullmatch(url) if "://" not in url else None
    path = on_host["path"] if on_host else urlsplit(url).path
    words = [word for word in path.removesuffix("/").removesuffix(".git").split("/") if word]
    has_host = on_host is not None or urlsplit(url).scheme in ("http", "https", "ssh", "git")
    return "/".join(words[-2:] if has_host else words[-1:])
