"""Headers of tar members, byte for byte as Go's ``archive/tar`` writes them for the Go tool.

USTAR where the member fits (its ``prefix`` field used for long names), else a PAX extended header before it. Every
member belongs to uid 1000, gid 0, nobody by name, and was changed in 1970: a layer is a function of names, modes and
content.
Source: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Extended Header"; the golden vectors.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
PATH_LIMIT: Final = 4096
"""Bytes of the longest path in a layer: what Linux takes at most."""
DEPTH_LIMIT: Final = 255
"""Directories inside each other, with the file in the last one."""
_NAME_SIZE: Final = 100
_PREFIX_SIZE: Final = 155
_OCTAL_LIMIT: Final = 1 << 33
"""Sizes from here on (8 GiB) do not fit eleven octal digits."""
_UID: Final = 0o1750
_DIR, _FILE, _EXTENDED = b"5", b"0", b"x"


def member_header(name: bytes, mode: int, size: int, *, is_dir: bool) -> bytes:
    """The header blocks of one member: 512 bytes, or three and more blocks with an extended header.

    Args:
        name: UTF-8, no slash at the end, no NUL.
        mode: twelve bits.
        size: bytes of its content, 0 for a directory.
        is_dir: a directory, else a regular file.
    """
    kind = _DIR if is_dir else _FILE
    if len(name) <= _NAME_SIZE and size < _OCTAL_LIMIT and name.isascii():
        middle, tail, checksum = _fields(mode, size, kind)
        return b"%b%b%06o\0 %b" % (name.ljust(_NAME_SIZE, b"\0"), middle, checksum + sum(name), tail)
    return _long_header(name, mode, size, kind)


def padding(size: int) -> int:
    """Zero bytes after content of ``size`` bytes."""
    return -size % BLOCK


def header_size(name: bytes, size: int) -> int:
    """Bytes that :func:`member_header` gives, without making them."""
    if len(name) <= _NAME_SIZE and size < _OCTAL_LIMIT and name.isascii():
        return BLOCK
    return len(_long_header(name, 0, size, _FILE))


@lru_cache(maxsize=4096)
def _fields(mode: int, size: int, kind: bytes) -> tuple[bytes, bytes, int]:
    """What stands between name and checksum, what stands after it, and the sum of both with a blank checksum."""
    middle = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, _UID, 0, size, 0)
    tail = kind + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\x000000000\0" + bytes(_PREFIX_SIZE + 12)
    return middle, tail, sum(middle) + sum(tail) + 8 * ord(" ")


def _long_header(name: bytes, mode: int, size: int, kind: bytes) -> bytes:
    is_ascii = name.isascii()
    is_long = len(name) > _NAME_SIZE
    split = _split(name) if is_ascii and is_long else None
    if size < _OCTAL_LIMIT and split is not None:
        return _block(split[1], mode, _UID, size, kind, prefix=split[0])
    records: list[tuple[bytes, bytes]] = []
    if is_long or not is_ascii:
        records.append((b"path", name))
    if size >= _OCTAL_LIMIT:
        records.append((b"size", b"%d" % size))
    body = b"".join(_record(key, value) for key, value in records)
    above, _, base = name.rpartition(b"/")
    extended_name = _ascii(b"%b/PaxHeaders.0/%b" % (above, base) if above else b"PaxHeaders.0/" + base)
    extended = _block(extended_name[:_NAME_SIZE].rstrip(b"/"), 0, 0, len(body), _EXTENDED)
    short = _ascii(name)
    cut = short[:_NAME_SIZE]
    if len(short) > _NAME_SIZE and cut.endswith(b"/"):
        cut = cut[:-1]  # readers of 1979 take a name that ends in a slash for a directory
    main = _block(cut, mode, _UID, size if size < _OCTAL_LIMIT else 0, kind)
    return extended + body + bytes(padding(len(body))) + main


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Prefix and rest of a long ASCII name as Go splits it (the longest prefix that fits), or None."""
    at = name.rfind(b"/", 0, _PREFIX_SIZE + 1)
    if at <= 0 or not 0 < len(name) - at - 1 <= _NAME_SIZE:
        return None
    return name[:at], name[at + 1 :]


def _record(key: bytes, value: bytes) -> bytes:
    """One PAX record; its length counts its own digits."""
    bare = len(key) + len(value) + 3
    length = bare + len(str(bare))
    if len(str(length)) > len(str(bare)):
        length += 1
    return b"%d %b=%b\n" % (length, key, value)


def _ascii(name: bytes) -> bytes:
    return bytes(letter for letter in name if letter < 0x80)


def _block(name: bytes, mode: int, uid: int, size: int, kind: bytes, *, prefix: bytes = b"") -> bytes:
    """One header block with its checksum; devices are zero octals for members, NULs for extended headers."""
    devices = bytes(16) if kind == _EXTENDED else b"0000000\x000000000\0"
    front = name.ljust(_NAME_SIZE, b"\0") + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, uid, 0, size, 0)
    back = kind + bytes(100) + b"ustar\x0000" + bytes(64) + devices + prefix.ljust(_PREFIX_SIZE, b"\0") + bytes(12)
    return b"%b%06o\0 %b" % (front, sum(front) + sum(back) + 8 * ord(" "), back)
