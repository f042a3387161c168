"""Results to stdout, talk to stderr; sizes and tables as people read them."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kitops.errors import FileSystemError, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TextIO

NONE = "<none>"


class OutputClosed(Exception):  # noqa: N818 - nobody did anything wrong: the reader of the pipe has seen enough
    """Nobody reads stdout any more."""


def prepare_streams() -> None:
    """Let nothing that is printed fail for its letters: what the terminal cannot show is escaped.

    Where a standard stream was closed, its number leads into nothing: no file that is opened later may get it, and be
    written into by whoever thinks that it is stderr.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a standard stream is a terminal; one that is closed is None, and is not."""
    return stream is not None and not stream.closed and stream.isatty()


def to_stdout(text: str) -> None:
    """Write a result.

    Raises:
        OutputClosed: the pipe's reader is gone.
        FileSystemError: the disk that stdout leads to is full.
    """
    with _writing_stdout():
        sys.stdout.write(text)
        sys.stdout.flush()


def bytes_to_stdout(content: bytes | memoryview) -> None:
    """Write a part of a result that is no text.

    Raises:
        OutputClosed, FileSystemError: as :func:`to_stdout`.
    """
    with _writing_stdout():
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


@contextmanager
def _writing_stdout() -> Iterator[None]:
    if sys.stdout is None:
        raise FileSystemError("writing standard output: it is closed")
    try:
        yield
    except BrokenPipeError as error:
        raise OutputClosed from error
    except OSError as error:
        let_go(sys.stdout)
        if error.errno == errno.EINVAL:  # what a closed pipe gives on Windows
            raise OutputClosed from error
        raise FileSystemError.wrap(error, "writing", "standard output") from error


def to_stderr(text: str) -> None:
    """Write talk; that nobody listens stops nothing."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        let_go(sys.stderr)


def let_go(stream: TextIO) -> None:
    """Lead ``stream`` into nothing, so that what it still buffers fails no more when Python ends."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def print_json(value: object) -> None:
    """Print a result as JSON, indented by two spaces."""
    import json  # only who wants JSON pays for it

    to_stdout(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def format_size(size: int) -> str:
    """A number of bytes as people read it: ``0 B``, ``2.5 KiB``, ``105.0 KiB``, ``1.0 PiB``."""
    if abs(size) < 1024:
        return f"{size} B"
    number = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        number /= 1024
        if abs(number) < 1024:
            return f"{number:.1f} {unit}"
    return f"{number / 1024:.1f} PiB"


def counted(count: int, what: str) -> str:
    """A number of things: ``1 file``, ``2 files``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns three spaces apart, the last one as long as it is; control characters escaped."""
    lines = [tuple(header), *(tuple(printable(cell) for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in list(zip(*lines, strict=True))[:-1]]
    return "".join(
        "".join(f"{cell:{width}}   " for cell, width in zip(line, widths, strict=False)) + line[-1] + "\n"
        for line in lines
    )


def format_yaml(value: object) -> str:
    """A field of a Kitfile as YAML; a text or number stands alone, without quotes."""
    from kitops.kitfile.emit import emit

    if isinstance(value, str):
        return f"{value}\n"
    if isinstance(value, dict) and value:
        return emit(value)
    first, _, rest = emit({"x": value}).partition("\n")  # type: ignore[dict-item]  # a field of a Kitfile is JSON
    inline = first.removeprefix("x:").strip()
    lines = [inline] if inline else [line.removeprefix("  ") for line in rest.splitlines()]
    return "".join(f"{line}\n" for line in lines)
