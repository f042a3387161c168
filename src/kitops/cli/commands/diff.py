"""``kit diff``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, network_options, reference, result_format, switch
from kitops.cli._output import print_json, to_stdout

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags
    from kitops.ops.diff import Difference
    from kitops.ops.tensor_diff import TensorDifference


@kit_command(
    "diff",
    examples=[
        ("kit diff team/model:v1 team/model:v2", "Kitfile fields, layers, and the files in them"),
        ("kit diff local://reg.example.com/m:1 remote://reg.example.com/m:1", "the store against the registry"),
        ("kit diff --exit-code --format json a:1 b:1", "for scripts: exit 1 when they differ"),
        ("kit diff --tensors m:1 m:2", "tensors, and whether their values are the same"),
        ("kit diff --tensors remote://reg.example.com/m:1 m:2", "tensors, from the headers of the weights alone"),
    ],
)
@reference("a", "A", marks=("local://", "remote://"))
@reference("b", "B", marks=("local://", "remote://"))
@switch("--exit-code", help="Exit with 1 when they differ.")
@switch("--tensors", help="Compare the tensors of safetensors and GGUF files.")
@switch("--values", default=None,
        help="With --tensors: read the values where headers do not tell, from registries too. They are read where both"
        " sides are in the local store; --values=false compares headers alone.")  # fmt: skip
@network_options
@result_format
@click.pass_obj
@click.pass_context
def command(
    ctx: click.Context, session: Session, /, *, a: str, b: str, exit_code: bool, tensors: bool, values: bool | None,
    network: NetworkFlags
) -> None:  # fmt: skip
    """Explain how the ModelKits A and B differ.

    The local store is looked at first; local:// and remote:// in front of a reference say where to look.
    """
    if values is not None and not tensors:
        raise click.UsageError("--values goes with --tensors", ctx)
    found: Difference | TensorDifference
    with session.place(network) as place:
        if tensors:
            from kitops.ops.tensor_diff import tensor_diff

            found = tensor_diff(place, a, b, values=values)
        else:
            from kitops.ops.diff import diff

            found = diff(place, a, b)
    if session.output_format == "json":
        print_json(found.to_json())
    else:
        to_stdout(_draw(found, a, b))
    ctx.exit(1 if exit_code and not found.is_equal else 0)


def _draw(found: Difference | TensorDifference, a: str, b: str) -> str:
    from kitops.ops.diff import Difference

    if isinstance(found, Difference):
        from kitops.cli._difference import draw_difference

        return draw_difference(found, a, b)
    from kitops.cli._tensors import draw_tensor_difference

    return draw_tensor_difference(found, a, b)
