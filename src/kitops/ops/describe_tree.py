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
from kitops.importers.enrich import Known, enrich
from kitops.importers.tree import refuse_strays
from kitops.kitfile.classify import tells_weights
from kitops.kitfile.generate import Listed, Subject, generate
from kitops.kitfile.schema import clean_path
from kitops.layers.ignore import IGNORE_FILE, MAX_SIZE, IgnoreRules, parse_ignore
from kitops.weights.facts import Facts, format_parameters, gather_facts
from kitops.weights.header import has_header, read_header
from kitops.weights.model_config import CONFIG_NAME, MAX_CONFIG, find_config, parse_model_config
from kitops.weights.ranges import open_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from kitops.content.protocols import Run
    from kitops.importers.tree import Origin, RemoteFile, Tree
    from kitops.kitfile.schema import Kitfile
    from kitops.oci.digest import Digest
    from kitops.oci.gojson import Json
    from kitops.weights.ranges import Ranges
    from kitops.weights.tensors import Header

    FindBlob = Callable[[Digest], Path | None]

CARD: Final = "README.md"
MOST_HEADERS: Final = 200
"""Files of weights whose headers are read: of a model in more shards the number of parameters stays unknown."""
_SENDS_WHOLE: Final = frozenset({"mlflow"})
"""Kinds of sources that send no part of a file: a header would cost all of it, before it is known to be wanted."""


def describe_tree(
    tree: Tree,
    files: Sequence[RemoteFile],
    run: Run,
    *,
    rules: IgnoreRules | None = None,
    depth: int = 0,
    find_blob: FindBlob = lambda _: None,
) -> Kitfile:
    """Generate the Kitfile of ``files`` of ``tree``, with what its card, configuration and weights say.

    The same files give the same Kitfile, whatever the source, and whatever is here already.

    Args:
        tree: the source.
        files: the wanted ones.
        run: whom to tell, what to watch, how many files at a time.
        rules: what packing leaves out; None reads them from the tree (:func:`read_rules`).
        depth: as of ``kit init``.
        find_blob: the path of a blob that is here already, of which nothing need be fetched.

    Raises:
        InvalidValueError: the tree's ``.kitignore`` is malformed.
        SourceError: the source does not give the heads of files, or one is a link that nobody brings.
        NetworkError: it cannot be reached.
    """
    rules = read_rules(tree, files) if rules is None else rules
    files = [file for file in files if not rules.is_ignored(file.path, is_dir=False)]
    refuse_strays(files, tree.origin)
    heads = _Heads(tree, {file.path: file for file in files}, find_blob)
    card = parse_card(heads.read(CARD, HEAD)) if CARD in heads.files else Card()
    origin = tree.origin
    if origin.kind != "huggingface":  # which tells models and datasets apart
        origin = replace(origin, is_dataset=origin.is_dataset or card.is_dataset)
    if origin.kind == "directory":  # its name is where it lies, not what it is
        origin = replace(origin, name="")
    listing = [Listed(file.path, file.size, is_link=file.is_link) for file in files]
    kitfile = generate(listing, read=heads.read, depth=depth, subject=_subject(origin, card, files))
    flavors = origin.parameters.get("flavors")
    facts = _tell(_read_facts(heads, kitfile, run))
    known = Known(
        card=card,
        facts=facts | {"mlflow": dict(origin.parameters)} if origin.kind == "mlflow" else facts,
        framework=str(flavors[0]) if isinstance(flavors, list) and len(flavors) == 1 else "",
        is_lora=str(_read_json(heads, "adapter_config.json").get("peft_type", "")).upper() == "LORA",
    )
    return enrich(kitfile, origin, known)


def read_rules(tree: Tree, files: Sequence[RemoteFile]) -> IgnoreRules:
    """The rules of the ``.kitignore`` among ``files`` of ``tree``, if it is there.

    Raises:
        InvalidValueError: it is no text, too large, or has a malformed pattern.
        SourceError: the source does not give it, or it is a link that nobody brings.
        NetworkError: it cannot be reached.
    """
    file = next((file for file in files if file.path == IGNORE_FILE), None)
    if file is None:
        return IgnoreRules()
    refuse_strays([file], tree.origin)
    raw = tree.read_at(IGNORE_FILE, 0, min(file.size, MAX_SIZE + 1))
    return parse_ignore(raw, f"{IGNORE_FILE} of {tree.origin.name}")


@dataclass(frozen=True, slots=True)
class _Heads:
    """The first bytes of files of a tree, fetched only where they are not here."""

    tree: Tree
    files: Mapping[str, RemoteFile]
    find_blob: FindBlob

    def read(self, path: str, size: int) -> bytes:
        return self.ranges(path).read_at(0, size)

    def ranges(self, path: str) -> Ranges:
        return _TreeRanges(self, self.files[path])

    def read_at(self, file: RemoteFile, offset: int, size: int) -> bytes:
        if file.digest is not None and (found := self.find_blob(file.digest)) is not None:
            with open_file(found) as content:
                return content.read_at(offset, size)
        return self.tree.read_at(file.path, offset, size)


@dataclass(frozen=True, slots=True)
class _TreeRanges:
    """A file of a tree as a content that can be read anywhere."""

    heads: _Heads
    file: RemoteFile

    @property
    def size(self) -> int:
        return self.file.size

    def read_at(self, offset: int, size: int) -> bytes:
        return self.heads.read_at(self.file, offset, max(0, min(size, self.file.size - offset)))


def _subject(origin: Origin, card: Card, files: Sequence[RemoteFile]) -> Subject:
    """What the files are all about."""
    if origin.is_dataset:
        return Subject.DATASET
    if card.is_model or "flavors" in origin.parameters:
        return Subject.MODEL
    has_weights = any(tells_weights(file.path.rpartition("/")[2]) for file in files)
    return Subject.MODEL if has_weights else Subject.PROJECT


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


def _read_facts(heads: _Heads, kitfile: Kitfile, run: Run) -> Facts:
    """What the configuration and the headers of the model's weights say; weights that are none are told."""
    if kitfile.model is None:
        return Facts()
    paths = [
        path
        for part in list_parts(kitfile)
        if part.kind in (Kind.MODEL, Kind.MODEL_PART) and (path := clean_path(part.path)) in heads.files
    ]
    configs = {
        path: parse_model_config(heads.read(path, MAX_CONFIG + 1))
        for path in paths
        if path.rpartition("/")[2] == CONFIG_NAME
    }
    weights = [path for path in paths if has_header(path)]
    if len(weights) > MOST_HEADERS or heads.tree.origin.kind in _SENDS_WHOLE:
        weights = []
    headers = run_all([partial(_read_header, heads, path) for path in weights], run, workers=run.concurrency)
    model = clean_path(kitfile.model.path)
    lost = [path for path, found in zip(weights, headers, strict=True) if found is None]
    known = [found for found in headers if found is not None]
    return gather_facts(known, model, find_config(configs, model), lost)


def _read_header(heads: _Heads, path: str, run: Run) -> tuple[str, Header] | None:
    try:
        return path, read_header(heads.ranges(path), path)
    except HeaderError as error:
        run.observer(Message("info", f"the Kitfile tells nothing of these weights: {error.message}"))
        return None


def _read_json(heads: _Heads, path: str) -> dict[str, Json]:
    """A small JSON object; empty where there is none, or it is no such thing."""
    if path not in heads.files or heads.files[path].size > HEAD:
        return {}
    try:
        found = json.loads(heads.read(path, HEAD))
    except (ValueError, SourceError):
        return {}
    return found if isinstance(found, dict) else {}
