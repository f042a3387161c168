"""A plan as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.cli._output import format_size, format_table

if TYPE_CHECKING:
    from kitops.ops.plan import Plan

_STATES = {
    "new": "new",
    "partial": "partly here",
    "exists": "there",
    "mountable": "in the registry",
    "left-out": "left out",
    "missing": "not here",
}


def format_plan(plan: Plan) -> str:
    """A table of what would be moved, and the sums; without a line break at the end."""
    rows = [(item.digest.short, format_size(item.size), _STATES[item.state], item.label) for item in plan.items]
    lines = [format_table(("DIGEST", "SIZE", "STATE", "WHAT"), rows).rstrip("\n")]
    sums = f"to {plan.verb}: {format_size(plan.transfer)}, there already: {format_size(plan.size_of('exists'))}"
    if size := plan.size_of("mountable"):
        sums += f", taken over within the registry: {format_size(size)}"
    if size := plan.size_of("left-out"):
        sums += f", left out: {format_size(size)}"
    if size := plan.size_of("missing"):
        sums += f", not here because a filtered pull left it out: {format_size(size)}"
    lines.append(sums)
    if plan.needed is not None:
        free = "unknown" if plan.free is None else format_size(plan.free)
        lines.append(f"disk: {format_size(plan.needed)} needed, {free} free{'' if plan.fits else ': does not fit'}")
    return "\n".join(lines)
