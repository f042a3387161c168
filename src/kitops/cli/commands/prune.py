"""``kit prune``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, result_format, switch
from kitops.cli._output import counted, format_size

if TYPE_CHECKING:
    from kitops.cli._session import Session


@kit_command(
    "prune",
    examples=[("kit prune --dry-run", "what it would free"), ("kit prune", "free it")],
)
@switch("--dry-run", help="Only say what would be freed.")
@result_format
@click.pass_obj
def command(session: Session, /, *, dry_run: bool) -> None:
    """Free blobs that no ModelKit needs, and what interrupted downloads and uploads left.

    What is younger than an hour stays: it may belong to something that runs. An upload to this store (`kit registry
    serve --store`) can be continued for a day.
    """
    from kitops.ops.cache import cache_info
    from kitops.ops.prune import prune

    with session.place() as place:
        done = prune(place, dry_run=dry_run)
        left = cache_info(place).partial_size
    if dry_run:
        left -= sum(size for path, size in done.partials if "incoming" not in path.parts)
    verb = "Would free" if dry_run else "Freed"
    rows = [*done.blobs, *done.partials]
    if dry_run or session.level in ("debug", "trace"):
        for name, size in rows:
            session.say(f"{verb} {name} ({format_size(size)})")
    if left > 0:
        young = f"{format_size(left)} of unfinished downloads stay: younger than an hour, or still coming"
        session.say(f"{young}; `kit cache clear` removes what nothing runs for")
    value = {
        "dryRun": dry_run,
        "freed": done.size,
        "blobs": [{"digest": str(name), "size": size} for name, size in done.blobs],
        "partials": [{"path": str(name), "size": size} for name, size in done.partials],
    }
    session.result(f"{verb} {format_size(done.size)} ({counted(len(rows), 'file')})", value)
