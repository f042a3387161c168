"""``kit unpack``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kitops.cli._options import kit_command, network_options, option, part_filter, reference, result_format, switch
from kitops.cli._unpacking import mend, tell

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags

_OLD = {"kitfile": "kitfile", "model": "model", "code": "code", "datasets": "datasets", "docs": "docs"}


def _old_flags(function: Any) -> Any:
    for name, kind in _OLD.items():
        function = switch(f"--{name}", name, hidden=True, help=f"Deprecated: --filter {kind}")(function)
    return function


@kit_command(
    "unpack",
    examples=[
        ("kit unpack registry.example.com/team/model:v1 -d model", "everything, from the store or the registry"),
        ("kit unpack team/model:v1 --filter model --filter 'datasets:train*'", "only some parts"),
        ("kit unpack team/model:v1 -d model --repair", "only what is missing or changed there"),
        ("kit unpack team/model:v1 -d model --repair --include-remote", "remote datasets too"),
    ],
)
@reference("ref", "REF")
@option("-d", "--dir", "directory", type=click.Path(file_okay=False), default=".", metavar="DIR", help="Where to.")
@switch("-o", "--overwrite", help="Replace files that exist.")
@switch("-i", "--ignore-existing", help="Leave files that exist as they are.")
@part_filter
@switch("--repair", help="Read what is there, and unpack again only what is missing or changed.")
@switch("--no-record", help="Leave no .kitops-unpacked.json, which `kit status` and `kit verify` compare with.")
@switch("--include-remote", help="Fetch remote datasets too (remotePath).")
@_old_flags
@network_options
@result_format
@click.pass_obj
def command(session: Session, /, *, ref: str, directory: str, network: NetworkFlags, **given: Any) -> None:
    """Unpack the ModelKit REF, or parts of it, from the local store or its registry."""
    from kitops.formats.select import Filter
    from kitops.oci.reference import Reference
    from kitops.ops.unpack import UnpackOptions, unpack

    if given["overwrite"] and given["ignore_existing"]:
        raise click.UsageError("--overwrite and --ignore-existing exclude each other", click.get_current_context())
    if given["repair"]:
        if any(given[name] for name in ("overwrite", "ignore_existing", "filters", "no_record", *_OLD)):
            raise click.UsageError("--repair takes neither filters nor --overwrite, --ignore-existing, --no-record")
        mend(session, ref, directory, network, include_remote=given["include_remote"])
        return
    texts = [*given["filters"], *(kind for name, kind in _OLD.items() if given[name])]
    options = UnpackOptions(
        existing="overwrite" if given["overwrite"] else "keep" if given["ignore_existing"] else "refuse",
        filters=tuple(Filter.parse(text) for text in texts),
        include_remote=given["include_remote"],
        record=not given["no_record"],
    )
    with session.place(network) as place:
        done = unpack(place, Reference.parse(ref), Path(directory), options)
    tell(session, done, directory)
