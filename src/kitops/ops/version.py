"""``kit version``: what is installed. Reads at most three small files and starts no program: it is asked often."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Version:
    """What is installed.

    Args:
        version: of this package.
        commit: that it was built from (``…-dirty`` when files had changed), or that is checked out; None where unknown.
        built: when, RFC 3339; None where unknown, or when it runs from a checkout.
        python: version of the interpreter.
    """

    version: str
    commit: str | None
    built: str | None
    python: str


def version(number: str, package: Path = _PACKAGE) -> Version:
    """Tell what is installed: as its build noted, else as its checkout says.

    Args:
        number: the version of the package (``kitops.__version__``).
        package: its directory.
    """
    noted: object = None
    with suppress(OSError, ValueError):
        noted = json.loads((package / "build.json").read_bytes())
    if isinstance(noted, dict):
        commit, built = noted.get("commit"), noted.get("built")
    else:
        commit, built = _read_checkout(package.parents[1]), None
    return Version(number, commit, built, sys.version.split()[0])


def _read_checkout(root: Path) -> str | None:
    """The commit that is checked out in ``root``, if that is a checkout of this project."""
    try:
        if 'name = "kitops"' not in (root / "pyproject.toml").read_text(encoding="utf-8"):
            return None
        git = root / ".git"
        if git.is_file():  # a worktree
            git = root / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref:"):
            return head
        return _read_ref(git, head.removeprefix("ref:").strip())
    except (OSError, ValueError):
        return None


def _read_ref(git: Path, ref: str) -> str | None:
    """The commit of a branch: a file of its own, or a line of ``packed-refs``."""
    with suppress(FileNotFoundError):
        git = git / (git / "commondir").read_text(encoding="utf-8").strip()
    with suppress(FileNotFoundError):
        return (git / ref).read_text(encoding="utf-8").strip()
    for line in (git / "packed-refs").read_text(encoding="utf-8").splitlines():
        commit, _, name = line.partition(" ")
        if name == ref:
            return commit
    return None
