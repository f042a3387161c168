"""Where a verb works: the local store, the way to registries, and the run it belongs to.

Everything that a verb needs of its surroundings is passed in with one :class:`Place`; nothing below reads the
environment.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kitops.content.protocols import Run
from kitops.errors import FileSystemError
from kitops.registry.memory import Memory
from kitops.store import open_store
from kitops.store.uploads import StoreUploads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kitops.oci.reference import Reference
    from kitops.registry.credentials import CredentialStore
    from kitops.registry.mirror import Mirror
    from kitops.registry.repository import Repository
    from kitops.registry.transport import Network
    from kitops.store import Store


@dataclass(frozen=True, slots=True)
class Place:
    """The surroundings of a verb.

    Args:
        home: the root of everything that is kept (``$KITOPS_HOME``).
        store: the local store.
        connection: makes network options and credentials when a registry is first needed.
        run: whom to tell, what to watch, how many workers.
        memory: what is learnt of registries on the way.
    """

    home: Path
    store: Store
    connection: Callable[[], Connection]
    run: Run
    memory: Memory = field(default_factory=Memory)

    @contextmanager
    def registry(self, ref: Reference, *, mirrored: bool = False) -> Iterator[Repository]:
        """The repository of ``ref`` in its registry, connected while the block runs.

        Args:
            ref: names it.
            mirrored: ask the mirrors of the registry first; for verbs that only read.
        """
        from kitops.registry.repository import open_repository  # noqa: PLC0415 - local verbs do not pay for urllib3

        connection = self.connection()
        mirrors = connection.mirrors if mirrored else ()
        with open_repository(
            ref, connection.network, connection.credentials, self.run, mirrors, memory=self.memory
        ) as repository:
            yield repository


@dataclass(frozen=True, slots=True)
class Connection:
    """How registries are reached: network options, where credentials are, and which mirrors stand before them."""

    network: Network
    credentials: CredentialStore
    mirrors: tuple[Mirror, ...] = ()


def open_place(
    home: Path, *, connection: Callable[[], Connection], run: Run | None = None, adopts: bool = True
) -> Place:
    """The place below ``home``: its store, which ``adopts`` the Go tool's storage when there is none yet."""
    run = run or Run()
    store = open_store(home / "store", go_storage=home / "storage" if adopts else None, run=run)
    return Place(home, store, connection, run, Memory(StoreUploads(store.layout)))


def default_home(environ: Mapping[str, str], platform: str) -> Path:
    """The root of storage: ``$KITOPS_HOME``, else the platform's place for a user's application data.

    Args:
        environ: environment variables.
        platform: as ``sys.platform`` names it.

    Raises:
        FileSystemError: it is below the user's home directory, which is not known.
    """
    if chosen := environ.get("KITOPS_HOME"):
        return Path(chosen)
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or user_home(environ) / "AppData" / "Local") / "kitops"
    if platform == "darwin":
        return user_home(environ) / "Library" / "Caches" / "kitops"
    return Path(environ.get("XDG_DATA_HOME") or user_home(environ) / ".local" / "share") / "kitops"


def user_home(environ: Mapping[str, str]) -> Path:
    """The user's home directory.

    Raises:
        FileSystemError: no variable names it, and the system does not know the user, as in many a container.
    """
    try:
        return Path(environ.get("HOME") or environ.get("USERPROFILE") or Path.home())
    except RuntimeError as error:
        hint = "set HOME" if environ.get("KITOPS_HOME") else "set HOME, or KITOPS_HOME to where ModelKits are kept"
        raise FileSystemError("the home directory of this user is not known", hint=hint) from error
