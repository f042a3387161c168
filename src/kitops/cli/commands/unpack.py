"""``kit unpack``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kitops.cli._options import kit_command, network_options, option, reference, result_format, switch
from kitops.cli._output import format_size

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
    ],
)
@reference("ref", "REF")
@option("-d", "--dir", "directory", type=click.Path(file_okay=False), default=".", metavar="DIR", help="Where to.")
@switch("-o", "--overwrite", help="Replace files that exist.")
@switch("-i", "--ignore-existing", help="Leave files that exist as they are.")
@option("-f", "--filter", "filters", multiple=True, metavar="TYPE[:NAME]",
        help="Only these: model, datasets, code, docs, prompts, mcpservers, kitfile; NAME may be a glob.")  # fmt: skip
@switch("--repair", help="Read what is there, and unpack again only what is missing or changed.")
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
        _repair(session, ref, directory, network, given)
        return
    texts = [*given["filters"], *(kind for name, kind in _OLD.items() if given[name])]
    options = UnpackOptions(
        existing="overwrite" if given["overwrite"] else "keep" if given["ignore_existing"] else "refuse",
        filters=tuple(Filter.parse(text) for text in texts),
        include_remote=given["include_remote"],
    )
    with session.place(network) as place:
        done = unpack(place, Reference.parse(ref), Path(directory), options)
    shared = f", {format_size(done.reflinked)} of them shared with the store" if done.reflinked else ""
    kept = f", {done.kept} left as they were" if done.kept else ""
    session.say(f"Unpacked {done.written} files ({format_size(done.size)}{shared}) into {directory}{kept}")
    value = {"digest": str(done.desc.digest), "directory": directory, "files": done.written, "kept": done.kept,
             "size": done.size, "reflinked": done.reflinked, "copied": done.copied}  # fmt: skip
    session.result("", value)


def _repair(session: Session, ref: str, directory: str, network: NetworkFlags, given: dict[str, Any]) -> None:
    from kitops.oci.reference import Reference
    from kitops.ops.repair import repair

    if given["overwrite"] or given["ignore_existing"] or given["filters"] or any(given[name] for name in _OLD):
        raise click.UsageError("--repair takes neither filters nor --overwrite, --ignore-existing")
    with session.place(network) as place:
        done = repair(place, Reference.parse(ref), Path(directory))
    for path in done.mended:
        session.say(f"Mended {path}")
    if done.extra:
        session.say(f"{len(done.extra)} files beside the ModelKit's were left")
    session.say(f"Mended {len(done.mended)} files ({format_size(done.size)}) in {directory}, {done.kept} were right")
    value = {"digest": str(done.desc.digest), "directory": directory, "mended": list(done.mended), "kept": done.kept,
             "extra": list(done.extra), "size": done.size}  # fmt: skip
    session.result("", value)
