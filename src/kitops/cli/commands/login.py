"""``kit login``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitops.cli._options import kit_command, network_options, option, result_format, switch
from kitops.cli._values import ask, can_ask, read_stdin
from kitops.errors import InvalidValueError

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "login",
    examples=[
        ("kit login registry.example.com -u ada", "asks for the password"),
        ("pass show registry | kit login registry.example.com -u ada --password-stdin", "for scripts"),
    ],
)
@click.argument("registry", default="docker.io", metavar="[REGISTRY]")
@option("-u", "--username", metavar="NAME", help="Who you are there.")
@option("-p", "--password", metavar="TEXT", help="Password, or without a user a refresh token; see --password-stdin.")
@switch("--password-stdin", help="Read the password from stdin: it stays out of lists of processes.")
@network_options
@result_format
@click.pass_obj
def command(
    session: Session,
    /,
    *,
    registry: str,
    username: str | None,
    password: str | None,
    password_stdin: bool,
    network: NetworkFlags,
) -> None:
    """Log in to REGISTRY (default: Docker Hub); its answer is checked before anything is kept."""
    from kitops.oci.reference import check_registry
    from kitops.ops.login import login
    from kitops.registry.credentials import Credential

    check_registry(registry)  # before anybody types a password for it
    if password is not None and password_stdin:
        raise click.UsageError("--password and --password-stdin exclude each other", click.get_current_context())
    if password is not None:
        session.say("a password on the command line can be seen by others: use --password-stdin", "warning")
    if password_stdin:
        password = _decode(read_stdin())
    elif password is None:
        username, password = _ask(username)
    if not password:
        raise InvalidValueError("the password is empty")
    with session.place(network) as place:
        login(place, registry, Credential.of_login(username or "", password))
    session.result("Login Succeeded", {"registry": registry, "username": username or ""})


def _decode(password: bytes) -> str:
    try:
        return password.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise InvalidValueError("the password is not UTF-8") from None


def _ask(username: str | None) -> tuple[str, str]:
    if not can_ask():
        raise InvalidValueError("there is no terminal to ask for the password", hint="use -u NAME --password-stdin")
    if username is None:
        username = ask("Username")
    return username, ask("Password", hidden=True)
