"""``kit remove``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, network_options, reference, result_format, switch
from kitops.cli._output import format_size

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "remove",
    examples=[
        ("kit remove team/model:v1", "the tag; with its last tag the ModelKit"),
        ("kit remove team/model:v1,v2 team/data:v1", "several"),
        ("kit remove --force team/model:v1", "the ModelKit with all its tags"),
        ("kit remove --all", "every untagged ModelKit"),
        ("kit remove -r registry.example.com/team/model:v1", "in the registry"),
    ],
)
@reference("refs", "[REF]...", nargs=-1)
@switch("-f", "--force", help="Delete the ModelKit with all its tags; with --all: everything.")
@switch("-a", "--all", "every", help="All untagged ModelKits.")
@switch("-r", "--remote", help="In the registry, not in the local store.")
@switch("--referrers", help="With --remote: what refers to a deleted ModelKit too (signatures, attestations).")
@network_options
@result_format
@click.pass_obj
def command(
    session: Session,
    /,
    *,
    refs: tuple[str, ...],
    force: bool,
    every: bool,
    remote: bool,
    referrers: bool,
    network: NetworkFlags,
) -> None:
    """Remove every ModelKit REF, or tags of it (REF may name several: repository:a,b); all of them, or none.

    A digest alone names a ModelKit without tags.
    """
    from kitops.oci.reference import Reference
    from kitops.ops.remove import remove, remove_all, remove_remote

    if every is bool(refs) or (every and remote):
        raise click.UsageError("remove wants either REF or --all (local only)", click.get_current_context())
    references = list(dict.fromkeys(ref for text in refs for ref in Reference.parse_tags(text)))
    with session.place(network) as place:
        if every:
            done = remove_all(place, force=force)
        elif remote:
            done = remove_remote(place, references, force=force, referrers=referrers)
        else:
            done = remove(place, references, force=force)
    value = {"untagged": [str(one) for one in done.untagged], "deleted": [str(one) for one in done.deleted],
             "freed": done.freed, "inUse": done.in_use}  # fmt: skip
    if done.freed:
        session.say(f"Freed {format_size(done.freed)}")
    if done.in_use:
        session.say(f"{format_size(done.in_use)} are still read by another command: `kit prune` frees them afterwards")
    lines = [f"Removed {one}" for one in (*done.untagged, *done.deleted)]
    session.result("\n".join(lines), value)
