"""Whether the files of a directory are still those of a layer, by content.

Nothing is trusted but the layer's digest: either its bytes are made again from the files and hashed, or the files are
compared with a layer that is verified while it is read.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from kitops.errors import FileSystemError
from kitops.layers.codec import Codec
from kitops.layers.compose import read_files
from kitops.layers.cover import Cover
from kitops.layers.ignore import is_ours
from kitops.layers.index import HeaderReader
from kitops.layers.raw import raw_member
from kitops.layers.ring import Ring
from kitops.layers.tar import END, member_header, padding
from kitops.layers.untar import read_members
from kitops.layers.write import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from kitops.content.protocols import Reader, Run
    from kitops.layers.layer_content import LayerContent
    from kitops.layers.stamps import Tracked, Tree
    from kitops.layers.untar import Member

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_COMPARE: Final = 256 << 10


@dataclass(slots=True)
class LayerCheck:
    """What was found of one layer.

    Args:
        members: its files and directories in their order: path, permission bits, whether it is a directory.
        changed: files with other content, or another type.
        missing: files and directories that are not there.
        is_certain: whether all of that is known; else something differs, and only the layer's bytes can tell what.
    """

    members: list[tuple[str, int, bool]] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    is_certain: bool = True

    @property
    def is_clean(self) -> bool:
        return self.is_certain and not self.changed and not self.missing

    def look(self, path: str, mode: int, size: int, tree: Tree, *, is_dir: bool) -> bool:
        """Take a member in; whether there is something of its name, type and size (-1: of any)."""
        self.members.append((path, mode, is_dir))
        if is_dir:
            if path not in tree.directories:
                (self.changed if tree.has(path) else self.missing).append(path)
                return False
            return True
        found = tree.files.get(path)
        if found is None:
            (self.changed if tree.has(path) else self.missing).append(path)
            return False
        if size not in (-1, found.size):
            self.changed.append(path)
            return False
        return True


@dataclass(frozen=True, slots=True)
class Checker:
    """Compares layers with what is below ``root``. Its methods may run in several threads.

    Args:
        root: the directory.
        tree: what is in it.
        run: watched for the end.
        beside: hash in a thread of its own: right for a layer on its own.
        moved: told the bytes of each step.
    """

    root: Path
    tree: Tree
    run: Run
    beside: bool
    moved: Callable[[int], None]

    def check_alone(self, layer: LayerContent, members: Sequence[Tracked] | None) -> LayerCheck | None:
        """What the files tell without the layer's bytes, its members known or not; None where that is nothing."""
        if layer.form is Format.RAW and layer.codec is Codec.NONE:
            return self.check_raw(layer)
        return self.check_members(layer, members) if members is not None and can_remake(layer) else None

    def check_raw(self, layer: LayerContent) -> LayerCheck:
        """Hash the file of an uncompressed raw layer."""
        found = LayerCheck()
        member = raw_member(layer.desc, layer.path, layer.what)
        if is_ours(member.path):  # it was not unpacked
            return found
        is_there = found.look(member.path, member.mode, member.size, self.tree, is_dir=member.is_dir)
        if is_there and not member.is_dir:
            with self._hashing(layer) as feed:
                is_whole = feed.take_file(member.path, member.size)
            if not is_whole or not feed.is_match():
                found.changed.append(member.path)
        return found

    def check_members(self, layer: LayerContent, members: Sequence[Tracked]) -> LayerCheck:
        """Make an uncompressed archive again, as this tool and the Go tool write it, from its members and the files."""
        found = LayerCheck()
        for path, mode, stamp, _ in members:
            found.look(path, mode, stamp.size if stamp else 0, self.tree, is_dir=stamp is None)
        if found.is_clean:
            above = len(layer.base) + 1 if layer.base else 0
            with self._hashing(layer) as feed:
                for path, mode, stamp, _ in members:
                    size = stamp.size if stamp else 0
                    feed.update(member_header(path[above:].encode(), mode, size, is_dir=stamp is None))
                    if stamp is not None and not feed.take_file(path, size):
                        found.changed.append(path)
                        break
                    feed.update(bytes(padding(size)))
                feed.update(END)
            found.is_certain = feed.is_match()
        else:
            found.is_certain = False  # what has the right size may still have other content
        return found

    def check_names(self, members: Sequence[Tracked], cover: Cover) -> LayerCheck:
        """What names, types and sizes tell of a layer that cannot be read: never that all is well."""
        found = LayerCheck(is_certain=False)
        for path, mode, stamp, _ in members:
            if not cover.hides(path, is_dir=stamp is None):
                found.look(path, mode, stamp.size if stamp else 0, self.tree, is_dir=stamp is None)
        return found

    def check_blob(self, layer: LayerContent, blob: int) -> LayerCheck:
        """Hash the headers of a local uncompressed archive with the files in the places of its contents."""
        found = LayerCheck()
        with self._hashing(layer) as feed:
            reader = HeaderReader(blob, layer.what, feed)
            for member in read_members(reader, layer.base, layer.within):
                is_there = found.look(member.path, member.mode, member.size, self.tree, is_dir=member.is_dir)
                if not member.is_dir:
                    if found.is_clean and is_there and not feed.take_file(member.path, member.size):
                        found.changed.append(member.path)
                    reader.jump(member.size)
            if found.is_clean:
                feed.take_rest(blob, reader.position)
        found.is_certain = found.is_clean and feed.is_match()
        return found

    def check_stream(self, layer: LayerContent, reader: Reader, cover: Cover | None = None) -> LayerCheck:
        """Compare every file with a layer that is verified on the way; those that ``cover`` hides are not its own.

        Raises:
            IntegrityError: the layer is damaged.
        """
        found = LayerCheck()
        cover = cover or Cover()

        def take(member: Member, parts: Iterator[memoryview]) -> None:
            if cover.hides(member.path, is_dir=member.is_dir):
                for _ in parts:
                    pass
                return
            is_there = found.look(member.path, member.mode, member.size, self.tree, is_dir=member.is_dir)
            if member.is_dir:
                return
            if is_there and not self._is_same(member.path, parts):
                found.changed.append(member.path)
            for _ in parts:  # whatever was not compared
                pass

        read_files(reader, layer, self.run, take, self.moved)
        return found

    def _is_same(self, path: str, parts: Iterable[memoryview]) -> bool:
        buffer = memoryview(bytearray(_COMPARE))
        try:
            with _open(self.root, path) as file:
                for part in parts:
                    at = 0
                    while at < len(part):
                        count = file.readinto(buffer[: len(part) - at])
                        if not count or buffer[:count] != part[at : at + count]:
                            return False
                        at += count
                return not file.readinto(buffer[:1])
        except _GoneError:
            return False

    def _hashing(self, layer: LayerContent) -> _Feed:
        return _Feed(self, layer)


