"""The Kitfile of a tree that is not here yet: from its listing, and the heads of a few of its files."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from kitops.content.events import Message
from kitops.content.parallel import run_all
from kitops.errors import HeaderError, SourceError
from kitops.formats.parts import Kind, list_parts
from kitops.importers.card import HEAD, Card, parse_card
from kitops.importers.enrich import Known, arrange, enrich
from kitops.kitfile.classify import is_skill
from kitops.kitfile.generate import Listed, generate
from kitops.kitfile.schema import Prompt, clean_path
from kitops.kitfile.skill import parse_front_matter
from kitops.weights.facts import Facts, format_parameters, gather_facts
from kitops.weights.header import has_header, read_header
from kitops.weights.model_config import CONFIG_NAME, MAX_CONFIG, find_config, parse_model_config
from kitops.weights.ranges import Ahead, open_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from kitops.content.protocols import Run
    from kitops.importers.tree import RemoteFile, Tree
    from kitops.kitfile.schema import Kitfile
    from kitops.oci.digest import Digest
    from kitops.oci.gojson import Json
    from kitops.weights.tensors import Header

    FindBlob = Callable[[Digest], Path | None]

MOST_HEADERS: Final = 200
"""Files of weights whose headers are read: of a model in more shards the number of parameters stays unknown."""


def describe_tree(
    tree: Tree, files: Sequence[RemoteFile], run: Run, *, depth: int = 0, find_blob: FindBlob = lambda _: None
) -> Kitfile:
    """Generate the Kitfile of ``files`` of ``tree``, with what its card, configuration and weights say.

    Args:
        tree: the source.
        files: the wanted ones.
        run: whom to tell, what to watch, how many files at a time.
        depth: as of ``kit init``.
        find_blob: the path of a blob that is here already, whose header then need not be fetched.

    Raises:
        SourceError: the source does not give the heads of files.
        NetworkError: it cannot be reached.
    """

    def read(path: str, size: int) -> bytes:
        return tree.read_at(path, 0, size)

    kitfile = generate([Listed(file.path, file.size) for file in files], read=read, depth=depth)
    listed = {file.path: file for file in files}
    kitfile = _with_skills(kitfile, list(listed), read)
    origin = tree.origin
    if origin.kind == "huggingface" and not origin.is_dataset:
        kitfile = arrange(kitfile, list(listed))
    flavors = origin.parameters.get("flavors")
    adapter = _read_json(tree, listed.get("adapter_config.json"))
    known = Known(
        card=parse_card(read("README.md", HEAD)) if "README.md" in listed else Card(),
        facts={"mlflow": dict(origin.parameters)}
        if origin.kind == "mlflow"
        else _tell(_read_facts(tree, kitfile, listed, run, find_blob)),
        framework=str(flavors[0]) if isinstance(flavors, list) and len(flavors) == 1 else "",
        is_lora=str(adapter.get("peft_type", "")).upper() == "LORA",
    )
    return enrich(kitfile, origin, known)


def _with_skills(kitfile: Kitfile, paths: Sequence[str], read: Callable[[str, int], bytes]) -> Kitfile:
    """A directory of nothing but skills is a prompt a skill, not code."""
    code = []
    prompts = list(kitfile.prompts)
    for entry in kitfile.code:
        below = [path for path in paths if path.startswith(f"{entry.path}/")]
        skills = sorted(path.rpartition("/")[0] for path in below if is_skill(path.rpartition("/")[2]))
        if not skills or not all(any(path.startswith(f"{skill}/") for skill in skills) for path in below):
            code.append(entry)
            continue
        for skill in skills:
            marker = next(
                path for path in below if path.rpartition("/")[0] == skill and is_skill(path.rpartition("/")[2])
            )
            front = parse_front_matter(read(marker, HEAD))
            prompts.append(Prompt(front.name, skill, front.description))
    return replace(kitfile, code=tuple(code), prompts=tuple(prompts))


def _tell(facts: Facts) -> dict[str, Json]:
    """Facts as a Kitfile's ``parameters`` has them; the format has a field of its own."""
    table: dict[str, Json] = {
        "architecture": facts.architecture,
        "family": facts.family,
        "parameterCount": facts.parameters,
        "parameterSize": format_parameters(facts.parameters),
        "precision": facts.precision,
        "quantization": facts.quantization,
        "contextLength": facts.context_length,
    }
    return {key: value for key, value in table.items() if value}


def _read_facts(tree: Tree, kitfile: Kitfile, listed: dict[str, RemoteFile], run: Run, find_blob: FindBlob) -> Facts:
    """What the configuration and the headers of the model's weights say; weights that are none are told."""
    if kitfile.model is None:
        return Facts()
    paths = [part.path for part in list_parts(kitfile) if part.kind in (Kind.MODEL, Kind.MODEL_PART)]
    model = clean_path(kitfile.model.path)
    configs = {
        path: parse_model_config(tree.read_at(path, 0, MAX_CONFIG + 1))
        for path in paths
        if path.rpartition("/")[2] == CONFIG_NAME and path in listed
    }
    weights = [listed[path] for path in paths if path in listed and has_header(path)]
    if len(weights) > MOST_HEADERS:
        weights = []
    headers = run_all([partial(_read_header, tree, file, find_blob) for file in weights], run, workers=run.concurrency)
    return gather_facts([found for found in headers if found is not None], model, find_config(configs, model))


def _read_header(tree: Tree, file: RemoteFile, find_blob: FindBlob, run: Run) -> tuple[str, Header] | None:
    try:
        if file.digest is not None and (path := find_blob(file.digest)) is not None:
            with open_file(path) as content:
                return file.path, read_header(content, file.path)
        return file.path, read_header(Ahead(_TreeRanges(tree, file.path, file.size)), file.path)
    except HeaderError as error:
        run.observer(Message("info", f"the Kitfile tells nothing of these weights: {error.message}"))
        return None


@dataclass(frozen=True, slots=True)
class _TreeRanges:
    """A file of a tree as a content that can be read anywhere."""

    tree: Tree
    path: str
    size: int

    def read_at(self, offset: int, size: int) -> bytes:
        return self.tree.read_at(self.path, offset, max(0, min(size, self.size - offset)))


def _read_json(tree: Tree, file: RemoteFile | None) -> dict[str, Json]:
    """A small JSON object; empty where there is none, or it is no such thing."""
    if file is None or file.size > HEAD:
        return {}
    try:
        found = json.loads(tree.read_at(file.path, 0, HEAD))
    except (ValueError, SourceError):
        return {}
    return found if isinstance(found, dict) else {}
