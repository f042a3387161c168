"""The files of several layers in one archive, in the order in which pack writes them, whatever order they had.

A digest is a function of content: which layer of an image brought a file, and in which order its builder listed them,
is not content.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from kitops.errors import FileSystemError, IntegrityError, TrustError, printable
from kitops.layers.codec import PIECE, Codec
from kitops.layers.cover import Cover
from kitops.layers.index import HeaderReader
from kitops.layers.raw import raw_member
from kitops.layers.ring import Ring
from kitops.layers.untar import Member, read_members
from kitops.layers.write import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from kitops.content.protocols import Run
    from kitops.layers.compose import LayerOut
    from kitops.layers.layer_content import LayerContent

_MODE: Final = 0o755
"""Of directories above a file that no layer tells of."""


class Once:
    """Which members of several layers are taken: each path once, of an image from the newest layer that has it.

    Args:
        field: names the part in errors.
        is_image: whether newer layers hide what older ones have; else nobody could say which file is meant.
    """

    def __init__(self, field: str, *, is_image: bool) -> None:
        self._field = field
        self._is_image = is_image
        self._cover = Cover()
        self._seen: dict[str, bool] = {}

    def start_layer(self) -> None:
        """From now on members are of another layer; an older one, in an image."""
        if self._is_image:
            for path, is_dir in self._seen.items():
                self._cover.add(path, is_dir=is_dir)
            self._seen.clear()

    def takes(self, member: Member) -> bool:
        """Whether the member is wanted.

        Raises:
            TrustError: there is another file of its name.
        """
        if self._cover.hides(member.path, is_dir=member.is_dir):
            return False
        if member.path not in self._seen:
            self._seen[member.path] = member.is_dir
            return True
        if member.is_dir and self._seen[member.path]:
            return False
        raise TrustError(
            f"{self._field}: {printable(member.path)} is there twice",
            hint="do not trust this ModelKit, or unpack and pack it",
        )


@dataclass(frozen=True, slots=True)
class Plain:
    """A layer whose uncompressed bytes can be had as a file.

    Args:
        content: what it is.
        open: gives a descriptor of that file, while a block runs.
        is_verified: whether its bytes are right then; else they are verified while they are used.
    """

    content: LayerContent
    open: Callable[[], AbstractContextManager[int]]
    is_verified: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """A member, and where its content is; None for a directory that no layer tells of."""

    member: Member
    body: _Body | None
    offset: int


def merge(
    sources: Sequence[Plain],
    out: LayerOut,
    wants: Callable[[Member], bool],
    run: Run,
    moved: Callable[[int], None],
    *,
    once: Once,
    prefix: str = "",
) -> bool:
    """Write the members of ``sources``; whether there is one.

    Files are open only while they are used: there may be thousands.

    Args:
        sources: of an image the newest first.
        out: takes the members.
        wants: says which members are wanted at all.
        run: watched for the end.
        moved: told the bytes of sources that are verified here.
        once: says which of several members of one path is wanted.
        prefix: stands before every name.

    Raises:
        IntegrityError: a source is damaged.
        TrustError: it holds something unsafe, or a file that another one has too.
    """
    found: dict[str, _Found] = {}
    buffer = memoryview(bytearray(PIECE))
    with ExitStack() as stack:
        bodies = [stack.enter_context(_Body(source, buffer, run, moved)) for source in sources]
        for body in bodies:
            once.start_layer()
            for member, offset in body.list_members():
                if wants(member) and once.takes(member):
                    found.setdefault(member.path, _Found(member, body, offset))
        _add_parents(found)
        rows = sorted(found.values(), key=lambda row: order(row.member.path))
        waiting: defaultdict[_Body, list[int]] = defaultdict(list)
        for row in reversed(rows):
            if row.body is not None and not row.member.is_dir:
                waiting[row.body].append(row.offset)
        for body in bodies:
            if waiting[body] != sorted(waiting[body], reverse=True):
                body.finish()  # it has another order than ours: verified before it is used
        for row in rows:
            _write(row, out, prefix, waiting)
        for body in bodies:
            body.finish()
    return bool(rows)


def _write(row: _Found, out: LayerOut, prefix: str, waiting: Mapping[_Body, list[int]]) -> None:
    member, body = row.member, row.body
    name = f"{prefix}{member.path}".encode()
    if body is None or member.is_dir:
        out.add_member(name, member.mode, 0, (), is_dir=member.is_dir)
        return
    size = body.size if member.size < 0 else member.size
    out.add_member(name, member.mode, size, body.parts(row.offset, size), is_dir=False)
    waiting[body].pop()
    if not waiting[body]:
        body.finish()


def order(path: str) -> list[bytes]:
    """What paths are sorted by to be as pack lists them: each directory's entries in the byte order of their names."""
    return path.encode().split(b"/")


