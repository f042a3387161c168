"""``kit copy``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import file_path, kit_command, network_options, reference, result_format, switch
from kitops.cli._output import format_size

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags
    from kitops.ops.copy import Transferred

_MARKS = ("store:", "local://", "remote://")


@kit_command(
    "copy",
    examples=[
        ("kit copy -r reg.example.com/team/m:v1 mirror.example.com/team/m", "with its signatures, under the same tag"),
        ("kit copy -r --all-tags reg.example.com/team/m mirror.example.com/team/m", "a whole repository"),
        ("kit copy store:team/m:v1 oci:layout", "from the local store into an OCI image layout"),
        ("kit copy oci-archive:m.tar:v1 reg.example.com/team/m:v1", "from a tar that skopeo wrote"),
    ],
)
@reference("source", "SOURCE", marks=_MARKS, type=file_path())
@reference("destination", "DESTINATION", marks=_MARKS, type=file_path())
@switch("-r", "--recursive", help="With what refers to it: signatures, attestations, and what refers to those.")
@switch("-a", "--all-tags", "every", help="Everything that has a tag; SOURCE and DESTINATION are named without one.")
@network_options
@result_format
@click.pass_obj
def command(
    session: Session, /, *, source: str, destination: str, recursive: bool, every: bool, network: NetworkFlags
) -> None:
    """Copy an artifact of any type from SOURCE to DESTINATION, digests unchanged.

    Each is a reference in a registry (remote:// may stand in front), store:REF of the local store (or local://REF, or
    a reference without a registry), oci:DIRECTORY[:NAME] or oci-archive:FILE[:NAME], OCI image layouts.
    """
    from kitops.ops.copy import copy, copy_all
    from kitops.ops.location import Location

    ends = Location.parse(source), Location.parse(destination)
    with session.place(network) as place:
        done = (copy_all if every else copy)(place, *ends, recursive=recursive)
    copied = done if isinstance(done, tuple) else (done,)
    values = [_to_json(one) for one in copied]
    session.say(f"Moved {format_size(sum(one.copied.moved_size for one in copied))}")
    session.result("\n".join(f"Copied {one.desc.digest}" for one in copied), values if every else values[0])


def _to_json(one: Transferred) -> dict[str, object]:
    return {
        "digest": str(one.desc.digest),
        "references": list(one.names),
        "referrers": [str(desc.digest) for desc in one.referrers],
        "moved": one.copied.moved_size,
        "existed": one.copied.existed - one.mounted,
        "mounted": one.mounted,
    }
