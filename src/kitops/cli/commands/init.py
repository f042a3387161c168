"""``kit init``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kitops.cli._options import file_path, kit_command, option, result_format, switch
from kitops.cli._output import to_stdout
from kitops.cli._values import ask, can_ask

if TYPE_CHECKING:
    from kitops.cli._session import Session


@kit_command(
    "init",
    examples=[
        ("kit init .", "look at the files here and write ./Kitfile"),
        ('kit init model --name digits --author "Ada Lovelace" --force', "ask nothing, replace what is there"),
        ("kit init . -o -", "only print it"),
        ("kit init --remote org/model", "print one for a repository of Hugging Face, without downloading it"),
    ],
)
@click.argument("path", type=file_path(file_okay=False))
@switch("--remote", help="PATH is a repository of Hugging Face (or another source that `kit import` takes).")
@option("--ref", "revision", default="", metavar="REVISION", help="Of --remote: branch, tag or commit.")
@option("--token", help="Of --remote: access token; - reads it from stdin.")
@option("--name", help="Name of the package.")
@option("--desc", help="Description of the package.")
@option("--author", help="Author of the package.")
@switch("-f", "--force", help="Replace a Kitfile that is there.")
@option("-o", "--output", metavar="FILE", type=file_path(), help="Write there instead; - prints it.")
@option("--depth", type=int, default=0, metavar="N", show_default=True,
        help="Directories deep that files are listed one by one; 0 chooses, -1 is all the way.")  # fmt: skip
@result_format
@click.pass_obj
def command(
    session: Session,
    /,
    *,
    path: str,
    name: str | None,
    desc: str | None,
    author: str | None,
    force: bool,
    output: str | None,
    depth: int,
    remote: bool,
    revision: str,
    token: str | None,
) -> None:
    """Write a Kitfile for the directory PATH.

    What each file is follows from its name. On a terminal, name, description and author are asked for.
    With --remote the Kitfile is printed as `kit import` would make it; of large files only heads are read, where the
    source can send them.
    """
    from kitops.ops.init import InitOptions, check_target

    if not remote and (revision or token):
        raise click.UsageError("--ref and --token are for --remote")
    target = Path(output) if output and output != "-" else None
    options = InitOptions(depth=depth, force=force, output=target, write=output != "-")
    if not remote:
        check_target(Path(path), options)
    options = replace(
        options,
        name=_ask("Name", name, remote=remote),
        description=_ask("Description", desc, remote=remote),
        author=_ask("Author", author, remote=remote),
    )
    if remote:
        from kitops.cli._importing import print_remote
        from kitops.ops.sources import SourceOptions

        print_remote(session, path, SourceOptions(revision=revision, token=token), options)
        return
    from kitops.kitfile.dump import to_json
    from kitops.ops.init import init

    found = init(Path(path), options)
    if session.output_format == "json":
        session.result("", {"path": str(found.path) if found.path else None, "kitfile": to_json(found.kitfile)})
    elif found.path is None:
        to_stdout(found.text)
    else:
        session.result(f"Kitfile saved: {found.path}", None)


def _ask(label: str, given: str | None, *, remote: bool) -> str:
    """What was given; a person is asked for the rest, unless the source has it."""
    if given is not None or remote or not can_ask():
        return given or ""
    return ask(label)
