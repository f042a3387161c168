"""``kit unpack``: the files of a ModelKit appear in a directory, whole and verified, or not at all."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from kitops.content.events import Advanced, Finished, Message, Planned, Started
from kitops.content.protocols import Gapped
from kitops.errors import FileSystemError, IntegrityError, KitError, TrustError, printable
from kitops.formats.modelkit import newest_first
from kitops.formats.parts import Kind
from kitops.formats.select import NoPartError, is_kitfile_selected, is_model_selected, select_layers
from kitops.formats.shape import Shape
from kitops.kitfile.dump import dump
from kitops.layers.extract import Existing, Extraction
from kitops.layers.staging import absolute
from kitops.layers.write import Format
from kitops.ops.choices import check_choice
from kitops.ops.locate import Located, complete, locate
from kitops.ops.parents import open_parents
from kitops.ops.reading import layer_content, read_kit
from kitops.ops.unpack_record import Record, RecordedLayer, note_kitfile, read_record, write_record
from kitops.ops.unpack_streams import LayerStreams, want
from kitops.store.filesystem import check_room

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from kitops.content.protocols import Run
    from kitops.formats.modelkit import KitLayer, ModelKit
    from kitops.formats.select import Filter
    from kitops.layers.extract import Extracted
    from kitops.layers.layer_content import LayerContent
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.oci.reference import Reference
    from kitops.ops.locate import Where
    from kitops.ops.place import Place
    from kitops.ops.remote_data import RemoteDataset
    from kitops.ops.remote_fetch import RemoteFiles
    from kitops.ops.unpack_record import Fetched
    from kitops.ops.unpack_streams import Wanted

_EXISTING: Final = {"refuse": Existing.REFUSE, "overwrite": Existing.OVERWRITE, "keep": Existing.KEEP}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackOptions:
    """How to unpack; InvalidValueError where ``existing`` is none of the three words.

    Args:
        existing: what to do with a file that is there already: refuse everything, overwrite it, keep it.
        filters: unpack only what one of them asks for.
        where: look in the store first, only there, or only in the registry.
        record: leave the record that `kit status` and `kit verify` read.
        include_remote: fetch remote datasets too.
    """

    existing: Literal["refuse", "overwrite", "keep"] = "refuse"
    filters: Sequence[Filter] = ()
    where: Where = "local-first"
    record: bool = True
    include_remote: bool = False

    def __post_init__(self) -> None:
        check_choice("existing", self.existing, _EXISTING)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was unpacked.

    Args:
        desc: the ModelKit.
        directory: where.
        written: number of files made.
        kept: number of files that were there and were left.
        size: bytes of the files made.
        reflinked: those of them that take no space, because they share blocks with the store.
        kept_size: bytes of the files that were left, as they are.
    """

    desc: Descriptor
    directory: Path
    written: int
    kept: int
    size: int
    reflinked: int = 0
    kept_size: int = 0

    def with_fetched(self, fetched: Fetched) -> Unpacked:
        """With the files of remote datasets."""
        return replace(
            self,
            written=self.written + len(fetched.files),
            kept=self.kept + fetched.kept,
            size=self.size + fetched.size,
            kept_size=self.kept_size + fetched.kept_size,
        )

    @property
    def copied(self) -> int:
        """Bytes that were written."""
        return self.size - self.reflinked


@dataclass(frozen=True, slots=True)
class _Job:
    """One layer and where its blob is."""

    layer: KitLayer
    located: Located

    @property
    def content(self) -> LayerContent:
        return layer_content(self.layer, self.located.ref)


def unpack(place: Place, ref: Reference, target: Path, options: UnpackOptions | None = None) -> Unpacked:
    """Unpack ``ref`` into the directory ``target``, which is made where it is missing.

    The model of a parent ModelKit (``model.path`` a reference) is unpacked with it.

    Raises:
        NotFoundError: there is no such ModelKit, or no part fits the filters.
        FileSystemError: a file is there already, the disk is full, or something cannot be written.
        TrustError: a layer wants to write outside of ``target``, or is otherwise unsafe.
        IntegrityError: a layer is damaged, or a remote dataset is not what it was.
        SourceError: a remote dataset is missing, or may not be read.
    """
    options = options or UnpackOptions()
    ref, directory = complete(ref, place.run), absolute(target)
    with ExitStack() as stack:
        located = stack.enter_context(locate(place, ref, options.where))
        kit = read_kit(located, place.run)
        jobs = [_Job(layer, located) for layer in newest_first(select_layers(kit, options.filters))]
        jobs += _list_parent_jobs(place, kit, options, stack)
        remote = _select_remote(kit, options)
        jobs += _list_remote_jobs(place, remote, stack)
        jobs = _fill_gaps(place, jobs, options, stack)
        if options.filters and not jobs and not remote and not is_kitfile_selected(options.filters):
            raise NoPartError(ref, f"kit info {ref}")
        files = _open_remote_files(place, remote, directory, options, stack)
        if not options.include_remote:
            _tell_remote_datasets(place, kit)
        place.run.observer(Planned("unpack", len(jobs), sum(job.layer.desc.size for job in jobs)))
        done = _extract_patiently(place, kit, jobs, directory, options, files=files)
        fetched = files.put_in_place() if files else None
        if options.record:
            _leave_record(place.run, located, jobs, done, directory, options=options, fetched=fetched)
        if kit.shape is Shape.IMAGE and not options.filters and done.written + done.kept <= 1:
            place.run.observer(Message("warning", f"{ref} has no file below /models"))
    unpacked = Unpacked(located.desc, target, done.written, done.kept, done.size, done.reflinked, done.kept_size)
    return unpacked if fetched is None else unpacked.with_fetched(fetched)


