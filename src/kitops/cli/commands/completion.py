"""``kit completion``."""

from __future__ import annotations

import click

from kitops.cli._options import kit_command
from kitops.cli._output import to_stdout


@kit_command(
    "completion",
    examples=[
        ("source <(kit completion bash)", "in ~/.bashrc; zsh the same in ~/.zshrc"),
        ("kit completion fish | source", "in ~/.config/fish/config.fish"),
        ("kit completion powershell | Out-String | Invoke-Expression", "in $PROFILE"),
    ],
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish", "powershell"]), metavar="SHELL")
def command(shell: str) -> None:
    """Print the completion script of SHELL: bash, zsh, fish or powershell.

    Commands, options, files and the references of the local store are completed.
    """
    from kitops.cli._completion import SCRIPTS

    to_stdout(SCRIPTS[shell])
