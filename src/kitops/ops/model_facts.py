"""What is known of a model that is packed: from the headers of its weights and its ``config.json``, where they lie."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kitops.content.events import Message
from kitops.errors import HeaderError
from kitops.formats.parts import Kind
from kitops.kitfile.schema import clean_path
from kitops.weights.facts import Facts, gather_facts
from kitops.weights.header import has_header, read_header
from kitops.weights.model_config import CONFIG_NAME, MAX_CONFIG, find_config, parse_model_config
from kitops.weights.ranges import open_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kitops.content.protocols import Run
    from kitops.formats.parts import Part
    from kitops.kitfile.schema import Kitfile
    from kitops.layers.walk import Entry
    from kitops.weights.model_config import ModelConfig
    from kitops.weights.tensors import Header


def read_facts(kitfile: Kitfile, entries: Iterable[tuple[Part, Entry]], run: Run) -> Facts:
    """What is known of the model of ``kitfile``; a file of weights that is none is told and passed over.

    Args:
        kitfile: names the model.
        entries: the files of each part.
        run: whom to tell.

    Raises:
        FileSystemError: a file cannot be read.
    """
    headers: list[tuple[str, Header]] = []
    configs: dict[str, ModelConfig] = {}
    for part, entry in entries:
        path = os.fsdecode(entry.name)
        if entry.is_dir or part.kind not in (Kind.MODEL, Kind.MODEL_PART):
            continue
        run.cancel.check()
        if path.rpartition("/")[2] == CONFIG_NAME:
            with open_file(os.fsdecode(entry.source)) as content:
                configs[path] = parse_model_config(content.read_at(0, MAX_CONFIG + 1))
        elif has_header(path):
            try:
                with open_file(os.fsdecode(entry.source)) as content:
                    headers.append((path, read_header(content, path)))
            except HeaderError as error:
                run.observer(Message("warning", f"the config tells nothing of these weights: {error.message}"))
    model = clean_path(kitfile.model.path) if kitfile.model is not None else ""
    return gather_facts(headers, model, find_config(configs, model))
