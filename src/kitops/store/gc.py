"""Garbage collection: what nothing holds is moved to the trash, judged again there, and deleted or put back.

What holds a blob: a ref (root or tag) whose manifest is it or lists it, and a live lease that names it.

**The order of a sweep**, which makes it safe without a lock, beside any number of other processes:

1. *Mark*: read the leases, then the refs. (In this order: a lease is given up only after the ref that takes its place
   is visible, so what goes from the one to the other is seen in one of them.)
2. Move what is unmarked and older than the grace to a directory of our own in ``trash/``.
3. List everything in ``trash/``, also what sweeps before us left when they were killed.
4. *Mark again.* Whoever came to hold a blob after the first mark did so before it looked for the blob
   (:mod:`kitops.store.lease`): either it is seen now, or it looks now, misses the blob, and takes it back itself.
5. Put back what is marked now, delete the rest of the list. A path in the trash is filled at most once, so what is
   deleted is what was judged.

Killed anywhere, a sweep leaves blobs in the trash: readers find them there, and the next sweep does 3 to 5 with them.

The grace (an hour) is for what no lease can tell: a blob of a pack that was just killed, which its rerun uses again.
:func:`free` does without: what a removed ModelKit held was held until then, so it is nobody's unfinished work.

A manifest that is held but missing or damaged stops a sweep: nobody can tell then what it holds.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.errors import IntegrityError, InvalidValueError, NotFoundError, StoreError
from kitops.oci.digest import Digest
from kitops.store import graph, leftover, names, partial
from kitops.store.atomic import entries, remove_file, told, unique_name
from kitops.store.index import refresh_index
from kitops.store.layout import SPARE
from kitops.store.lease import live_leases, now
from kitops.store.records import merge_absent
from kitops.store.trash import restore

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from kitops.content.protocols import Run
    from kitops.store.layout import Layout
    from kitops.store.records import Record
    from kitops.store.store import Store

GRACE: Final = 3600.0
_ATTEMPTS: Final = 5
_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Collected:
    """What was freed, or would be.

    Args:
        blobs: digest and bytes of each blob.
        partials: path and bytes of each unfinished download, of each file that a killed process left, and of each
            upload to a served store that nobody continued for a day.
        size: bytes of all of them.
    """

    blobs: tuple[tuple[Digest, int], ...]
    partials: tuple[tuple[Path, int], ...]

    @property
    def size(self) -> int:
        return sum(size for _, size in self.blobs) + sum(size for _, size in self.partials)


@dataclass(frozen=True, slots=True)
class Freed:
    """What a removal brought.

    Args:
        size: bytes that came free.
        in_use: bytes that nothing but a lease holds: somebody reads them, and a later sweep frees them.
    """

    size: int = 0
    in_use: int = 0


def collect(store: Store, *, dry_run: bool = False, grace_seconds: float = GRACE, run: Run | None = None) -> Collected:
    """Free what nothing holds: blobs, unfinished transfers, files of killed processes, entries of the digest cache.

    Args:
        store: the store.
        dry_run: change nothing, only tell.
        grace_seconds: leave alone what is younger.
        run: its cancel token is watched.

    Raises:
        StoreError: a manifest that is kept is missing or damaged, so that nobody can tell what it holds.
        FileSystemError: something cannot be read or moved.
    """
    run = run or store.run
    layout = store.layout
    if not layout.is_there:
        return Collected((), ())
    now_ns = now(layout)
    before_ns = now_ns - int(grace_seconds * _SECOND)
    if not dry_run:
        store.refs.recover(now_ns)
    marked = mark(store, now_ns, run)
    old = [(digest, size) for digest, size, mtime_ns in scan_blobs(layout, run) if mtime_ns <= before_ns]
    doomed = [(digest, size) for digest, size in old if str(digest) not in marked]
    live = {lease.id for lease in live_leases(layout, now_ns)}
    leftovers = leftover.find_files(layout, now_ns) + leftover.find_uploads(layout, now_ns)
    leftovers += partial.find_stale(layout, live, before_ns)
    if dry_run:
        return Collected((*doomed, *_unmarked_trash(layout, marked)), tuple(leftovers))
    freed = sweep(store, [digest for digest, _ in doomed], run)
    leftover.remove(layout, [path for path, _ in leftovers])
    leftover.remove_leases(layout, now_ns)
    store.digest_cache.drop_stale(now_ns)
    store.members.drop_stale()
    store.sent.drop_stale()
    refresh_index(store.refs, "prune", removal=True)
    return Collected(tuple(freed), tuple(leftovers))


def free(store: Store, manifests: Collection[Digest], run: Run | None = None) -> Freed:
    """Free at once what these manifests, just removed from the refs, held and nothing else holds.

    Raises:
        StoreError: a manifest that is kept is missing or damaged.
        FileSystemError: something cannot be read or moved.
    """
    run = run or store.run
    doomed = dict.fromkeys(digest for manifest in manifests for digest in graph.tree_of(store.blobs, manifest))
    return free_blobs(store, doomed, run)


def free_blobs(store: Store, doomed: Collection[Digest], run: Run) -> Freed:
    """Free at once those of these blobs that nothing holds.

    Raises:
        StoreError: a manifest that is kept is missing or damaged.
        FileSystemError: something cannot be read or moved.
    """
    if not doomed:
        return Freed()
    leased = _leased(store, now(store.layout))
    kept = _referred(store, run)
    unkept = [digest for digest in doomed if str(digest) not in kept]
    freed = sweep(store, [digest for digest in unkept if str(digest) not in leased], run)
    return Freed(sum(size for _, size in freed), sum(_size(store, digest) for digest in unkept))


def _size(store: Store, digest: Digest) -> int:
    try:
        return store.blobs.size(digest)
    except NotFoundError:
        return 0


def mark(store: Store, now_ns: int, run: Run) -> set[str]:
    """The digests, as text, that a live lease or a ref holds.

    Raises:
        StoreError: a manifest that is kept is missing or damaged.
    """
    leased = _leased(store, now_ns)  # in this order, as above
    return leased | _referred(store, run)


def _leased(store: Store, now_ns: int) -> set[str]:
    return {text for lease in live_leases(store.layout, now_ns) for text in lease.digests}


def _referred(store: Store, run: Run) -> set[str]:
    held: set[str] = set()
    done: set[Digest] = set()
    for record, path in store.refs.held():
        run.cancel.check()
        if record.desc.digest not in done:
            held.update(_mark_below(store, record, path))
            done.add(record.desc.digest)
    return held


def _mark_below(store: Store, record: Record, path: str) -> set[str]:
    """The digests that a ref holds. One that is removed meanwhile holds nothing below; one set again is read again."""
    for attempt in range(_ATTEMPTS):
        absent = merge_absent(record.row, store.blobs.exists).absent
        try:
            return {str(item.digest) for item in graph.walk(store.blobs, record.desc, absent=absent)}
        except (NotFoundError, IntegrityError, InvalidValueError) as error:
            if not os.path.exists(path):
                break
            if attempt == _ATTEMPTS - 1:
                raise StoreError(
                    f"the ModelKit {record.desc.digest} is damaged, so nobody can tell which blobs it holds: {error}",
                    hint=f"pull it again, or `kit remove --force {record.desc.digest}`",
                ) from error
    return {str(record.desc.digest)}


def scan_blobs(layout: Layout, run: Run) -> Iterable[tuple[Digest, int, int]]:
    """Digest, size in bytes and mtime in ns of every blob; files that are not named as one are left alone."""
    for algorithm in entries(layout.blobs):
        for entry in entries(algorithm.path):
            run.cancel.check()
            try:
                digest = Digest.parse(f"{algorithm.name}:{entry.name}")
                found = entry.stat()
            except (InvalidValueError, FileNotFoundError):
                continue
            yield digest, found.st_size, found.st_mtime_ns


def sweep(store: Store, doomed: Iterable[Digest], run: Run) -> list[tuple[Digest, int]]:
    """Steps 2 to 5: move ``doomed`` to the trash, and judge everything there.

    Returns:
        Digest and bytes of what was deleted.
    """
    layout = store.layout
    directory = f"{layout.trash}/{unique_name()}"
    with told("moving blobs to", layout.trash):
        _make_trash(layout, directory)
        try:
            for digest in doomed:
                run.cancel.check()
                with suppress(FileNotFoundError):  # another sweep was faster
                    os.replace(layout.blob(digest), f"{directory}/{names.encode_digest(digest)}")
            return _judge(store, run)
        except BaseException:  # nothing was judged: all of it goes back
            for entry in entries(directory):
                restore(entry.path, layout.blob(names.decode_digest(entry.name)))
            raise
        finally:
            with suppress(OSError):
                os.rmdir(directory)
            with suppress(OSError):
                os.mkdir(f"{layout.trash}/{SPARE}")


def _judge(store: Store, run: Run) -> list[tuple[Digest, int]]:
    layout = store.layout
    directories = [directory.path for directory in entries(layout.trash) if directory.name != SPARE]
    listed = [entry for directory in directories for entry in entries(directory)]
    marked = mark(store, now(layout), run) if listed else set()
    freed = []
    for entry in listed:
        try:
            digest = names.decode_digest(entry.name)
            size = entry.stat().st_size
        except (InvalidValueError, FileNotFoundError):
            continue
        if str(digest) in marked:
            restore(entry.path, layout.blob(digest))
        elif remove_file(entry.path):
            freed.append((digest, size))
    for directory in directories:  # of this sweep, and of those that were killed
        with suppress(OSError):  # another sweep fills it just now; if it was about to, that one frees nothing
            os.rmdir(directory)
    return freed


def _make_trash(layout: Layout, directory: str) -> None:
    """A directory of our own; a disk too full for a new one gives the spare that was made in better times."""
    os.makedirs(layout.trash, exist_ok=True)
    try:
        os.mkdir(directory)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        os.rename(f"{layout.trash}/{SPARE}", directory)


def _unmarked_trash(layout: Layout, marked: set[str]) -> list[tuple[Digest, int]]:
    found = []
    for directory in entries(layout.trash):
        for entry in entries(directory.path):
            with suppress(InvalidValueError, FileNotFoundError):
                digest = names.decode_digest(entry.name)
                if str(digest) not in marked:
                    found.append((digest, entry.stat().st_size))
    return found
