"""``kit pull``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, network_options, reference, result_format

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "pull",
    examples=[("kit pull registry.example.com/team/model:v1", "into the local store, with those it is made of")],
)
@reference("ref", "REF")
@network_options
@result_format
@click.pass_obj
def command(session: Session, /, *, ref: str, network: NetworkFlags) -> None:
    """Download the ModelKit REF, and those that its model comes from, into the local store."""
    from kitops.oci.reference import Reference
    from kitops.ops.pull import pull

    references = Reference.parse_tags(ref)
    with session.place(network) as place:
        session.say(f"Pulling {ref}")
        pulled = pull(place, references)
    names = [str(name) for one in pulled for name in one.references]
    digests = dict.fromkeys(str(one.desc.digest) for one in pulled)
    value = {"digest": next(iter(digests)), "references": names}
    session.result("\n".join(f"Pulled {digest}" for digest in digests), value)
