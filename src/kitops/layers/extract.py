"""Unpacking layers into a directory: whole files or none, nothing unsafe, nothing unverified.

Everything is made in a staging directory and gets its final names at the end (:meth:`Extraction.commit`), when the
digest of every layer has matched. A local uncompressed layer is judged before anything is written. Refused are: names
that lead out, links and devices, the same file twice, a file and a directory of one name, and names that the target's
file system folds together. Modes are ``mode & 0o777 & ~umask``. Nothing is flushed to the disk: after a power cut,
unpack again.
"""

from __future__ import annotations

import errno
import filecmp
import json
import os
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from kitops.content.reflink import share
from kitops.errors import FileSystemError, IntegrityError, TrustError
from kitops.layers.codec import PIECE, Codec, decompress
from kitops.layers.ring import Ring
from kitops.layers.staging import Existing, Staging, check_absent
from kitops.layers.untar import PieceReader, parse_path, read_members
from kitops.layers.write import Format
from kitops.oci.annotations import FILE_METADATAS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from kitops.content.protocols import Reader, Run
    from kitops.oci.descriptor import Descriptor

__all__ = ["Existing", "Extracted", "Extraction", "LayerContent"]

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LARGE: Final = 1 << 20
"""Files from here on get their space before they are written: a full disk is told early."""


