"""``kit list``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import PART_TYPES, kit_command, network_options, one_of, option, reference
from kitops.cli._output import NONE, format_size, format_table, print_json, to_stdout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags
    from kitops.ops.list import Listed

_HEADER = ("REPOSITORY", "TAG", "MAINTAINER", "NAME", "SIZE", "DIGEST")
_FIELDS = ("Repo", "Digest", "Tags", "ModelName", "Size", "Author", "Bytes")


@kit_command(
    "list",
    examples=[
        ("kit list", "what is in the local store"),
        ("kit list registry.example.com/team/model -f tag='v2*'", "tags of a repository in its registry"),
        ("kit list registry.example.com", "every repository, where the registry tells them"),
        ("kit list -f datasets -f name='digits*'", "those that have a dataset, and such a name"),
        ("kit list --format '{{.Repo}} {{join .Tags \",\"}}'", "one line a ModelKit, for scripts"),
    ],
)
@reference("repository", "[REPOSITORY|HOST]", required=False)
@option("--format", "output", default="table", metavar="table|json|TEMPLATE", show_default=True,
        shell_complete=one_of("table", "json"),
        help="TEMPLATE: Go's, with .Repo .Tags .Digest .ModelName .Size .Bytes .Author, index, join, json")  # fmt: skip
@option("-f", "--filter", "filters", multiple=True, metavar="FILTER",
        shell_complete=one_of("repo=", "tag=", "name=", "author=", *PART_TYPES),
        help="repo=GLOB, tag=GLOB, name=GLOB, author=GLOB, or a part: model, datasets:train.")  # fmt: skip
@network_options
@click.pass_obj
def command(
    session: Session, /, *, repository: str | None, output: str, filters: tuple[str, ...], network: NetworkFlags
) -> None:
    """List the ModelKits of the local store, or of a REPOSITORY in its registry, or of a whole registry."""
    from kitops.oci.reference import Reference
    from kitops.ops.list import list_, list_catalog, parse_host
    from kitops.ops.list_filter import ListFilter

    template = None
    if output not in ("table", "json"):
        from kitops.cli._template import read_template, render_all

        template = read_template(output, _FIELDS)
    wanted = ListFilter.parse(filters)
    host = parse_host(repository) if repository else None
    ref = Reference.parse(repository) if repository and not host else None
    with session.place(network) as place:
        rows = list_catalog(place, host, wanted=wanted) if host else list_(place, ref, wanted=wanted)
    if output == "json":
        print_json([row.to_json() | {"size": _size(row), "bytes": row.size} for row in rows])
    elif template is None:
        to_stdout(format_table(_HEADER, _table_rows(rows)))
        if any(row.partial for row in rows):
            session.say("* only a part is here: `kit pull` completes it")
    else:
        to_stdout(render_all(template, map(_template_row, rows)))


def _table_rows(rows: Sequence[Listed]) -> Iterator[tuple[str, ...]]:
    for row in rows:
        size = (_size(row) or NONE) + ("*" if row.partial else "")
        for tag in row.tags or (NONE,):
            yield row.repo or NONE, tag, row.author or NONE, row.name or NONE, size, row.digest


def _size(row: Listed) -> str | None:
    return None if row.size is None else format_size(row.size)


def _template_row(row: Listed) -> dict[str, object]:
    values = (row.repo, row.digest, list(row.tags), row.name, _size(row), row.author, row.size)
    return dict(zip(_FIELDS, values, strict=True))
