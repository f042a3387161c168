"""The store of this machine: its parts, and how it is opened."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.content.protocols import Run
from kitops.errors import FileSystemError, printable
from kitops.store import leftover
from kitops.store.blobs import Blobs
from kitops.store.details import Describe, describe_kit
from kitops.store.digest_cache import StoreDigestCache
from kitops.store.layout import Layout
from kitops.store.lease import Lease, hold_lease
from kitops.store.refs import Refs

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from kitops.oci.digest import Digest
    from kitops.oci.reference import Reference
    from kitops.store.members import StoreMembers
    from kitops.store.repository import StoreRepository
    from kitops.store.sent import StoreSent
    from kitops.store.usage import Usage


@dataclass(frozen=True, slots=True)
class Store:
    """A store; nothing is written before something is put in."""

    layout: Layout
    blobs: Blobs
    refs: Refs
    digest_cache: StoreDigestCache
    describe: Describe
    run: Run

    def lease(self, purpose: str, *, optional: bool = False) -> AbstractContextManager[Lease]:
        """A lease for the time of the block. Files that killed writers left are cleared away first.

        Args:
            purpose: what for (``"pack"``).
            optional: for readers: where no lease can be written (a read-only store), go on without.
        """
        if not optional:
            leftover.clear_dead(self.layout)
        return hold_lease(self.layout, purpose, optional=optional)

    @property
    def members(self) -> StoreMembers:
        """Where in its layers the files are that were imported."""
        from kitops.store.members import StoreMembers  # noqa: PLC0415 - only imports need it

        return StoreMembers(self.layout)

    @property
    def sent(self) -> StoreSent:
        """Which repositories of registries were sent what is not kept here."""
        from kitops.store.sent import StoreSent  # noqa: PLC0415 - as above: only pushes

        return StoreSent(self.layout)

    def usage(self) -> Usage:
        """What the store takes on the disk."""
        from kitops.store.usage import measure  # noqa: PLC0415 - packing measures nothing

        return measure(self.layout)

    def repository(self, ref: Reference, lease: Lease, *, absent: tuple[Digest, ...] = ()) -> StoreRepository:
        """The repository of ``ref`` as a Source and a Sink.

        Args:
            ref: names it.
            lease: holds what is read from it and put into it.
            absent: layers that are left out on purpose.
        """
        from kitops.store.repository import StoreRepository  # noqa: PLC0415 - as above: no graph is copied

        return StoreRepository(ref, lease, self.blobs, self.refs, self.describe, absent)


def open_store(
    root: Path, *, go_storage: Path | None = None, describe: Describe = describe_kit, run: Run | None = None
) -> Store:
    """Open the store below ``root``, which need not exist.

    Args:
        root: the directory.
        go_storage: the Go tool's ``storage/``: adopted when there is no store yet.
        describe: makes what ``list`` shows of a manifest.
        run: observer and cancel token of what is done with it.

    Raises:
        FileSystemError: ``root`` can be no directory, or an adoption could not be written.
    """
    run = run or Run()
    _check_root(root)
    layout = Layout(str(root))
    blobs = Blobs(layout, run)
    store = Store(layout, blobs, Refs(layout, blobs), StoreDigestCache(layout), describe, run)
    if go_storage is not None and (not layout.is_there or os.path.exists(layout.adopting_file)):
        from kitops.store.adopt import adopt_once  # noqa: PLC0415 - needed once in a store's life

        adopt_once(store, go_storage, run)
    return store


def _check_root(root: Path) -> None:
    """Refuse what would look like an empty store: a file, or a link to nothing, where there ought to be a directory."""
    for path in (root, *root.parents):
        try:
            found = os.stat(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                return  # whoever reads or writes there says why it fails
            if os.path.islink(path):
                raise _no_store(root, path, "a symbolic link that leads nowhere") from error
        else:
            if not stat.S_ISDIR(found.st_mode):
                raise _no_store(root, path, "not a directory")
            return


def _no_store(root: Path, path: Path, reason: str) -> FileSystemError:
    text = f"opening the store {printable(root)}: {printable(path)} is {reason}"
    return FileSystemError(text, path=printable(path), hint="move it away, or set KITOPS_HOME to another directory")
