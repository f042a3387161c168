"""Lay the trees of the golden vectors down."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kitops.content.copy import BytesReader
from kitops.content.verify import check_bytes
from kitops.errors import NotFoundError
from kitops.oci.descriptor import Descriptor

GOLDEN = Path(__file__).parent / "golden"


def list_cases(*generations: str) -> list[str]:
    """The names of the pack vectors: ``2026/everything``."""
    return sorted(
        f"{generation}/{path.parent.name}"
        for generation in generations
        for path in (GOLDEN / "pack" / generation).glob("*/case.json")
    )


def read_case(name: str) -> dict:
    return json.loads((GOLDEN / "pack" / name / "case.json").read_text())


def lay_down(tree: list[dict], context: Path) -> None:
    """Make the files of a vector, with umask 022; modes last, so that nothing stands in the way."""
    context.mkdir(mode=0o755)
    for entry in tree:
        path = context / entry["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry["type"] == "dir":
            path.mkdir(exist_ok=True)
        elif entry["type"] == "symlink":
            path.symlink_to(entry["target"])
        else:
            path.write_bytes(content_of(entry))
    for entry in reversed(tree):
        if entry["type"] != "symlink":
            (context / entry["path"]).chmod(int(entry["mode"], 8))


def content_of(entry: dict) -> bytes:
    if "text" in entry:
        return entry["text"].encode()
    if "base64" in entry:
        return base64.b64decode(entry["base64"])
    return bytes((7 * i + (i >> 8)) % 251 for i in range(entry["pattern"]))


class LayoutSource:
    """An OCI image layout of a vector, to be read from."""

    def __init__(self, layout: Path) -> None:
        self.layout = layout

    def root(self) -> Descriptor:
        """The only manifest of its index."""
        index = json.loads((self.layout / "index.json").read_text())
        return Descriptor.from_json(index["manifests"][0], "index.json")

    def resolve(self, pointer: str) -> Descriptor:
        raise NotFoundError(pointer)

    def fetch(self, desc: Descriptor) -> bytes:
        data = (self.layout / "blobs" / desc.digest.algorithm / desc.digest.encoded).read_bytes()
        check_bytes(data, desc, str(desc.digest))
        return data

    @contextmanager
    def stream(self, desc: Descriptor) -> Iterator[BytesReader]:
        yield BytesReader(self.fetch(desc))

    open = stream


def tree_of(root: Path) -> dict[str, bytes | None]:
    """Every path below ``root`` with its content (None for a directory); what is hidden is left out."""
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if not path.relative_to(root).parts[0].startswith(".kitops-")
    }