def _leave_record(
    run: Run,
    located: Located,
    jobs: Sequence[_Job],
    done: Extracted,
    target: Path,
    *,
    options: UnpackOptions,
    fetched: Fetched | None,
) -> None:
    """Note what was unpacked, for ``kit status``; an unpack without a note is an unpack all the same."""
    layers = tuple(
        RecordedLayer(job.located.ref, job.content, tuple(members))
        for job, members in zip(jobs, done.members, strict=True)
    )
    if fetched is not None:
        layers += tuple(RecordedLayer(located.ref, content, (member,)) for content, member in fetched.files)
    kitfile = note_kitfile(target / "Kitfile") if is_kitfile_selected(options.filters) else None
    record = Record(located.ref, located.desc, layers, bool(options.filters), kitfile)
    try:
        if (before := read_record(target)) is not None:
            record = before.merge(record)
        write_record(target, record)
    except FileSystemError as error:
        run.observer(Message("warning", f"{error.message}: `kit status` will know less"))


def _list_parent_jobs(place: Place, kit: ModelKit, options: UnpackOptions, stack: ExitStack) -> list[_Job]:
    """The model layers of the parents; what a nearer ModelKit has at the same path wins.

    Who wants nothing of a model needs no parent, and none is looked for.
    """
    if not is_model_selected(options.filters):
        return []
    taken = {layer.path for layer in kit.layers}
    jobs: list[_Job] = []
    for parent in open_parents(place, kit.kitfile, stack):
        found = [
            layer
            for layer in newest_first(select_layers(parent.kit, options.filters))
            if layer.kind in (Kind.MODEL, Kind.MODEL_PART) and layer.path not in taken
        ]
        jobs += [_Job(layer, parent.located) for layer in found]
        taken |= {layer.path for layer in found}
    return jobs


def _fill_gaps(place: Place, jobs: Sequence[_Job], options: UnpackOptions, stack: ExitStack) -> list[_Job]:
    """The jobs with those layers that a filtered pull left out of the store coming from their registry.

    Raises:
        NotFoundError: a layer is lost from the store, or only the store may be looked at.
    """
    remote: dict[Reference, Located] = {}
    found = []
    for job in jobs:
        located = job.located
        if isinstance(located.source, Gapped) and located.source.gaps([job.layer.desc]):
            ref = located.ref
            is_left_out = job.layer.desc.digest in place.store.refs.details(ref).absent
            if not is_left_out or ref.is_local or options.where == "local":
                raise located.source.explain_gap(job.layer.desc)
            if ref not in remote:
                place.run.observer(Message("info", f"{ref} was pulled in part: the rest comes from {ref.registry}"))
                source = stack.enter_context(place.registry(ref, mirrored=True))
                remote[ref] = Located(ref, located.desc, source, is_local=False)
            found.append(_Job(job.layer, remote[ref]))
        else:
            found.append(job)
    return found


def _tell_remote_datasets(place: Place, kit: ModelKit) -> None:
    for dataset in kit.kitfile.datasets:
        if dataset.remote_path:
            label, where = printable(dataset.name or dataset.path), printable(dataset.remote_path)
            place.run.observer(Message("info", f"dataset {label} stays at {where}"))


def _select_remote(kit: ModelKit, options: UnpackOptions) -> list[RemoteDataset]:
    if not options.include_remote:
        return []
    from kitops.ops.remote_fetch import select_remote  # noqa: PLC0415 - only --include-remote pays for it

    return select_remote(kit.kitfile, options.filters)


def _list_remote_jobs(place: Place, remote: Sequence[RemoteDataset], stack: ExitStack) -> list[_Job]:
    """The datasets of other ModelKits, each below the path of the dataset that refers to it."""
    if not remote:
        return []
    from kitops.ops.remote_fetch import list_remote_layers  # noqa: PLC0415 - as above

    return [_Job(layer, located) for layer, located in list_remote_layers(place, remote, stack)]


def _open_remote_files(
    place: Place, remote: Sequence[RemoteDataset], target: Path, options: UnpackOptions, stack: ExitStack
) -> RemoteFiles | None:
    if not remote:
        return None
    from kitops.ops.remote_fetch import RemoteFiles  # noqa: PLC0415 - as above

    return RemoteFiles(place, remote, target, _EXISTING[options.existing], stack)


