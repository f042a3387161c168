"""Compression of layers: none, gzip (level 6), gzip-fastest (level 1), zstd (level 3).

Compressed bytes are reproducible with the same library: gzip headers carry no time, name or system. Their digests
depend on the library, so :attr:`Codec.version` is part of what a digest is remembered by. Decompression reads several
gzip members and zstd frames in a row, refuses what is not one behind them, and needs memory for one piece and one
window; a zstd window over 64 MiB is refused (``zstd --ultra --long`` makes such frames).
"""

from __future__ import annotations

import platform
import sys
import zlib
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from kitops.errors import IntegrityError, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

PIECE: Final = 256 << 10
"""Bytes of one step: large enough to be cheap, small enough to stay in the cache."""
MAX_WINDOW_LOG: Final = 26
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 3
_GZIP_WBITS: Final = 31


class Compressor(Protocol):
    """Bytes in, compressed bytes out; ``flush`` gives the rest and ends it."""

    def compress(self, data: memoryview | bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Decompressor(Protocol):
    """One gzip member or zstd frame, as :class:`bz2.BZ2Decompressor` is one of bzip2."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: memoryview | bytes, max_length: int = -1) -> bytes: ...


class Codec(Enum):
    """How a layer is compressed; the value is what people type."""

    NONE = "none"
    GZIP = "gzip"
    GZIP_FASTEST = "gzip-fastest"
    ZSTD = "zstd"

    @classmethod
    def of_suffix(cls, suffix: str) -> Codec:
        """The codec of a media type's ending: ``""``, ``"+gzip"`` or ``"+zstd"``.

        Raises:
            InvalidValueError: it is another one.
        """
        for codec in (cls.NONE, cls.GZIP, cls.ZSTD):
            if codec.suffix == suffix:
                return codec
        raise InvalidValueError(f"compression {suffix!r} is not supported", hint="use none, gzip or zstd")

    @property
    def suffix(self) -> str:
        """The ending of the media type."""
        return {Codec.NONE: "", Codec.ZSTD: "+zstd"}.get(self, "+gzip")

    @property
    def version(self) -> str:
        """The library and its version that decide the compressed bytes (``"zlib 1.3.1 level 6"``)."""
        if self is Codec.NONE:
            return ""
        if self is Codec.ZSTD:
            return f"zstd {_zstd().zstd_version} level {_ZSTD_LEVEL}"
        if self is Codec.GZIP_FASTEST and (isal := _isal()) is not None:
            return f"isal {isal.__version__} {platform.machine()} level 1"
        return f"zlib {zlib.ZLIB_RUNTIME_VERSION} level {1 if self is Codec.GZIP_FASTEST else _GZIP_LEVEL}"

    def open_compressor(self) -> Compressor:
        """A fresh compressor; NONE passes through."""
        if self is Codec.NONE:
            return _Through()
        if self is Codec.ZSTD:
            compressor: Compressor = _zstd().ZstdCompressor(level=_ZSTD_LEVEL)
            return compressor
        return _Gzip(1 if self is Codec.GZIP_FASTEST else _GZIP_LEVEL)

    def open_decompressor(self) -> _Decompressor:
        """A fresh decompressor of one member or frame."""
        if self is Codec.ZSTD:
            zstd = _zstd()
            options = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
            frame: _Decompressor = zstd.ZstdDecompressor(options=options)
            return frame
        if (isal := _isal()) is not None:
            member: _Decompressor = isal.igzip_lib.IgzipDecompressor(flag=isal.igzip_lib.DECOMP_GZIP)
            return member
        return ZlibDecompressor()

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What decompression raises about malformed bytes."""
        own: list[type[Exception]] = [zlib.error, EOFError, OSError, ValueError]
        if self is Codec.ZSTD:
            own.append(_zstd().ZstdError)
        elif self is not Codec.NONE and (isal := _isal()) is not None:
            own.append(isal.igzip_lib.IsalError)
        return tuple(own)


def decompress(pieces: Iterable[memoryview], codec: Codec, what: str) -> Iterator[memoryview]:
    """Pass ``pieces`` through the decompression of ``codec``; gives pieces of at most 256 KiB.

    A piece is read until the next one is asked for and not after.

    Args:
        pieces: compressed bytes.
        codec: how they are compressed.
        what: names them in errors.

    Raises:
        IntegrityError: they are malformed, end too early, or go on with something else.
    """
    if codec is Codec.NONE:
        yield from pieces
        return
    decompressor: _Decompressor | None = None
    is_fresh = True
    try:
        for piece in pieces:
            rest: memoryview | bytes = piece
            while len(rest):
                if decompressor is None or decompressor.eof:
                    decompressor, is_fresh = codec.open_decompressor(), True
                out = decompressor.decompress(rest, PIECE)
                is_fresh = False
                while out or not (decompressor.eof or decompressor.needs_input):
                    if out:
                        yield memoryview(out)
                    out = b"" if decompressor.eof else decompressor.decompress(b"", PIECE)
                rest = decompressor.unused_data if decompressor.eof else b""
    except codec.errors as error:
        raise IntegrityError(what, f"{codec.value} content", str(error).lower() or "something else") from error
    if decompressor is None or is_fresh or not decompressor.eof:
        raise IntegrityError(what, f"whole {codec.value} content", "an early end")


def _zstd() -> ModuleType:
    """The library of zstd, which costs milliseconds to import."""
    if sys.version_info >= (3, 14):  # pragma: no cover - the other branch is
        from compression import zstd  # noqa: PLC0415 - as above
    else:
        from backports import zstd  # noqa: PLC0415 - as above
    return zstd


def _isal() -> ModuleType | None:
    """The fast library of gzip, None on a platform that it does not serve."""
    try:
        import isal  # noqa: PLC0415 - costs milliseconds
        import isal.igzip_lib  # noqa: PLC0415 - as above
        import isal.isal_zlib  # noqa: PLC0415 - as above
    except ImportError:  # pragma: no cover - as above
        return None
    return isal


class _Through:
    def compress(self, data: memoryview | bytes, /) -> bytes:
        return bytes(data)

    def flush(self) -> bytes:
        return b""


class _Gzip:
    """A gzip member whose header says nothing: no time, no name, system unknown (255)."""

    _HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

    def __init__(self, level: int) -> None:
        isal = _isal() if level == 1 else None
        if isal is not None:
            self._deflate: Compressor = isal.isal_zlib.compressobj(1, isal.isal_zlib.DEFLATED, -15)
            self._crc = isal.isal_zlib.crc32
        else:
            self._deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
            self._crc = zlib.crc32
        self._pending = self._HEADER
        self._sum = 0
        self._size = 0

    def compress(self, data: memoryview | bytes, /) -> bytes:
        self._sum = self._crc(data, self._sum)
        self._size += len(data)
        out = self._pending + self._deflate.compress(data)
        self._pending = b""
        return out

    def flush(self) -> bytes:
        trailer = self._sum.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")
        return self._pending + self._deflate.flush() + trailer


class ZlibDecompressor:
    """One gzip member through zlib, where isal is not to be had."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP_WBITS)
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not self._waiting and not self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: memoryview | bytes, max_length: int = -1) -> bytes:
        out = self._inflate.decompress(self._waiting + bytes(data), max(max_length, 0))
        self._waiting = self._inflate.unconsumed_tail
        return out
