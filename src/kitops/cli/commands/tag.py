"""``kit tag``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, network_options, reference, result_format, switch

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "tag",
    examples=[
        ("kit tag model:v1 registry.example.com/team/model:v1", "ready to be pushed"),
        ("kit tag model:v1 model:stable,latest", "two names more"),
        ("kit tag -r reg.example.com/team/model:v1 reg.example.com/team/model:stable", "in the registry"),
    ],
)
@reference("source", "SOURCE")
@reference("destination", "DESTINATION")
@switch("-r", "--remote", help="In the registry of both; nothing is downloaded.")
@network_options
@result_format
@click.pass_obj
def command(session: Session, /, *, source: str, destination: str, remote: bool, network: NetworkFlags) -> None:
    """Give the ModelKit SOURCE of the local store, or of a registry, the name DESTINATION too."""
    from kitops.oci.reference import Reference
    from kitops.ops.tag import tag, tag_remote

    with session.place(network) as place:
        tagged = (tag_remote if remote else tag)(place, Reference.parse(source), Reference.parse_tags(destination))
    names = [str(ref) for ref in tagged.references]
    session.say(f"Tagged {source} as {', '.join(names)}")
    session.result("", {"digest": str(tagged.desc.digest), "references": names})