def _extract_patiently(
    place: Place,
    kit: ModelKit,
    jobs: Sequence[_Job],
    target: Path,
    options: UnpackOptions,
    *,
    files: RemoteFiles | None,
) -> Extracted:
    """Extract; a layer that came damaged comes once more, and so does one made of what a killed run left."""
    made = [path for path in (target, *target.parents) if not path.exists()]
    again: dict[Digest, bool] = {}
    with _unmade(made):
        while True:
            try:
                return _extract(place, kit, jobs, target, options, files=files, again=again)
            except _DamagedError as error:
                place.run.observer(Message("warning", f"{error.message}; it comes once more"))
                again[error.digest] = error.has_come


def _extract(
    place: Place,
    kit: ModelKit,
    jobs: Sequence[_Job],
    target: Path,
    options: UnpackOptions,
    *,
    files: RemoteFiles | None,
    again: Mapping[Digest, bool],
) -> Extracted:
    run = place.run
    size = sum(job.layer.desc.size for job in jobs)
    with Extraction(target, existing=_EXISTING[options.existing], run=run, size=size) as extraction:
        for job in jobs:
            if job.located.is_local:
                with _explained(job):
                    extraction.judge(place.store.blobs.path(job.layer.desc.digest), job.content)
        wanted = [
            want(
                job.located.source,
                job.content,
                job.layer.label,
                None if job.layer.desc.digest in again else extraction,
            )
            for job in jobs
            if not job.located.is_local
        ]
        _check_room(target, jobs, wanted)
        with LayerStreams(wanted, run) as streams:
            for job in jobs:
                with _explained(job):
                    _extract_one(place, job, extraction, streams, again)
        if is_kitfile_selected(options.filters):
            _add_kitfile(extraction, kit, options)
        if files is not None:  # before anything has its name: the same command goes on after a kill
            files.check_beside(extraction.is_taken)
            files.fetch()
        return extraction.commit()


def _check_room(target: Path, jobs: Sequence[_Job], wanted: Sequence[Wanted]) -> None:
    """Refuse before the first byte what will not fit; raw layers of the store, which may share its blocks, are free."""
    size = sum(one.content.desc.size - one.start for one in wanted)
    size += sum(job.layer.desc.size for job in jobs if job.located.is_local and job.layer.form is not Format.RAW)
    check_room(str(target), size, "unpacking into")


def _add_kitfile(extraction: Extraction, kit: ModelKit, options: UnpackOptions) -> None:
    """The Kitfile is what says what the files are: another one is not kept, only replaced."""
    try:
        extraction.add_file("Kitfile", dump(kit.kitfile).encode(), yields=not kit.is_authored)
    except FileSystemError as error:
        if options.existing != "keep" or "--ignore-existing" not in (error.hint or ""):
            raise
        raise FileSystemError(
            f"{error.message}, and is another one",
            path=error.path,
            hint="use --overwrite to replace it, --filter to take parts without it, or --dir for another place",
        ) from error


@contextmanager
def _explained(job: _Job) -> Iterator[None]:
    """An error about a damaged blob of the store says how to mend it."""
    try:
        yield
    except IntegrityError as error:
        if job.located.is_local and error.hint is None:
            ref = job.located.ref
            pull = "" if ref.is_local else f"`kit pull --verify {ref}` fetches it again, "
            error.hint = f"{pull}`kit pack --no-cache` makes it again"
        raise


def _extract_one(
    place: Place, job: _Job, extraction: Extraction, streams: LayerStreams, again: Mapping[Digest, bool]
) -> None:
    """Extract a layer; _DamagedError where it is damaged, unless it comes ``again`` and had come whole before."""
    layer, run = job.layer, place.run
    item = f"{layer.path} {layer.desc.digest}"
    run.observer(Started(item, layer.label, layer.desc.size))

    def moved(size: int) -> None:
        run.observer(Advanced(item, size))

    if job.located.is_local:
        extraction.add_blob(place.store.blobs.path(layer.desc.digest), job.content, moved)
    else:
        try:
            with streams.take() as reader:
                extraction.add_journalled(reader, job.content, moved)
        except (IntegrityError, TrustError) as error:  # a damaged archive may look like a hostile one
            if again.get(layer.desc.digest):
                raise
            extraction.leave_others(job.content)
            raise _DamagedError(error.message, layer.desc.digest, has_come=not streams.is_replayed) from error
    run.observer(Finished(item, "done"))


@contextmanager
def _unmade(directories: Iterable[Path]) -> Iterator[None]:
    """Where the block fails, directories that one of its attempts made go too."""
    try:
        yield
    except BaseException:
        for directory in directories:
            with suppress(OSError):
                directory.rmdir()
        raise


class _DamagedError(KitError):
    """A layer came damaged, or what a killed run left of it was of no use."""

    def __init__(self, message: str, digest: Digest, *, has_come: bool) -> None:
        super().__init__(message)
        self.digest = digest
        self.has_come = has_come
