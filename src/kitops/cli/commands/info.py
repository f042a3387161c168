"""``kit info``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, network_options, option, reference, switch
from kitops.cli._output import format_yaml, print_json, to_stdout

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "info",
    examples=[
        ("kit info team/model:v1", "its Kitfile"),
        ("kit info team/model:v1 -f '.datasets[0].path'", "one field of it"),
        ("kit info -r registry.example.com/team/model:v1", "without pulling it"),
    ],
)
@reference("ref", "REF")
@switch("-r", "--remote", help="Look in the registry, not in the local store.")
@option("-f", "--filter", "field", metavar="FIELD", help="Only this field, like .model.name or .datasets[0].path.")
@option("--format", "output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True,
        help="How it is printed.")  # fmt: skip
@network_options
@click.pass_obj
def command(
    session: Session, /, *, ref: str, remote: bool, field: str | None, output: str, network: NetworkFlags
) -> None:
    """Print the Kitfile of the ModelKit REF, or one field of it."""
    from kitops.kitfile.dump import dump, to_json
    from kitops.oci.reference import Reference
    from kitops.ops.info import info, select_field

    with session.place(network) as place:
        kitfile = info(place, Reference.parse(ref), remote=remote)
    if field is None:
        if output == "json":
            print_json(to_json(kitfile))
        else:
            to_stdout(dump(kitfile))
        return
    value = select_field(kitfile, field)
    if output == "json":
        print_json(value)
    else:
        to_stdout(format_yaml(value))
