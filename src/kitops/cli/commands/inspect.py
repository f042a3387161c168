"""``kit inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, network_options, option, reference, switch
from kitops.cli._output import print_json

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "inspect",
    examples=[
        ("kit inspect team/model:v1", "what is in the local store"),
        ("kit inspect -r registry.example.com/team/model:v1", "what the registry has"),
    ],
)
@reference("ref", "REF")
@switch("-r", "--remote", help="Look in the registry, not in the local store.")
@option("--format", type=click.Choice(["json"]), default="json", expose_value=False, help="The only one there is.")
@network_options
@click.pass_obj
def command(session: Session, /, *, ref: str, remote: bool, network: NetworkFlags) -> None:
    """Print digest, Kitfile and manifest of the ModelKit REF as JSON."""
    from kitops.oci.reference import Reference
    from kitops.ops.inspect import inspect

    with session.place(network) as place:
        found = inspect(place, Reference.parse(ref), remote=remote)
    print_json(found.to_json())
