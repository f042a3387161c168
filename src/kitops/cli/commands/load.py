"""``kit load``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from kitops.cli._options import file_path, kit_command, option, result_format
from kitops.cli._output import counted, format_size, is_terminal

if TYPE_CHECKING:
    from kitops.cli._session import Session


@kit_command(
    "load",
    examples=[
        ("kit load -i models.tar", "what `kit save` wrote"),
        ("kit load -i m.tar -t team/m", "what skopeo wrote: its tags become tags of team/m"),
        ("zstd -dc models.tar.zst | kit load -i -", "from a pipe"),
    ],
)
@option("-i", "--input", "source", required=True, type=file_path(), metavar="FILE",
        help="A tar, or a layout's directory; - is stdin.")  # fmt: skip
@option("-t", "--tag", metavar="REPOSITORY[:TAG]", help="Where to put what has a bare tag, or no name at all.")
@result_format
@click.pass_obj
def command(session: Session, /, *, source: str, tag: str | None) -> None:
    """Load the ModelKits of FILE, an OCI image layout, into the local store, verified."""
    from kitops.oci.reference import Reference
    from kitops.ops.load import load

    if source == "-" and (sys.stdin is None or is_terminal(sys.stdin)):
        raise click.UsageError("an archive is not typed: name a file or a pipe", click.get_current_context())
    repository = Reference.parse(tag) if tag else None
    with session.place() as place:
        loaded = load(place, sys.stdin.fileno() if source == "-" else source, repository=repository)
    kits = [{"reference": str(ref), "digest": str(desc.digest)} for ref, desc in loaded.kits]
    value = {"kits": kits, "referrers": [str(desc.digest) for desc in loaded.referrers],
             "moved": loaded.copied.moved_size}  # fmt: skip
    what = f"{counted(len(kits), 'ModelKit')} and {counted(len(loaded.referrers), 'referrer')}"
    session.say(f"Loaded {what}, {format_size(loaded.copied.moved_size)} new")
    session.result("\n".join(f"Loaded {ref}" for ref, _ in loaded.kits), value)