def above(path: str) -> Iterator[str]:
    """The directories above ``path``, the deepest first."""
    while path := path.rpartition("/")[0]:
        yield path


def _add_parents(found: dict[str, _Found]) -> None:
    for path in {parent for member in found for parent in above(member)} - found.keys():
        found[path] = _Found(Member(path, is_dir=True, mode=_MODE, size=0), None, 0)


class _Body:
    """The bytes of a layer, verified as a whole by the time that all of them were asked for; a context manager."""

    def __init__(self, source: Plain, buffer: memoryview, run: Run, moved: Callable[[int], None]) -> None:
        self._source = source
        self._content = source.content
        self._buffer = buffer
        self._run = run
        self._moved = moved
        self._hasher = None if source.is_verified else source.content.desc.digest.new_hasher()
        self._at = 0  # what is hashed
        self._file = ExitStack()
        self._fd = -1
        self._ring: Ring | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._ring is not None:  # something went wrong: else it was finished
            self._ring.__exit__(kind or Exception, error, None)
        self._file.close()

    @property
    def size(self) -> int:
        """Bytes, uncompressed."""
        return os.fstat(self._open()).st_size

    def list_members(self) -> Iterator[tuple[Member, int]]:
        """The members of the layer, and where in its bytes each begins; -1 stands for a size that costs reading."""
        content = self._content
        if content.form is Format.RAW:
            member = raw_member(content.desc, content.path, content.what)
            if content.codec is not Codec.NONE and not member.is_dir:
                member.size = -1
            yield member, 0
            return
        reader = HeaderReader(self._open(), content.what, hashlib.sha256())
        for member in read_members(reader, content.base, content.within):
            self._run.cancel.check()
            yield member, reader.position
            if not member.is_dir:
                reader.jump(member.size)
        if not self._source.is_verified:
            self._close()

    def parts(self, offset: int, size: int) -> Iterator[memoryview]:
        """``size`` bytes from ``offset`` on, which is not before the end of those that were asked for last."""
        if self._hasher is None:
            return self._read(offset, size)
        self._pass(offset - self._at)
        return self._read_hashed(size)

    def finish(self) -> None:
        """Read what was not asked for, and let go of the file.

        Raises:
            IntegrityError: the layer is not what it should be.
        """
        content = self._content
        if self._hasher is not None:
            size = self.size
            self._pass(size - self._at)
            ring, self._ring = self._ring, None
            if ring is not None:
                ring.__exit__(None, None, None)
            if size != content.desc.size:
                raise IntegrityError(content.what, f"{content.desc.size} bytes", f"{size} bytes")
            if self._hasher.hexdigest() != content.desc.digest.encoded:
                actual = f"{content.desc.digest.algorithm}:{self._hasher.hexdigest()}"
                raise IntegrityError(content.what, content.desc.digest, actual)
            self._hasher = None
        self._close()

    def _open(self) -> int:
        if self._fd < 0:
            self._fd = self._file.enter_context(self._source.open())
        return self._fd

    def _close(self) -> None:
        self._file.close()
        self._fd = -1

    def _pass(self, size: int) -> None:
        for _ in self._read_hashed(size):
            pass

    def _read_hashed(self, size: int) -> Iterator[memoryview]:
        """The next bytes; another thread hashes them."""
        if self._ring is None and self._hasher is not None and size > 0:
            beside = self._content.desc.size > PIECE
            self._ring = Ring(self._hasher.update, self._run.cancel, beside=beside).__enter__()
        while size > 0 and self._ring is not None:
            view = self._ring.lend()
            count = self._fill(view[:size], self._at)
            yield view[:count]
            self._ring.give(view[:count])
            self._moved(count)
            self._at += count
            size -= count

    def _read(self, offset: int, size: int) -> Iterator[memoryview]:
        while size > 0:
            self._run.cancel.check()
            count = self._fill(self._buffer[:size], offset)
            yield self._buffer[:count]
            offset += count
            size -= count

    def _fill(self, view: memoryview, offset: int) -> int:
        try:
            count = os.preadv(self._open(), [view], offset)
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", self._content.what) from error
        if not count:
            raise IntegrityError(self._content.what, "a whole layer", "an early end")
        return count
