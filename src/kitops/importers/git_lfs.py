"""The objects of git-lfs of one clone: pointers, heads of files, and whole files by the command.

A pointer tells the SHA-256 of the file, so what the store has already is never asked for; the rest comes by ``git lfs
fetch``, which goes on where a killed one ended, and where the head of a file was read before.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kitops.content.events import Waiting
from kitops.errors import FileSystemError, IntegrityError, KitError, SourceError
from kitops.importers.lfs_ranges import RangedObjects
from kitops.oci.digest import Digest
from kitops.registry.transport import Transport
from kitops.store.filesystem import check_room

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kitops.content.protocols import Run
    from kitops.importers.git_command import Git
    from kitops.importers.tree import RemoteFile
    from kitops.registry.network import Network

_POINTER: Final = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]+\n)*"
    rb"oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n"
)
POINTER_LIMIT: Final = 1024
"""Bytes that a pointer has at most (git-lfs, docs/spec.md)."""
_ENDPOINT: Final = re.compile(r"^Endpoint(?: \([^)]*\))?=(https?://\S+) \(auth=[a-z]+\)$(?!\n  SSH=)", re.MULTILINE)
_ONE_TIME: Final = 100
"""Paths of one ``git lfs fetch``: an argument list has an end."""
_HEAD_LIMIT: Final = 64 << 20
"""A head that is larger is no head: the file is fetched whole."""


def parse_pointer(content: bytes) -> tuple[Digest, int] | None:
    """Digest and size of the file that ``content`` points to, if it is a pointer."""
    found = _POINTER.fullmatch(content)
    return None if found is None else (Digest("sha256", found[1].decode()), int(found[2]))


@dataclass(slots=True)
class LfsObjects:
    """The files in LFS of a clone. Thread-safe.

    Args:
        git: runs git in the work tree.
        storage: where git-lfs keeps what it fetched.
        run: whom to tell, what to watch.
        network: how servers are reached for heads of files; None fetches whole files instead.
    """

    git: Git
    storage: Path
    run: Run
    network: Callable[[], Network] | None = None
    _servers: dict[Path, RangedObjects | None] = field(default_factory=dict)
    _transport: Transport | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _locks: dict[Digest, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))

    def path_of(self, digest: Digest) -> Path:
        """Where an object lies once it was fetched."""
        oid = digest.encoded
        return self.storage.absolute() / "objects" / oid[:2] / oid[2:4] / oid

    def read_at(self, file: RemoteFile, digest: Digest, offset: int, size: int) -> bytes:
        """``size`` bytes of a file from ``offset`` on; only what lies before is fetched, where the server can.

        Raises:
            SourceError: the server does not have it.
            NetworkError: the connection failed.
            FileSystemError: the disk is full.
        """
        end = min(offset + size, file.size)
        if end <= offset:
            return b""
        with self._lock:
            lock = self._locks[digest]
        with lock:
            path = self.path_of(digest)
            if not path.is_file() and not self._has_head(file, digest, end):
                check_room(str(self.git.directory), file.size, "fetching to")
                self.fetch([file])
            path = path if path.is_file() else self._head(digest)
            try:
                with path.open("rb") as content:
                    content.seek(offset)
                    return content.read(end - offset)
            except OSError as error:
                raise FileSystemError.wrap(error, "reading", path) from error

    def fetch(self, files: Sequence[RemoteFile]) -> None:
        """Have whole ``files`` on the disk, by ``git lfs fetch`` in the repositories that have their pointers.

        Raises:
            SourceError: git-lfs is not installed, or the server does not have them.
            IntegrityError: a pointer is wrong about the size.
            NetworkError: the connection failed.
        """
        wanted = [(file, file.digest) for file in files if file.digest is not None]
        missing = [(file, digest) for file, digest in wanted if not self.path_of(digest).is_file()]
        if missing:
            self.run.observer(Waiting(f"git lfs to fetch {len(missing)} files of {self.git.url}"))
            self._check_installed()
        pointers: dict[Path, list[str]] = defaultdict(list)
        for file, digest in missing:
            self._give_head(digest)
            root, inner = self._pointer(file)
            pointers[root].append(_as_pattern(inner))
        for root, patterns in pointers.items():
            for start in range(0, len(patterns), _ONE_TIME):
                names = ",".join(dict.fromkeys(patterns[start : start + _ONE_TIME]))
                self._in(root).run(*self._own(), "fetch", f"--include={names}", "--exclude=", "origin", "HEAD")
        lost = [file.path for file, digest in missing if not self.path_of(digest).is_file()]
        if lost:
            raise SourceError(f"{self.git.url}: git lfs did not bring {', '.join(lost[:5])}")
        for file, digest in wanted:
            size = self.path_of(digest).stat().st_size
            if size != file.size:
                raise IntegrityError(
                    f"the pointer {file.path} of {self.git.url}", f"{file.size} bytes", f"{size} bytes"
                )

    def close(self) -> None:
        """Close connections."""
        if self._transport is not None:
            self._transport.close()

    # --- heads

    def _head(self, digest: Digest) -> Path:
        return self.git.directory / ".git/kitops-heads" / digest.encoded

    def _has_head(self, file: RemoteFile, digest: Digest, end: int) -> bool:
        """Whether the first ``end`` bytes of a file are in its head; they are fetched if need be, and can be."""
        head = self._head(digest)
        have = head.stat().st_size if head.is_file() else 0
        root = self._pointer(file)[0]
        if have < end and (server := self._server(root)) is not None and end - have <= _HEAD_LIMIT:
            try:
                more = server.read(digest, file.size, have, end)
            except KitError:  # git-lfs may do better: it knows more ways, and it tells what is wrong
                self._servers[root] = None
                return False
            try:
                head.parent.mkdir(exist_ok=True)
                with head.open("ab") as content:
                    content.write(more)
            except OSError as error:
                raise FileSystemError.wrap(error, "writing", head) from error
            have += len(more)
        return have >= end

    def _give_head(self, digest: Digest) -> None:
        """Let git-lfs go on behind a head that was read, or find the object that the head is."""
        head = self._head(digest)
        if not head.is_file():
            return
        with head.open("rb") as content:
            is_whole = hashlib.file_digest(content, "sha256").hexdigest() == digest.encoded
        target = self.path_of(digest) if is_whole else self.storage.absolute() / "incomplete" / f"{digest.encoded}.part"
        with suppress(OSError):  # there already, or another file system: it is fetched again
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(head, target)
        head.unlink()

    def _server(self, root: Path) -> RangedObjects | None:
        """The server of the repository at ``root``, where it is reached by HTTP."""
        with self._lock:
            if root not in self._servers:
                self._servers[root] = self._find_server(root)
            return self._servers[root]

    def _find_server(self, root: Path) -> RangedObjects | None:
        git = self._in(root)
        try:
            found = _ENDPOINT.search(git.run(*self._own(), "env"))
        except SourceError:  # no git-lfs
            return None
        if self.network is None or found is None:
            return None
        self._transport = self._transport or Transport(self.network(), self.run.cancel, self.run.concurrency)
        return RangedObjects(found[1].rstrip("/"), self._transport, lambda url: _ask_helper(git, url))

    # --- repositories

    def _pointer(self, file: RemoteFile) -> tuple[Path, str]:
        """The repository (a submodule, or the whole one) that has a file's pointer, and its path there."""
        path = Path(os.path.realpath(self.git.directory / file.path))
        root = next((above for above in path.parents if (above / ".git").exists()), self.git.directory)
        return root, path.relative_to(root).as_posix()

    def _in(self, root: Path) -> Git:
        return replace(self.git, directory=root)

    def _own(self) -> tuple[str, ...]:
        return "-c", f"lfs.storage={self.storage.absolute()}", "lfs"

    def _check_installed(self) -> None:
        try:
            self.git.run("lfs", "version")
        except SourceError as error:
            raise SourceError(
                f"{self.git.url} has files in git-lfs, which is not installed",
                hint="install git-lfs (apt-get install git-lfs)",
            ) from error


def _ask_helper(git: Git, url: str) -> str | None:
    """What git's credential helpers know for ``url``, as ``Authorization``."""
    parts = urlsplit(url)
    asked = f"protocol={parts.scheme}\nhost={parts.netloc}\npath={parts.path.lstrip('/')}\n\n"
    try:
        told = git.run("credential", "fill", given=asked.encode())
    except SourceError:
        return None
    known = dict(line.partition("=")[::2] for line in told.splitlines())
    pair = f"{known.get('username', '')}:{known.get('password', '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _as_pattern(path: str) -> str:
    """A path as git-lfs's filters read it: what is special to them, the comma between two above all, is any letter."""
    return re.sub(r"[\\*?\[\],{}]", "?", f"/{path}")
