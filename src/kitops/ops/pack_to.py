"""``kit pack --push-to``: a directory becomes a ModelKit in a registry, and nothing of it is kept here.

Every file is read twice: once for the digests, once on its way; what the registry has already is read once. Or it is
kept here too, and read once (``--push``, ``--keep``).
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from kitops.content.copy import copy
from kitops.content.events import Advanced, Finished, Message, Planned, Started
from kitops.content.parallel import run_all
from kitops.errors import Cancelled, InvalidValueError, KitError
from kitops.layers.measure import measure_layer
from kitops.layers.write import stream_layer
from kitops.oci.reference import UNNAMED
from kitops.ops.locate import check_remote, complete_name
from kitops.ops.pack import Packed, pack, put_built
from kitops.ops.pack_jobs import PackOptions, open_packing
from kitops.ops.plan import label_by
from kitops.ops.push import push
from kitops.ops.through import ThroughSource, free_sent, skip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kitops.content.protocols import LayerRecord, Reader, Run
    from kitops.oci.reference import Reference
    from kitops.ops.pack_jobs import Job
    from kitops.ops.place import Place


def pack_to(place: Place, context: Path, targets: Sequence[Reference], options: PackOptions | None = None) -> Packed:
    """Pack the directory ``context`` straight into registries.

    Args:
        place: where manifest and config are kept meanwhile.
        context: the directory.
        targets: references of registries.
        options: as of :func:`kitops.ops.pack.pack`; its references are not used.

    Raises:
        KitError: as :func:`kitops.ops.pack.pack`, and whatever the registry answers.
    """
    options = options or PackOptions()
    targets = [complete_name(target, place.run) for target in targets]
    for target in targets:
        check_remote(target)
    with open_packing(place, context, options) as packing, place.store.lease("pack") as lease:
        place.run.observer(Planned("pack", len(packing.jobs), sum(job.size for job in packing.jobs)))
        measures = [partial(_measure, job) for job in packing.jobs]
        records = run_all(measures, place.run, workers=os.cpu_count() or 1)
        layers = [job.as_packed(record) for job, record in zip(packing.jobs, records, strict=True)]
        built = packing.build(layers)
        desc = put_built(place, built, lease)
        openers = {record.digest: partial(_open, job) for job, record in zip(packing.jobs, records, strict=True)}
        source = ThroughSource(place.store.repository(UNNAMED, lease), openers, place.run)
        labels = {record.digest: job.label for job, record in zip(packing.jobs, records, strict=True)}
        label = label_by(lambda: labels)
        moved = 0
        for target in targets:
            with place.registry(target) as sink:
                moved = max(moved, copy(source, sink, desc, place.run, verb="push", label=label).moved_size)
                if target.tag is not None:
                    sink.tag(desc, target.tag)
    free_sent(place, [desc.digest, built.manifest.config.digest])
    return Packed(desc, tuple(targets), packing.kitfile, sum(record.size for record in records), moved)


def pack_and_push(place: Place, context: Path, options: PackOptions) -> Packed:
    """Pack the directory ``context`` into the store under the names that ``options`` give it, and push it to each.

    Where the push ends early, a warning tells what is here and how to go on.

    Raises:
        InvalidValueError: there is no name, or one without a registry.
        KitError: as :func:`kitops.ops.pack.pack` and :func:`kitops.ops.push.push`.
    """
    if not options.references:
        raise InvalidValueError("pushing what is packed: no reference says where to")
    for target in options.references:
        check_remote(target)
    packed = pack(place, context, options)
    first, *others = map(str, packed.references)
    try:
        push(place, packed.references[0], packed.references)
    except (KitError, Cancelled):
        again = " ".join(("kit push", first, *((first, *others) if others else ())))
        text = f"{packed.desc.digest} is in the local store, but not pushed: `{again}` goes on"
        place.run.observer(Message("warning", text))
        raise
    return packed


def _measure(job: Job, run: Run) -> LayerRecord:
    """The digests of one layer."""
    run.observer(Started(job.item, job.label, job.size))

    def moved(size: int) -> None:
        run.observer(Advanced(job.item, size))

    record = measure_layer(job.scan.entries, job.planned.form, job.planned.codec, run=run, moved=moved)
    run.observer(Finished(job.item, "done"))
    return record


@contextmanager
def _open(job: Job, start: int) -> Iterator[Reader]:
    """The bytes of a layer from ``start`` on, made from its files once more."""
    reader = _PieceReader(stream_layer(job.scan.entries, job.planned.form, job.planned.codec))
    skip(reader, start)
    yield reader


class _PieceReader:
    """Pieces as a reader; a piece is good until the next one is asked for."""

    def __init__(self, pieces: Iterator[memoryview | bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview, /) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
