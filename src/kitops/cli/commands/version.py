"""``kit version``."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, result_format, switch

if TYPE_CHECKING:
    from kitops.cli._session import Session


@kit_command("version", examples=[("kit version", "what is installed"), ("kit version --format json", "for programs")])
@switch(
    "--show-update-notifications", hidden=True, help="Accepted for the Go tool's sake: kit never looks for updates."
)
@result_format
@click.pass_obj
def command(session: Session, /, *, show_update_notifications: bool) -> None:  # noqa: ARG001 - accepted, and nothing to do
    """Print the version of kit, and of the Python that runs it."""
    from kitops import __version__

    rows = {
        "Version": __version__,
        "Commit": "unknown",
        "Built": "unknown",
        "Python version": platform.python_version(),
    }
    keys = ("version", "commit", "built", "pythonVersion")
    session.result(
        "\n".join(f"{label}: {value}" for label, value in rows.items()),
        dict(zip(keys, rows.values(), strict=True)),
    )
