"""The front matter of a SKILL.md: what a skill calls itself."""

from __future__ import annotations

from dataclasses import dataclass

from kitops.errors import KitfileError


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What stands between the two ``---`` at the top; empty where nothing does."""

    name: str = ""
    description: str = ""
    license: str = ""


def parse_front_matter(text: bytes) -> FrontMatter:
    """Read the front matter of a SKILL.md; one that is not there or not YAML is empty."""
    lines = text.decode("utf-8", "replace").removeprefix("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != "---":
        return FrontMatter()
    end = next((index for index, line in enumerate(lines) if index and line.rstrip() == "---"), None)
    if end is None:
        return FrontMatter()
    return _parse("\n".join(lines[1:end]))


def _parse(text: str) -> FrontMatter:
    from kitops.kitfile.nodes import Mapping, Scalar, compose, is_null  # noqa: PLC0415 - YAML costs 15 ms

    try:
        root = compose(text, "SKILL.md")
    except KitfileError:
        return FrontMatter()
    if not isinstance(root, Mapping):
        return FrontMatter()
    found = {
        key.text: value.text.strip()
        for key, value in root.pairs()
        if isinstance(key, Scalar) and isinstance(value, Scalar) and not is_null(value)
    }
    return FrontMatter(found.get("name", ""), found.get("description", ""), found.get("license", ""))
