"""Bytes that come into a layout: written where they belong and hashed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kitops.content.write import write_at
from kitops.errors import IntegrityError
from kitops.layout.newfile import telling

if TYPE_CHECKING:
    from collections.abc import Callable

    from kitops.content.protocols import Reader, Run
    from kitops.layout.newfile import NewFile
    from kitops.oci.descriptor import Descriptor

_BUFFER: Final = 256 * 1024


def receive(
    file: NewFile, desc: Descriptor, reader: Reader, moved: Callable[[int], None], *, run: Run, offset: int = 0
) -> None:
    """Write a blob to a file and check that it is what ``desc`` says.

    Args:
        file: where to.
        desc: what must come.
        reader: its bytes.
        moved: told the number of bytes of each step.
        run: its cancel token is watched.
        offset: where in the file it begins.

    Raises:
        IntegrityError: other bytes came, or more, or fewer.
        FileSystemError: the file cannot be written.
    """
    what = f"blob {desc.digest}"
    hasher = desc.digest.new_hasher()
    buffer = memoryview(bytearray(min(_BUFFER, desc.size + 1)))
    done = 0
    while count := reader.readinto(buffer):
        run.cancel.check()
        if done + count > desc.size:
            raise IntegrityError(what, f"{desc.size} bytes", "more")
        hasher.update(buffer[:count])
        with telling("writing", file.path, needed=desc.size):
            write_at(file.fd, buffer[:count], offset + done)
        done += count
        moved(count)
    if done != desc.size:
        raise IntegrityError(what, f"{desc.size} bytes", f"{done} bytes")
    if hasher.hexdigest() != desc.digest.encoded:
        raise IntegrityError(what, desc.digest, f"{desc.digest.algorithm}:{hasher.hexdigest()}")
