"""The layers of an import: what the store has is used, what it lacks is fetched, each file once.

A file whose SHA-256 the source tells lands as a blob of the store, piece by piece, and a killed import goes on with it.
Other files (small ones: what git keeps outside LFS) are fetched whole into a directory that goes with the import.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kitops.content.events import Advanced, Finished, Message, Planned, Started
from kitops.content.parallel import run_all
from kitops.content.protocols import Fingerprint, LayerRecord
from kitops.errors import FileSystemError, IntegrityError, NetworkError
from kitops.formats.build import PackedLayer
from kitops.importers.tree import OnDisk
from kitops.layers.ignore import read_ignore
from kitops.layers.walk import scan
from kitops.layers.write import Format, layer_size, write_layer
from kitops.oci.descriptor import Descriptor
from kitops.oci.reference import UNNAMED
from kitops.store.filesystem import check_room
from kitops.store.take import take_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kitops.content.protocols import Run
    from kitops.formats.plan import PlannedLayer
    from kitops.importers.tree import RemoteFile, Tree
    from kitops.oci.digest import Digest
    from kitops.ops.through import Opener
    from kitops.store import Store
    from kitops.store.lease import Lease

BUFFER: Final = 256 * 1024
PATIENCE: Final = 8
"""How often in a row a connection may fail without a byte, before it is given up."""

_MEDIA_TYPE: Final = "application/octet-stream"

Work = tuple["PlannedLayer", tuple["RemoteFile", ...]]


class Gathering:
    """The files of one import on their way into layers. Its methods may run in several threads.

    Args:
        store: takes blobs.
        tree: has the files.
        lease: holds the blobs.
        run: whom to tell, what to watch, how many files at a time.
        through: leave raw layers whose digest the source tells where they are: they go to a registry from there.
    """

    def __init__(self, store: Store, tree: Tree, lease: Lease, run: Run, *, through: bool = False) -> None:
        self.fetched_size = 0
        self.openers: dict[Digest, Opener] = {}
        self._through = through
        self._store = store
        self._tree = tree
        self._lease = lease
        self._run = run
        self._lock = threading.Lock()
        self._digests: dict[str, str] = {}

    def make_layers(self, work: Sequence[Work]) -> list[PackedLayer]:
        """The layers of ``work``, in its order.

        Raises:
            KitError: see :func:`kitops.ops.import_.import_`.
        """
        done = {planned.part: layer for planned, files in work if (layer := self._known(planned, files)) is not None}
        rest = [(planned, files) for planned, files in work if planned.part not in done]
        wanted = {file.path: file for _, files in rest for file in files}
        self._run.observer(Planned("import", len(wanted), sum(file.size for file in wanted.values())))
        with self._staging() as staging:
            self._check_space(wanted.values())
            if isinstance(self._tree, OnDisk):
                self._tree.prepare(list(wanted.values()), self._run)
            jobs = [
                partial(self._bring, staging, file) for file in sorted(wanted.values(), key=lambda file: -file.size)
            ]
            run_all(jobs, self._run, workers=self._run.concurrency)
            makers = [partial(self._make, staging, planned, files) for planned, files in rest]
            made = run_all(makers, self._run, workers=os.cpu_count() or 1)
        done |= {layer.planned.part: layer for layer in made}
        return [done[planned.part] for planned, _ in work]

    def digests_of(self, file: RemoteFile) -> dict[str, str]:
        """What is known of a file's bytes, by algorithm as SLSA names them."""
        found = self._digests.get(file.path) or (file.digest.encoded if file.digest else "")
        return {key: value for key, value in (("sha256", found), ("gitBlob", file.git_blob)) if value}

    @property
    def _is_on_disk(self) -> bool:
        return isinstance(self._tree, OnDisk)

    # --- what is here already

    def _known(self, planned: PlannedLayer, files: Sequence[RemoteFile]) -> PackedLayer | None:
        """The layer, if the store has it."""
        record = self._record_of(planned, files)
        if self._through and planned.form is Format.RAW and files[0].digest is not None and not self._is_on_disk:
            self.openers[files[0].digest] = partial(self._tree.open, files[0])
            return _packed(planned, files, LayerRecord(files[0].digest, files[0].size, files[0].digest))
        if record is None or not self._store.blobs.hold(record.digest, record.size, self._lease):
            return None
        return _packed(planned, files, record)

    def _record_of(self, planned: PlannedLayer, files: Sequence[RemoteFile]) -> LayerRecord | None:
        """What the layer's blob must be: by the digest that the source tells, or as it was packed from these files."""
        if planned.form is Format.RAW and files[0].digest is not None:
            return LayerRecord(files[0].digest, files[0].size, files[0].digest)
        stamp = self._fingerprint(planned, files)
        return None if stamp is None else self._store.digest_cache.get(stamp)

    def _fingerprint(self, planned: PlannedLayer, files: Sequence[RemoteFile]) -> Fingerprint | None:
        """What the layer is made of, by the names that the source has for the bytes; None where it has none."""
        hasher = hashlib.sha256(f"import\0{self._tree.origin.uri}\0{planned.form}\0{planned.codec}".encode())
        for file in sorted(files, key=lambda file: file.path):
            name = str(file.digest) if file.digest else file.git_blob
            if not name:
                return None
            hasher.update(f"\0{file.path}\0{name}\0{file.executable}".encode())
        return Fingerprint(hasher.digest(), 0, frozenset())

    # --- what is not

    def _check_space(self, files: Iterable[RemoteFile]) -> None:
        """Refuse before the first byte when it will not fit.

        Raises:
            FileSystemError: with both numbers.
        """
        check_room(self._store.layout.root, sum(file.size for file in files), "importing to")

    def _bring(self, staging: Path, file: RemoteFile, run: Run) -> None:
        """Have one file here: as a blob where its digest is known, else in ``staging``."""
        run.observer(Started(file.path, file.path, file.size))
        if file.digest is not None and self._store.blobs.hold(file.digest, file.size, self._lease):
            run.observer(Finished(file.path, "exists"))
            return
        if isinstance(self._tree, OnDisk):
            path = self._tree.path_of(file)
            if file.digest is None:
                give_name(path, staging / file.path, _mode(file))
            else:
                self._take(path, file, run)
            with self._lock:
                self.fetched_size += file.size
        elif file.digest is None:
            self._stage(staging / file.path, file, run)
        else:
            self._land(file, Descriptor(_MEDIA_TYPE, file.digest, file.size), run)
        run.observer(Finished(file.path, "done"))

    def _take(self, path: Path, file: RemoteFile, run: Run, *, is_counted: bool = False) -> LayerRecord:
        """Make a blob of a file that is on the disk; one whose bytes were counted when they came is not counted."""

        def moved(size: int) -> None:
            if not is_counted:
                run.observer(Advanced(file.path, size))

        try:
            digest, size = take_file(self._store.blobs, path, self._lease, run, expected=file.digest, moved=moved)
        except IntegrityError as error:
            raise self._wrong(file, error.actual) from error
        with self._lock:
            self._digests[file.path] = digest.encoded
        return LayerRecord(digest, size, digest)

    def _land(self, file: RemoteFile, desc: Descriptor, run: Run) -> None:
        """Fetch a blob; of a killed attempt before, only what is missing."""
        sink = self._store.repository(UNNAMED, self._lease)
        with sink.land(desc) as landing:
            for attempt in (1, 2):
                while (missing := landing.missing()) and not landing.is_superseded():
                    for span in missing:
                        self._read(file, span.start, span.end, landing.write, run)
                try:
                    landing.finish()
                    return
                except IntegrityError as error:
                    if attempt == 2:
                        raise self._wrong(file, error.actual) from error
                    run.observer(Advanced(file.path, -file.size))
                    run.observer(Message("warning", f"{file.path} came damaged; fetching it again"))
                    landing.restart()

    def _stage(self, path: Path, file: RemoteFile, run: Run) -> None:
        """Fetch a file into the staging directory."""
        hasher = hashlib.sha256()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as target:

                def write(_: int, chunk: memoryview) -> int:
                    hasher.update(chunk)
                    return target.write(chunk)

                self._read(file, 0, file.size, write, run)
            path.chmod(_mode(file))
        except OSError as error:
            raise FileSystemError.wrap(error, "writing", path, needed=file.size) from error
        with self._lock:
            self._digests[file.path] = hasher.hexdigest()

    def _read(self, file: RemoteFile, start: int, end: int, write: Callable[[int, memoryview], int], run: Run) -> None:
        """Read from ``start`` to ``end``, going on after breaks."""
        buffer = memoryview(bytearray(BUFFER))
        failures = 0
        while start < end:
            before = start
            try:
                with self._tree.open(file, start) as reader:
                    while start < end and (count := reader.readinto(buffer[: end - start])):
                        run.cancel.check()
                        write(start, buffer[:count])
                        start += count
                        self._count(file, count, run)
                if start < end:
                    raise NetworkError(f"reading {file.path} of {self._tree.origin.name}: it ended too early")
            except NetworkError as error:
                failures = 1 if start > before else failures + 1
                if failures > PATIENCE or error.permanent:
                    raise
                run.observer(Message("warning", f"{error.message}; trying again"))
                run.cancel.wait(min(2.0 ** (failures - 2), 30.0))

    def _count(self, file: RemoteFile, size: int, run: Run) -> None:
        with self._lock:
            self.fetched_size += size
        run.observer(Advanced(file.path, size))

    def _wrong(self, file: RemoteFile, actual: object) -> IntegrityError:
        return IntegrityError(f"{file.path} of {self._tree.origin.uri}", str(file.digest), str(actual))

    # --- layers

    def _make(self, staging: Path, planned: PlannedLayer, files: Sequence[RemoteFile], run: Run) -> PackedLayer:
        """Make the layer of files that are all here."""
        if planned.form is Format.RAW and files[0].digest is not None:
            return _packed(planned, files, LayerRecord(files[0].digest, files[0].size, files[0].digest))
        started_ns = time.time_ns()
        if planned.form is Format.RAW:
            record = self._take(staging / files[0].path, files[0], run, is_counted=True)
        else:
            record = self._write_tar(staging, planned, files, run)
        stamp = self._fingerprint(planned, files)
        if stamp is not None:
            self._store.digest_cache.put(stamp, record, started_ns)
        return _packed(planned, files, record)

    def _write_tar(self, staging: Path, planned: PlannedLayer, files: Sequence[RemoteFile], run: Run) -> LayerRecord:
        for file in files:
            if file.digest is not None:
                give_name(self._store.blobs.path(file.digest), staging / file.path, _mode(file))
        found = scan(staging, planned.part.path, ignore=read_ignore(staging), deeper=planned.deeper)
        with self._store.blobs.create(self._lease) as blob:
            size = layer_size(found.entries, planned.form)
            record = write_layer(
                found.entries,
                planned.form,
                planned.codec,
                blob.fd,
                size=size,
                overlap=False,
                run=run,
                moved=_ignore_size,
            )
            blob.commit(record.digest, record.size)
        return record

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        """A directory that goes with the block, or with the lease of a killed import."""
        self._store.layout.prepare()
        self._lease.add()
        path = Path(self._store.layout.temporary(self._lease.id))
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise FileSystemError.wrap(error, "writing", path) from error
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def give_name(source: Path, path: Path, mode: int) -> None:
    """Have ``path`` be a file with the bytes of ``source``: another link where its mode is right, else a copy."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if source.stat().st_mode & 0o777 == mode:
            try:
                os.link(source, path)
                return
            except OSError:  # another file system, or one without links
                pass
        shutil.copyfile(source, path)
        path.chmod(mode)
    except OSError as error:
        raise FileSystemError.wrap(error, "writing", path) from error


def _packed(planned: PlannedLayer, files: Sequence[RemoteFile], record: LayerRecord) -> PackedLayer:
    if planned.form is Format.TAR:
        return PackedLayer(planned, record)
    return PackedLayer(planned, record, mode=_mode(files[0]), file_size=files[0].size)


def _mode(file: RemoteFile) -> int:
    """Permission bits: sources have none but the one that git keeps."""
    return 0o755 if file.executable else 0o644


def _ignore_size(_: int) -> None:
    """The bytes of a layer were counted when its files came."""