def can_remake(layer: LayerContent) -> bool:
    """Whether the layer's bytes can be made from files: it is not compressed, and not a part of an image."""
    return layer.codec is Codec.NONE and layer.form is Format.TAR and not layer.within


class _Feed:
    """Hashes what it is given, gathered into large pieces; a context manager."""

    def __init__(self, checker: Checker, layer: LayerContent) -> None:
        self._checker = checker
        self._digest = layer.desc.digest
        self._hasher = layer.desc.digest.new_hasher()
        self._ring = Ring(self._hasher.update, checker.run.cancel, beside=checker.beside)
        self._view = memoryview(b"")
        self._at = 0

    def __enter__(self) -> Self:
        self._ring.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self._give()
        self._ring.__exit__(kind, error, None)

    def is_match(self) -> bool:
        """Whether all of it is the layer; asked after the block."""
        return self._hasher.hexdigest() == self._digest.encoded

    def update(self, data: bytes) -> None:
        """Take bytes."""
        at = 0
        while at < len(data):
            room = self._room()[: len(data) - at]
            room[:] = data[at : at + len(room)]
            at += len(room)
            self._at += len(room)

    def take_file(self, path: str, size: int) -> bool:
        """Take the content of a file; False where it has not ``size`` bytes, or is there no more."""
        try:
            with _open(self._checker.root, path) as file:
                while size:
                    count = file.readinto(self._room()[:size])
                    if not count:
                        return False
                    size -= count
                    self._at += count
                    self._checker.moved(count)
        except _GoneError:
            return False
        return True

    def take_rest(self, descriptor: int, position: int) -> None:
        """Take what a file has from ``position`` on."""
        while count := os.preadv(descriptor, [self._room()], position):
            position += count
            self._at += count

    def _room(self) -> memoryview:
        if self._at == len(self._view):
            self._give()
            self._view, self._at = self._ring.lend(), 0
        return self._view[self._at :]

    def _give(self) -> None:
        if self._at:
            self._ring.give(self._view[: self._at])
        self._view, self._at = memoryview(b""), 0


class _GoneError(Exception):
    """A file was removed, or replaced by something else, since the directory was listed."""


class _open:  # noqa: N801 - reads as the function that it stands for
    """A file below ``root``, open for reading."""

    def __init__(self, root: Path, path: str) -> None:
        self._path = f"{os.fspath(root)}/{path}"

    def __enter__(self) -> Self:
        try:
            self._descriptor = os.open(self._path, _READ)
        except OSError as error:
            raise self._judge(error) from error
        return self

    def __exit__(self, *exc_details: object) -> None:
        os.close(self._descriptor)

    def readinto(self, buffer: memoryview) -> int:
        """Bytes that came; 0 at the end."""
        try:
            return os.readv(self._descriptor, [buffer])
        except OSError as error:
            raise self._judge(error) from error

    def _judge(self, error: OSError) -> _GoneError | FileSystemError:
        is_gone = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO)
        return _GoneError() if is_gone else FileSystemError.wrap(error, "reading", self._path)
