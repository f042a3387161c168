"""``kit export``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kitops.cli._options import kit_command, network_options, option, part_filter, result_format
from kitops.cli._output import counted
from kitops.cli._values import quiet_mlflow

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "export",
    examples=[
        ("kit export team/model:v1 --to mlflow --experiment vision", "as a new run"),
        ("kit export team/model:v1 --to mlflow --run-id 3f2a… --path modelkit", "into a run that is there"),
    ],
)
@click.argument("reference")
@option("--to", type=click.Choice(["mlflow"]), required=True, help="Where to.")
@option("--run-id", default="", metavar="ID", help="A run that takes the files; a new one without it.")
@option("--experiment", default="", metavar="NAME", help="Of the new run.")
@option("--path", default="", metavar="DIRECTORY", help="Of the run's artifacts.")
@part_filter
@network_options
@result_format
@click.pass_obj
def command(session: Session, /, *, reference: str, network: NetworkFlags, **given: Any) -> None:
    """Log the files of a ModelKit to a run of MLflow.

    The run gets the ModelKit's reference and digest as tags. The server is the one of MLFLOW_TRACKING_URI.
    """
    from kitops.formats.select import Filter
    from kitops.oci.reference import Reference
    from kitops.ops.export import ExportOptions, export_mlflow

    quiet_mlflow()
    options = ExportOptions(
        run=given["run_id"],
        experiment=given["experiment"],
        path=given["path"],
        filters=tuple(Filter.parse(text) for text in given["filters"]),
    )
    with session.place(network) as place:
        exported = export_mlflow(place, Reference.parse(reference), options)
    session.result(
        f"Exported {counted(exported.files, 'file')} to {exported.uri}",
        {"run": exported.run, "uri": exported.uri, "files": exported.files, "size": exported.size},
    )
