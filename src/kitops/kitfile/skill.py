"""The front matter of a SKILL.md: what a skill calls itself."""

from __future__ import annotations

from dataclasses import dataclass

from kitops.kitfile.frontmatter import read_front_matter


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What stands between the two ``---`` at the top; empty where nothing does."""

    name: str = ""
    description: str = ""
    license: str = ""


def parse_front_matter(text: bytes) -> FrontMatter:
    """Read the front matter of a SKILL.md; one that is not there or not YAML is empty."""
    found = read_front_matter(text, "SKILL.md")
    return FrontMatter(*(" ".join(found.get(key, ())[:1]) for key in ("name", "description", "license")))