@dataclass(frozen=True, slots=True)
class LayerContent:
    """What a layer is and what it is called.

    Args:
        desc: of the blob.
        form: tar or raw.
        codec: its compression.
        path: the path that it was packed from; a raw layer's file.
        base: the directory that a tar layer's names are relative to.
        what: names it in errors.
    """

    desc: Descriptor
    form: Format
    codec: Codec
    path: str
    base: str
    what: str


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was done: numbers of files written and kept, and bytes written."""

    written: int
    kept: int
    size: int


class Extraction:
    """Unpacks layers into ``target``; a context manager. Leaving it without :meth:`commit` leaves nothing behind.

    Args:
        target: a directory; made where it is missing.
        existing: what to do with files that are there.
        run: watched for the end.
    """

    def __init__(self, target: Path, *, existing: Existing, run: Run) -> None:
        self._staging = Staging(target)
        self._existing = existing
        self._run = run
        self._size = 0
        self._fixed: dict[str, bytes] = {}
        self._late_modes: dict[str, int] = {}
        try:
            self._target = os.open(self._staging.target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._fold, self._umask = _probe(self._staging.path)
            self._ledger = self._new_ledger()
            self._judged = self._new_ledger()
        except OSError as error:
            self._staging.close()
            raise FileSystemError.wrap(error, "unpacking into", target) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._target)
        self._staging.close()

    def judge(self, blob: Path, layer: LayerContent) -> None:
        """Look at the names in a local layer before anything is written; a compressed one is judged while staged.

        Raises:
            KitError: as :meth:`add_blob`.
        """
        if layer.form is Format.RAW:
            self._judged.claim(_raw_path(layer), is_dir=False, layer=layer.what)
        elif layer.codec is Codec.NONE:
            with _open_blob(blob) as descriptor:
                pieces = _SeekingReader(descriptor, layer.what)
                self._judged.start_layer()
                for member in read_members(pieces, layer.base):
                    self._run.cancel.check()
                    self._judged.claim(member.path, is_dir=member.is_dir, layer=layer.what)
                    if not member.is_dir:
                        pieces.skip(member.size)

    def add_blob(self, blob: Path, layer: LayerContent, moved: Callable[[int], None]) -> None:
        """Stage a layer from a local file, verified on the way.

        Raises:
            IntegrityError: it is damaged.
            TrustError: it holds something unsafe.
            FileSystemError: a file is in the way, or the disk is full.
        """
        with _open_blob(blob) as descriptor:
            if layer.form is Format.RAW and layer.codec is Codec.NONE and self._clone(descriptor, layer):
                self._read(_FileReader(descriptor), layer, moved, lambda pieces: pieces.drain())
                return
            self.add_stream(_FileReader(descriptor), layer, moved)

    def add_stream(self, reader: Reader, layer: LayerContent, moved: Callable[[int], None]) -> None:
        """Stage a layer from a stream; nothing of it gets a final name before its digest matched.

        Raises:
            KitError: as :meth:`add_blob`.
        """
        self._read(reader, layer, moved, lambda pieces: self._unpack(pieces, layer))

    def add_file(self, path: str, content: bytes) -> None:
        """Stage a file of known content (the Kitfile): one with the same bytes that is there already is left.

        Raises:
            FileSystemError: one with other bytes is there and may not be overwritten.
        """
        there = self._staging.target / path
        staged = self._staging.path / path
        if _holds(staged, content):  # a layer brought it
            return
        is_same = _holds(there, content)
        if is_same and self._existing is not Existing.OVERWRITE:
            return
        strict = Existing.OVERWRITE if self._existing is Existing.OVERWRITE else Existing.REFUSE
        check_absent(self._target, path.split("/"), strict, path, is_dir=False)
        self._ledger.claim(path, is_dir=False, layer=path)
        self._write(path, 0o644, len(content), iter([memoryview(content)]))

    def commit(self) -> Extracted:
        """Give everything its final name.

        Raises:
            FileSystemError: something came in the way meanwhile.
        """
        self._run.cancel.check()
        written, kept = self._staging.move(self._existing)
        for path, mode in sorted(self._late_modes.items(), reverse=True):
            try:
                os.chmod(self._staging.target / path, mode & ~self._umask)
            except OSError as error:
                raise self._explain(error, path, 0) from error
        return Extracted(written, kept, self._size)

    def _new_ledger(self) -> _Ledger:
        return _Ledger(self._target, self._existing, fold=self._fold)

    def _read(
        self, reader: Reader, layer: LayerContent, moved: Callable[[int], None], use: Callable[[PieceReader], None]
    ) -> None:
        """Let ``use`` have the uncompressed bytes while another thread hashes the compressed ones; then verify."""
        hasher = layer.desc.digest.new_hasher()
        size = 0
        with Ring(hasher.update, self._run.cancel, beside=layer.desc.size > PIECE) as ring:

            def pieces() -> Iterator[memoryview]:
                nonlocal size
                while True:
                    self._run.cancel.check()
                    view = ring.lend()
                    count = _read_into(reader, view, layer.what)
                    if not count:
                        return
                    size += count
                    if size > layer.desc.size:
                        raise IntegrityError(layer.what, f"{layer.desc.size} bytes", "more")
                    yield view[:count]
                    ring.give(view[:count])
                    moved(count)

            use(PieceReader(decompress(pieces(), layer.codec, layer.what), layer.what))
        if size != layer.desc.size:
            raise IntegrityError(layer.what, f"{layer.desc.size} bytes", f"{size} bytes")
        if hasher.hexdigest() != layer.desc.digest.encoded:
            raise IntegrityError(layer.what, layer.desc.digest, f"{layer.desc.digest.algorithm}:{hasher.hexdigest()}")

    def _unpack(self, pieces: PieceReader, layer: LayerContent) -> None:
        self._ledger.start_layer()
        if layer.form is Format.RAW:
            path = _raw_path(layer)
            is_new = self._ledger.claim(path, is_dir=False, layer=layer.what)
            size = layer.desc.size if layer.codec is Codec.NONE else 0
            self._put(path, _raw_mode(layer.desc), size, pieces.rest(), layer.what, is_new=is_new)
            return
        for member in read_members(pieces, layer.base):
            is_new = self._ledger.claim(member.path, is_dir=member.is_dir, layer=layer.what)
            if not member.is_dir:
                self._put(member.path, member.mode, member.size, pieces.parts(member.size), layer.what, is_new=is_new)
            elif is_new:
                self._make_directory(member.path, member.mode)
        pieces.drain()

    def _put(self, path: str, mode: int, size: int, parts: Iterator[memoryview], what: str, *, is_new: bool) -> None:
        """Write a file; one that another layer brought already must be the same."""
        if is_new:
            self._write(path, mode, size, parts)
            return
        again = f"{path}.{os.getpid()}.again"
        self._write(again, mode, size, parts)
        staged = self._staging.path
        is_same = filecmp.cmp(staged / path, staged / again, shallow=False)
        os.unlink(staged / again)
        if not is_same:
            raise TrustError(f"{what}: {path} is in another layer too, with other content")

    def _write(self, path: str, mode: int, size: int, parts: Iterator[memoryview]) -> None:
        full = f"{self._staging.path}/{path}"
        try:
            try:
                descriptor = os.open(full, _NEW_FILE, mode & 0o777)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(full), exist_ok=True)
                descriptor = os.open(full, _NEW_FILE, mode & 0o777)
            try:
                if size >= _LARGE:
                    _reserve(descriptor, size)
                for part in parts:
                    written = os.write(descriptor, part)
                    while written < len(part):
                        written += os.write(descriptor, part[written:])
                    self._size += len(part)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._explain(error, path, size) from error

    def _make_directory(self, path: str, mode: int) -> None:
        full = self._staging.path / path
        try:
            os.makedirs(full.parent, exist_ok=True)
            is_new = not full.is_dir()
            if is_new:
                os.mkdir(full, mode & 0o777 | 0o700)
        except OSError as error:
            raise self._explain(error, path, 0) from error
        if mode & 0o700 != 0o700 and not (self._staging.target / path).is_dir():
            self._late_modes[path] = mode & 0o777
        elif not is_new:
            os.chmod(full, mode & 0o777 & ~self._umask | 0o700)

    def _clone(self, blob: int, layer: LayerContent) -> bool:
        """Share the blob's blocks with the file where the file system can; the content is verified all the same."""
        path = _raw_path(layer)
        full = f"{self._staging.path}/{path}"
        if os.path.lexists(full):
            return False
        try:
            os.makedirs(os.path.dirname(full), exist_ok=True)
            descriptor = os.open(full, _NEW_FILE, _raw_mode(layer.desc))
        except OSError as error:
            raise self._explain(error, path, layer.desc.size) from error
        try:
            is_shared = share(blob, descriptor)
        finally:
            os.close(descriptor)
        if not is_shared:
            os.unlink(full)
            return False
        self._ledger.claim(path, is_dir=False, layer=layer.what)
        self._size += layer.desc.size
        return True

    def _explain(self, error: OSError, path: str, size: int) -> FileSystemError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = os.fstatvfs(self._target)
            return FileSystemError.wrap(
                error, "unpacking", self._staging.target / path, needed=size, free=free.f_bavail * free.f_frsize
            )
        return FileSystemError.wrap(error, "unpacking", self._staging.target / path)


