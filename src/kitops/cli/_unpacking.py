"""What ``kit unpack`` is asked, and what it tells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kitops.cli._options import switch
from kitops.cli._output import counted, format_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags
    from kitops.ops.unpack import Unpacked, UnpackOptions


_NOT_MENDING = ("overwrite", "ignore_existing", "no_record")
_OLD = ("kitfile", "model", "code", "datasets", "docs")


def old_filters(function: Any) -> Any:
    """Decorate a command with the flags that stood for filters once."""
    for name in _OLD:
        function = switch(f"--{name}", name, hidden=True, help=f"Deprecated: --filter {name}")(function)
    return function


def parse_options(given: Mapping[str, Any]) -> UnpackOptions:
    """The options of an unpack.

    Raises:
        UsageError: some of them exclude each other.
        InvalidValueError: a filter does not parse.
    """
    from kitops.formats.select import Filter
    from kitops.ops.unpack import UnpackOptions

    if given["overwrite"] and given["ignore_existing"]:
        raise click.UsageError("--overwrite and --ignore-existing exclude each other", click.get_current_context())
    as_skill = given["as_skill"] or given["skill_agents"] is not None
    texts = [*given["filters"], *(name for name in _OLD if given[name])]
    if given["repair"] and (as_skill or texts or any(given[name] for name in _NOT_MENDING)):
        raise click.UsageError(
            "--repair takes neither filters nor --overwrite, --ignore-existing, --no-record, --as-skill"
        )
    if as_skill and (given["include_remote"] or given["no_record"]):
        raise click.UsageError("--as-skill takes neither --include-remote nor --no-record")
    return UnpackOptions(
        existing="overwrite" if given["overwrite"] else "keep" if given["ignore_existing"] else "refuse",
        filters=tuple(Filter.parse(text) for text in texts),
        include_remote=given["include_remote"],
        record=not given["no_record"],
    )


def tell(session: Session, done: Unpacked, directory: str) -> None:
    """Print what was unpacked into ``directory``."""
    shared = f", {format_size(done.reflinked)} of them shared with the store" if done.reflinked else ""
    kept = f", {done.kept} left as they were ({format_size(done.kept_size)})" if done.kept else ""
    session.say(f"Unpacked {counted(done.written, 'file')} ({format_size(done.size)}{shared}) into {directory}{kept}")
    value = {"digest": str(done.desc.digest), "directory": directory, "files": done.written, "kept": done.kept,
             "keptSize": done.kept_size, "size": done.size, "reflinked": done.reflinked,
             "copied": done.copied}  # fmt: skip
    session.result("", value)


def unpack_as_skill(  # noqa: PLR0917 - one command calls it
    session: Session, ref: str, project: str | None, network: NetworkFlags, options: UnpackOptions, agents: str | None
) -> None:
    """Unpack the skills of ``ref`` for ``agents`` (with commas; without, for the installed ones)."""
    from kitops.cli._skill_places import choose_places, tell_skills
    from kitops.oci.reference import Reference
    from kitops.ops.unpack_skill import unpack_skills

    chosen, places = choose_places(agents, project, "--as-skill")
    with session.place(network) as place:
        done = unpack_skills(place, Reference.parse(ref), places, filters=options.filters, existing=options.existing)
    tell_skills(session, chosen, done.skills, digest=str(done.desc.digest))


def mend(session: Session, ref: str, directory: str, network: NetworkFlags, *, include_remote: bool) -> None:
    """Unpack again what is missing or changed, and print what that was."""
    from kitops.oci.reference import Reference
    from kitops.ops.repair import repair

    with session.place(network) as place:
        done = repair(place, Reference.parse(ref), Path(directory), include_remote=include_remote)
    if done.extra:
        session.say(f"{counted(len(done.extra), 'file')} beside the ModelKit's left as they were")
    session.say(
        f"Mended {counted(len(done.mended), 'file')} ({format_size(done.size)}) in {directory}, {done.kept} were right"
    )
    value = {"digest": str(done.desc.digest), "directory": directory, "mended": list(done.mended),
             "modes": list(done.modes), "kept": done.kept, "extra": list(done.extra), "size": done.size}  # fmt: skip
    session.result("", value)
