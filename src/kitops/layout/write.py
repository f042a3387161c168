"""An OCI image layout as one tar file: planned first, then filled.

The bytes are a function of what is in it: members in the order ``oci-layout``, ``index.json``, blobs by digest; times,
owners and modes are constants. As every size is known before, each blob has its place in the file, and several are
written at a time.
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kitops.content.events import Advanced, Finished, Planned, Started
from kitops.content.write import write_at
from kitops.errors import FileSystemError, IntegrityError
from kitops.layers.tar import END, member_header, padding
from kitops.layout.contents import INDEX_FILE, LAYOUT, LAYOUT_FILE, blob_path
from kitops.layout.index import dump_names
from kitops.layout.newfile import NewFile, free_space, new_file, telling
from kitops.layout.receive import receive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kitops.content.protocols import Reader, Run, Source
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest

_BUFFER: Final = 256 * 1024
_FILE_MODE: Final = 0o644
_DIR_MODE: Final = 0o755


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one blob: its descriptor, the tar header before it, and where its content begins."""

    desc: Descriptor
    header: bytes = field(repr=False)
    offset: int


@dataclass(frozen=True, slots=True)
class Plan:
    """An archive that is to be written.

    Args:
        head: everything before the first blob.
        slots: the blobs in their order.
        size: bytes of the whole file.
    """

    head: bytes = field(repr=False)
    slots: tuple[Slot, ...]
    size: int


def plan_archive(entries: Sequence[tuple[Descriptor, str | None]], blobs: Iterable[Descriptor]) -> Plan:
    """Plan an archive. Pure.

    Args:
        entries: manifests for ``index.json``, and what each is called.
        blobs: everything that goes in, manifests too; each digest once.
    """
    unique = {desc.digest: desc for desc in blobs}
    order = [unique[digest] for digest in sorted(unique)]
    head = [_file(LAYOUT_FILE, LAYOUT), _file(INDEX_FILE, dump_names(entries)), _directory("blobs")]
    head += [_directory(f"blobs/{algorithm}") for algorithm in sorted({digest.algorithm for digest in unique})]
    position = sum(map(len, head))
    slots = []
    for desc in order:
        header = member_header(blob_path(desc.digest).encode(), _FILE_MODE, desc.size, is_dir=False)
        slots.append(Slot(desc, header, position + len(header)))
        position += len(header) + desc.size + padding(desc.size)
    return Plan(b"".join(head), tuple(slots), position + len(END))


class ArchiveFile:
    """The file of a plan as a sink of content. Thread-safe."""

    def __init__(self, plan: Plan, file: NewFile, run: Run) -> None:
        self._file = file
        self._run = run
        self._slots = {slot.desc.digest: slot for slot in plan.slots}
        self._done: set[Digest] = set()
        self._lock = threading.Lock()

    def exists(self, desc: Descriptor) -> bool:
        """Whether it has the blob already."""
        with self._lock:
            return desc.digest in self._done

    def put(self, desc: Descriptor, reader: Reader, moved: Callable[[int], None]) -> None:
        """Write a blob in its place.

        Raises:
            IntegrityError: the bytes are not what ``desc`` says.
            FileSystemError: the file cannot be written.
        """
        slot = self._slots[desc.digest]
        with telling("writing", self._file.path):
            write_at(self._file.fd, slot.header, slot.offset - len(slot.header))
        receive(self._file, desc, reader, moved, run=self._run, offset=slot.offset)
        with self._lock:
            self._done.add(desc.digest)

    def tag(self, desc: Descriptor, tag: str) -> None:
        """Nothing: the names are in the plan."""

    def publish(self) -> None:
        """Give the file its name.

        Raises:
            IntegrityError: a blob of the plan was not written.
        """
        missing = next((digest for digest in self._slots if digest not in self._done), None)
        if missing is not None:
            raise IntegrityError(f"the archive {self._file.path}", f"blob {missing}", "nothing")
        self._file.publish()


@contextmanager
def create_archive(path: str, plan: Plan, run: Run) -> Iterator[ArchiveFile]:
    """A file of the plan's size; it appears when :meth:`ArchiveFile.publish` is called, or never.

    Raises:
        FileSystemError: it cannot be written; the message has both numbers when it will not fit.
    """
    free = free_space(path)
    if free is not None and free < plan.size:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise FileSystemError.wrap(full, "writing", path, needed=plan.size, free=free)
    with new_file(path) as file:
        with telling("writing", path, needed=plan.size):
            os.ftruncate(file.fd, plan.size)
            write_at(file.fd, plan.head, 0)
        yield ArchiveFile(plan, file, run)


def write_stream(
    plan: Plan, source: Callable[[Descriptor], Source], out: Callable[[bytes | memoryview], None], run: Run
) -> None:
    """Write an archive where there is no going back, as into a pipe; what went out before an error cannot be undone.

    Args:
        plan: the archive.
        source: where each blob is.
        out: writes all of the bytes that it is given.
        run: told what moves; its cancel token is watched.

    Raises:
        IntegrityError: a blob is not what its descriptor says.
        KitError: whatever the sources and ``out`` raise.
    """
    run.observer(Planned("save", len(plan.slots), sum(slot.desc.size for slot in plan.slots)))
    out(plan.head)
    buffer = memoryview(bytearray(_BUFFER))
    for slot in plan.slots:
        item = str(slot.desc.digest)
        run.observer(Started(item, slot.desc.digest.short, slot.desc.size))
        out(slot.header)
        with source(slot.desc).open(slot.desc) as reader:
            while count := reader.readinto(buffer):
                run.cancel.check()
                out(buffer[:count])
                run.observer(Advanced(item, count))
        out(bytes(padding(slot.desc.size)))
        run.observer(Finished(item, "done"))
    out(END)


def _file(name: str, content: bytes) -> bytes:
    header = member_header(name.encode(), _FILE_MODE, len(content), is_dir=False)
    return header + content + bytes(padding(len(content)))


def _directory(name: str) -> bytes:
    return member_header(name.encode(), _DIR_MODE, 0, is_dir=True)
