"""A killed unpack of a stream goes on: what came is read again from the disk, not from the network.

While a layer streams in, its *journal*, a file beside the staged ones, says which members were begun, and how far large
ones came. The next run takes the staging directory of the killed one over, makes the bytes of the layer again from the
members and their files, and asks the source only for what follows. Nothing is believed: those bytes pass the same hash
as all others. Only uncompressed layers have a journal; an archive must have been written as this tool or the Go tool
writes it, which the digest tells at the end.
"""

from __future__ import annotations

import json
import os
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from kitops.content.body import BEHIND, BIG
from kitops.layers.codec import PIECE, Codec
from kitops.layers.newfiles import LARGE
from kitops.layers.tar import member_header, padding
from kitops.layers.write import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from kitops.content.protocols import Reader
    from kitops.layers.layer_content import LayerContent
    from kitops.layers.untar import Member

_STEP: Final = 8 << 20
"""Bytes of a large file between two notes."""
_DIRECTORY: Final = -1


def can_resume(layer: LayerContent) -> bool:
    """Whether the bytes of a layer can be made again from what was unpacked of it."""
    return layer.codec is Codec.NONE and not layer.within


class Journal:
    """Notes what was unpacked of one layer.

    Args:
        directory: of the journals; made where it is missing.
        layer: what is unpacked.
    """

    def __init__(self, directory: Path, layer: LayerContent) -> None:
        directory.mkdir(exist_ok=True)
        self._file = os.open(directory / _name(layer), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        os.close(self._file)

    def begin(self, path: str, mode: int, size: int, *, is_dir: bool) -> None:
        """A member begins."""
        self._note([path, mode, _DIRECTORY if is_dir else size])

    def watch(self, members: Iterable[Member]) -> Iterator[Member]:
        """The members, each noted before it is passed on; a large one again when the next is asked for: it is whole."""
        for member in members:
            self.begin(member.path, member.mode, member.size, is_dir=member.is_dir)
            yield member
            if member.size >= LARGE:
                self._note(member.size)

    def follow(self, parts: Iterable[memoryview], size: int) -> Iterator[memoryview]:
        """The parts of a file, each taken for writing when the next is asked for; what surely is written is noted."""
        done = noted = 0
        behind = BEHIND if size >= BIG else 0
        for part in parts:
            yield part
            done += len(part)
            if size >= LARGE and (done - noted >= _STEP or done == size):
                noted = done
                self._note(max(done - behind, 0))

    def _note(self, value: object) -> None:
        os.write(self._file, json.dumps(value).encode() + b"\n")


class Replay:
    """What a killed run left of one layer.

    Args:
        files: its staging directory.
        rows: of its journal: path, mode, size, bytes that are there.
        layer: what it is.

    Attributes:
        size: bytes of the layer that can be made of it.
    """

    def __init__(self, files: Path, rows: list[tuple[str, int, int, int]], layer: LayerContent) -> None:
        self._files = files
        self._rows = rows
        self._layer = layer
        self.size = sum(len(head) + have + blank for head, _, have, blank in self._plan())

    def pieces(self) -> Iterator[memoryview]:
        """Those bytes, each piece good until the next."""
        buffer = memoryview(bytearray(PIECE))
        for head, path, have, blank in self._plan():
            yield memoryview(head)
            left = have
            if left:
                with open(self._files / path, "rb", buffering=0) as file:
                    while left:
                        count = file.readinto(buffer[:left])
                        if not count:
                            return
                        yield buffer[:count]
                        left -= count
            yield memoryview(bytes(blank))

    def _plan(self) -> Iterator[tuple[bytes, str, int, int]]:
        """Header, path, bytes of content and padding of every member that is there; the last one may be cut short."""
        above = len(self._layer.base) + 1 if self._layer.base else 0
        for path, mode, size, have in self._rows:
            is_dir, head, blank = size == _DIRECTORY, b"", 0
            if self._layer.form is Format.TAR:
                head = member_header(path[above:].encode(), mode, 0 if is_dir else size, is_dir=is_dir)
                blank = 0 if is_dir else padding(size)
            is_whole = is_dir or have == size
            yield head, path, have, blank if is_whole else 0
            if not is_whole:
                return


class ReplayReader:
    """A layer's bytes, first what a killed run left, then those of the source; a context manager.

    Args:
        replay: what is there.
        end: bytes of the layer.
        open_at: opens the source at an offset.
    """

    def __init__(self, replay: Replay, end: int, open_at: Callable[[int], AbstractContextManager[Reader]]) -> None:
        self._end = end
        self._pieces = replay.pieces()
        self._piece = memoryview(b"")
        self._open_at = open_at
        self._opened: AbstractContextManager[Reader] | None = None
        self._reader: Reader | None = None
        self._position = 0

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc_details: object) -> None:
        if self._opened is not None:
            self._opened.__exit__(None, None, None)

    def readinto(self, buffer: memoryview, /) -> int:
        if self._reader is None:
            while not self._piece:
                following = next(self._pieces, None)
                if following is None and self._position == self._end:
                    return 0
                if following is None:
                    self._opened = self._open_at(self._position)
                    self._reader = self._opened.__enter__()
                    return self._reader.readinto(buffer)
                self._piece = following
            count = min(len(buffer), len(self._piece))
            buffer[:count] = self._piece[:count]
            self._piece = self._piece[count:]
            self._position += count
            return count
        return self._reader.readinto(buffer)


def find_replay(abandoned: Iterable[Path], layer: LayerContent) -> Replay | None:
    """The longest that killed runs left of a layer; None where that is nothing.

    Args:
        abandoned: their staging directories.
        layer: what is wanted.
    """
    if not can_resume(layer):
        return None
    found = [Replay(root / "files", rows, layer) for root in abandoned if (rows := _read_rows(root, layer))]
    best = max(found, key=lambda replay: replay.size, default=None)
    return best if best is not None and 0 < best.size < layer.desc.size + 1 else None


def forget(roots: Iterable[Path], layer: LayerContent) -> None:
    """Remove what is noted of a layer: what came of it was wrong.

    Args:
        roots: staging directories.
        layer: what it is.
    """
    for root in roots:
        with suppress(OSError):
            os.unlink(root / "journal" / _name(layer))


def _read_rows(root: Path, layer: LayerContent) -> list[tuple[str, int, int, int]]:
    """What a journal tells, with the bytes of each file that can be used; the last line may be cut off."""
    rows: list[tuple[str, int, int, int]] = []
    with suppress(OSError, ValueError, TypeError):
        for line in (root / "journal" / _name(layer)).read_bytes().splitlines():
            value = json.loads(line)
            if isinstance(value, int):
                path, mode, size, _ = rows[-1]
                rows[-1] = (path, mode, size, min(value, size))
            else:
                path, mode, size = value
                rows.append((path, mode, size, 0))
    return [(path, mode, size, _count(root / "files" / path, size, noted)) for path, mode, size, noted in rows]


def _count(path: Path, size: int, noted: int) -> int:
    """Bytes of a file that were written: a large one is as long as it will be from the start."""
    try:
        there = os.lstat(path).st_size
    except OSError:
        return 0
    return 0 if size == _DIRECTORY else min(there, noted if size >= LARGE else size)


def _name(layer: LayerContent) -> str:
    return f"{layer.desc.digest.encoded}-{zlib.crc32(f'{layer.path}:{layer.base}'.encode()):08x}"
