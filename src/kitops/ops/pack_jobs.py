"""What ``kit pack`` packs: the layers that a Kitfile asks for, with the files that go into each."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from kitops.content.events import Message
from kitops.errors import PackError, printable
from kitops.formats.build import PackedLayer, build_modelkit, build_modelpack
from kitops.formats.parts import Kind
from kitops.formats.plan import plan_layers
from kitops.kitfile.parse import find, parse, read_text
from kitops.layers.codec import Codec
from kitops.layers.ignore import is_ours, read_ignore
from kitops.layers.mcpb import check_bundle, directory_error
from kitops.layers.walk import Scan, Symlinks, find_seldom_meant, scan
from kitops.layers.write import Format, layer_size
from kitops.ops.choices import check_choice
from kitops.ops.parents import list_paths, open_parents

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from kitops.content.protocols import LayerRecord, Run
    from kitops.errors import Problem
    from kitops.formats.build import Built
    from kitops.formats.plan import PlannedLayer
    from kitops.kitfile.schema import Kitfile
    from kitops.layers.ignore import IgnoreRules
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place
    from kitops.weights.facts import Facts

CODECS: Final = tuple(codec.value for codec in Codec)
FORMATS: Final = tuple(form.value for form in Format)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """How to pack; InvalidValueError where a word is none of those that may stand there.

    Args:
        references: what the ModelKit is to be called; none leaves it untagged.
        kitfile_path: a Kitfile elsewhere than in the context directory.
        kitfile_text: the Kitfile itself (from standard input).
        compression: of the layers.
        layer_format: ``tar``, or ``raw``: every path is one file; ModelPack spreads directories over a layer a file.
        modelpack: write a ModelPack artifact instead of a ModelKit.
        symlinks: refuse symbolic links, follow them, or leave them out.
        cache: believe the digest cache about files that did not change; without, every layer is written again, and
            takes the place of what the store has.
        annotations: of the manifest, beyond what the format wants.
        remote_data: check that remote datasets are there and are what the Kitfile says; ``skip`` that; or ``pin`` those
            that have no ``remoteHash`` first: by ETag, or ``pin-content`` by the SHA-256 of what is there. The Kitfile
            is written then.
    """

    references: tuple[Reference, ...] = ()
    kitfile_path: Path | None = None
    kitfile_text: bytes | None = None
    compression: Literal["none", "gzip", "gzip-fastest", "zstd"] = "none"
    layer_format: Literal["tar", "raw"] = "tar"
    modelpack: bool = False
    symlinks: Literal["refuse", "follow", "skip"] = "refuse"
    cache: bool = True
    annotations: Mapping[str, str] = field(default_factory=dict)
    remote_data: Literal["check", "skip", "pin", "pin-content"] = "check"

    def __post_init__(self) -> None:
        check_choice("compression", self.compression, CODECS)
        check_choice("layer_format", self.layer_format, FORMATS)
        check_choice("symlinks", self.symlinks, (symlinks.value for symlinks in Symlinks))
        check_choice("remote_data", self.remote_data, ("check", "skip", "pin", "pin-content"))


@dataclass(frozen=True, slots=True)
class Job:
    """One layer with the files that go into it and its bytes, uncompressed.

    ``file`` is the path of its one file where a directory is spread over a layer a file; else "".
    """

    planned: PlannedLayer
    scan: Scan
    size: int
    file: str = ""

    @property
    def item(self) -> str:
        """What events call it."""
        return f"{self.planned.part.field} {self.file}" if self.file else self.planned.part.field

    @property
    def label(self) -> str:
        return self.file or self.planned.part.label

    def as_packed(self, record: LayerRecord) -> PackedLayer:
        if self.planned.form is Format.TAR:
            return PackedLayer(self.planned, record)
        file = self.scan.entries[-1]
        return PackedLayer(self.planned, record, mode=file.mode & 0o777, file_size=file.size, file=self.file)


@dataclass(frozen=True, slots=True)
class Packing:
    """A pack before any layer is made.

    Args:
        kitfile: what is packed.
        jobs: a layer each.
        facts: what is known of the model, for ModelPack; None for a ModelKit.
        annotations: of the manifest.
    """

    kitfile: Kitfile
    jobs: Sequence[Job]
    facts: Facts | None
    annotations: Mapping[str, str]

    def build(self, layers: Sequence[PackedLayer]) -> Built:
        """Manifest and config, once the layers are known, in the order of the jobs."""
        if self.facts is not None:
            return build_modelpack(self.kitfile, layers, self.annotations, self.facts)
        return build_modelkit(self.kitfile, layers, self.annotations)


@contextmanager
def open_packing(place: Place, context: Path, options: PackOptions) -> Iterator[Packing]:
    """Read the Kitfile of ``context`` and list the files of every layer; parent ModelKits stay while the block runs.

    Raises:
        KitError: as :func:`kitops.ops.pack.pack`.
    """
    kitfile = _read_kitfile(place, context, options)
    with ExitStack() as stack:
        parents = list(open_parents(place, kitfile, stack))
        planned = plan_layers(
            kitfile,
            form=Format(options.layer_format),
            codec=Codec(options.compression),
            parent_paths=list_paths(parents),
        )
        jobs = _scan_all(context, planned, options, place.run)
        _tell_home(place, context, jobs)
        _check_remote_beside(kitfile, jobs)
        facts = _read_facts(kitfile, jobs, place.run) if options.modelpack else None
        yield Packing(kitfile, jobs, facts, options.annotations)


def _read_kitfile(place: Place, context: Path, options: PackOptions) -> Kitfile:
    if not context.is_dir():
        raise PackError(
            f"{printable(context)} is not a directory", hint="name the directory that the Kitfile's paths start from"
        )
    path = None
    if options.kitfile_text is not None:
        text, name = options.kitfile_text, "standard input"
    else:
        path = options.kitfile_path or find(context)
        name = str(path)
        text = read_text(path)

    def warn(problem: Problem) -> None:
        place.run.observer(Message("warning", f"{name}: {problem}"))

    kitfile = parse(text, name, warn=warn, unpinned=options.remote_data in ("pin", "pin-content"))
    if not any(dataset.remote_path for dataset in kitfile.datasets):
        return kitfile
    from kitops.ops.remote_data import settle_remote_data  # noqa: PLC0415 - few ModelKits have such data

    return settle_remote_data(place, kitfile, text, path, options.remote_data)


def _check_remote_beside(kitfile: Kitfile, jobs: Sequence[Job]) -> None:
    """See that no remote dataset goes, when it is fetched, to the path of a file that is packed.

    Raises:
        PackError: one does.
    """
    if not any(dataset.remote_path for dataset in kitfile.datasets):
        return
    from kitops.kitfile.remote import find_clash, find_target  # noqa: PLC0415 - few ModelKits have such data

    packed = {os.fsdecode(entry.name): entry.is_dir for job in jobs for entry in job.scan.entries} | {"Kitfile": False}
    files = {path: path for path, is_dir in packed.items() if not is_dir}
    for index, dataset in enumerate(kitfile.datasets):
        path = find_target(dataset)
        if path is None:
            continue
        if is_ours(path) or path in packed or find_clash(files, path) is not None:
            raise PackError(
                f"datasets[{index}]: its remotePath would be fetched to {printable(path)}, where something packed goes",
                hint="give the dataset a path of its own, or list that file in .kitignore",
            )


def _scan_all(context: Path, planned: Sequence[PlannedLayer], options: PackOptions, run: Run) -> list[Job]:
    """List the files of every layer; what is wrong with several layers is told in one error."""
    ignore = read_ignore(context)
    jobs: list[Job] = []
    failures: list[PackError] = []
    for layer in planned:
        run.cancel.check()
        try:
            job = _scan_one(context, layer, ignore, options, run)
            jobs += _spread(job, run) if options.modelpack else [job]
        except PackError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        rows = [line for failure in failures for line in failure.lines]
        hint = next((failure.hint for failure in failures if failure.hint), None)
        raise PackError(f"{len(failures)} parts cannot be packed", hint=hint, rows=rows)
    return jobs


def _scan_one(context: Path, layer: PlannedLayer, ignore: IgnoreRules, options: PackOptions, run: Run) -> Job:
    symlinks = Symlinks(options.symlinks)
    found = scan(context, layer.part.path, ignore=ignore, deeper=layer.deeper, symlinks=symlinks)
    for link, target in found.followed:
        run.observer(Message("info", f"{layer.part.field}: followed {link} to {target}"))
    for name, kind in found.skipped:
        run.observer(Message("warning", f"{layer.part.field}: left out {printable(name)}, {kind}"))
    for name in found.ours:
        _tell_ours(context / name, f"{layer.part.field}: left out {printable(name)}", run)
    if seldom := find_seldom_meant(found.entries):
        lines = ", ".join(f"**/{name.rpartition('/')[2]}" for name in seldom)
        what = f"{layer.part.field}: packs {', '.join(seldom)}, which is seldom meant"
        run.observer(Message("warning", f"{what}: leave out by adding to .kitignore: {lines}"))
    files = [entry.name for entry in found.entries if not entry.is_dir]
    if layer.form is Format.RAW and files != [layer.part.path.encode()]:
        if options.modelpack and layer.part.kind is not Kind.MCP_SERVER:
            return Job(layer, found, sum(entry.size for entry in found.entries))
        if layer.part.kind is Kind.MCP_SERVER:
            raise directory_error(layer.part.field, layer.part.path)
        raise PackError(
            f"{layer.part.field}: {layer.part.path} is not one file, as a raw layer is",
            hint="use --layer-format tar, or name each file in the Kitfile",
        )
    if layer.part.kind is Kind.MCP_SERVER:
        check_bundle(context / layer.part.path)
    return Job(layer, found, layer_size(found.entries, layer.form))


def _tell_ours(path: Path, what: str, run: Run) -> None:
    """Warn of a file that was left out for its name, unless `kit unpack` left it there: nobody misses that."""
    from kitops.ops.unpack_record import read_record  # noqa: PLC0415 - most projects were not unpacked

    if read_record(path.parent) is None:
        run.observer(Message("warning", f"{what}: `kit unpack` leaves files of that name, which are not packed"))


def _tell_home(place: Place, context: Path, jobs: Sequence[Job]) -> None:
    """Warn where the store itself is packed: no two packs are the same then, and credentials lie beside it."""
    name = os.path.relpath(os.path.realpath(place.home), os.path.realpath(context))
    if name.split("/")[0] == "..":
        return
    found = dict.fromkeys(
        (job.planned.part.field, own)
        for job in jobs
        for own in ((b"store", b"credentials.json") if name == "." else (os.fsencode(name),))
        if any(entry.name == own or entry.name.startswith(own + b"/") for entry in job.scan.entries)
    )
    for field_name, own in found:
        shown = printable(own)
        what = f"{field_name}: packs {shown}, where kit itself keeps ModelKits and credentials"
        place.run.observer(Message("warning", f"{what}: leave it out by adding to .kitignore: {shown}"))


def _spread(job: Job, run: Run) -> Sequence[Job]:
    """One raw layer for each file of a directory; any other layer as it is."""
    part, entries = job.planned.part, job.scan.entries
    files = [entry for entry in entries if not entry.is_dir]
    if job.planned.form is not Format.RAW or [entry.name for entry in files] == [part.path.encode()]:
        return [job]
    if not files:
        raise PackError(f"{part.field}: {part.path} has no file, as raw layers are", hint="use --layer-format tar")
    above: set[bytes] = set()
    for file in files:
        name_above = file.name
        while (name_above := name_above.rpartition(b"/")[0]) and name_above not in above:
            above.add(name_above)
    for entry in entries:
        if entry.is_dir and entry.name not in above:
            name = os.fsdecode(entry.name)
            run.observer(Message("warning", f"{part.field}: left out {name}, a directory without files"))
    return [Job(job.planned, Scan([entry]), entry.size, os.fsdecode(entry.name)) for entry in files]


def _read_facts(kitfile: Kitfile, jobs: Sequence[Job], run: Run) -> Facts:
    from kitops.ops.model_facts import read_facts  # noqa: PLC0415 - only ModelPack tells them

    return read_facts(kitfile, ((job.planned.part, entry) for job in jobs for entry in job.scan.entries), run)
