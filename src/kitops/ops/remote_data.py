"""Datasets that stay where they are (``remotePath``): checked, or given their ``remoteHash``, when they are packed."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kitops.content.events import Advanced, Finished, Message, Started
from kitops.content.parallel import run_all
from kitops.errors import IntegrityError, InvalidValueError, NetworkError
from kitops.formats.parts import Kind
from kitops.importers.remote_object import ChangedError
from kitops.kitfile.pin import Pin, write_pins
from kitops.kitfile.remote import RemoteHash, S3Path, parse_remote
from kitops.oci.digest import Digest
from kitops.oci.reference import Reference
from kitops.ops.locate import locate
from kitops.ops.reading import read_kit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path
    from typing import Literal

    from kitops.content.protocols import Run
    from kitops.importers.remote_object import ObjectFacts, RemoteObject
    from kitops.importers.s3 import S3
    from kitops.kitfile.remote import Remote, WebPath
    from kitops.kitfile.schema import Dataset, Kitfile
    from kitops.ops.place import Place
    from kitops.registry.transport import Transport

BLOCK = 256 * 1024
ATTEMPTS = 5
"""Breaks in a row, without a byte between them, after which an object is given up."""
PAUSE_SECONDS = 0.25


class Remotes:
    """The ways to remote objects, each opened when it is first needed. Thread-safe."""

    def __init__(self, place: Place, run: Run, stack: ExitStack) -> None:
        self._place = place
        self._run = run
        self._stack = stack
        self._lock = threading.Lock()
        self._s3: S3 | None = None
        self._transport: Transport | None = None

    def open(self, remote: S3Path | WebPath) -> RemoteObject:
        """Ask what is there; once more where the network fails.

        Raises:
            SourceError: there is nothing, or we may not read it; or boto3 is not installed.
            NetworkError: the server cannot be reached.
        """
        return persist(self._run, lambda: self._open(remote))

    def _open(self, remote: S3Path | WebPath) -> RemoteObject:
        if isinstance(remote, S3Path):
            from kitops.importers.s3 import S3  # noqa: PLC0415 - an extra

            with self._lock:
                if self._s3 is None:
                    self._s3 = S3("kitops", self._run.concurrency, self._run.cancel)
            return self._s3.open(remote.bucket, remote.key, remote.version)
        from kitops.importers.https_object import open_https  # noqa: PLC0415 - only packs with URLs pay for urllib3
        from kitops.registry.transport import Transport  # noqa: PLC0415 - as above

        with self._lock:
            if self._transport is None:
                self._transport = Transport(self._place.connection().network, self._run.cancel, self._run.concurrency)
                self._stack.callback(self._transport.close)
        return open_https(remote.url, self._transport)


@contextmanager
def open_remotes(place: Place) -> Iterator[Remotes]:
    """The ways to remote objects while the block runs."""
    with ExitStack() as stack:
        yield Remotes(place, place.run, stack)


def persist(run: Run, ask: Callable[[], RemoteObject]) -> RemoteObject:
    """``ask``, a second time where the network failed the first."""
    try:
        return ask()
    except NetworkError as error:
        if error.permanent:
            raise
        run.cancel.wait(PAUSE_SECONDS)
        return ask()


def read_on(found: RemoteObject, start: int, run: Run, use: Callable[[memoryview], None]) -> None:
    """Give ``use`` the bytes from ``start`` to the end, over as many connections as it takes.

    Raises:
        IntegrityError: another object is in its place, or there are more bytes than announced.
        NetworkError: the connection broke five times without a byte between.
    """
    at, breaks = start, 0
    buffer = memoryview(bytearray(BLOCK))
    while at < found.facts.size:
        before = at
        try:
            with found.open(at) as reader:
                while count := reader.readinto(buffer):
                    if at + count > found.facts.size:
                        raise IntegrityError(found.name, f"{found.facts.size} bytes", "more")
                    use(buffer[:count])
                    at += count
            if at < found.facts.size:
                raise NetworkError(f"reading {found.name}: it ended after {at} of {found.facts.size} bytes")
        except NetworkError as error:
            breaks = 1 if at > before else breaks + 1
            if error.permanent or breaks >= ATTEMPTS:
                raise
            run.cancel.wait(PAUSE_SECONDS * 2 ** (breaks - 1))


@dataclass(frozen=True, slots=True)
class RemoteDataset:
    """A dataset that stays where it is; ``wanted`` is None where the Kitfile does not say."""

    index: int
    dataset: Dataset
    remote: Remote
    wanted: RemoteHash | None

    @property
    def label(self) -> str:
        return f"dataset {self.dataset.name or self.dataset.path or self.index} at {self.remote}"


def list_remote_datasets(kitfile: Kitfile) -> list[RemoteDataset]:
    """Those of ``kitfile``.

    Raises:
        InvalidValueError: a ``remotePath`` or ``remoteHash`` of a ModelKit that another tool packed is none.
    """
    return [
        RemoteDataset(
            index,
            dataset,
            parse_remote(dataset.remote_path),
            RemoteHash.parse(dataset.remote_hash) if dataset.remote_hash.strip() else None,
        )
        for index, dataset in enumerate(kitfile.datasets)
        if dataset.remote_path
    ]


def settle_remote_data(
    place: Place, kitfile: Kitfile, text: bytes, path: Path | None, how: Literal["check", "skip", "pin", "pin-content"]
) -> Kitfile:
    """What ``kit pack`` does about remote datasets.

    Args:
        place: where.
        kitfile: has at least one.
        text: of the Kitfile, as it was read.
        path: of the Kitfile, which is written with the hashes that were missing; None where it is no file.
        how: check them, skip that, or fill in what is missing first.

    Raises:
        KitError: as :func:`check_remote_data`; or the Kitfile cannot be written.
    """
    if how == "skip":
        number = sum(1 for dataset in kitfile.datasets if dataset.remote_path)
        place.run.observer(Message("warning", f"{number} remote datasets were not checked"))
        return kitfile
    if how == "check":
        check_remote_data(place, kitfile)
        return kitfile
    pins = find_pins(place, kitfile, by_content=how == "pin-content")
    check_remote_data(place, kitfile, but=pins)
    return _write_pins(place.run, kitfile, text, path, pins)


def _write_pins(run: Run, kitfile: Kitfile, text: bytes, path: Path | None, pins: Mapping[int, Pin]) -> Kitfile:
    if not pins:
        return kitfile
    from kitops.ops.init import write_kitfile  # noqa: PLC0415 - rarely needed

    pinned = write_pins(text, str(path or "standard input"), pins)
    for index, pin in pins.items():
        dataset = pinned.kitfile.datasets[index]
        label = dataset.name or dataset.path
        run.observer(Message("info", f"dataset {label} is pinned: remoteHash {pin.remote_hash}"))
    if path is None:
        run.observer(Message("warning", "the Kitfile came from standard input: the hashes are only in the ModelKit"))
        return pinned.kitfile
    if not pinned.is_edited:
        run.observer(Message("warning", f"{path} was written anew, without its comments"))
    write_kitfile(path.resolve(), pinned.text)
    return pinned.kitfile


def check_remote_data(place: Place, kitfile: Kitfile, but: Collection[int] = ()) -> None:
    """Check that every remote dataset is there, and is what its ``remoteHash`` says.

    Of an object with a content hash every byte is read, unless the server keeps its SHA-256.

    Args:
        place: where.
        kitfile: has them.
        but: numbers of those that need no check.

    Raises:
        SourceError: one is missing, or may not be read.
        IntegrityError: one is something else.
        NetworkError: its server cannot be reached.
    """
    found = [one for one in list_remote_datasets(kitfile) if one.index not in but]
    with open_remotes(place) as remotes:
        jobs = [partial(_check_one, place, remotes, one) for one in found]
        run_all(jobs, place.run, workers=place.run.concurrency)


def find_pins(place: Place, kitfile: Kitfile, *, by_content: bool) -> dict[int, Pin]:
    """What the remote datasets without a ``remoteHash`` are now, by their number.

    Args:
        place: where.
        kitfile: has them.
        by_content: the SHA-256 of every byte; else the ETag (and version) where the server gives one.

    Raises:
        KitError: as :func:`check_remote_data`.
    """
    found = [one for one in list_remote_datasets(kitfile) if one.wanted is None]
    with open_remotes(place) as remotes:
        jobs = [partial(_pin_one, place, remotes, one, by_content) for one in found]
        pins = run_all(jobs, place.run, workers=place.run.concurrency)
    return {one.index: pin for one, pin in zip(found, pins, strict=True)}


def _check_one(place: Place, remotes: Remotes, one: RemoteDataset, run: Run) -> None:
    if isinstance(one.remote, Reference):
        digest = _ask_modelkit(place, one, one.remote)
        wanted = one.wanted.digest if one.wanted else one.remote.digest
        if wanted is None:
            text = f"{one.label} is not pinned: it will be what the tag is then (--pin-remote fills in the digest)"
            run.observer(Message("warning", text))
        elif digest != wanted:
            raise differs(one, wanted, digest)
        return
    found = remotes.open(one.remote)
    check_facts(one, found.facts)
    wanted = one.wanted.digest if one.wanted else None
    if wanted is not None and found.facts.digest != wanted:
        actual = _hash(found, wanted, run)
        if actual != wanted:
            raise differs(one, wanted, actual)


def _pin_one(place: Place, remotes: Remotes, one: RemoteDataset, by_content: bool, run: Run) -> Pin:  # noqa: FBT001
    if isinstance(one.remote, Reference):
        return Pin(str(_ask_modelkit(place, one, one.remote)))
    found = remotes.open(one.remote)
    facts = found.facts
    is_new_version = isinstance(one.remote, S3Path) and facts.version and not one.remote.version
    suffix = f"?versionId={facts.version}" if is_new_version else ""
    if facts.digest is not None:
        return Pin(str(facts.digest), suffix)
    if facts.etag and not by_content:
        return Pin(facts.etag, suffix)
    if not by_content:
        run.observer(Message("info", f"{one.label} has no ETag: its content is read"))
    return Pin(str(_hash(found, Digest.of(b""), run)), suffix)


def _ask_modelkit(place: Place, one: RemoteDataset, ref: Reference) -> Digest:
    """The digest of the ModelKit that a dataset is taken from.

    Raises:
        NotFoundError: it is nowhere.
        InvalidValueError: it has no dataset.
    """
    with locate(place, ref) as located:
        kit = read_kit(located, place.run)
        if not any(layer.kind is Kind.DATASET for layer in kit.layers):
            raise InvalidValueError(f"{one.label}: that ModelKit has no dataset with files", hint=f"kit info {ref}")
        return located.desc.digest


def check_facts(one: RemoteDataset, facts: ObjectFacts) -> None:
    """Raise IntegrityError where what a server says of an object is not what is wanted.

    Raises:
        InvalidValueError: nobody said what is wanted.
    """
    wanted = one.wanted
    if wanted is None:
        raise InvalidValueError(f"{one.label}: the Kitfile has no remoteHash, so it cannot be verified")
    if wanted.etag and facts.etag != wanted.etag:
        raise differs(one, wanted, f"ETag {facts.etag}" if facts.etag else "no strong ETag")
    told = facts.digest
    if told and wanted.digest and told.algorithm == wanted.digest.algorithm and told != wanted.digest:
        raise differs(one, wanted, told)


def differs(one: RemoteDataset, expected: object, actual: object) -> IntegrityError:
    """The error about a remote dataset that is not what its ``remoteHash`` says."""
    hint = "if it was changed on purpose, take remoteHash out of the Kitfile and pack with --pin-remote"
    return ChangedError(one.label, expected, actual, hint=hint)


def _hash(found: RemoteObject, like: Digest, run: Run) -> Digest:
    """The digest of an object's bytes, which are read once."""
    hasher = like.new_hasher()
    run.observer(Started(found.name, f"reading {found.name}", found.facts.size))

    def use(piece: memoryview) -> None:
        run.cancel.check()
        hasher.update(piece)
        run.observer(Advanced(found.name, len(piece)))

    read_on(found, 0, run, use)
    run.observer(Finished(found.name, "done"))
    return Digest.from_hasher(hasher)
