"""``kit pack``: a directory and its Kitfile become a ModelKit in the local store."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from kitops.content.events import Advanced, Finished, Message, Planned, Started
from kitops.content.parallel import run_all
from kitops.errors import FileSystemError, PackError
from kitops.formats.build import PackedLayer, build_modelkit, build_modelpack
from kitops.formats.modelkit import understand
from kitops.formats.parts import Kind
from kitops.formats.plan import plan_layers
from kitops.kitfile.parse import find, parse
from kitops.layers.codec import Codec
from kitops.layers.ignore import read_ignore
from kitops.layers.mcpb import check_bundle
from kitops.layers.walk import Scan, Symlinks, find_seldom_meant, scan
from kitops.layers.write import Format, fingerprint, layer_size, write_layer
from kitops.oci.reference import UNNAMED
from kitops.ops.details import details_of
from kitops.ops.locate import complete
from kitops.ops.parents import open_parents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kitops.content.protocols import Fingerprint, LayerRecord, Run
    from kitops.errors import Problem
    from kitops.formats.build import Built
    from kitops.formats.plan import PlannedLayer
    from kitops.kitfile.schema import Kitfile
    from kitops.layers.ignore import IgnoreRules
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place
    from kitops.store import Store
    from kitops.store.lease import Lease
    from kitops.weights.facts import Facts

OVERLAP_SHARE: Final = 0.5
"""A layer with more than this share of all bytes is copied and hashed by two threads; smaller ones run side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """How to pack.

    Args:
        references: what the ModelKit is to be called; none leaves it untagged.
        kitfile_path: a Kitfile elsewhere than in the context directory.
        kitfile_text: the Kitfile itself (from standard input).
        compression: of the layers.
        layer_format: ``tar``, or ``raw``: every path is one file; ModelPack spreads directories over a layer a file.
        modelpack: write a ModelPack artifact instead of a ModelKit.
        symlinks: refuse symbolic links, follow them, or leave them out.
        cache: believe the digest cache about files that did not change.
        annotations: of the manifest, beyond what the format wants.
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


@dataclass(frozen=True, slots=True)
class Packed:
    """What was packed: its descriptor, what it is called, and the Kitfile.

    Args:
        desc: of the manifest.
        references: what it is called.
        kitfile: what was packed.
        size: bytes of all layers.
        new_size: bytes of those that the store did not have.
    """

    desc: Descriptor
    references: tuple[Reference, ...]
    kitfile: Kitfile
    size: int
    new_size: int


@dataclass(frozen=True, slots=True)
class _Job:
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
class _Done:
    """A packed layer, and whether the store did not have it."""

    item: str
    layer: PackedLayer
    is_new: bool


def pack(place: Place, context: Path, options: PackOptions | None = None) -> Packed:
    """Pack the directory ``context``.

    Raises:
        KitfileError: the Kitfile has problems.
        PackError: a path is missing, ignored, special, or changes while it is read.
        NotFoundError: there is no Kitfile, or a parent ModelKit is nowhere.
        FileSystemError: the disk is full, or something cannot be read.
    """
    options = options or PackOptions()
    references = tuple(complete(ref, place.run) for ref in options.references)
    kitfile = _read_kitfile(context, options, place.run)
    with ExitStack() as stack:
        parents = list(open_parents(place, kitfile, stack))
        parent_paths = [layer.path for parent in parents for layer in parent.kit.layers if layer.path]
        planned = plan_layers(
            kitfile,
            form=Format(options.layer_format),
            codec=Codec(options.compression),
            parent_paths=parent_paths,
        )
        lease = stack.enter_context(place.store.lease("pack"))
        jobs = _scan_all(context, planned, options, place.run)
        facts = _read_facts(kitfile, jobs, place.run) if options.modelpack else None
        layers = _pack_layers(place, jobs, lease, cache=options.cache)
        packed = [done.layer for done in layers]
        if facts is not None:
            built = build_modelpack(kitfile, packed, options.annotations, facts)
        else:
            built = build_modelkit(kitfile, packed, options.annotations)
        desc = keep(place, built, references, lease)
    return Packed(
        desc,
        references,
        kitfile,
        size=sum(done.layer.record.size for done in layers),
        new_size=sum(done.layer.record.size for done in layers if done.is_new),
    )


def _read_kitfile(context: Path, options: PackOptions, run: Run) -> Kitfile:
    if not context.is_dir():
        raise PackError(f"{context} is not a directory", hint="name the directory that the Kitfile's paths start from")
    if options.kitfile_text is not None:
        text, name = options.kitfile_text, "standard input"
    else:
        path = options.kitfile_path or find(context)
        name = str(path)
        try:
            text = path.read_bytes()
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", path) from error

    def warn(problem: Problem) -> None:
        run.observer(Message("warning", f"{name}: {problem}"))

    return parse(text, name, warn=warn)


def _scan_all(context: Path, planned: Sequence[PlannedLayer], options: PackOptions, run: Run) -> list[_Job]:
    """List the files of every layer; what is wrong with several layers is told in one error."""
    ignore = read_ignore(context)
    jobs: list[_Job] = []
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
        rows = "".join(f"\n  {failure.message}" for failure in failures)
        hint = next((failure.hint for failure in failures if failure.hint), None)
        raise PackError(f"{len(failures)} parts cannot be packed{rows}", hint=hint)
    return jobs


def _scan_one(context: Path, layer: PlannedLayer, ignore: IgnoreRules, options: PackOptions, run: Run) -> _Job:
    symlinks = Symlinks(options.symlinks)
    found = scan(context, layer.part.path, ignore=ignore, deeper=layer.deeper, symlinks=symlinks)
    for link, target in found.followed:
        run.observer(Message("info", f"{layer.part.field}: followed {link} to {target}"))
    for link in found.skipped:
        run.observer(Message("warning", f"{layer.part.field}: left out {link}, a symbolic link"))
    if seldom := find_seldom_meant(found.entries):
        lines = ", ".join(f"**/{name.rpartition('/')[2]}" for name in seldom)
        what = f"{layer.part.field}: packs {', '.join(seldom)}, which is seldom meant"
        run.observer(Message("warning", f"{what}: leave out by adding to .kitignore: {lines}"))
    files = [entry.name for entry in found.entries if not entry.is_dir]
    if layer.form is Format.RAW and files != [layer.part.path.encode()]:
        if options.modelpack and layer.part.kind is not Kind.MCP_SERVER:
            return _Job(layer, found, sum(entry.size for entry in found.entries))
        raise PackError(
            f"{layer.part.field}: {layer.part.path} is not one file, as a raw layer is",
            hint="use --layer-format tar, or name each file in the Kitfile",
        )
    if layer.part.kind is Kind.MCP_SERVER:
        check_bundle(context / layer.part.path)
    return _Job(layer, found, layer_size(found.entries, layer.form))


def _spread(job: _Job, run: Run) -> Sequence[_Job]:
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
    return [_Job(job.planned, Scan([entry]), entry.size, os.fsdecode(entry.name)) for entry in files]


def _read_facts(kitfile: Kitfile, jobs: Sequence[_Job], run: Run) -> Facts:
    from kitops.ops.model_facts import read_facts  # noqa: PLC0415 - only ModelPack tells them

    return read_facts(kitfile, ((job.planned.part, entry) for job in jobs for entry in job.scan.entries), run)


def _pack_layers(place: Place, jobs: Sequence[_Job], lease: Lease, *, cache: bool) -> list[_Done]:
    """Make the layers, the largest first; what is returned is in the order of ``jobs``."""
    total = sum(job.size for job in jobs)
    place.run.observer(Planned("pack", len(jobs), total))
    work = [
        _Work(place.store, job, lease, use_cache=cache, overlap=job.size > total * OVERLAP_SHARE)
        for job in sorted(jobs, key=lambda job: -job.size)
    ]
    records = [(one, record) for one in work if (record := one.recall()) is not None]
    lease.add(*(record.digest for _, record in records))  # written once, not once a layer
    by_item = {one.job.item: done for one, record in records if (done := one.find(record, place.run)) is not None}
    rest = [one.make for one in work if one.job.item not in by_item]
    by_item |= {done.item: done for done in run_all(rest, place.run, workers=os.cpu_count() or 1)}
    return [by_item[job.item] for job in jobs]


@dataclass(frozen=True, slots=True)
class _Work:
    """The making of one layer; what is not in the store is made in any thread."""

    store: Store
    job: _Job
    lease: Lease
    use_cache: bool
    overlap: bool

    def recall(self) -> LayerRecord | None:
        """What these files gave before, if that is known."""
        return self.store.digest_cache.get(self._stamp) if self.use_cache else None

    def find(self, record: LayerRecord, run: Run) -> _Done | None:
        """The layer that they gave, if the store still has it."""
        run.cancel.check()
        job = self.job
        if not self.store.blobs.hold(record.digest, record.size, self.lease):
            return None
        run.observer(Started(job.item, job.label, job.size))
        run.observer(Finished(job.item, "cached"))
        return _Done(job.item, job.as_packed(record), is_new=False)

    def make(self, run: Run) -> _Done:
        """Read the files and write the layer."""
        job = self.job
        item = job.item
        run.observer(Started(item, job.label, job.size))
        started_ns = time.time_ns()
        record, is_new = self._write(run)
        self.store.digest_cache.put(self._stamp, record, started_ns)
        run.observer(Finished(item, "done" if is_new else "exists"))
        return _Done(item, job.as_packed(record), is_new=is_new)

    @property
    def _stamp(self) -> Fingerprint:
        return fingerprint(self.job.scan.entries, self.job.planned.form, self.job.planned.codec)

    def _write(self, run: Run) -> tuple[LayerRecord, bool]:
        planned, entries, item = self.job.planned, self.job.scan.entries, self.job.item

        def moved(size: int) -> None:
            run.observer(Advanced(item, size))

        with self.store.blobs.create(self.lease) as blob:
            record = write_layer(
                entries, planned.form, planned.codec, blob.fd, overlap=self.overlap, run=run, moved=moved
            )
            is_new = not self.store.blobs.exists(record.digest)
            blob.commit(record.digest, record.size)
        return record, is_new


def keep(place: Place, built: Built, references: Sequence[Reference], lease: Lease) -> Descriptor:
    """Put config and manifest, and make the ModelKit a root under every name that it was given.

    Args:
        place: where.
        built: the ModelKit; its layers are in the store, held by ``lease``.
        references: its names; none leaves it untagged.
        lease: holds everything until it is named.

    Raises:
        FileSystemError: the store cannot be written.
    """
    store = place.store
    desc = put_built(place, built, lease)
    details = details_of(understand(desc, built.manifest, built.config))
    if not references:
        store.refs.add_root(UNNAMED, desc, details, lease)
    for ref in references:
        store.refs.tag(ref, desc, details, lease)
    return desc


def put_built(place: Place, built: Built, lease: Lease) -> Descriptor:
    """Put config and manifest; ``lease`` holds them.

    Raises:
        FileSystemError: the store cannot be written.
    """
    place.store.blobs.put_bytes(built.config, built.manifest.config.media_type, lease)
    return place.store.blobs.put_bytes(built.manifest.raw, built.manifest.media_type, lease)
