"""``kit pull``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, network_options, part_filter, reference, result_format, switch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "pull",
    examples=[
        ("kit pull registry.example.com/team/model:v1", "into the local store, with those it is made of"),
        ("kit pull registry.example.com/team/model:v1 --filter model", "only the model; a later pull completes it"),
        ("kit pull registry.example.com/team/model:v1 --dry-run", "what is new, and whether it fits"),
        ("kit pull registry.example.com/team/model:v1,v2 registry.example.com/team/data:v1", "several"),
    ],
)
@reference("refs", "REF...", nargs=-1, required=True)
@part_filter
@switch("--dry-run", help="Tell what would be moved; move nothing.")
@switch("--verify", help="Read what is in the store already, and fetch again what is damaged.")
@network_options
@result_format
@click.pass_obj
def command(
    session: Session,
    /,
    *,
    refs: tuple[str, ...],
    filters: Sequence[str],
    dry_run: bool,
    verify: bool,
    network: NetworkFlags,
) -> None:
    """Download every ModelKit REF, or parts of it, and those that its model comes from, into the local store.

    REF may name several tags (repository:a,b).
    """
    from kitops.formats.select import Filter
    from kitops.oci.reference import Reference
    from kitops.ops.pull import plan_pull, pull

    if dry_run and verify:
        raise click.UsageError("--verify and --dry-run exclude each other", click.get_current_context())
    references = list(dict.fromkeys(ref for text in refs for ref in Reference.parse_tags(text)))
    chosen = [Filter.parse(text) for text in filters]
    with session.place(network) as place:
        if dry_run:
            from kitops.cli._plan import format_plan

            plan = plan_pull(place, references, chosen)
            session.result(format_plan(plan), plan.to_json())
            return
        session.say(f"Pulling {', '.join(refs)}")
        pulled = pull(place, references, chosen, verify=verify)
    names = [str(name) for one in pulled for name in one.references]
    digests = dict.fromkeys(str(one.desc.digest) for one in pulled)
    value: dict[str, object] = {"digest": next(iter(digests)), "references": names}
    if len(digests) > 1:
        value["kits"] = [{"reference": str(name), "digest": str(one.desc.digest)}
                         for one in pulled for name in one.references]  # fmt: skip
    if left_out := dict.fromkeys(str(digest) for one in pulled for digest in one.left_out):
        value["leftOut"] = list(left_out)
    session.result("\n".join(f"Pulled {digest}" for digest in digests), value)
