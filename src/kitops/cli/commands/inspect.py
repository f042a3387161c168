"""``kit inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, network_options, option, reference, switch
from kitops.cli._output import print_json, to_stdout

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags
    from kitops.ops.tensors import Tensors


@kit_command(
    "inspect",
    examples=[
        ("kit inspect team/model:v1", "what is in the local store"),
        ("kit inspect -r registry.example.com/team/model:v1", "what the registry has"),
        ("kit inspect --tensors -r registry.example.com/team/model:v1", "its tensors, without pulling it"),
        ("kit inspect --tensors ./model.safetensors", "those of a file"),
    ],
)
@reference("ref", "REF")
@switch("-r", "--remote", help="Look in the registry, not in the local store.")
@switch("--tensors", help="List the tensors of its safetensors and GGUF files, from their headers.")
@option("--format", "output", metavar="json|table|TEMPLATE",
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
        _print_tensors(session, ref, output or "table", network, remote=remote)
        return
    if output not in (None, "json"):
        raise click.UsageError("--format takes only json without --tensors", click.get_current_context())
    with session.place(network) as place:
        found = inspect(place, Reference.parse(ref), remote=remote)
    print_json(found.to_json())


def _print_tensors(session: Session, ref: str, output: str, network: NetworkFlags, *, remote: bool) -> None:
    from kitops.cli._tensors import FIELDS, draw_tensors, template_rows

    if output in ("table", "json"):
        found = _read_tensors(session, ref, network, remote=remote)
        if output == "json":
            print_json(found.to_json())
        else:
            to_stdout(draw_tensors(found))
        return
    from kitops.cli._template import Template

    template = Template(output, FIELDS)
    found = _read_tensors(session, ref, network, remote=remote)
    to_stdout("".join(template.render(row) + "\n" for row in template_rows(found)))


def _read_tensors(session: Session, ref: str, network: NetworkFlags, *, remote: bool) -> Tensors:
    """Those of a reference, or of a file: a path begins with a dot or slash, which no reference does."""
    from pathlib import Path

    from kitops.oci.reference import Reference
    from kitops.ops.tensors import file_tensors, tensors

    if ref.startswith((".", "/")):
        return file_tensors(Path(ref))
    with session.place(network) as place:
        return tensors(place, Reference.parse(ref), remote=remote)
