"""``kit pack``: a directory and its Kitfile become a ModelKit in the local store."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.content.events import Advanced, Finished, Planned, Started
from kitops.content.parallel import run_all
from kitops.formats.modelkit import understand
from kitops.layers.write import fingerprint, write_layer
from kitops.oci.reference import UNNAMED
from kitops.ops.details import details_of
from kitops.ops.locate import complete_name
from kitops.ops.pack_jobs import PackOptions, open_packing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kitops.content.protocols import Fingerprint, LayerRecord, Run
    from kitops.formats.build import Built, PackedLayer
    from kitops.kitfile.schema import Kitfile
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.reference import Reference
    from kitops.ops.pack_jobs import Job
    from kitops.ops.place import Place
    from kitops.store import Store
    from kitops.store.lease import Lease

__all__ = ["PackOptions", "Packed", "keep", "pack", "put_built"]

OVERLAP_SHARE: Final = 0.5
"""A layer with more than this share of all bytes is copied and hashed by two threads; smaller ones run side by side."""


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
    references = tuple(complete_name(ref, place.run) for ref in options.references)
    with open_packing(place, context, options) as packing, place.store.lease("pack") as lease:
        layers = _pack_layers(place, packing.jobs, lease, cache=options.cache)
        desc = keep(place, packing.build([done.layer for done in layers]), references, lease)
    return Packed(
        desc,
        references,
        packing.kitfile,
        size=sum(done.layer.record.size for done in layers),
        new_size=sum(done.layer.record.size for done in layers if done.is_new),
    )


def _pack_layers(place: Place, jobs: Sequence[Job], lease: Lease, *, cache: bool) -> list[_Done]:
    """Make the layers, the largest first; what is returned is in the order of ``jobs``."""
    total = sum(job.size for job in jobs)
    place.run.observer(Planned("pack", len(jobs), total))
    work = [
        _Work(place.store, job, _stamp(job), lease, use_cache=cache, overlap=job.size > total * OVERLAP_SHARE)
        for job in sorted(jobs, key=lambda job: -job.size)
    ]
    records = [(one, record) for one in work if (record := one.recall()) is not None]
    lease.add(*(record.digest for _, record in records))  # written once, not once a layer
    by_item = {one.job.item: done for one, record in records if (done := one.find(record, place.run)) is not None}
    rest = [one.make for one in work if one.job.item not in by_item]
    by_item |= {done.item: done for done in run_all(rest, place.run, workers=os.cpu_count() or 1)}
    return [by_item[job.item] for job in jobs]


def _stamp(job: Job) -> Fingerprint:
    return fingerprint(job.scan.entries, job.planned.form, job.planned.codec)


@dataclass(frozen=True, slots=True)
class _Work:
    """The making of one layer; what is not in the store is made in any thread."""

    store: Store
    job: Job
    stamp: Fingerprint
    lease: Lease
    use_cache: bool
    overlap: bool

    def recall(self) -> LayerRecord | None:
        """What these files gave before, if that is known."""
        return self.store.digest_cache.get(self.stamp) if self.use_cache else None

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
        self.store.digest_cache.put(self.stamp, record, started_ns)
        run.observer(Finished(item, "done" if is_new else "exists"))
        return _Done(item, job.as_packed(record), is_new=is_new)

    def _write(self, run: Run) -> tuple[LayerRecord, bool]:
        planned, entries, item = self.job.planned, self.job.scan.entries, self.job.item

        def moved(size: int) -> None:
            run.observer(Advanced(item, size))

        with self.store.blobs.create(self.lease) as blob:
            record = write_layer(
                entries,
                planned.form,
                planned.codec,
                blob.fd,
                size=self.job.size,
                overlap=self.overlap,
                run=run,
                moved=moved,
            )
            is_new = not self.store.blobs.exists(record.digest)
            blob.commit(record.digest, record.size, replace=not self.use_cache)
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
