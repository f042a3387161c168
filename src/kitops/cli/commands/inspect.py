"""``kit inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, network_options, one_of, option, reference, switch
from kitops.cli._output import print_json

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "inspect",
    examples=[
        ("kit inspect team/model:v1", "what is in the local store"),
        ("kit inspect -r registry.example.com/team/model:v1", "what the registry has"),
        ("kit inspect --tensors -r registry.example.com/team/model:v1", "its tensors, without pulling it"),
        ("kit inspect --tensors model.safetensors", "those of a file"),
    ],
)
@reference("ref", "REF")
@switch("-r", "--remote", help="Look in the registry, not in the local store.")
@switch("--tensors", help="List the tensors of its safetensors and GGUF files, from their headers.")
@option("--format", "output", metavar="json|table|TEMPLATE", shell_complete=one_of("json", "table"),
        help="json, the only one without --tensors; with it also table (the default) or a TEMPLATE, Go's, with"
        " .File .Name .DType .Shape .Size .Bytes .Offset, index, join and json.")  # fmt: skip
@network_options
@click.pass_obj
def command(
    session: Session, /, *, ref: str, remote: bool, tensors: bool, output: str | None, network: NetworkFlags
) -> None:
    """Print digest, Kitfile and manifest of the ModelKit REF as JSON; with --tensors its tensors."""
    from kitops.oci.reference import Reference
    from kitops.ops.inspect import inspect

    if tensors:
        from kitops.cli._tensors import print_tensors

        print_tensors(session, ref, output or "table", network, remote=remote)
        return
    if output not in (None, "json"):
        raise click.UsageError("--format takes only json without --tensors", click.get_current_context())
    with session.place(network) as place:
        found = inspect(place, Reference.parse(ref), remote=remote)
    print_json(found.to_json())
