"""The command ``kit`` and what its overview shows; the verbs themselves are imported when they are typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.cli._lazy import Entry, LazyGroup, kit_group
from kitops.cli._options import GLOBAL, KitOption

if TYPE_CHECKING:
    import click

_PACKAGING = "Package a project"
_SHARING = "Share ModelKits"
_LOOKING = "Look at ModelKits"
_KEEPING = "Keep the local store"
_ALL_ELSE = "The command itself"

ENTRIES = {
    "init": Entry("Write a Kitfile for a directory", _PACKAGING),
    "kitfile": Entry("Check Kitfiles; print their JSON Schema", _PACKAGING),
    "import": Entry("Import a model or dataset from where it lives", _PACKAGING),
    "pack": Entry("Pack a directory into a ModelKit in the local store", _PACKAGING),
    "convert": Entry("Convert between ModelKit, ModelPack and container image", _PACKAGING),
    "unpack": Entry("Unpack a ModelKit, or parts of it, into a directory", _PACKAGING),
    "push": Entry("Upload a ModelKit to a registry", _SHARING),
    "pull": Entry("Download a ModelKit from a registry into the local store", _SHARING),
    "export": Entry("Log the files of a ModelKit to MLflow", _SHARING),
    "tag": Entry("Give a ModelKit another reference", _SHARING),
    "copy": Entry("Copy between registries, the local store and OCI layouts", _SHARING),
    "save": Entry("Write ModelKits into one file", _SHARING),
    "load": Entry("Load what `kit save` wrote into the local store", _SHARING),
    "registry": Entry("Serve a registry from a directory or the local store", _SHARING),
    "login": Entry("Log in to a registry", _SHARING),
    "logout": Entry("Forget the credentials of a registry", _SHARING),
    "list": Entry("List ModelKits, local or in a registry's repository", _LOOKING),
    "info": Entry("Print the Kitfile of a ModelKit", _LOOKING),
    "inspect": Entry("Print the manifest and Kitfile of a ModelKit as JSON", _LOOKING),
    "diff": Entry("Explain how two ModelKits differ", _LOOKING),
    "status": Entry("Tell which files differ from what was unpacked", _LOOKING),
    "verify": Entry("Read a directory and compare it with its ModelKit", _LOOKING),
    "validate": Entry("Tell in what an artifact is not valid ModelPack", _LOOKING),
    "du": Entry("Show what each ModelKit occupies", _KEEPING),
    "referrers": Entry("List signatures and what else refers to a ModelKit", _LOOKING),
    "remove": Entry("Remove ModelKits, or tags of them", _KEEPING),
    "prune": Entry("Free what no ModelKit needs any more", _KEEPING),
    "cache": Entry("Show or clear temporary files; adopt another tool's storage", _KEEPING),
    "skill": Entry("Teach AI agents this command", _ALL_ELSE),
    "completion": Entry("Print the completion script of a shell", _ALL_ELSE),
    "version": Entry("Print the version", _ALL_ELSE),
    "help": Entry("Help on a command, or on exit codes", _ALL_ELSE),
}

_EXAMPLES = """
\b
Examples:
  kit init .                                      # write a Kitfile
  kit pack . -t registry.example.com/team/model:1 # pack what it names
  kit push registry.example.com/team/model:1      # share it
  kit unpack registry.example.com/team/model:1 -d model
"""


@kit_group(
    "kit",
    cls=LazyGroup,
    package="kitops.cli.commands",
    entries=ENTRIES,
    epilog="`kit COMMAND --help` says more about a command, `kit help exit-codes` what its exit code means.",
    help=f"Package AI projects as ModelKits and share them through OCI registries.\n{_EXAMPLES}",
)
def root() -> None:
    """Show the overview when no command is named."""


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001 - click's signature
    found = root.get_command(ctx, "version")
    if value and found is not None and not ctx.resilient_parsing:
        ctx.invoke(found)
        ctx.exit()


root.params.append(
    KitOption(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_version,
        section=GLOBAL,
        help="Print the version, as `kit version` does, and exit.",
    )
)
