"""Options as the Go ``kit`` takes them, on top of click.

Differences to click's own: a boolean is ``--tls-verify``, ``--tls-verify=false`` or ``-r=true`` and never takes the
next word; ``-t=x`` is ``-t x``; global flags stand before or after the verb; help groups options by section.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click
from click.core import ParameterSource

from kitops.cli._output import to_stdout
from kitops.cli._settings import NetworkFlags
from kitops.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Function = TypeVar("Function", bound="Callable[..., Any]")

OWN = "Options"
NETWORK = "Network options"
GLOBAL = "Global options"
PART_TYPES = ("model", "datasets", "code", "docs", "prompts", "mcpservers", "kitfile")
"""What a filter may ask for."""


class KitOption(click.Option):
    """An option that knows its section of the help."""

    def __init__(self, *args: Any, section: str = OWN, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.section = section


class Boolean(click.types.BoolParamType):
    """``true`` and ``false`` as Go reads them (``strconv.ParseBool``), in any case."""

    name = "boolean"
    words: ClassVar = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        known = self.words.get(str(value).lower())
        if known is not None:
            return known
        return self.fail(f"{value!r} is neither true nor false", param, ctx)


class BooleanOrHosts(Boolean):
    """``true``, ``false``, or hosts, comma separated: a tuple of them."""

    name = "boolean or hosts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        hosts = tuple(str(value).lower().split(","))
        if not all("." in host or ":" in host or host == "localhost" for host in hosts):
            return super().convert(value, param, ctx)
        from kitops.errors import InvalidValueError
        from kitops.oci.reference import check_registry

        try:
            for host in hosts:
                check_registry(host)
        except InvalidValueError as error:
            self.fail(error.message, param, ctx)
        return hosts


class Switch(KitOption):
    """A boolean that takes ``=true`` and ``=false``, but no word of its own.

    Args:
        instead: another option, which is meant where the word behind this one is such as the function takes, and by
            whatever stands behind ``=`` and is no boolean.
    """

    def __init__(
        self,
        *args: Any,
        default: bool | None = False,
        instead: tuple[str, Callable[[str], bool]] | None = None,
        **attributes: Any,
    ) -> None:
        attributes = {"type": Boolean(), "show_default": bool(default), **attributes}
        super().__init__(*args, is_flag=True, default=default, **attributes)
        self.instead = instead

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:  # noqa: ARG002 - click's signature
        parser.add_option(obj=self, opts=self.opts, dest=self.name, action="store", nargs=1)  # see `normalise`


def normalise(args: Sequence[str], params: Sequence[click.Parameter], *, interspersed: bool = True) -> list[str]:
    """Spell every known option as ``--long=value``, so that click sees one form only; leave all else alone.

    Args:
        args: words of the command line.
        params: the command's.
        interspersed: whether options may follow arguments; otherwise the first argument ends it.
    """
    options = {name: param for param in params if isinstance(param, click.Option) for name in param.opts}
    words = list(args)
    spelled: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--" or (not interspersed and not _is_option(word)):
            return [*spelled, word, *words]
        if word.startswith("--"):
            spelled += _long(word, options, words)
        elif _is_option(word):
            spelled += _short(word, options, words)
        else:
            spelled.append(word)
    return spelled


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-"


def _long(word: str, options: dict[str, click.Option], words: list[str]) -> list[str]:
    name, equals, value = word.partition("=")
    option = options.get(name)
    if option is None:
        return [word]
    if isinstance(option, Switch) and option.instead and (equals or words):
        other, is_meant = option.instead
        if is_meant(value if equals else words[0]) or (equals and value.lower() not in Boolean.words):
            return [f"{other}={value if equals else words.pop(0)}"]
    if option.count and equals:
        return [name] * int(value) if value.isdecimal() and len(value) < 3 else [word]
    if equals or (option.is_flag and not isinstance(option, Switch)) or option.count:
        return [word]
    if isinstance(option, Switch):
        return [f"{name}=true"]
    return [f"{name}={words.pop(0)}"] if words else [word]


def _short(word: str, options: dict[str, click.Option], words: list[str]) -> list[str]:
    spelled: list[str] = []
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        option = options.get(f"-{letter}")
        if option is None:
            return [*spelled, f"-{letter}{letters}"]
        name = max(option.opts, key=len)
        if letters.startswith("=") or not (option.is_flag or option.count):
            rest = [f"{name}={letters.removeprefix('=')}"] if letters else [name]
            return [*spelled, *_long(rest[0], options, words)]
        spelled += _long(name, options, words)
    return spelled


def show_help(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001 - click's signature
    """Print the help as results are printed: a reader that is gone, or a full disk, is told apart."""
    if value and not ctx.resilient_parsing:
        to_stdout(ctx.get_help() + "\n")
        ctx.exit()


def help_option() -> click.Option:
    """``-h``, ``--help``."""
    return KitOption(
        ["-h", "--help"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show_help,
        section=GLOBAL,
        help="Show this message and exit.",
    )


def file_path(**attributes: Any) -> click.Path:
    """``click.Path`` that does not ask whether it can be read: who opens it tells, with the exit code for that."""
    return click.Path(readable=False, **attributes)


def check_words(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Refuse words that are empty where that is no choice, and what is not UTF-8, but for paths.

    A path is never empty, nor is an argument that may be left out: a variable of a script that is not set would mean
    another thing than what was asked for. Where a path and another word may stand, ``./`` marks a path.

    Raises:
        click.BadParameter: the words for ``param`` are such.
    """
    if isinstance(value, tuple):
        for one in value:
            check_words(ctx, param, one)
    elif value == "" and (isinstance(param.type, click.Path) or not _is_required(param)):
        raise click.BadParameter("it is empty", ctx, param)
    elif isinstance(value, str) and _has_stray_bytes(value) and not _may_be_path(param, value):
        raise click.BadParameter(f"'{printable(value)}' is not UTF-8", ctx, param)


