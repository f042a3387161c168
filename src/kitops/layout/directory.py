"""An OCI image layout in a directory: a source and a sink of content."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from kitops.content.lock import alone_in
from kitops.errors import InvalidValueError, StoreError, printable
from kitops.layout.contents import INDEX_FILE, LAYOUT, LAYOUT_FILE, Contents, blob_path
from kitops.layout.index import EMPTY, Names
from kitops.layout.newfile import new_file, telling, write_whole
from kitops.layout.receive import receive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kitops.content.protocols import Reader, Run
    from kitops.oci.descriptor import Descriptor

_WRITES: Final = 100
"""How often ``index.json`` is written when others write it at the same time."""


class LayoutDirectory(Contents):
    """A layout below a directory. Blobs and ``index.json`` appear whole or not at all; nothing is locked.

    Args:
        path: the directory; see :func:`open_directory`.
        run: its cancel token is watched.
    """

    def __init__(self, path: str, run: Run) -> None:
        super().__init__(_DirectoryFiles(path), f"the layout {printable(path)}")
        self._path = path
        self._run = run

    def create(self) -> None:
        """Make an empty layout where there is nothing, an empty directory, or one that was not finished.

        Raises:
            InvalidValueError: it is the store of ``kit`` itself.
            FileSystemError: it cannot be made.
        """
        path = self._path
        if os.path.isdir(f"{path}/refs") and os.path.isdir(f"{path}/leases"):
            hint = "write store:REFERENCE to copy into it"
            raise InvalidValueError(f"{printable(path)} is a store of kit", hint=hint)
        with telling("creating", path):
            os.makedirs(path, exist_ok=True)
        with self._alone():
            with telling("creating", path):
                names = {name for name in os.listdir(path) if not name.startswith(".")}
            if not names:
                write_whole(f"{path}/{LAYOUT_FILE}", LAYOUT)
            if names <= {LAYOUT_FILE}:
                write_whole(f"{path}/{INDEX_FILE}", EMPTY)

    # --- sink

    def put(self, desc: Descriptor, reader: Reader, moved: Callable[[int], None]) -> None:
        """Take a blob or manifest; it exists afterwards, whole and verified, or not at all.

        Raises:
            IntegrityError: the bytes are not what ``desc`` says.
            FileSystemError: it cannot be written.
        """
        path = f"{self._path}/{blob_path(desc.digest)}"
        with telling("writing", path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        with new_file(path) as file:
            receive(file, desc, reader, moved, run=self._run)
            file.publish()

    def tag(self, desc: Descriptor, tag: str) -> None:
        """Call a manifest that is here ``tag``, in ``index.json``."""
        self._edit(lambda names: names.with_name(desc, tag))

    def keep(self, desc: Descriptor) -> None:
        """List a manifest that is here in ``index.json`` without a name."""
        self._edit(lambda names: names.with_nameless(desc))

    def _edit(self, change: Callable[[Names], bytes]) -> None:
        """Change ``index.json`` until it is what it should be.

        Others who write it wait for us where the file system has working locks; where it has not, whoever sees that
        his entry is gone writes again.

        Raises:
            StoreError: others write it all the time.
            FileSystemError: it cannot be written.
        """
        with self._alone():
            for attempt in range(_WRITES):
                names = self.names()
                new = change(names)
                if new == names.raw:
                    return
                write_whole(f"{self._path}/{INDEX_FILE}", new)
                self._run.cancel.wait(0.001 * attempt)
        raise StoreError(f"{INDEX_FILE} of {self.what} is changed by others all the time", hint="run it again")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """In the block, no other process of ours changes the index, as far as a lock can see to that."""
        with ExitStack() as stack:
            with telling("reading", self._path):
                stack.enter_context(alone_in(self._path, self._run.cancel))
            yield


def open_directory(path: str, run: Run, *, create: bool = False) -> LayoutDirectory:
    """The layout in the directory ``path``.

    Args:
        path: the directory.
        run: its cancel token is watched.
        create: make one where there is none: see :meth:`LayoutDirectory.create`.

    Raises:
        InvalidValueError: there is something else, or it is to be written to and is the store of ``kit`` itself.
        FileSystemError: it cannot be read or made.
    """
    directory = LayoutDirectory(path, run)
    if create:
        directory.create()
    directory.check_layout()
    return directory


class _DirectoryFiles:
    """Args: root: the directory."""

    def __init__(self, root: str) -> None:
        self._root = root

    def size(self, name: str) -> int | None:
        path = f"{self._root}/{name}"
        with telling("reading", path):
            try:
                return os.stat(path).st_size
            except (FileNotFoundError, NotADirectoryError):
                return None

    @contextmanager
    def open(self, name: str) -> Iterator[Reader]:
        path = f"{self._root}/{name}"
        with telling("reading", path):
            file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed below
        with file:
            yield file
