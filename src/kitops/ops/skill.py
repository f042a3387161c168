"""``kit skill``: a SKILL.md in the directories where AI agents look for what they can do (agentskills.io)."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from kitops.errors import FileSystemError, InvalidValueError, NotFoundError
from kitops.ops.place import user_home

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME: Final = "kitops"
"""The directory of the skill, which is its name too; the Go tool's has the same."""
_SHARED: Final = ".agents/skills"
"""What most agents read in a project."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A program that reads skills.

    Args:
        name: as it is typed.
        project: its directory of skills in a project, relative.
        user: its directory of skills for all projects of a user.
        home: what is there where the agent is installed; None where nothing tells.
    """

    name: str
    project: str
    user: Path
    home: Path | None


@dataclass(frozen=True, slots=True)
class Installed:
    """A skill's file or directory, and whether it was written, was the same already, or was left as it is."""

    path: Path
    outcome: Literal["written", "same", "kept"]


def known_agents(environ: Mapping[str, str], user: Path) -> tuple[Agent, ...]:
    """The agents whose directories are known.

    Args:
        environ: environment variables; some move an agent's directory.
        user: the home directory.
    """
    config = Path(environ.get("XDG_CONFIG_HOME") or user / ".config")
    claude = Path(environ.get("CLAUDE_CONFIG_DIR") or user / ".claude")
    codex = Path(environ.get("CODEX_HOME") or user / ".codex")
    rows = (
        ("claude-code", ".claude/skills", claude / "skills", claude),
        ("codex", _SHARED, codex / "skills", codex),
        ("cursor", _SHARED, user / ".cursor/skills", user / ".cursor"),
        ("gemini-cli", _SHARED, user / ".gemini/skills", user / ".gemini"),
        ("github-copilot", _SHARED, user / ".copilot/skills", user / ".copilot"),
        ("goose", ".goose/skills", config / "goose/skills", config / "goose"),
        ("opencode", _SHARED, config / "opencode/skills", config / "opencode"),
        ("windsurf", ".windsurf/skills", user / ".codeium/windsurf/skills", user / ".codeium/windsurf"),
        ("universal", _SHARED, user / _SHARED, None),
    )
    return tuple(Agent(*row) for row in rows)


def choose_agents(known: Sequence[Agent], names: Sequence[str]) -> tuple[Agent, ...]:
    """Those that are named, else those that are installed.

    Raises:
        InvalidValueError: a name is not known.
        NotFoundError: none is named, and none is installed.
    """
    by_name = {agent.name: agent for agent in known}
    for name in names:
        if name not in by_name:
            raise InvalidValueError(f"agent {name!r} is not known", hint=f"agents are {', '.join(by_name)}")
    chosen = tuple(by_name[name] for name in dict.fromkeys(names)) if names else ()
    chosen = chosen or tuple(agent for agent in known if agent.home is not None and agent.home.is_dir())
    if not chosen:
        raise NotFoundError("no AI agent is installed here", hint="name some: claude-code, universal")
    return chosen


def skill_directories(
    names: Sequence[str], project: Path | None, environ: Mapping[str, str]
) -> tuple[tuple[Agent, ...], tuple[Path, ...]]:
    """The chosen agents, and the directory of skills of each.

    Args:
        names: of agents; those that are installed where there are none.
        project: the project that the skills are for; None: all of this user's.
        environ: environment variables.

    Raises:
        FileSystemError: the user's home directory is needed, and not known.
        KitError: as :func:`choose_agents`.
    """
    user = Path() if project and names else user_home(environ)
    chosen = choose_agents(known_agents(environ, user), names)
    return chosen, tuple(project / agent.project if project else agent.user for agent in chosen)


def install_skill(
    text: str, directories: Sequence[Path], existing: Literal["refuse", "overwrite", "keep"] = "refuse"
) -> tuple[Installed, ...]:
    """Write SKILL.md below each of ``directories``, each once; nothing is written where one is refused.

    Args:
        text: of the skill.
        directories: of skills; made where they are missing.
        existing: what to do with one that has another text.

    Raises:
        FileSystemError: there is another one, or it cannot be written.
    """
    content = text.encode()
    paths = [directory / NAME / "SKILL.md" for directory in dict.fromkeys(directories)]
    found = [_read(path) for path in paths]
    for path, there in zip(paths, found, strict=True):
        if existing == "refuse" and there not in (None, content):
            raise FileSystemError(
                f"writing {path}: another one is there already",
                path=str(path),
                hint="use --overwrite to replace it, or --ignore-existing to keep it",
            )
    return tuple(_install(path, there, content, existing) for path, there in zip(paths, found, strict=True))


def _install(path: Path, there: bytes | None, content: bytes, existing: str) -> Installed:
    if there == content:
        return Installed(path, "same")
    if there is not None and existing == "keep":
        return Installed(path, "kept")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise FileSystemError.wrap(error, "writing", path) from error
    return Installed(path, "written")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", path) from error
