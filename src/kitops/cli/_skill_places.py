"""Which agents get a skill, and what is told of it: for ``kit skill`` and ``kit unpack --as-skill``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from kitops.errors import NotFoundError
from kitops.ops.skill import known_agents, skill_directories

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.cli._session import Session
    from kitops.ops.skill import Agent, Installed

AGENTS = [agent.name for agent in known_agents({}, Path())]
_SAID = {"written": "Skill saved", "same": "Skill is there", "kept": "Skill kept"}


def names_agents(word: str) -> bool:
    """Whether a word is a list of agents with commas; who misspells one of them is told so."""
    return "," in word or word.strip() in AGENTS


def choose_places(agents: str | None, directory: str | None, option: str) -> tuple[tuple[Agent, ...], tuple[Path, ...]]:
    """The agents of a list with commas, else the installed ones; and their directories, of a project or the user.

    Args:
        agents: what was typed.
        directory: of the project; None: all of this user's.
        option: with which agents are named.

    Raises:
        KitError: an agent is not known, or none is named, and none is installed.
    """
    names = [name.strip() for name in agents.split(",")] if agents is not None else []
    try:
        return skill_directories(names, Path(directory) if directory else None, os.environ)
    except NotFoundError as error:
        raise NotFoundError(error.message, hint=f"name some: {option}=claude-code,universal") from error


def tell_skills(session: Session, agents: Sequence[Agent], done: Sequence[Installed], **more: object) -> None:
    """Print what became of each skill; ``more``: other fields of the JSON."""
    session.result(
        "\n".join(f"{_SAID[one.outcome]}: {one.path}" for one in done),
        more
        | {
            "agents": [agent.name for agent in agents],
            "skills": [{"path": str(one.path), "outcome": one.outcome} for one in done],
        },
    )
