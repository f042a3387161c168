"""Unpacking layers into a directory: whole files or none, nothing unsafe, nothing unverified.

Everything is made in a staging directory and gets its final names at the end (:meth:`Extraction.commit`), when the
digest of every layer has matched. A local uncompressed layer is judged before anything is written. Refused are: names
that lead out, links and devices, the same file twice, a file and a directory of one name, and names that the target's
file system folds together. Modes are ``mode & 0o777 & ~umask``. Nothing is flushed to the disk: after a power cut,
unpack again.
"""

from __future__ import annotations

import filecmp
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from kitops.content.events import Message
from kitops.content.memory import has_room_in_cache
from kitops.content.reflink import share
from kitops.errors import Cancelled, FileSystemError, IntegrityError, NetworkError, TrustError, printable
from kitops.layers.codec import PIECE, Codec, decompress
from kitops.layers.cover import Cover
from kitops.layers.ignore import is_ours
from kitops.layers.index import Index
from kitops.layers.journal import Journal, can_resume, find_replay, forget
from kitops.layers.ledger import Ledger, probe
from kitops.layers.newfiles import NewFiles
from kitops.layers.raw import raw_member
from kitops.layers.ring import Ring
from kitops.layers.staging import Existing, Staging, check_absent
from kitops.layers.stamps import Tracked, look_again
from kitops.layers.untar import PieceReader, read_members
from kitops.layers.write import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from kitops.content.protocols import Reader, Run
    from kitops.layers.journal import Replay
    from kitops.layers.layer_content import LayerContent
    from kitops.layers.staging import Moved
    from kitops.layers.untar import Member
    from kitops.oci.digest import Digest

