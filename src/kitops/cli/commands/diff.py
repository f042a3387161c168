"""``kit diff``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, network_options, reference, result_format, switch
from kitops.cli._output import print_json, to_stdout

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "diff",
    examples=[
        ("kit diff team/model:v1 team/model:v2", "Kitfile fields, layers, and the files in them"),
        ("kit diff local://reg.example.com/m:1 remote://reg.example.com/m:1", "the store against the registry"),
        ("kit diff --exit-code --format json a:1 b:1", "for scripts: exit 1 when they differ"),
    ],
)
@reference("a", "A")
@reference("b", "B")
@switch("--exit-code", help="Exit with 1 when they differ.")
@network_options
@result_format
@click.pass_obj
@click.pass_context
def command(ctx: click.Context, session: Session, /, *, a: str, b: str, exit_code: bool, network: NetworkFlags) -> None:
    """Explain how the ModelKits A and B differ.

    The local store is looked at first; local:// and remote:// in front of a reference say where to look.
    """
    from kitops.cli._difference import draw_difference
    from kitops.ops.diff import diff

    with session.place(network) as place:
        found = diff(place, a, b)
    if session.output_format == "json":
        print_json(found.to_json())
    else:
        to_stdout(draw_difference(found, a, b))
    ctx.exit(1 if exit_code and not found.is_equal else 0)