def _is_required(param: click.Parameter) -> bool:
    """Whether the words for ``param`` must be there; options keep their own ways with empty ones."""
    return param.required or not isinstance(param, click.Argument)


def _may_be_path(param: click.Parameter, word: str) -> bool:
    return isinstance(param.type, click.Path) or word.startswith((".", "/", "~"))


def _has_stray_bytes(word: str) -> bool:
    """Whether it is not UTF-8: such bytes come as halves of surrogates."""
    return any("\ud800" <= letter <= "\udfff" for letter in word)


class KitCommand(click.Command):
    """A command with global options, sections of options, and examples in its help.

    Args:
        examples: lines that can be typed, each with what it does: ``("kit list", "what is in the store")``.
    """

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **attributes: Any) -> None:
        super().__init__(*args, **{"add_help_option": False, **attributes})
        self.examples = tuple(examples)
        self.params += [*with_global_options(), help_option()]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        params = self.get_params(ctx)
        try:
            rest = super().parse_args(ctx, normalise(args, params))
            for param in params:
                check_words(ctx, param, ctx.params.get(param.name or ""))
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # so that the hint names the command
            raise
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.write_examples(formatter, self.examples)
        self.write_options(self, ctx, formatter)

    @staticmethod
    def write_examples(formatter: click.HelpFormatter, examples: Sequence[tuple[str, str]]) -> None:
        """Write the examples: what it does, then the line as it is typed."""
        if not examples:
            return
        with formatter.section("Examples"):
            for line, purpose in examples:
                formatter.write(f"{'':{formatter.current_indent}}# {purpose}\n{'':{formatter.current_indent}}{line}\n")

    @staticmethod
    def write_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section of help for each section of options, the command's own first."""
        sections: dict[str, list[tuple[str, str]]] = {OWN: [], NETWORK: [], GLOBAL: []}
        for param in command.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                sections[getattr(param, "section", OWN)].append(record)
        for section, records in sections.items():
            if records:
                with formatter.section(section):
                    formatter.write_dl(records)


def kit_command(
    name: str, *, examples: Sequence[tuple[str, str]], **attributes: Any
) -> Callable[[Callable[..., None]], KitCommand]:
    """Decorate a function into a command, the first sentence of its docstring into its help."""
    return click.command(name, cls=KitCommand, examples=examples, **attributes)


def option(*declarations: str, **attributes: Any) -> Callable[[Function], Function]:
    """``click.option`` for an option that takes a value."""
    return click.option(*declarations, cls=KitOption, **attributes)


