"""``kit help``."""

from __future__ import annotations

import click

from kitops.cli._options import kit_command
from kitops.cli._output import to_stdout

EXIT_CODES = (
    (0, "done"),
    (1, "failed; for `kit diff` and `kit status` with `--exit-code`: they differ; for `kit validate`: not valid"),
    (2, "a reference, filter, option, Kitfile or header of weights does not parse"),
    (3, "a path of the Kitfile is missing, ignored, special, or leaves the directory"),
    (4, "there is no such ModelKit, tag, blob or part"),
    (5, "content is not what its digest says; `kit verify`: the directory differs"),
    (6, "the registry wants other credentials"),
    (7, "the registry or its token server answered with an error, or wrongly"),
    (8, "the network failed; trying again may help"),
    (9, "the local store is not what it should be"),
    (10, "no signature, wrong identity, refused by policy, or unsafe content"),
    (11, "Hugging Face, git, MLflow or object storage failed"),
    (12, "the development server failed"),
    (13, "a deployment could not be made"),
    (14, "the system refused something on your files or streams: disk full, permission, a file that exists"),
    (70, "a bug in kit: please report it"),
    (130, "interrupted (Ctrl-C)"),
    (141, "the reader of the pipe is gone"),
    (143, "terminated (SIGTERM)"),
)


def _complete_topic(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    group = ctx.find_root().command
    names = group.list_commands(ctx) if isinstance(group, click.Group) else []
    return [name for name in (*names, "exit-codes") if name.startswith(incomplete)]


@kit_command("help", examples=[("kit help pack", "help on a command"), ("kit help exit-codes", "what they mean")])
@click.argument("topic", nargs=-1, metavar="[COMMAND|exit-codes]", shell_complete=_complete_topic)
@click.pass_context
def command(ctx: click.Context, topic: tuple[str, ...]) -> None:
    """Help on a command, or on exit codes."""
    if topic == ("exit-codes",):
        to_stdout("".join(f"{code:>4}  {meaning}\n" for code, meaning in EXIT_CODES))
        return
    at = ctx.find_root()
    for name in topic:
        group = at.command
        found = None
        if isinstance(group, click.Group):
            _, found, _ = group.resolve_command(at, [name])
        if found is None:
            raise click.UsageError(f"no such help topic: {' '.join(topic)}", ctx)
        at = click.Context(found, info_name=name, parent=at)
    to_stdout(at.get_help() + "\n")