def _holds(path: Path, content: bytes) -> bool:
    """Whether ``path`` is a file with just this content."""
    try:
        return path.is_file() and not path.is_symlink() and path.read_bytes() == content
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", path) from error


class _Ledger:
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
        self._taken: dict[str, bool] = {}
        self._spelling: dict[str, str] = {}
        self._in_layer: set[str] = set()
        self._there = frozenset(map(fold, os.listdir(target)))

    def start_layer(self) -> None:
        """From now on names belong to another layer."""
        self._in_layer.clear()

    def claim(self, path: str, *, is_dir: bool, layer: str) -> bool:
        """Take a path; whether it is new.

        Raises:
            TrustError: it stands twice in one layer, is file and directory, or folds with another name.
            FileSystemError: something is there already.
        """
        known = self._taken.get(path)
        if known is None:
            self._take_parents(path, layer)
            self._take(path, layer, is_dir=is_dir)
            if self._fold(path.partition("/")[0]) in self._there:
                check_absent(self._target, path.split("/"), self._existing, path, is_dir=is_dir)
        elif known is not is_dir:
            raise TrustError(f"{layer}: {path} is a file and a directory")
        if not is_dir:
            if path in self._in_layer:
                raise TrustError(f"{layer}: {path} stands twice in it")
            self._in_layer.add(path)
        return known is None

    def _take_parents(self, path: str, layer: str) -> None:
        parent = path.rpartition("/")[0]
        if not parent:
            return
        known = self._taken.get(parent)
        if known is False:
            raise TrustError(f"{layer}: {parent} is a file and a directory")
        if known is None:
            self._take_parents(parent, layer)
            self._take(parent, layer, is_dir=True)

    def _take(self, path: str, layer: str, *, is_dir: bool) -> None:
        self._taken[path] = is_dir
        if self._fold is _as_it_is:
            return
        other = self._spelling.setdefault(self._fold(path), path)
        if other != path:
            raise TrustError(f"{layer}: {path} and {other} are one name on this file system")


class _FileReader:
    """A descriptor, read from its beginning."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0

    def readinto(self, buffer: memoryview, /) -> int:
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count


class _SeekingReader(PieceReader):
    """A file whose content is passed over without being read."""

    def __init__(self, descriptor: int, what: str) -> None:
        super().__init__(iter(()), what)
        self._descriptor = descriptor
        self._at = 0
        self._size = os.fstat(descriptor).st_size

    def read(self, size: int) -> bytes:
        found = os.pread(self._descriptor, size, self._at)
        if len(found) < size:
            raise IntegrityError(self.what, "a whole tar archive", "an early end")
        self._at += size
        return found

    def skip(self, size: int) -> None:
        self._at += size
        if self._at > self._size:
            raise IntegrityError(self.what, "a whole tar archive", "an early end")


class _open_blob:  # noqa: N801 - reads as the function that it stands for
    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> int:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", self._path) from error
        return self._descriptor

    def __exit__(self, *exc_details: object) -> None:
        os.close(self._descriptor)


def _read_into(reader: Reader, view: memoryview, what: str) -> int:
    try:
        return reader.readinto(view)
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", what) from error


def _raw_path(layer: LayerContent) -> str:
    path = parse_path(layer.path.encode(), layer.what)
    if not path:
        raise TrustError(f"{layer.what}: it does not say what its file is called")
    return path


def _raw_mode(desc: Descriptor) -> int:
    """The permission bits that a raw layer's annotation tells, else 0644."""
    told = next((desc.annotations[key] for key in FILE_METADATAS if key in desc.annotations), "{}")
    try:
        mode = json.loads(told)["mode"]
    except (ValueError, KeyError, TypeError):
        return 0o644
    return mode & 0o777 if isinstance(mode, int) and mode > 0 else 0o644


def _reserve(descriptor: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise


def _probe(staging: Path) -> tuple[Callable[[str], str], int]:
    """How the target's file system folds names, and the umask: seen from a file that is made there."""
    probe = staging / "probe-\u00e9"
    os.close(os.open(probe, _NEW_FILE, 0o777))
    umask = 0o777 & ~probe.stat().st_mode
    folds_case = (staging / "PROBE-\u00e9").exists()
    folds_marks = (staging / unicodedata.normalize("NFD", "probe-\u00e9")).exists()
    probe.unlink()
    if folds_case:
        return _fold_case, umask
    return (_fold_marks if folds_marks else _as_it_is), umask


def _as_it_is(path: str) -> str:
    return path


def _fold_marks(path: str) -> str:
    return unicodedata.normalize("NFC", path)


def _fold_case(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
