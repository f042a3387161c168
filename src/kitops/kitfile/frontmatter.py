"""The YAML between two ``---`` at the top of a Markdown file: of a SKILL.md, of a model's or dataset's card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.errors import KitfileError

if TYPE_CHECKING:
    from kitops.kitfile.nodes import Node


def read_front_matter(text: bytes, path: str) -> dict[str, tuple[str, ...]]:
    """The keys of a file's front matter whose values are texts or lists of texts (a text is a list of one).

    Front matter that is not there, cut off, or not YAML has no keys: a broken card is no reason to refuse a model.

    Args:
        text: the beginning of the file.
        path: names it.
    """
    lines = text.decode("utf-8", "replace").removeprefix("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != "---":
        return {}
    end = next((index for index, line in enumerate(lines) if index and line.rstrip() == "---"), None)
    return {} if end is None else _read_map("\n".join(lines[1:end]), path)


def _read_map(text: str, path: str) -> dict[str, tuple[str, ...]]:
    from kitops.kitfile.nodes import Mapping, Scalar, compose  # noqa: PLC0415 - YAML costs 15 ms

    try:
        root = compose(text, path)
    except KitfileError:
        return {}
    if not isinstance(root, Mapping):
        return {}
    return {key.text: _texts(value) for key, value in root.pairs() if isinstance(key, Scalar)}


def _texts(node: Node) -> tuple[str, ...]:
    from kitops.kitfile.nodes import Scalar, Sequence, is_null  # noqa: PLC0415 - as above

    items = node.items if isinstance(node, Sequence) else [node]
    return tuple(
        text for item in items if isinstance(item, Scalar) and not is_null(item) and (text := item.text.strip())
    )
