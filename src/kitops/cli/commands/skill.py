"""``kit skill``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import file_path, kit_command, one_of, option, result_format, switch
from kitops.cli._skill_places import AGENTS, choose_places, tell_skills

if TYPE_CHECKING:
    from kitops.cli._session import Session


@kit_command(
    "skill",
    examples=[
        ("kit skill", "for the agents that are installed, in all your projects"),
        ("kit skill -d . --agents claude-code,universal", "in this project, to be committed"),
        ("kit skill -o", "after an update of kit"),
    ],
)
@option("-d", "--dir", "directory", type=file_path(file_okay=False), metavar="DIR", help="Into this project only.")
@option("--agents", metavar="NAME[,NAME…]", shell_complete=one_of(*AGENTS, several=True),
        help=f"For these, installed or not: {', '.join(AGENTS)}.")  # fmt: skip
@switch("-o", "--overwrite", help="Replace another SKILL.md of that name.")
@switch("-i", "--ignore-existing", help="Leave another SKILL.md of that name as it is.")
@result_format
@click.pass_obj
@click.pass_context
def command(
    ctx: click.Context, session: Session, /, *, directory: str | None, agents: str | None, overwrite: bool,
    ignore_existing: bool
) -> None:  # fmt: skip
    """Teach AI agents this command: write a SKILL.md where they look for skills."""
    from kitops.cli._root import root
    from kitops.cli._skill import skill_text
    from kitops.cli.commands.help import EXIT_CODES
    from kitops.ops.skill import install_skill

    if overwrite and ignore_existing:
        raise click.UsageError("--overwrite and --ignore-existing exclude each other", ctx)
    chosen, places = choose_places(agents, directory, "--agents")
    existing = "overwrite" if overwrite else "keep" if ignore_existing else "refuse"
    done = install_skill(skill_text(root, ctx, EXIT_CODES), places, existing)  # type: ignore[arg-type]
    tell_skills(session, chosen, done)
