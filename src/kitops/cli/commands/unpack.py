"""``kit unpack``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kitops.cli._options import (
    file_path,
    kit_command,
    network_options,
    one_of,
    option,
    part_filter,
    reference,
    result_format,
    switch,
)
from kitops.cli._skill_places import AGENTS, names_agents
from kitops.cli._unpacking import mend, old_filters, parse_options, tell, unpack_as_skill

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "unpack",
    examples=[
        ("kit unpack registry.example.com/team/model:v1 -d model", "everything, from the store or the registry"),
        ("kit unpack team/model:v1 --filter model --filter 'datasets:train*'", "only some parts"),
        ("kit unpack team/model:v1 -d model --repair", "only what is missing or changed there"),
        ("kit unpack team/model:v1 -d model --repair --include-remote", "remote datasets too"),
        ("kit unpack team/skills:v1 --as-skill", "its skills, for the AI agents that are installed"),
        ("kit unpack team/skills:v1 --as-skill=claude-code -d .", "for one of them, in this project"),
    ],
)
@reference("ref", "REF")
@option("-d", "--dir", "directory", type=file_path(file_okay=False), metavar="DIR", help="Where to; here by default.")
@switch("-o", "--overwrite", help="Replace files that exist.")
@switch("-i", "--ignore-existing", help="Leave files that exist as they are.")
@part_filter
@switch("--repair", help="Read what is there, and unpack again only what is missing or changed.")
@switch("--no-record", help="Leave no .kitops-unpacked.json, which `kit status` and `kit verify` compare with.")
@switch("--include-remote", help="Fetch remote datasets too (remotePath).")
@switch("--as-skill", instead=("--skill-agents", names_agents),
        help="Unpack its skills (prompts with a SKILL.md) where the AI agents that are installed look for them, or"
        " those of --as-skill=NAME[,NAME…]; in a project with --dir.")  # fmt: skip
@option("--skill-agents", metavar="NAME[,NAME…]", shell_complete=one_of(*AGENTS, several=True),
        help=f"--as-skill for these, installed or not: {', '.join(AGENTS)}.")  # fmt: skip
@old_filters
@network_options
@result_format
@click.pass_obj
def command(session: Session, /, *, ref: str, directory: str | None, network: NetworkFlags, **given: Any) -> None:
    """Unpack the ModelKit REF, or parts of it, from the local store or its registry."""
    from kitops.oci.reference import Reference
    from kitops.ops.unpack import unpack

    options = parse_options(given)
    where = directory or "."
    if given["repair"]:
        mend(session, ref, where, network, include_remote=options.include_remote)
    elif given["as_skill"] or given["skill_agents"] is not None:
        unpack_as_skill(session, ref, directory, network, options, given["skill_agents"])
    else:
        with session.place(network) as place:
            done = unpack(place, Reference.parse(ref), Path(where), options)
        tell(session, done, where)
