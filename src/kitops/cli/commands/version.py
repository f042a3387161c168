"""``kit version``."""

from __future__ import annotations

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
    """Print the version of kit, what it was built from where that is known, and the version of Python."""
    from kitops import __version__
    from kitops.ops.version import version

    found = version(__version__)
    rows = {
        "Version": found.version,
        "Commit": found.commit,
        "Built": found.built,
        "Python version": found.python,
    }
    value = {
        "version": found.version,
        "commit": found.commit,
        "built": found.built,
        "pythonVersion": found.python,
    }
    session.result("\n".join(f"{label}: {text}" for label, text in rows.items() if text), value)
