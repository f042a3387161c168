"""Reading tar layers, our own way: plain ustar fast, PAX and GNU long names right, everything bounded.

Source: POSIX.1-2017 pax; GNU tar manual, "Basic Tar Format" (base-256 numbers, ``L`` and ``K`` records).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zlib import adler32

from kitops.errors import IntegrityError, TrustError, printable
from kitops.layers.ignore import is_ours
from kitops.layers.tar import BLOCK, DEPTH_LIMIT, PATH_LIMIT, padding

if TYPE_CHECKING:
    from collections.abc import Iterator

_ZEROS: Final = bytes(BLOCK)
_EXTENDED: Final = frozenset((b"x", b"g", b"L", b"K"))
_MAX_EXTENDED: Final = 1 << 20
"""Bytes of one extended header that we read into memory."""
_FILES: Final = frozenset((b"0", b"\0", b"7"))
_HEADER_ONLY: Final = frozenset((b"1", b"2", b"3", b"4", b"5", b"6"))
_ABSURD: Final = 1 << 62
"""Bytes that no member has; more than twice that fits no number of the system."""
_SHOWN: Final = 80
"""Bytes of a name that is far too long, in the error about it."""
_WHITEOUT: Final = b".wh."
"""What stands before the name of a file that an image's layer deletes (image-spec, "Whiteouts")."""
_OPAQUE: Final = b".wh..wh..opq"
_KINDS: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a pipe",
    b"S": "a sparse file",
}


@dataclass(slots=True)
class Member:
    """One file or directory of a layer: its path in parts without ``.`` and ``..``, twelve mode bits, bytes."""

    path: str
    is_dir: bool
    mode: int
    size: int


class PieceReader:
    """Exact reads from a stream of pieces. A piece is used up before the next one is asked for.

    Args:
        pieces: bytes in order.
        what: names the layer in errors.

    Attributes:
        passed_over: members that :func:`read_members` did not tell, because their names are for our own files.
    """

    def __init__(self, pieces: Iterator[memoryview], what: str) -> None:
        self.passed_over: list[str] = []
        self._pieces = pieces
        self._piece = memoryview(b"")
        self._at = 0  # what of the piece is used up
        self.what = what

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes.

        Raises:
            IntegrityError: the stream ends before.
        """
        found = self.take(size)
        return found.tobytes() if found is not None else b"".join(bytes(part) for part in self.parts(size))

    def take(self, size: int) -> memoryview | None:
        """The next ``size`` bytes where they are all in one piece, good until another piece is asked for; else None."""
        start, end = self._at, self._at + size
        if end > len(self._piece):
            return None
        self._at = end
        return self._piece[start:end]

    def parts(self, size: int) -> Iterator[memoryview]:
        """The next ``size`` bytes in parts, each good until the next is asked for.

        Raises:
            IntegrityError: the stream ends before.
        """
        while size:
            start = self._at
            if start == len(self._piece):
                self._piece, start = next(self._pieces, memoryview(b"")), 0
                if not self._piece:
                    raise IntegrityError(self.what, "a whole tar archive", "an early end")
            part = self._piece[start : start + size]
            self._at = start + len(part)
            size -= len(part)
            yield part

    def skip(self, size: int) -> None:
        """Pass over ``size`` bytes."""
        if self._at + size <= len(self._piece):
            self._at += size
        else:
            for _ in self.parts(size):
                pass

    def rest(self) -> Iterator[memoryview]:
        """All that is left, in parts."""
        left = self._piece[self._at :]
        self._piece, self._at = memoryview(b""), 0
        if left:
            yield left
        yield from self._pieces

    def drain(self) -> None:
        """Read what is left."""
        for _ in self.rest():
            pass


def read_members(reader: PieceReader, base: str = "", within: str = "") -> Iterator[Member]:
    """The members of a tar archive. Whoever asks for the next one has read the content of the last, not its padding.

    The record of an unpack and the like that somebody packed (other tools do) are passed over, at any depth: they
    would be taken for those of the next unpack.

    Args:
        reader: the archive.
        base: the directory that its names are relative to.
        within: only what is below this directory is told, with names relative to it: the archive is an image's layer.

    Raises:
        IntegrityError: it is no tar archive, or is damaged.
        TrustError: a member is a link or device, or its name leads out.
    """
    extended: dict[str, bytes] = {}
    expected, found = "a tar archive", "something else"
    while True:
        header = reader.read(BLOCK)
        if header == _ZEROS:
            return
        if not _is_header(header):
            raise IntegrityError(reader.what, expected, found)
        expected, found = "a tar header with a right checksum", "a wrong one"
        kind, size = header[156:157], _number(header[124:136], reader.what)
        if kind in _EXTENDED:
            _read_extended(reader, kind, size, extended)
            continue
        name = _name(header)
        if extended:
            size = _check_size(int(extended["size"]), reader.what) if "size" in extended else size
            name = extended.get("path") or name
            extended.clear()
        if within:
            inside = _inside(name, within.encode(), reader.what)
            if inside is None:
                held = 0 if kind in _HEADER_ONLY else size
                reader.skip(held + padding(held))
                continue
            name = inside
        member = parse_member(name, kind, _number(header[100:108], reader.what) & 0o7777, size, reader.what)
        if member is None or _is_passed_over(member, base, reader):
            reader.skip(size + padding(size))
            continue
        yield member
        reader.skip((size if member.is_dir else 0) + padding(size))


def _inside(name: bytes, within: bytes, what: str) -> bytes | None:
    """The name of a member of an image's layer below the directory ``within``; None outside of it.

    Raises:
        TrustError: it stands for the deletion of something there that an earlier layer brought.
    """
    path = name.lstrip(b"/")
    while path.startswith(b"./"):
        path = path[2:].lstrip(b"/")
    above, _, last = path.rstrip(b"/").rpartition(b"/")
    if last.startswith(_WHITEOUT) and (
        above == within or above.startswith(within + b"/") or (not above and last in (_OPAQUE, _WHITEOUT + within))
    ):
        raise TrustError(
            f"{what}: it deletes {printable(name)} of an earlier layer, which is not followed",
            hint="build the image again with all files in layers of their own",
        )
    return path[len(within) + 1 :] if path.startswith(within + b"/") and path != within + b"/" else None


def _is_passed_over(member: Member, base: str, reader: PieceReader) -> bool:
    """Make the member's path relative to the target; whether it is one for our own files.

    Of ``base`` nothing is known: it comes from the Kitfile of a stranger.
    """
    if base:
        member.path = f"{base}/{member.path}"
        parse_path(member.path.encode(), reader.what)
    if not is_ours(member.path):
        return False
    reader.passed_over.append(member.path)
    return True


def parse_path(name: bytes, what: str) -> str:
    """The path of a member, cleaned: ``.`` and doubled slashes are gone; empty for the root itself.

    Raises:
        TrustError: it is absolute, leads out with ``..``, is no text, or no file system has room for it.
    """
    _check_length(name, what)
    if name.startswith(b"/"):
        raise TrustError(f"{what}: {printable(name)} is an absolute path", hint="do not trust this ModelKit")
    if b"\0" in name:
        raise TrustError(f"{what}: the name {printable(name)} holds a NUL", hint="do not trust this ModelKit")
    path = name
    if b"/." in name or b"//" in name or name.startswith(b".") or name.endswith(b"/"):  # else it is clean already
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise TrustError(f"{what}: {printable(name)} leads out of the directory", hint="do not trust this ModelKit")
        path = b"/".join(parts)
    try:
        return path.decode()
    except UnicodeDecodeError as error:
        raise TrustError(f"{what}: the name {printable(name)} is not UTF-8") from error


def _check_length(name: bytes, what: str) -> None:
    if len(name) > PATH_LIMIT or name.count(b"/") > DEPTH_LIMIT:
        shown = f"{printable(name[:_SHOWN])}…"
        raise TrustError(f"{what}: {shown} is a path of {len(name)} bytes and {name.count(b'/')} directories")


def parse_member(name: bytes, kind: bytes, mode: int, size: int, what: str) -> Member | None:
    """A member by its name and the letter of its type; None for the root directory.

    Raises:
        TrustError: it is a link or device, or its name leads out.
    """
    is_dir = kind == b"5" or (kind in _FILES and name.endswith(b"/"))
    if not is_dir and kind not in _FILES:
        found = _KINDS.get(kind, f"of type {printable(kind)}")
        raise TrustError(f"{what}: {printable(name)} is {found}, which is not unpacked", hint="pack it as a plain file")
    path = parse_path(name, what)
    if path:
        return Member(path, is_dir, mode, 0 if is_dir else size)
    if is_dir:
        return None
    raise TrustError(f"{what}: a file has no name")


def _is_header(header: bytes) -> bool:
    """Whether the checksum is right: the sum of all bytes with the checksum's own as blanks."""
    told = header[148:156]
    # Adler-32 adds the bytes up modulo 65521, which 512 bytes of ASCII stay below.
    whole = (adler32(header) & 0xFFFF) - 1 if header.isascii() else sum(header)
    total = whole - sum(told) + 256
    if told == b"%06o\0 " % total:
        return True
    try:
        return int(told.strip(b" \0") or b"0", 8) == total
    except ValueError:
        return False


