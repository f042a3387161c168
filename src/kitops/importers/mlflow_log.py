"""Files to a run of MLflow, through its own client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.errors import SourceError
from kitops.importers.mlflow import check_tracking, told

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def log_directory(directory: Path, tags: Mapping[str, str], run: str, experiment: str, path: str) -> tuple[str, str]:
    """Log everything below ``directory`` as artifacts.

    Args:
        directory: the files.
        tags: set on the run.
        run: its id; empty makes a new one, which then ends.
        experiment: of the new run; empty is MLflow's default; made where it is missing.
        path: the directory of the run's artifacts.

    Returns:
        The id of the run, and the URI of the artifacts.

    Raises:
        SourceError: the client is not installed; there is no such run; the server refuses.
        NetworkError: it cannot be reached.
    """
    try:
        from mlflow import MlflowClient  # noqa: PLC0415 - an extra, and two seconds
    except ImportError as error:
        raise SourceError(
            "exporting to MLflow needs its client, which is not installed", hint="pip install 'kitops[mlflow]'"
        ) from error

    check_tracking()
    with told("logging to MLflow"):
        client = MlflowClient()
        if run:
            identity = client.get_run(run).info.run_id
        else:
            found = client.get_experiment_by_name(experiment) if experiment else None
            number = found.experiment_id if found else client.create_experiment(experiment) if experiment else "0"
            identity = client.create_run(number).info.run_id
        try:
            for key, value in tags.items():
                client.set_tag(identity, key, value)
            client.log_artifacts(identity, str(directory), path or None)
        except BaseException:
            if not run:
                client.set_terminated(identity, "FAILED")
            raise
        if not run:
            client.set_terminated(identity)
    return identity, f"runs:/{identity}/{path}".rstrip("/")
