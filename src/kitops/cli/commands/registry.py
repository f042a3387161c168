"""``kit registry``: ``serve``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kitops.cli._lazy import kit_group
from kitops.cli._options import file_path, kit_command, option, result_format, switch
from kitops.cli._output import to_stdout

if TYPE_CHECKING:
    from kitops.cli._session import Session

_FILE = file_path(dir_okay=False)
_STOP_SECONDS = 15.0  # for writing through what has come: on a busy disk that takes a while


@kit_group("registry")
def command() -> None:
    """Serve a registry: for a laptop, a network without internet, or CI."""


@kit_command(
    "serve",
    examples=[
        ("kit registry serve", "on 127.0.0.1:5000, content in $KITOPS_HOME/registry"),
        ("kit registry serve --store --port 0 --format json", "what was packed, on a free port that is printed"),
        (
            "kit registry serve /srv/models --host 0.0.0.0 --tls-cert c.pem --tls-key k.pem --htpasswd users",
            "for others: encrypted, with passwords (htpasswd -B)",
        ),
    ],
)
@click.argument("directory", metavar="[DIRECTORY]", required=False, type=file_path(file_okay=False))
@switch("--store", help="Serve the local store: what is pushed becomes a ref.")
@option("--host", default="127.0.0.1", metavar="ADDRESS", show_default=True, help="Address to listen on.")
@option("--port", type=click.IntRange(0, 65535), default=5000, metavar="N", show_default=True, help="0: a free one.")
@option("--tls-cert", type=_FILE, metavar="FILE", help="Certificate and chain (PEM): serve HTTPS.")
@option("--tls-key", type=_FILE, metavar="FILE", help="Key of the certificate (PEM).")
@option("--htpasswd", type=_FILE, metavar="FILE", help="Who may use it (`htpasswd -B`).")
@switch("--insecure", help="Let everybody in who reaches ADDRESS.")
@switch("--read-only", help="Refuse every change.")
@switch("--gc", help="Free blobs that no manifest lists, a day after they came.")
@option("--grace", type=click.FloatRange(0, 3600), default=10, metavar="SECONDS", show_default=True,
        help="How long requests may go on after Ctrl-C or SIGTERM.")  # fmt: skip
@result_format
@click.pass_obj
def serve(
    session: Session, /, *, directory: str | None, store: bool, htpasswd: str | None, grace: float, gc: bool,
    host: str, port: int, tls_cert: str | None, tls_key: str | None, insecure: bool, read_only: bool,
) -> None:  # fmt: skip
    """Serve a registry from DIRECTORY, or from the local store, until Ctrl-C or SIGTERM."""
    from kitops.ops.serve import ServeOptions, serve, wait_for_end

    if store and (directory or gc):
        raise click.UsageError("--store takes no DIRECTORY and no --gc (`kit prune` frees the store)")
    content = None if store else Path(directory) if directory else session.home / "registry"
    cert, key, users = map(_path, (tls_cert, tls_key, htpasswd))
    options = ServeOptions(content, host, port, cert, key, users, insecure, read_only, gc, grace)
    with session.working(grace_seconds=grace + _STOP_SECONDS) as run:
        told = lambda method, target, status: session.say(f"{method} {target}: {status}", "debug")  # noqa: E731
        with serve(session.home, options, run, on_request=told) as server:
            scheme = "http" if tls_cert is None else "https"
            if htpasswd and tls_cert is None and not server.is_local:
                session.say("passwords come unencrypted: give --tls-cert and --tls-key", "warning")
            value = {"address": server.address, "url": f"{scheme}://{server.address}", "root": str(server.root)}
            line = f"Serving {server.root} at {value['url']}"
            to_stdout((json.dumps(value) if session.output_format == "json" else line) + "\n")
            wait_for_end(run.cancel)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


command.add_command(serve)