def switch(*declarations: str, **attributes: Any) -> Callable[[Function], Function]:
    """``click.option`` for a boolean, off unless ``attributes`` say otherwise."""
    attributes.setdefault("default", False)  # click 8.1 makes None of nothing
    return click.option(*declarations, cls=Switch, **attributes)


def reference(
    name: str, metavar: str, *, marks: Sequence[str] = (), **attributes: Any
) -> Callable[[Function], Function]:
    """``click.argument`` for references, completed from the local store, behind one of ``marks`` too (``local://``)."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
        from kitops.cli._completion import list_references

        mark = next((mark for mark in marks if incomplete.startswith(mark)), "")
        found = list_references(ctx.find_root().obj, incomplete.removeprefix(mark), remote=mark == "remote://")
        return [f"{mark}{ref}" for ref in found]

    return click.argument(name, metavar=metavar, shell_complete=complete, **attributes)


def one_of(*known: str, several: bool = False) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Completes the ``known`` words; ``several``: after a comma too."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
        before, comma, last = incomplete.rpartition(",") if several else ("", "", incomplete)
        return [f"{before}{comma}{word}" for word in known if word.startswith(last)]

    return complete


def part_filter(function: Function) -> Function:
    """Add ``--filter`` of verbs that take some parts of a ModelKit; the function gets it as ``filters``."""
    return option(
        "-f",
        "--filter",
        "filters",
        multiple=True,
        metavar="TYPE[:NAME]",
        shell_complete=one_of(*PART_TYPES, several=True),
        help=f"Only these: {', '.join(PART_TYPES)}; NAME is a name, a path, or a glob of them (** crosses slashes).",
    )(function)


def result_format(function: Function) -> Function:
    """Add ``--format text|json`` of a verb that does something; the session remembers it."""
    return option(
        "--format",
        "output_format",
        type=click.Choice(["text", "json"]),
        default="text",
        expose_value=False,
        callback=_remember,
        help="How the result is printed.  [default: text]",
    )(function)


def network_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of verbs that reach registries; the function gets them as ``network``."""

    @wraps(function)
    def gathered(*args: Any, **values: Any) -> None:
        flags = NetworkFlags(**{name: values.pop(name) for name in NetworkFlags._fields})
        function(*args, network=flags, **values)

    shared: dict[str, Any] = {"section": NETWORK}
    path = file_path(dir_okay=False)
    added = [
        switch(
            "--plain-http", type=BooleanOrHosts(),
            help="Speak HTTP without TLS; --plain-http=HOST[,HOST] with these registries only.", **shared,
        ),
        switch("--tls-verify", default=True, help="Check certificates.", **shared),
        option("--tls-cert", type=path, multiple=True, metavar="FILE", help="Trust this CA too (PEM).", **shared),
        option("--cert", type=path, metavar="FILE", help="Client certificate (PEM).", **shared),
        option("--key", type=path, metavar="FILE", help="Key of the client certificate (PEM).", **shared),
        option(
            "--concurrency", type=click.IntRange(min=1), default=5, metavar="N", show_default=True,
            help="Blobs moved at a time.", **shared,
        ),
        option("--proxy", metavar="URL", help="Proxy, instead of the environment's.", **shared),
    ]  # fmt: skip
    for add in reversed(added):
        gathered = add(gathered)
    return gathered


def with_global_options() -> list[click.Option]:
    """The options that every command takes; what is typed is remembered in the session (``ctx.obj``)."""
    shared: dict[str, Any] = {"section": GLOBAL, "expose_value": False, "callback": _remember}
    return [
        KitOption(["--config"], type=file_path(file_okay=False), metavar="DIR", help="Root of storage.", **shared),
        KitOption(
            ["--log-level"],
            type=click.Choice(["trace", "debug", "info", "warn", "error"]),
            default="info",
            help="What is told on stderr.  [default: info]",
            **shared,
        ),
        KitOption(
            ["--progress"],
            type=click.Choice(["none", "plain", "fancy", "json"]),
            default="plain",
            help="How transfers are shown on stderr.  [default: plain]",
            **shared,
        ),
        KitOption(["-v", "--verbose"], count=True, help="Tell more: -v debug, -vv trace, -vvv no bars.", **shared),
    ]


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    name = param.name or ""
    if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE and ctx.obj is not None:
        ctx.obj.remember(name, value)
    return value
