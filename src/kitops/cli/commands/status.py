"""``kit status``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kitops.cli._options import file_path, kit_command, network_options, reference, result_format, switch
from kitops.cli._output import counted

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "status",
    examples=[
        ("kit status model", "against what was unpacked there"),
        ("kit status model team/model:v2", "against another ModelKit, by names and sizes"),
        ("kit status --exit-code --ignore-extra model", "for scripts: exit 1 when it differs"),
    ],
)
@click.argument("directory", metavar="DIR", type=file_path(exists=True, file_okay=False))
@reference("ref", "[REF]", required=False)
@switch("--exit-code", help="Exit with 1 when it differs.")
@switch("--ignore-extra", help="Files beside the ModelKit's do not matter.")
@switch("--ignore-modes", help="Permission bits do not matter.")
@network_options
@result_format
@click.pass_obj
@click.pass_context
def command(
    ctx: click.Context, session: Session, /, *, directory: str, ref: str | None, exit_code: bool, ignore_extra: bool,
    ignore_modes: bool, network: NetworkFlags
) -> None:  # fmt: skip
    """Tell which files of DIR differ from what was unpacked there, are missing, or are extra.

    Sizes and time stamps are compared, and hardly a file is read: `kit verify` reads all. Signs: ~ changed, - missing,
    + extra, ? written to since, of the same size, m other permission bits.
    """
    from kitops.cli._compared import show_compared
    from kitops.oci.reference import Reference
    from kitops.ops.status import status

    with session.place(network) as place:
        found = status(place, Path(directory), Reference.parse(ref) if ref else None)
    if ignore_extra:
        found = found.without_extra()
    if ignore_modes:
        found = found.without_modes()
    show_compared(session, found, f"no difference seen in {counted(found.files, 'file')}")
    ctx.exit(1 if exit_code and not found.is_equal else 0)
