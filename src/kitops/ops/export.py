"""``kit export``: the files of a ModelKit go to a run of MLflow."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kitops.errors import FileSystemError
from kitops.ops.locate import complete
from kitops.ops.unpack import UnpackOptions, unpack

if TYPE_CHECKING:
    from kitops.formats.select import Filter
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """How to export to MLflow.

    Args:
        run: the id of a run that takes the files; empty makes a new one.
        experiment: the name of the new run's experiment; empty is MLflow's default.
        path: the directory of the run's artifacts; empty is their root.
        filters: only these parts.
    """

    run: str = ""
    experiment: str = ""
    path: str = ""
    filters: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """Where the files went: run, URI of the artifacts; and how many they were, in bytes."""

    run: str
    uri: str
    files: int
    size: int


def export_mlflow(place: Place, ref: Reference, options: ExportOptions | None = None) -> Exported:
    """Log the files of ``ref`` to a run of MLflow, which gets its reference and digest as tags.

    Raises:
        NotFoundError: there is no such ModelKit.
        SourceError: MLflow's client is not installed, or its server refuses.
        NetworkError: the server cannot be reached.
    """
    from kitops.importers.mlflow_log import log_directory  # noqa: PLC0415 - two seconds

    options = options or ExportOptions()
    ref = complete(ref, place.run)
    with place.store.lease("export") as lease:
        lease.add()
        directory = Path(place.store.layout.temporary(lease.id))
        try:
            directory.mkdir(parents=True)
        except OSError as error:
            raise FileSystemError.wrap(error, "writing", directory) from error
        try:
            unpacked = unpack(place, ref, directory, UnpackOptions(filters=options.filters, record=False))
            tags = {"kitops.reference": str(ref), "kitops.digest": str(unpacked.desc.digest)}
            run, uri = log_directory(directory, tags, options.run, options.experiment, options.path)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    return Exported(run, uri, unpacked.written, unpacked.size)
