"""``kit unpack --include-remote``: objects that a ModelKit only refers to come to their place beside its files.

Each grows under a hidden name in the target, is verified whole, and is renamed when the ModelKit's own files are there.
A run that was killed leaves what came; the same command goes on from its end.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from kitops.content.events import Advanced, Finished, Message, Planned, Started
from kitops.content.lock import try_lock
from kitops.content.parallel import run_all
from kitops.content.write import write_at
from kitops.errors import FileSystemError, IntegrityError, InvalidValueError, NotFoundError
from kitops.formats.parts import Kind
from kitops.formats.select import is_dataset_selected
from kitops.kitfile.remote import find_clash, object_path
from kitops.kitfile.schema import clean_path
from kitops.layers.codec import Codec
from kitops.layers.ignore import is_ours
from kitops.layers.layer_content import LayerContent
from kitops.layers.staging import Existing, check_absent
from kitops.layers.stamps import Tracked, stamp_of
from kitops.layers.untar import parse_path
from kitops.layers.write import Format
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.reference import Reference
from kitops.ops.locate import locate
from kitops.ops.reading import read_kit
from kitops.ops.remote_data import check_facts, differs, list_remote_datasets, open_remotes, read_on
from kitops.ops.unpack_record import FETCHED, Fetched
from kitops.store.filesystem import check_room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from kitops.content.protocols import Run
    from kitops.formats.modelkit import KitLayer
    from kitops.formats.select import Filter
    from kitops.importers.remote_object import RemoteObject
    from kitops.kitfile.schema import Kitfile
    from kitops.ops.locate import Located
    from kitops.ops.place import Place
    from kitops.ops.remote_data import RemoteDataset

PARTIAL: Final = ".kitops-unpacking."
"""How the hidden names begin; nothing packs what begins so, and nothing but a finished fetch removes it."""
_BLOCK: Final = 1 << 20
_PARTIAL_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def select_remote(kitfile: Kitfile, filters: Sequence[Filter]) -> list[RemoteDataset]:
    """The remote datasets that ``filters`` ask for.

    Raises:
        InvalidValueError: what the Kitfile says of one cannot be read.
    """
    return [
        one
        for one in list_remote_datasets(kitfile)
        if is_dataset_selected(filters, (one.dataset.name, clean_path(one.dataset.path)))
    ]


def list_remote_layers(
    place: Place, remote: Sequence[RemoteDataset], stack: ExitStack
) -> Iterator[tuple[KitLayer, Located]]:
    """The dataset layers of the ModelKits that datasets refer to, each below the path of its dataset.

    Args:
        place: where to look: the store, else the registry.
        remote: datasets; those that are no ModelKits are passed over.
        stack: keeps the ModelKits open.

    Raises:
        NotFoundError: a ModelKit is nowhere.
        IntegrityError: it is another than the one that was packed.
    """
    for one in remote:
        if not isinstance(one.remote, Reference):
            continue
        wanted = one.wanted.digest if one.wanted else None
        ref = one.remote if wanted is None or one.remote.digest else one.remote.with_digest(wanted)
        try:
            located = stack.enter_context(locate(place, ref))
        except NotFoundError as error:
            raise NotFoundError(f"{one.label}: {error.message}", hint=error.hint) from error
        if wanted is not None and located.desc.digest != wanted:
            raise differs(one, wanted, located.desc.digest)
        if wanted is None and one.remote.digest is None:
            place.run.observer(Message("warning", f"{one.label} is not pinned: it is what the tag is now"))
        kit = read_kit(located, place.run)
        below = _final_path(one, clean_path(one.dataset.path)) if clean_path(one.dataset.path) != "." else ""
        for layer in kit.layers:
            if layer.kind is Kind.DATASET:
                yield replace(layer, path=_join(below, layer.path), base=_join(below, layer.base)), located
        for inner in kit.kitfile.datasets:
            if inner.remote_path:
                label = inner.name or inner.path
                place.run.observer(Message("info", f"dataset {label} of {ref} stays at {inner.remote_path}"))


def _join(above: str, path: str) -> str:
    return f"{above}/{path}" if above and path else above or path


@dataclass(frozen=True, slots=True)
class _Partial:
    """An object on its way: the open hidden file, locked by this process."""

    one: RemoteDataset
    found: RemoteObject
    path: str
    name: str
    descriptor: int
    start: int

    @property
    def size(self) -> int:
        return self.found.facts.size


class RemoteFiles:
    """Fetches the objects of ``remote`` into the directory ``target``: first :meth:`fetch`, then :meth:`put_in_place`.

    Args:
        place: where.
        remote: datasets; those that are ModelKits are passed over.
        target: the directory; it need not be there before :meth:`fetch`.
        existing: what to do with files that are there.
        stack: closed when everything is done; files on the way are unlocked then.

    Raises:
        InvalidValueError: two of them go to one file.
        TrustError: a path leads out of the target.
        FileSystemError: a file is there already.
    """

    def __init__(
        self, place: Place, remote: Sequence[RemoteDataset], target: Path, existing: Existing, stack: ExitStack
    ) -> None:
        self._place = place
        self._target = target
        self._existing = existing
        self._stack = stack
        self._kept: list[int] = []
        self._wanted: list[tuple[RemoteDataset, str]] = []
        self._partials: list[_Partial] = []
        self._digests: list[Digest] = []
        taken: dict[str, str] = {}
        for one in remote:
            if isinstance(one.remote, Reference):
                continue
            path = target_path(one)
            if (other := find_clash(taken, path)) is not None:
                hint = "fetch them into directories of their own: --filter datasets:NAME"
                raise InvalidValueError(f"{one.label}: its file {path} is in the way of that of {other}", hint=hint)
            taken[path] = one.label
            if os.path.lexists(target):
                self._check_absent(path)
            if existing is Existing.KEEP and os.path.lexists(target / path):
                self._kept.append(os.lstat(target / path).st_size)
            else:
                self._wanted.append((one, path))

    def check_beside(self, is_taken: Callable[[str], bool]) -> None:
        """See that none of them goes to the path of a file that is unpacked.

        Raises:
            InvalidValueError: one does.
        """
        for one, path in self._wanted:
            if is_ours(path) or is_taken(path):
                hint = "fetch it into a directory of its own: --filter datasets:NAME"
                raise InvalidValueError(f"{one.label}: its file {path} is in the way of one of a layer", hint=hint)

    def fetch(self) -> None:
        """Bring every object under its hidden name, whole and verified.

        Raises:
            IntegrityError: one is not what its ``remoteHash`` says.
            SourceError: one is missing, or may not be read.
            NetworkError: its server cannot be reached.
            FileSystemError: there is no room for them, or another process is fetching the same.
        """
        if not self._wanted:
            return
        run = self._place.run
        with open_remotes(self._place) as remotes:
            opened = run_all(
                [lambda _, one=one: remotes.open(one.remote) for one, _ in self._wanted],  # type: ignore[misc]
                run,
                workers=run.concurrency,
            )
            for (one, path), found in zip(self._wanted, opened, strict=True):
                check_facts(one, found.facts)
                self._partials.append(self._open_partial(one, found, path))
            missing = sum(part.size - part.start for part in self._partials)
            self._check_room(missing)
            run.observer(Planned("fetch", len(self._partials), sum(part.size for part in self._partials)))
            jobs = [partial(_fetch, part) for part in self._partials]
            self._digests = run_all(jobs, run, workers=run.concurrency)

    def put_in_place(self) -> Fetched:
        """Give everything its final name.

        Raises:
            FileSystemError: something came in the way meanwhile.
        """
        made = []
        for part, digest in zip(self._partials, self._digests, strict=True):
            if (found := self._rename(part)) is not None:
                desc = Descriptor(FETCHED, digest, part.size)
                content = LayerContent(desc, Format.RAW, Codec.NONE, part.path, "", part.one.label)
                made.append((content, _track(part.path, found)))
        return Fetched(tuple(made), len(self._kept), sum(self._kept))

    def _open_partial(self, one: RemoteDataset, found: RemoteObject, path: str) -> _Partial:
        """The hidden file of an object, named for what it is to be, so that nothing else is ever added to it."""
        facts = found.facts
        key = "\0".join((one.dataset.remote_path, str(one.wanted), facts.etag, facts.version, str(facts.size), path))
        name = f"{PARTIAL}{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        full = self._target / name
        try:
            while True:
                descriptor = os.open(full, _PARTIAL_FLAGS, 0o666)
                try:
                    _lock(descriptor, full)
                    if os.path.lexists(full) and os.path.samestat(os.fstat(descriptor), os.lstat(full)):
                        start = os.fstat(descriptor).st_size
                        if start > facts.size:
                            os.ftruncate(descriptor, 0)
                            start = 0
                        self._stack.callback(os.close, descriptor)
                        return _Partial(one, found, path, name, descriptor, start)
                except BaseException:
                    os.close(descriptor)
                    raise
                os.close(descriptor)  # who had it finished meanwhile: that file has its final name now
        except OSError as error:
            raise FileSystemError.wrap(error, "writing", full) from error

    def _check_room(self, needed: int) -> None:
        check_room(str(self._target), needed, "fetching remote data into")

    def _check_absent(self, path: str) -> None:
        with _opened(self._target) as target:
            check_absent(target, path.split("/"), self._existing, path, is_dir=False)

    def _rename(self, part: _Partial) -> os.stat_result | None:
        """Give one file its final name, and say what it is then; None where another is kept."""
        self._check_absent(part.path)
        parts = part.path.split("/")
        with ExitStack() as stack:
            target = here = stack.enter_context(_opened(self._target))
            try:
                for name in parts[:-1]:
                    with suppress(FileExistsError):
                        os.mkdir(name, dir_fd=here)
                    here = os.open(name, _DIRECTORY, dir_fd=here)
                    stack.callback(os.close, here)
                if self._existing is Existing.KEEP and (size := _size_of(parts[-1], here)) is not None:
                    os.unlink(part.name, dir_fd=target)
                    self._kept.append(size)
                    return None
                os.rename(part.name, parts[-1], src_dir_fd=target, dst_dir_fd=here)
                return os.fstat(part.descriptor)
            except OSError as error:
                raise FileSystemError.wrap(error, "writing", self._target / part.path) from error


def _track(path: str, found: os.stat_result) -> Tracked:
    mode = stat.S_IMODE(found.st_mode)
    return Tracked(path, mode & 0o777, stamp_of(found), mode)


def _fetch(part: _Partial, run: Run) -> Digest:
    """Bring what is missing of one object, and verify the whole; what was there before is believed at most once."""
    item = part.path
    run.observer(Started(item, part.path, part.size))
    try:
        digest = _fill(part, part.start, run)
    except IntegrityError:
        _truncate(part)
        if not part.start:
            raise
        run.observer(Message("info", f"what was there of {part.path} is damaged: fetching it again"))
        run.observer(Advanced(item, -part.size))
        try:
            digest = _fill(part, 0, run)
        except IntegrityError:
            _truncate(part)
            raise
    run.observer(Finished(item, "done"))
    return digest


def _fill(part: _Partial, start: int, run: Run) -> Digest:
    hashers = _Hashers(part)
    at = 0
    try:
        while at < start:
            run.cancel.check()
            piece = os.pread(part.descriptor, min(_BLOCK, start - at), at)
            if not piece:
                break
            hashers.update(memoryview(piece))
            at += len(piece)
            run.observer(Advanced(part.path, len(piece)))
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", part.path) from error

    def use(piece: memoryview) -> None:
        nonlocal at
        run.cancel.check()
        hashers.update(piece)
        _write(part, piece, at)
        at += len(piece)
        run.observer(Advanced(part.path, len(piece)))

    read_on(part.found, at, run, use)
    return hashers.check()


def _write(part: _Partial, piece: memoryview, at: int) -> None:
    try:
        write_at(part.descriptor, piece, at)
    except OSError as error:
        raise FileSystemError.wrap(error, "writing", part.path, needed=part.size - at, free=None) from error


def _truncate(part: _Partial) -> None:
    try:
        os.ftruncate(part.descriptor, 0)
    except OSError as error:
        raise FileSystemError.wrap(error, "writing", part.path) from error


class _Hashers:
    """The digest of an object, and what it is compared with: one that is wanted or told, or an ETag that is an MD5."""

    def __init__(self, part: _Partial) -> None:
        self._part = part
        self._expected = (part.one.wanted.digest if part.one.wanted else None) or part.found.facts.digest
        self._hasher = self._expected.new_hasher() if self._expected else hashlib.sha256()
        is_md5 = self._expected is None and part.found.facts.md5
        self._md5 = hashlib.md5(usedforsecurity=False) if is_md5 else None

    def update(self, piece: memoryview) -> None:
        self._hasher.update(piece)
        if self._md5 is not None:
            self._md5.update(piece)

    def check(self) -> Digest:
        """The digest, once all bytes are known to be what was wanted."""
        part, actual = self._part, Digest.from_hasher(self._hasher)
        if self._expected is not None and actual != self._expected:
            raise differs(part.one, self._expected, actual)
        if self._md5 is not None and self._md5.hexdigest() != part.found.facts.md5:
            hint = "pack it with --pin-remote-content, which does not rely on what the server says"
            told, found = f"MD5 {part.found.facts.md5}", f"MD5 {self._md5.hexdigest()}"
            raise IntegrityError(part.one.label, told, found, hint=hint)
        return actual


def target_path(one: RemoteDataset) -> str:
    """Where an object goes, below the target.

    Raises:
        InvalidValueError: nobody says what its file is called.
        TrustError: it leads out.
    """
    path = None if isinstance(one.remote, Reference) else object_path(one.dataset.path, one.remote)
    if path is None:
        raise InvalidValueError(f"{one.label}: its file has no name", hint="give the dataset a path with a file name")
    return _final_path(one, path)


def _final_path(one: RemoteDataset, path: str) -> str:
    """A path below the target.

    Raises:
        TrustError: it leads out of it.
    """
    return parse_path(path.encode(), one.label)


class _opened:  # noqa: N801 - reads as the function that it stands for
    """The target as a descriptor."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> int:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise FileSystemError.wrap(error, "unpacking into", self._path) from error
        return self._descriptor

    def __exit__(self, *exc_details: object) -> None:
        os.close(self._descriptor)


def _size_of(name: str, directory: int) -> int | None:
    """Bytes of a file; None where there is none."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_size
    except FileNotFoundError:
        return None


def _lock(descriptor: int, path: Path) -> None:
    """One process at a time; file systems without locks do without.

    Raises:
        FileSystemError: another process has it.
    """
    if not try_lock(descriptor):
        raise FileSystemError(
            f"fetching into {path.parent}: another process is fetching the same data there",
            path=str(path),
            hint="wait for it, or unpack into another directory",
        )
