"""A group of commands that imports a command when it is typed, not before."""

from __future__ import annotations

from importlib import import_module
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from kitops.cli._options import KitCommand, help_option, normalise, with_global_options
from kitops.cli._output import to_stdout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from click.shell_completion import CompletionItem

_WHOLE = 1000
"""Letters that no first sentence has."""


class Entry(NamedTuple):
    """One command of the group: its line in the overview, and the section that it stands in."""

    summary: str
    section: str = "Commands"


class KitGroup(click.Group):
    """A group with global options, that shows its help when no command is named, and a hint on an unknown one."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        attributes.setdefault("invoke_without_command", True)
        super().__init__(*args, **{"add_help_option": False, **attributes})
        self.params += [*with_global_options(), help_option()]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, normalise(args, self.get_params(ctx), interspersed=False))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args and args[0] not in known and not ctx.resilient_parsing and not args[0].startswith("-"):
            raise_unknown(ctx, args[0], known)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        KitCommand.write_options(self, ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first sentence of each command, all of it."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, found.get_short_help_str(_WHOLE)) for name, found in commands if found])


class LazyGroup(KitGroup):
    """Commands named in ``entries`` live in modules ``<package>.<name>`` as the attribute ``command``.

    A name that Python keeps for itself (``import``) has an underscore behind it there.
    """

    def __init__(self, *args: Any, package: str, entries: Mapping[str, Entry], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self._package = package
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.entries:
            return None
        module = import_module(f"{self._package}.{cmd_name}{'_' * iskeyword(cmd_name)}")
        found: click.Command = module.command
        return found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=entry.summary)
            for name, entry in self.entries.items()
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for section in dict.fromkeys(entry.section for entry in self.entries.values()):
            with formatter.section(section):
                formatter.write_dl(
                    [(name, entry.summary) for name, entry in self.entries.items() if entry.section == section]
                )


def kit_group(
    name: str, *, cls: type[KitGroup] = KitGroup, **attributes: Any
) -> Callable[[Callable[[], None]], KitGroup]:
    """Decorate an empty function into a group; its docstring is the help."""

    def decorate(function: Callable[[], None]) -> KitGroup:
        def show_help() -> None:
            ctx = click.get_current_context()
            if ctx.invoked_subcommand is None:
                to_stdout(ctx.get_help() + "\n")

        attributes.setdefault("help", function.__doc__)
        return cls(name, callback=show_help, **attributes)

    return decorate


def raise_unknown(ctx: click.Context, name: str, known: Sequence[str]) -> NoReturn:
    """Raise the usage error of a command that is not there, with the nearest that is."""
    from difflib import get_close_matches  # only on a typo

    error = click.UsageError(f"no such command: {name}", ctx)
    if near := get_close_matches(name, known, n=1):
        error.hint = f"did you mean `{ctx.command_path} {near[0]}`?"  # type: ignore[attr-defined]
    raise error
