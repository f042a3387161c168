"""The Kitfiles of repositories of well-known shapes, from their listings alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from kitops.content.protocols import Run
from kitops.importers.tree import Origin, RemoteFile
from kitops.kitfile.dump import dump
from kitops.kitfile.parse import parse
from kitops.ops.describe_tree import describe_tree

CASES = yaml.safe_load((Path(__file__).parents[2] / "cases/import-listings.yaml").read_text(encoding="utf-8"))


@dataclass
class Listing:
    """A tree of which only a few small files have content; the heads of others are zeros."""

    origin: Origin
    content: dict[str, int | str]
    files: list[RemoteFile] = field(default_factory=list)

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        found = self.content[path]
        return bytes(min(size, found - offset)) if isinstance(found, int) else found.encode()[offset : offset + size]

    def open(self, file: RemoteFile, offset: int = 0) -> Any:
        raise AssertionError(f"{file.path} is not to be fetched")


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_kitfile_is_what_a_person_would_have_written(case: dict[str, Any]) -> None:
    repo = case["repo"]
    origin = Origin(
        "huggingface", f"https://huggingface.co/{repo}", "c" * 40, "main", repo, is_dataset="dataset" in case
    )
    files = [RemoteFile(path, v if isinstance(v, int) else len(v.encode())) for path, v in case["files"].items()]
    kitfile = describe_tree(Listing(origin, case["files"], files), files, Run())
    assert dump(kitfile) == case["kitfile"]
    assert parse(case["kitfile"], case["name"]) == kitfile
