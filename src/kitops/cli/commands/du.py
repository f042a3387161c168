"""``kit du``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, one_of, option, reference
from kitops.cli._output import NONE, format_size, format_table, print_json, to_stdout

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.ops.du import DiskUsage, Occupied

_FIELDS = ("Digest", "References", "Size", "Bytes", "Own", "OwnBytes")


@kit_command(
    "du",
    examples=[
        ("kit du", "every ModelKit of the local store, the largest first"),
        ("kit du team/model:v1 team/model:v2 --format json", "two of them, for scripts"),
        ("kit du --format '{{.OwnBytes}} {{join .References \",\"}}'", "one line a ModelKit"),
    ],
)
@reference("refs", "[REF]...", nargs=-1)
@option("--format", "output", default="table", metavar="table|json|TEMPLATE", show_default=True,
        shell_complete=one_of("table", "json"),
        help="TEMPLATE: Go's, with .Digest .References .Size .Bytes .Own .OwnBytes, index, join and json.")  # fmt: skip
@click.pass_obj
def command(session: Session, /, *, refs: tuple[str, ...], output: str) -> None:
    """Show what ModelKits occupy in the local store.

    SIZE is all of a ModelKit, OWN what no other one shares: what removing it frees. The total counts shared bytes once.
    """
    from kitops.oci.reference import Reference
    from kitops.ops.du import du

    template = None
    if output not in ("table", "json"):
        from kitops.cli._template import read_template, render_all

        template = read_template(output, _FIELDS)
    with session.place() as place:
        found = du(place, [Reference.parse(ref) for ref in refs])
    if output == "json":
        print_json(found.to_json())
    elif template is not None:
        to_stdout(render_all(template, map(_template_row, found.kits)))
    else:
        to_stdout(_draw(found, is_all=not refs))


def _template_row(kit: Occupied) -> dict[str, object]:
    sizes = (format_size(kit.size), kit.size, format_size(kit.own), kit.own)
    return dict(zip(_FIELDS, (str(kit.digest), list(kit.references), *sizes), strict=True))


def _draw(found: DiskUsage, *, is_all: bool) -> str:
    rows = [
        (format_size(kit.size), format_size(kit.own), ", ".join(kit.references) or NONE, str(kit.digest))
        for kit in found.kits
    ]
    lines = [f"Total   {format_size(found.size)}"]
    if is_all:
        rest = found.store_size - found.size
        lines += [
            f"{label}   {format_size(size)}"
            for label, size in (
                ("Of no ModelKit (`kit prune`)", max(rest, 0)),
                ("Unfinished downloads", found.unfinished),
                ("Trash", found.trash),
                ("Digest cache", found.cache),
            )
            if size
        ]
    return format_table(("SIZE", "OWN", "REFERENCES", "DIGEST"), rows) + "\n" + "\n".join(lines) + "\n"
