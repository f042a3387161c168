"""``kit tag``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, reference, result_format

if TYPE_CHECKING:
    from kitops.cli._session import Session


@kit_command(
    "tag",
    examples=[
        ("kit tag model:v1 registry.example.com/team/model:v1", "ready to be pushed"),
        ("kit tag model:v1 model:stable,latest", "two names more"),
    ],
)
@reference("source", "SOURCE")
@reference("destination", "DESTINATION")
@result_format
@click.pass_obj
def command(session: Session, /, *, source: str, destination: str) -> None:
    """Give the ModelKit SOURCE of the local store the name DESTINATION too."""
    from kitops.oci.reference import Reference
    from kitops.ops.tag import tag

    with session.place() as place:
        tagged = tag(place, Reference.parse(source), Reference.parse_tags(destination))
    names = [str(ref) for ref in tagged.references]
    session.say(f"Tagged {source} as {', '.join(names)}")
    session.result("", {"digest": str(tagged.desc.digest), "references": names})
