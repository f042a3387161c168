"""``kit push``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, network_options, reference, result_format, switch

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "push",
    examples=[
        ("kit push registry.example.com/team/model:v1", "under its own name"),
        ("kit push model:v1 registry.example.com/team/model:v1,latest", "under other names"),
        ("kit push model:v1 registry.example.com/team/model:v1 mirror.example.com/model:v1", "to several places"),
    ],
)
@reference("source", "SOURCE")
@reference("destinations", "[DESTINATION]...", nargs=-1)
@switch("--dry-run", help="Tell what would be moved; move nothing.")
@network_options
@result_format
@click.pass_obj
def command(
    session: Session, /, *, source: str, destinations: tuple[str, ...], dry_run: bool, network: NetworkFlags
) -> None:
    """Upload the ModelKit SOURCE of the local store to its registry, or as every DESTINATION."""
    from kitops.oci.reference import Reference
    from kitops.ops.push import push

    sources = Reference.parse_tags(source)
    targets = tuple(ref for text in destinations for ref in Reference.parse_tags(text))
    if targets and len(sources) > 1:
        raise click.UsageError(
            "SOURCE names several tags; with a DESTINATION it names one", click.get_current_context()
        )
    with session.place(network) as place:
        groups = [(sources[0], targets)] if targets else [(ref, (ref,)) for ref in sources]
        if dry_run:
            from kitops.cli._plan import format_plan
            from kitops.ops.plan import plan_push

            plans = [plan_push(place, ref, group) for ref, group in groups]
            values = [plan.to_json() for plan in plans]
            session.result("\n".join(map(format_plan, plans)), values[0] if len(values) == 1 else values)
            return
        pushed = []
        for ref, group in groups:
            session.say(f"Pushing {ref}" + (f" to {', '.join(destinations)}" if targets else ""))
            pushed.append(push(place, ref, group))
    names = [str(ref) for one in pushed for ref in one.references]
    digests = dict.fromkeys(str(one.desc.digest) for one in pushed)
    value = {"digest": next(iter(digests)), "references": names}
    session.result("\n".join(f"Pushed {digest}" for digest in digests), value)
