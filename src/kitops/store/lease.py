"""Leases: what a running pack, pull or unpack relies on, so that no garbage collection takes it.

A lease is a small file in ``leases/`` that lists digests; one of very many goes on in further files, each a lease by
itself for whoever reads them. Its owner touches it every :data:`HEARTBEAT` seconds from a thread of its own; a lease
that was not touched for :data:`LIFE` seconds, by the file system's own clock, is dead. That needs no lock and no
process table, so it works between machines on NFS and Lustre. On a file system of this machine the owner's process is
looked up as well: a process that is certainly gone (killed, say) is dead at once, and one that is there (suspended,
say) is alive.

**The order that keeps blobs safe.** Whoever relies on a blob first adds it to a lease (the rename makes that visible)
and only then looks whether the blob is there; a collector first moves a blob to the trash and only then reads the
leases. Whichever of the two came first, one of them sees the other: the collector restores what it finds leased, and
the owner of a lease finds what it misses in the trash and takes it back (:mod:`kitops.store.trash`).
A lease is given up only after the ref that replaces it is visible, and a collector reads the leases before the refs.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.content.mounts import is_local, read_mounts
from kitops.errors import FileSystemError
from kitops.store.atomic import entries, read_small, remove_file, replace_file, told, unique_name
from kitops.store.filesystem import clock_ns
from kitops.store.process import is_alive, this_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.oci.digest import Digest
    from kitops.store.layout import Layout

HEARTBEAT: Final = 20.0
LIFE: Final = 600.0
_SECOND: Final = 1_000_000_000
_PAGE: Final = 256
"""Digests in a file before another one is begun: each digest that comes has its file written again."""


class Lease:
    """What one running work holds. Threads may share it. Nothing is written before the first :meth:`add`.

    Args:
        layout: the store.
        purpose: for people who look into the file (``"pack"``).
        optional: a reader's lease: where it cannot be written (a read-only store, a full disk), go on without.
    """

    def __init__(self, layout: Layout, purpose: str, *, optional: bool = False) -> None:
        self.id = unique_name()
        self._layout = layout
        self._purpose = purpose
        self._optional = optional
        self._pages: list[dict[str, None]] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None

    @property
    def path(self) -> str:
        """The first of its files."""
        return self._path_of(0)

    def add(self, *digests: Digest) -> None:
        """Hold these too: visible to every collector when this returns.

        Raises:
            FileSystemError: the lease cannot be written (and is not optional).
        """
        texts = [str(digest) for digest in digests]
        with self._lock:
            new = {text: None for text in texts if not any(text in page for page in self._pages)}
            if self._heart is not None and not new:
                return
            if not self._pages or len(self._pages[-1]) >= _PAGE:
                number, page = len(self._pages), new
            else:
                number, page = len(self._pages) - 1, self._pages[-1] | new
            try:
                self._write(number, page)
            except FileSystemError:
                if not self._optional:
                    raise
                return
            self._pages[number:] = [page]
            if self._heart is None:
                heart = threading.Thread(target=self._beat, name=f"lease {self._purpose}", daemon=True)
                heart.start()
                self._heart = heart

    def drop(self, *digests: Digest) -> None:
        """Hold these no more: a ref does, which is visible already, or nobody needs them.

        Raises:
            FileSystemError: the lease cannot be written; it holds them still.
        """
        gone = {str(digest) for digest in digests}
        with self._lock:
            for number, page in enumerate(self._pages if self._heart is not None else ()):
                kept = {text: None for text in page if text not in gone}
                if len(kept) < len(page):
                    self._write(number, kept)
                    self._pages[number] = kept

    def touch(self) -> None:
        """Say that the owner lives; a file is written again when somebody took it for dead and removed it."""
        for number in range(len(self._pages)):
            try:
                os.utime(self._path_of(number))
            except FileNotFoundError:
                with self._lock, suppress(FileSystemError):
                    self._write(number, self._pages[number])
            except OSError:  # the next beat may have more luck; until then the lease ages
                continue

    def end(self) -> None:
        """Hold nothing any more."""
        self._ended.set()
        with self._lock:
            heart, self._heart = self._heart, None
        if heart is not None:
            heart.join(HEARTBEAT)
        for number in range(len(self._pages)):
            with suppress(OSError):
                remove_file(self._path_of(number))

    def _path_of(self, number: int) -> str:
        return f"{self._layout.leases}/{self.id}{f'.{number}' if number else ''}"

    def _write(self, number: int, digests: dict[str, None]) -> None:
        self._layout.prepare()
        content = {"purpose": self._purpose, "owner": this_process(), "digests": list(digests)}
        with told("writing a lease in", self._layout.leases):
            os.makedirs(self._layout.leases, exist_ok=True)
            os.makedirs(self._layout.ingest, exist_ok=True)
            path = self._path_of(number)
            replace_file(self._layout.temporary(self.id), path, json.dumps(content).encode(), durable=False)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            self.touch()


@contextmanager
def hold_lease(layout: Layout, purpose: str, *, optional: bool = False) -> Iterator[Lease]:
    """A lease for the time of the block."""
    lease = Lease(layout, purpose, optional=optional)
    try:
        yield lease
    finally:
        lease.end()


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A lease as another process finds it: ``mtime_ns`` by the file system's clock, digests as text."""

    id: str
    mtime_ns: int
    owner: str
    digests: tuple[str, ...]

    def is_live(self, now_ns: int, *, local: bool) -> bool:
        """Whether its owner may still work.

        Args:
            now_ns: the time by the same clock.
            local: whether the file system is of this machine, so that only its processes can be owners.
        """
        if local and (alive := is_alive(self.owner)) is not None:
            return alive
        return now_ns - self.mtime_ns < LIFE * _SECOND


def read_leases(layout: Layout) -> list[LeaseRecord]:
    """Every lease, dead or alive. One that cannot be parsed holds nothing but lives by its time stamp."""
    found = []
    for entry in entries(layout.leases):
        with told("reading a lease", entry.path):
            content = read_small(entry.path)
            try:
                mtime_ns = entry.stat().st_mtime_ns
            except FileNotFoundError:
                continue
        if content is not None:
            found.append(_parse(entry.name, mtime_ns, content))
    return found


def live_leases(layout: Layout, now_ns: int) -> list[LeaseRecord]:
    """The leases whose owners may still work, at ``now_ns`` by the file system's own clock."""
    local = is_local_store(layout)
    return [lease for lease in read_leases(layout) if lease.is_live(now_ns, local=local)]


def now(layout: Layout) -> int:
    """The time in ns by the file system's own clock; by ours where nothing can be written."""
    probe = None
    with suppress(OSError):  # a full disk
        probe = clock_ns(layout.temporary("probe"))
    return time.time_ns() if probe is None else probe


def is_local_store(layout: Layout) -> bool:
    """Whether the store's file system is of this machine."""
    try:
        return is_local(os.stat(layout.root).st_dev, read_mounts())
    except OSError:
        return False


def _parse(identity: str, mtime_ns: int, content: bytes) -> LeaseRecord:
    try:
        table = json.loads(content)
        return LeaseRecord(identity, mtime_ns, str(table["owner"]), tuple(map(str, table["digests"])))
    except (ValueError, KeyError, TypeError):
        return LeaseRecord(identity, mtime_ns, "", ())
