"""``kit logout``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, result_format

if TYPE_CHECKING:
    from kitops.cli._session import Session


@kit_command("logout", examples=[("kit logout registry.example.com", "forget it")])
@click.argument("registry", default="docker.io", metavar="[REGISTRY]")
@result_format
@click.pass_obj
def command(session: Session, /, *, registry: str) -> None:
    """Forget the credentials of REGISTRY (default: Docker Hub)."""
    from kitops.ops.logout import logout

    with session.place() as place:
        logout(place, registry)
    session.result(f"Logged out of {registry}", {"registry": registry})