def _number(field: bytes, what: str) -> int:
    """An octal number, or a base-256 one as GNU tar writes large sizes."""
    try:
        if field[0] & 0x80:
            found = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        else:
            found = int(field.strip(b" \0") or b"0", 8)
    except ValueError as error:
        raise IntegrityError(what, "a tar header", "a number that is none") from error
    return _check_size(found, what)


def _check_size(size: int, what: str) -> int:
    if not 0 <= size < _ABSURD:
        raise IntegrityError(what, "a tar header", "an absurd size")
    return size


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].partition(b"\0")[0]):
        return prefix + b"/" + name
    return name


def _read_extended(reader: PieceReader, kind: bytes, size: int, extended: dict[str, bytes]) -> None:
    if size > _MAX_EXTENDED:
        raise IntegrityError(reader.what, f"an extended header of at most {_MAX_EXTENDED} bytes", f"{size} bytes")
    content = reader.read(size)
    reader.skip(padding(size))
    if kind == b"L":
        extended["path"] = content.rstrip(b"\0")
    elif kind == b"x":
        extended.update(_parse_pax(content, reader.what))


def _parse_pax(content: bytes, what: str) -> dict[str, bytes]:
    """The records (length, blank, key, equals sign, value, line feed) that decide about a member."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(content):
        digits, _, _ = content[at : at + 20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record = content[at : at + length]
        if length <= len(digits) + 1 or not record.endswith(b"\n"):
            raise IntegrityError(what, "an extended header of records", "something else")
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals or (key == b"size" and not value.isdigit()):
            raise IntegrityError(what, "an extended header of records", "something else")
        if key in (b"path", b"size"):
            found[key.decode()] = value
        elif key.startswith(b"GNU.sparse"):
            raise TrustError(f"{what}: a sparse file is not unpacked", hint="pack it as a plain file")
        at += length
    if len(found.get("size", b"")) > 19:
        raise IntegrityError(what, "a tar header", "an absurd size")
    return found
