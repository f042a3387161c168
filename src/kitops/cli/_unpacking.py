"""What ``kit unpack`` tells, and how it mends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kitops.cli._output import format_size

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags
    from kitops.ops.unpack import Unpacked, UnpackOptions


def tell(session: Session, done: Unpacked, directory: str) -> None:
    """Print what was unpacked into ``directory``."""
    shared = f", {format_size(done.reflinked)} of them shared with the store" if done.reflinked else ""
    kept = f", {done.kept} left as they were ({format_size(done.kept_size)})" if done.kept else ""
    session.say(f"Unpacked {done.written} files ({format_size(done.size)}{shared}) into {directory}{kept}")
    value = {"digest": str(done.desc.digest), "directory": directory, "files": done.written, "kept": done.kept,
             "keptSize": done.kept_size, "size": done.size, "reflinked": done.reflinked,
             "copied": done.copied}  # fmt: skip
    session.result("", value)


def unpack_as_skill(  # noqa: PLR0917 - one command calls it
    session: Session, ref: str, project: str | None, network: NetworkFlags, options: UnpackOptions, agents: str
) -> None:
    """Unpack the skills of ``ref`` for ``agents`` (with commas; the installed ones where that is empty)."""
    from kitops.cli._skill_places import choose_places, tell_skills
    from kitops.oci.reference import Reference
    from kitops.ops.unpack_skill import unpack_skills

    chosen, places = choose_places(agents, project)
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
        session.say(f"{len(done.extra)} files beside the ModelKit's were left")
    session.say(f"Mended {len(done.mended)} files ({format_size(done.size)}) in {directory}, {done.kept} were right")
    value = {"digest": str(done.desc.digest), "directory": directory, "mended": list(done.mended),
             "modes": list(done.modes), "kept": done.kept, "extra": list(done.extra), "size": done.size}  # fmt: skip
    session.result("", value)
