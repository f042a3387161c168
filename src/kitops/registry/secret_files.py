"""JSON files that only their owner may read: credentials, and whom they may be sent to."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from kitops.content.cancel import CancelToken
from kitops.content.lock import alone_in
from kitops.errors import FileSystemError, InvalidValueError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

Table: TypeAlias = "dict[str, object]"
_MAX_FILE: Final = 16 * 1024 * 1024


def read_table(path: Path, what: str) -> Table | None:
    """The JSON object in ``path``, or None where there is no such file; an empty file is an empty object.

    Args:
        path: where it is.
        what: its content, for errors (``"credentials"``).

    Raises:
        InvalidValueError: it is not a JSON object.
        FileSystemError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise FileSystemError.wrap(error, f"reading {what} from", path) from error
    try:
        table = json.loads(text or b"{}")
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(
            f"{what} file {printable(path)} is not valid JSON", hint="mend it, or remove it and log in again"
        ) from error
    if not isinstance(table, dict):
        raise InvalidValueError(f"{what} file {printable(path)} is not a JSON object")
    return table


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """In the block, no other process of ours changes the files beside ``path``, as far as a lock can see to that."""
    with ExitStack() as stack:
        directory = os.path.dirname(os.path.realpath(path))
        with suppress(OSError):  # who cannot write there is told when it is tried
            os.makedirs(directory, mode=0o700, exist_ok=True)
            stack.enter_context(alone_in(directory, CancelToken()))
        yield


def write_table(path: Path, table: Table, what: str) -> None:
    """Replace the file at once; it is never readable by others, and a link to it stays a link.

    Raises:
        FileSystemError: it cannot be written.
    """
    real = Path(os.path.realpath(path))
    try:
        os.makedirs(real.parent, mode=0o700, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{real.stem}-", dir=real.parent)  # mode 0600
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps(table, indent="\t") + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, real)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise FileSystemError.wrap(error, f"writing {what} to", path) from error
