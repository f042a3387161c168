"""What every source of an import is: a tree of files, pinned to one revision, and where it is from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from kitops.errors import SourceError, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from kitops.content.protocols import Reader, Run
    from kitops.oci.digest import Digest
    from kitops.oci.gojson import Json


@dataclass(frozen=True, slots=True)
class Origin:
    """Where files are from, without any secret.

    Args:
        kind: the kind of source: ``"huggingface"``, ``"git"``, ``"mlflow"``, ``"directory"``.
        uri: of the repository or run, without user, password or token.
        revision: the immutable name of this state (a commit, a version); empty where the source has none.
        asked: the revision as the person named it (a branch, a tag, an alias).
        digests: by algorithm as SLSA names them (``{"gitCommit": "…"}``).
        name: what the repository is called there, for the default reference (``"org/repo"``).
        is_dataset: whether it is a dataset, not a model.
        parameters: what the source knows beside the files (the metrics of a run): JSON-compatible.
        folder: the folder or file of it that was asked for; empty is all.
        parts: other repositories whose files are among these (submodules), each pinned.
    """

    kind: str
    uri: str
    revision: str
    asked: str
    name: str
    digests: Mapping[str, str] = field(default_factory=dict)
    is_dataset: bool = False
    parameters: Mapping[str, Json] = field(default_factory=dict)
    folder: str = ""
    parts: Sequence[Pinned] = ()


@dataclass(frozen=True, slots=True)
class Pinned:
    """Another repository at one commit, and the directory that its files are in."""

    uri: str
    commit: str
    path: str


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a tree.

    Args:
        path: relative, with ``/``.
        size: in bytes.
        digest: SHA-256 of its bytes where the source knows it before they are fetched: the digest of its raw layer.
        git_blob: the id of the git object with these bytes, where there is one: the same id, the same bytes.
        executable: whether its mode says so.
        is_link: it is a symbolic link to a directory, whose files nobody knows (a path that ends in ``/``).
        is_stray: it is a symbolic link that leads out of the tree or to a directory: nobody brings it.
    """

    path: str
    size: int
    digest: Digest | None = None
    git_blob: str = ""
    executable: bool = False
    is_link: bool = False
    is_stray: bool = False

    @property
    def identity(self) -> str:
        """What the source calls its bytes: ``sha256:…``, ``gitBlob:…``, or nothing."""
        if self.digest is not None:
            return str(self.digest)
        return f"gitBlob:{self.git_blob}" if self.git_blob else ""

    @property
    def mode(self) -> int:
        """Permission bits: sources have none but the one that git keeps."""
        return 0o755 if self.executable else 0o644


def check_paths(files: Sequence[RemoteFile], origin: Origin) -> None:
    """Refuse a listing that no directory can be: names out of it or twice to one file, the same bytes in two sizes.

    Raises:
        SourceError: it has one.
    """
    seen: set[str] = set()
    sizes: dict[str, int] = {}
    for file in files:
        words = file.path.split("/")
        if not all(words) or ".." in words or "." in words or "\0" in file.path or file.path in seen or file.size < 0:
            shown = printable(file.path.encode("utf-8", "backslashreplace"))
            raise SourceError(f"{origin.uri} lists a file with an unsafe name: {shown}")
        seen.add(file.path)
        if file.identity and sizes.setdefault(file.identity, file.size) != file.size:
            raise SourceError(f"{origin.uri} lists {file.identity} with {sizes[file.identity]} and {file.size} bytes")
    for path in sorted(seen):
        above = path.rpartition("/")[0]
        while above:
            if above in seen:
                raise SourceError(f"{origin.uri} lists {above} as a file and as a directory, which no disk can hold")
            above = above.rpartition("/")[0]


def refuse_strays(files: Iterable[RemoteFile], origin: Origin) -> None:
    """Refuse links that nobody brings, if they are wanted.

    Raises:
        SourceError: one of ``files`` is such a link.
    """
    if found := sorted(file.path for file in files if file.is_stray):
        raise SourceError(
            f"{origin.uri} has symbolic links that lead out of it or to directories: {', '.join(found)}",
            hint="leave them out with --exclude, or clone it yourself and pack it with --symlinks",
        )


class Tree(Protocol):
    """The files of one revision. Whoever opens it closes it (a context manager of its own module)."""

    @property
    def origin(self) -> Origin: ...

    @property
    def files(self) -> Sequence[RemoteFile]:
        """Every file, in any order."""
        ...

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        """``size`` bytes of a file from ``offset`` on, fewer where it ends before.

        Raises:
            SourceError: the source does not give them.
        """
        ...

    def open(self, file: RemoteFile, offset: int = 0) -> AbstractContextManager[Reader]:
        """The bytes of a file from ``offset`` on, unverified.

        Raises:
            SourceError: the source does not give them, for good.
            NetworkError: the connection failed; another try may go on where this one ended.
        """
        ...


@runtime_checkable
class OnDisk(Protocol):
    """A tree whose own client brings files to this disk: nobody else writes them, so they may become blobs."""

    def prepare(self, files: Sequence[RemoteFile], run: Run) -> None:
        """Have ``files`` on the disk.

        Raises:
            SourceError: the source does not give them.
            NetworkError: the connection failed.
        """
        ...

    def path_of(self, file: RemoteFile) -> Path:
        """Where a prepared file lies."""
        ...
