"""The Kitfiles of repositories of well-known shapes, from their listings alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kitops.content.protocols import Run
from kitops.importers.tree import Origin, RemoteFile
from kitops.kitfile.dump import dump
from kitops.kitfile.parse import parse
from kitops.kitfile.schema import Kitfile
from kitops.oci.digest import Digest
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


def describe(case: dict[str, Any], kind: str) -> Kitfile:
    repo = case["repo"]
    origin = Origin(kind, f"https://huggingface.co/{repo}", "c" * 40, "main", repo, is_dataset="dataset" in case)
    files = [RemoteFile(path, v if isinstance(v, int) else len(v.encode())) for path, v in case["files"].items()]
    return describe_tree(Listing(origin, case["files"], files), files, Run())


@pytest.mark.parametrize("kind", ["huggingface", "git"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_kitfile_is_what_a_person_would_have_written(case: dict[str, Any], kind: str) -> None:
    """The same files give the same Kitfile, wherever they are."""
    kitfile = describe(case, kind)
    assert dump(kitfile) == case["kitfile"]
    assert parse(case["kitfile"], case["name"]) == kitfile


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_directory_gives_the_same_but_for_the_name(case: dict[str, Any]) -> None:
    """A directory is called by where it lies, which is nothing that a digest may hang on."""
    kitfile = describe(case, "directory")
    assert kitfile.package.name == ""
    assert without_names(kitfile) == without_names(parse(case["kitfile"], case["name"]))


def without_names(kitfile: Kitfile) -> Kitfile:
    model = kitfile.model and replace(kitfile.model, name="")
    return replace(kitfile, model=model, package=replace(kitfile.package, name="", authors=()))


def test_the_card_tells_a_dataset_where_the_source_does_not() -> None:
    """A clone or a directory is a dataset when its card is one of a dataset."""
    card = "---\ntask_categories: [image-classification]\n---\n"
    content: dict[str, int | str] = {"README.md": card, "train/cat/1.jpg": 10, "weights.npy": 5}
    files = [RemoteFile(path, v if isinstance(v, int) else len(v)) for path, v in content.items()]
    paths = {}
    for kind in ("directory", "huggingface"):
        kitfile = describe_tree(Listing(Origin(kind, "u", "", "", "cats"), content, files), files, Run())
        paths[kind] = [dataset.path for dataset in kitfile.datasets]
    assert paths == {"directory": ["weights.npy", "train"], "huggingface": []}


def test_a_kitfile_does_not_depend_on_what_is_here_already(tmp_path: Path) -> None:
    """Of a blob that is here nothing is fetched, and it tells what the source would have told."""
    config = b'{"model_type": "tiny"}'
    (tmp_path / "blob").write_bytes(config)
    digest = Digest.of(config)
    files = [RemoteFile("model.gguf", 4), RemoteFile("config.json", len(config), digest)]
    origin = Origin("git", "u", "", "", "tiny")
    full = Listing(origin, {"model.gguf": 4, "config.json": config.decode()}, files)
    lacking = Listing(origin, {"model.gguf": 4}, files)
    kitfile = describe_tree(full, files, Run())
    assert kitfile.model is not None
    assert kitfile.model.parameters == {"family": "tiny"}
    assert describe_tree(lacking, files, Run(), find_blob={digest: tmp_path / "blob"}.get) == kitfile
