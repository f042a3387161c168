"""The Kitfile of a tree that is not here yet: from its listing, and the heads of a few of its files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kitops.errors import SourceError
from kitops.importers.card import HEAD, Card, parse_card
from kitops.importers.enrich import Known, enrich
from kitops.kitfile.generate import Listed, generate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.importers.tree import RemoteFile, Tree
    from kitops.kitfile.schema import Kitfile
    from kitops.oci.gojson import Json


def describe_tree(tree: Tree, files: Sequence[RemoteFile], *, depth: int = 0) -> Kitfile:
    """Generate the Kitfile of ``files`` of ``tree``, with what its card, configuration and weights say.

    Args:
        tree: the source.
        files: the wanted ones.
        depth: as of ``kit init``.

    Raises:
        SourceError: the source does not give the heads of files.
        NetworkError: it cannot be reached.
    """
    kitfile = generate([Listed(file.path, file.size) for file in files], read=tree.read_head, depth=depth)
    paths = {file.path: file for file in files}
    card = parse_card(tree.read_head("README.md", HEAD)) if "README.md" in paths else Card()
    adapter = _read_json(tree, paths.get("adapter_config.json"))
    flavors = tree.origin.parameters.get("flavors")
    known = Known(
        card=card,
        framework=str(flavors[0]) if isinstance(flavors, list) and len(flavors) == 1 else "",
        facts={"mlflow": dict(tree.origin.parameters)} if tree.origin.kind == "mlflow" else {},
        is_lora=str(adapter.get("peft_type", "")).upper() == "LORA",
    )
    return enrich(kitfile, tree.origin, known)


def _read_json(tree: Tree, file: RemoteFile | None) -> dict[str, Json]:
    """A small JSON object; empty where there is none, or it is no such thing."""
    if file is None or file.size > HEAD:
        return {}
    try:
        found = json.loads(tree.read_head(file.path, HEAD))
    except (ValueError, SourceError):
        return {}
    return found if isinstance(found, dict) else {}
