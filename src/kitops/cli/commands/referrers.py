"""``kit referrers``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, network_options, one_of, option, reference, switch
from kitops.cli._output import NONE, format_size, format_table, print_json, to_stdout

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags
    from kitops.ops.referrers import Referrer

_HEADER = ("ARTIFACT TYPE", "SIZE", "REFERS TO", "DIGEST")
_FIELDS = ("Digest", "ArtifactType", "Size", "Bytes", "Subject", "Annotations")


@kit_command(
    "referrers",
    examples=[
        ("kit referrers -r registry.example.com/team/model:v1", "signatures and attestations in the registry"),
        ("kit referrers team/model:v1 --format json", "those in the local store, with annotations"),
    ],
)
@reference("ref", "REF")
@switch("-r", "--remote", help="Look in the registry, not in the local store.")
@option("--artifact-type", metavar="TYPE", help="Only of this type.")
@option("--format", "output", default="table", metavar="table|json|TEMPLATE", show_default=True,
        shell_complete=one_of("table", "json"),
        help="TEMPLATE: Go's, with .Digest .ArtifactType .Size .Bytes .Subject .Annotations, and json.")  # fmt: skip
@network_options
@click.pass_obj
def command(
    session: Session, /, *, ref: str, remote: bool, artifact_type: str | None, output: str, network: NetworkFlags
) -> None:
    """List what refers to REF: signatures, attestations, and what refers to those."""
    from kitops.oci.reference import Reference
    from kitops.ops.referrers import referrers

    template = None
    if output not in ("table", "json"):
        from kitops.cli._template import read_template, render_all

        template = read_template(output, _FIELDS)
    with session.place(network) as place:
        found = referrers(place, Reference.parse(ref), remote=remote, artifact_type=artifact_type)
    if output == "json":
        print_json([one.to_json() for one in found])
        return
    if template is not None:
        to_stdout(render_all(template, map(_template_row, found)))
        return
    rows = [
        (one.desc.artifact_type or NONE, format_size(one.desc.size), one.subject.short, str(one.desc.digest))
        for one in found
    ]
    to_stdout(format_table(_HEADER, rows))


def _template_row(one: Referrer) -> dict[str, object]:
    desc = one.desc
    values = (str(desc.digest), desc.artifact_type, format_size(desc.size), desc.size, str(one.subject),
              dict(desc.annotations))  # fmt: skip
    return dict(zip(_FIELDS, values, strict=True))
