"""``kit validate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, network_options, reference, result_format, switch

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "validate",
    examples=[
        ("kit validate team/model:v1", "what is in the local store, layers and all"),
        ("kit validate -r registry.example.com/team/model:v1 --no-layers", "what the registry has, in two requests"),
    ],
)
@reference("ref", "REF")
@switch("-r", "--remote", help="Look in the registry, not in the local store.")
@switch("--no-layers", help="Read no layer: only manifest and config are judged.")
@network_options
@result_format
@click.pass_obj
@click.pass_context
def command(
    ctx: click.Context, session: Session, /, *, ref: str, remote: bool, no_layers: bool, network: NetworkFlags
) -> None:
    """Tell in what REF is not valid ModelPack, by the CNCF's specification; exit with 1 when it is not.

    Manifest, layers and their annotations, and config are judged, and each layer is compared with its diff ID.
    """
    from kitops.errors import printable
    from kitops.oci.reference import Reference
    from kitops.ops.validate import validate

    with session.place(network) as place:
        found = validate(place, Reference.parse(ref), remote=remote, layers=not no_layers)
    text = "\n".join(f"  {printable(str(one))}" for one in found) or "  valid ModelPack"
    rows = [{"where": one.where, "problem": one.problem} for one in found]
    session.result(f"{ref}\n{text}", {"reference": ref, "valid": not found, "violations": rows})
    ctx.exit(1 if found else 0)