__all__ = ["Existing", "Extracted", "Extraction"]

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was done.

    Args:
        written: files made, those that share blocks included.
        kept: files that were there and were left.
        size: bytes of those made.
        reflinked: bytes of files that share their blocks with a blob.
        members: of each layer, in the order in which layers were added, what is in it.
        kept_size: bytes of the files that were left, as they are.
    """

    written: int
    kept: int
    size: int
    reflinked: int
    members: tuple[list[Tracked], ...]
    kept_size: int


class Extraction:
    """Unpacks layers into ``target``; a context manager. Leaving it without :meth:`commit` leaves nothing behind.

    Layers of an image come the newest first: what later ones have in the place of its files is passed over.

    Args:
        target: a directory; made where it is missing.
        existing: what to do with files that are there.
        run: watched for the end.
        only: unpack nothing but these paths; None for all.
        size: about how many bytes will be unpacked.
    """

    def __init__(
        self, target: Path, *, existing: Existing, run: Run, only: Collection[str] | None = None, size: int = 0
    ) -> None:
        self._staging = Staging(target)
        self._existing = existing
        self._run = run
        self._only = only
        self._late_modes: dict[str, int] = {}
        self._cover = Cover()
        self._judged: dict[tuple[Digest, str, str, str], Index] = {}
        self._made: list[list[tuple[str, int, bool]]] = []  # a list a layer: path, mode, is a directory
        self._shared: dict[str, int] = {}  # files that share a blob's blocks, and their bytes
        self._passed_over: set[str] = set()
        self._journals: list[Journal] = []
        self._is_left = False
        try:
            self._target = os.open(self._staging.target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fold, self._umask = probe(self._staging.path)
            self._ledger = Ledger(self._target, existing, fold=fold)
            self._files = NewFiles(self._staging.path, self._staging.target, run.cancel, cached=has_room_in_cache(size))
        except OSError as error:
            self._staging.close()
            raise FileSystemError.wrap(error, "unpacking into", target) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._target)
        self._files.close()
        for journal in self._journals:
            journal.close()
        if not (self._is_left or isinstance(error, NetworkError | Cancelled)) or not self._staging.leave():
            self._staging.close()

    @property
    def umask(self) -> int:
        """The bits that are taken from every mode."""
        return self._umask

    def judge(self, blob: Path, layer: LayerContent) -> None:
        """Look at the names in a local layer before anything is written.

        A compressed one, and one of an image, of which newer ones hide files, is judged while it is staged.

        Raises:
            KitError: as :meth:`add_blob`.
        """
        if layer.codec is not Codec.NONE or layer.within:
            return
        index = Index()
        self._ledger.start_layer()
        if layer.form is not Format.RAW:
            with _open_blob(blob) as descriptor:
                for member in index.read(descriptor, layer.base, layer.what, layer.within):
                    self._run.cancel.check()
                    self._ledger.claim(member.path, is_dir=member.is_dir, layer=layer.what)
            self._passed_over.update(index.passed_over)
        else:
            member = raw_member(layer.desc, layer.path, layer.what)
            if not is_ours(member.path):
                self._ledger.claim(member.path, is_dir=member.is_dir, layer=layer.what)
        self._judged[_key(layer)] = index

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

    def find_replay(self, layer: LayerContent) -> Replay | None:
        """What killed runs left of a layer, to begin with; nothing of it is believed."""
        return find_replay(self._staging.abandoned, layer)

    def leave_others(self, layer: LayerContent) -> None:
        """Leave to the next run what is here of all layers but this one, which came damaged."""
        forget((self._staging.root, *self._staging.abandoned), layer)
        self._is_left = True

    def add_journalled(self, reader: Reader, layer: LayerContent, moved: Callable[[int], None]) -> None:
        """As :meth:`add_stream`, and the next run can go on where this one is killed.

        Raises:
            KitError: as :meth:`add_blob`.
        """
        journal = None
        try:
            if can_resume(layer):
                journal = Journal(self._staging.journals, layer)
                self._journals.append(journal)
            self._read(reader, layer, moved, lambda pieces: self._unpack(pieces, layer, journal))
        except OSError as error:  # of the journal: files and what is read tell their own
            raise FileSystemError.wrap(error, "unpacking into", self._staging.target) from error

    def is_taken(self, path: str) -> bool:
        """Whether a layer, or the Kitfile, has a path already, or a file above it."""
        return self._ledger.is_taken(path)

    def add_file(self, path: str, content: bytes, *, yields: bool = False) -> None:
        """Stage a file of known content (the Kitfile): one with the same bytes that is there already is left.

        Args:
            path: what it is called.
            content: its bytes.
            yields: to a file of that name that a layer brought.

        Raises:
            FileSystemError: one with other bytes is there and may not be overwritten.
        """
        there = self._staging.target / path
        staged = self._staging.path / path
        if _holds(staged, content) or (yields and staged.is_file()):  # a layer brought it
            return
        is_same = _holds(there, content)
        if is_same and self._existing is not Existing.OVERWRITE:
            return
        strict = Existing.OVERWRITE if self._existing is Existing.OVERWRITE else Existing.REFUSE
        check_absent(self._target, path.split("/"), strict, path, is_dir=False)
        self._ledger.start_layer()
        self._ledger.claim(path, is_dir=False, layer=path)
        if not self._files.write(path, 0o666, len(content), (memoryview(content),)):
            raise TrustError(f"{path} is in a layer too, with other content")

    def commit(self) -> Extracted:
        """Give everything its final name.

        Raises:
            FileSystemError: something came in the way meanwhile.
        """
        self._run.cancel.check()
        for path in sorted(self._passed_over):
            text = f"left out {printable(path)}: unpacking leaves files of its own under that name"
            self._run.observer(Message("warning", text))
        moved = self._staging.move(self._existing)
        for path, mode in sorted(self._late_modes.items(), reverse=True):
            try:
                os.chmod(self._staging.target / path, mode & ~self._umask)
            except OSError as error:
                raise self._files.explain(error, path, 0) from error
        kept, stamps = moved.kept, self._files.stamps
        members = tuple(
            [self._track(path, mode, moved, is_dir=is_dir) for path, mode, is_dir in layer] for layer in self._made
        )
        return Extracted(
            written=self._files.count - len(kept),
            kept=len(kept),
            size=self._files.size - sum(stamps[path].size for path in kept),
            reflinked=sum(size for path, size in self._shared.items() if path not in kept),
            members=members,
            kept_size=sum(kept.values()),
        )

    def _track(self, path: str, mode: int, moved: Moved, *, is_dir: bool) -> Tracked:
        """What the record keeps of a member. Renaming a file changes its times, renaming a directory above does not."""
        stamp = None if is_dir else self._files.stamps[path]
        if is_dir or path in moved.renamed or path in moved.kept:
            return look_again(self._target, Tracked(path, mode, stamp))
        return Tracked(path, mode, stamp, self._files.modes[path])

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
                    ring.give(view[:count], self._files.hand_over())
                    moved(count)

            use(PieceReader(decompress(pieces(), layer.codec, layer.what), layer.what))
        if size != layer.desc.size:
            raise IntegrityError(layer.what, f"{layer.desc.size} bytes", f"{size} bytes")
        if hasher.hexdigest() != layer.desc.digest.encoded:
            raise IntegrityError(layer.what, layer.desc.digest, f"{layer.desc.digest.algorithm}:{hasher.hexdigest()}")

    def _unpack(self, pieces: PieceReader, layer: LayerContent, journal: Journal | None = None) -> None:
        """Stage what is in a layer; the names of a judged one are known to be fit."""
        index = self._judged.get(_key(layer))
        ledger = self._ledger if index is None else None
        made: list[tuple[str, int, bool]] = []
        self._made.append(made)
        if ledger is not None:
            ledger.start_layer()
        if layer.form is Format.RAW:
            self._unpack_raw(pieces, layer, ledger, made, journal)
            return
        is_plain = layer.codec is Codec.NONE  # its pieces are the buffers that are hashed
        for member in self._list_members(pieces, layer, journal):
            if ledger is not None:
                ledger.claim(member.path, is_dir=member.is_dir, layer=layer.what)
            made.append((member.path, member.mode, member.is_dir))
            if member.is_dir:
                self._make_directory(member.path, member.mode, is_first=bool(layer.within))
            elif is_plain and (content := pieces.take(member.size)) is not None:
                if not self._files.put_off(member.path, member.mode, content):
                    self._put_again(member.path, member.mode, (content,), layer.what)
            else:
                parts = pieces.parts(member.size)
                parts = parts if journal is None else journal.follow(parts, member.size)
                self._put(member.path, member.mode, member.size, parts, layer.what)
        pieces.drain()
        self._passed_over.update(pieces.passed_over)

    def _list_members(self, pieces: PieceReader, layer: LayerContent, journal: Journal | None) -> Iterator[Member]:
        index = self._judged.get(_key(layer))
        if index is not None and index.is_whole:
            members = index.replay(pieces)
        else:
            members = read_members(pieces, layer.base, layer.within)
        if layer.within:
            members = self._uncover(members, pieces)
        if self._only is not None:
            members = _pick(members, pieces, self._only)
        return members if journal is None else journal.watch(members)

    def _uncover(self, members: Iterable[Member], pieces: PieceReader) -> Iterator[Member]:
        """Those of an image's layer that newer layers do not hide; then they hide those of older ones."""
        seen = []
        for member in members:
            if self._cover.hides(member.path, is_dir=member.is_dir):
                _pass_over(pieces, member)
            else:
                seen.append((member.path, member.is_dir))
                yield member
        for path, is_dir in seen:
            self._cover.add(path, is_dir=is_dir)

    def _unpack_raw(
        self,
        pieces: PieceReader,
        layer: LayerContent,
        ledger: Ledger | None,
        made: list[tuple[str, int, bool]],
        journal: Journal | None,
    ) -> None:
        member = raw_member(layer.desc, layer.path, layer.what)
        if is_ours(member.path):
            self._passed_over.add(member.path)
            pieces.drain()
            return
        if ledger is not None:
            ledger.claim(member.path, is_dir=member.is_dir, layer=layer.what)
        made.append((member.path, member.mode, member.is_dir))
        if member.is_dir:
            self._make_directory(member.path, member.mode)
            pieces.drain()
            return
        size = member.size if layer.codec is Codec.NONE else 0
        parts = pieces.rest()
        if journal is not None:
            journal.begin(member.path, member.mode, size, is_dir=False)
            parts = journal.follow(parts, size)
        self._put(member.path, member.mode, size, parts, layer.what)

    def _put(self, path: str, mode: int, size: int, parts: Iterable[memoryview], what: str) -> None:
        if not self._files.write(path, mode, size, parts):
            self._put_again(path, mode, parts, what)

    def _put_again(self, path: str, mode: int, parts: Iterable[memoryview], what: str) -> None:
        """A file that another layer brought already must be the same."""
        again = f"{path}.{os.getpid()}.again"
        self._files.write(again, mode, 0, parts)
        staged = self._staging.path
        is_same = filecmp.cmp(staged / path, staged / again, shallow=False)
        self._files.remove(again)
        if not is_same:
            raise TrustError(f"{what}: {printable(path)} is in another layer too, with other content")

    def _make_directory(self, path: str, mode: int, *, is_first: bool = False) -> None:
        """Make a directory; ``is_first``: what was in it before it was told of made it without its mode."""
        is_new = self._files.make_directory(path, mode & 0o777 | 0o700)
        is_late = mode & 0o700 != 0o700 if is_new else is_first
        if is_late and not (self._staging.target / path).is_dir():
            self._late_modes[path] = mode & 0o777

    def _clone(self, blob: int, layer: LayerContent) -> bool:
        """Share the blob's blocks with the file where the file system can; the content is verified all the same."""
        member = raw_member(layer.desc, layer.path, layer.what)
        path = member.path
        if is_ours(path):
            return False
        full = f"{self._staging.path}/{path}"
        if member.is_dir or os.path.lexists(full):
            return False
        try:
            os.makedirs(os.path.dirname(full), exist_ok=True)
            descriptor = os.open(full, _NEW_FILE, member.mode)
        except OSError as error:
            raise self._files.explain(error, path, layer.desc.size) from error
        try:
            is_shared = share(blob, descriptor)
            self._files.note(path, descriptor)
        finally:
            os.close(descriptor)
        if not is_shared:
            os.unlink(full)
            return False
        if _key(layer) not in self._judged:
            self._ledger.start_layer()
            self._ledger.claim(path, is_dir=False, layer=layer.what)
        self._made.append([(path, member.mode, False)])
        self._files.count += 1
        self._files.size += layer.desc.size
        self._shared[path] = layer.desc.size
        return True


def _pick(members: Iterable[Member], pieces: PieceReader, only: Collection[str]) -> Iterator[Member]:
    """Those of ``members`` that are wanted; the content of the others is passed over."""
    for member in members:
        if member.path in only:
            yield member
        else:
            _pass_over(pieces, member)


def _pass_over(pieces: PieceReader, member: Member) -> None:
    pieces.skip(0 if member.is_dir else member.size)


class _FileReader:
    """A descriptor, read from its beginning."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0

    def readinto(self, buffer: memoryview, /) -> int:
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count


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


def _key(layer: LayerContent) -> tuple[Digest, str, str, str]:
    """What decides the names in a layer."""
    return layer.desc.digest, layer.path, layer.base, layer.within


def _holds(path: Path, content: bytes) -> bool:
    """Whether ``path`` is a file with just this content."""
    try:
        return path.is_file() and not path.is_symlink() and path.read_bytes() == content
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", path) from error
