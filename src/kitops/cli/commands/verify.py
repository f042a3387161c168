"""``kit verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kitops.cli._options import file_path, kit_command, network_options, reference, result_format, switch
from kitops.cli._output import counted

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags

_DIFFERS = 5


@kit_command(
    "verify",
    examples=[
        ("kit verify model", "against the digests of what was unpacked there"),
        ("kit verify model registry.example.com/team/model@sha256:…", "against a digest that you trust"),
        ("kit verify model --ignore-extra || kit unpack team/model:v1 -d model --repair", "mend what is wrong"),
    ],
)
@click.argument("directory", metavar="DIR", type=file_path(exists=True, file_okay=False))
@reference("ref", "[REF]", required=False)
@switch("--ignore-extra", help="Files beside the ModelKit's do not matter.")
@switch("--ignore-modes", help="Permission bits do not matter.")
@network_options
@result_format
@click.pass_obj
@click.pass_context
def command(
    ctx: click.Context, session: Session, /, *, directory: str, ref: str | None, ignore_extra: bool,
    ignore_modes: bool, network: NetworkFlags
) -> None:  # fmt: skip
    """Read every file of DIR and compare it with the ModelKit REF; exit with 5 when anything differs.

    Without REF, with what was unpacked there, by digest. The layers need not be in the local store. Signs: ~ changed,
    - missing, + extra, m other permission bits.
    """
    from kitops.cli._compared import show_compared
    from kitops.oci.reference import Reference
    from kitops.ops.verify import verify

    with session.place(network) as place:
        found = verify(place, Path(directory), Reference.parse(ref) if ref else None)
    if ignore_extra:
        found = found.without_extra()
    if ignore_modes:
        found = found.without_modes()
    show_compared(session, found, f"verified: {counted(found.files, 'file')}")
    ctx.exit(0 if found.is_equal else _DIFFERS)
