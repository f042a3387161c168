"""What is known of a model: from the headers of its weights and its ``config.json``, in files or in layers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kitops.content.events import Message
from kitops.errors import HeaderError, printable
from kitops.formats.parts import Kind
from kitops.formats.weight_files import Broken, Unread, may_have_weights
from kitops.kitfile.schema import clean_path
from kitops.layers.codec import Codec
from kitops.ops.tensors import LOCAL_LIMIT, REMOTE_LIMIT, facts_of, read_layers
from kitops.weights.facts import Facts, gather_facts
from kitops.weights.header import has_header, read_header
from kitops.weights.model_config import CONFIG_NAME, MAX_CONFIG, find_config, parse_model_config
from kitops.weights.ranges import open_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kitops.content.protocols import Run
    from kitops.formats.modelkit import ModelKit
    from kitops.formats.parts import Part
    from kitops.kitfile.schema import Kitfile
    from kitops.layers.walk import Entry
    from kitops.ops.locate import Located
    from kitops.ops.place import Place
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
    lost: list[str] = []
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
                lost.append(path)
                _tell_broken(error, run)
    model = clean_path(kitfile.model.path) if kitfile.model is not None else ""
    return gather_facts(headers, model, find_config(configs, model), lost)


def read_kit_facts(place: Place, located: Located, kit: ModelKit, *, compressed: bool) -> Facts:
    """The same from layers: what packing their files would have found.

    Nothing is told of a model of which only a part could be read.

    Args:
        place: has the store, and is told.
        located: the artifact.
        kit: what it is.
        compressed: look into compressed layers too, which are read to their end; else nothing is read but headers.
    """
    layers = [
        layer
        for layer in kit.layers
        if layer.part is not None and layer.part.kind in (Kind.MODEL, Kind.MODEL_PART) and may_have_weights(layer)
    ]
    run = place.run
    packed = next((layer for layer in layers if layer.codec is not Codec.NONE), None)
    if packed is not None and not compressed:
        text = f"{printable(packed.label)} is compressed, and would have to be read (--headers does)"
        run.observer(Message("info", f"the config tells nothing of the weights: {text}"))
        return Facts()
    found = read_layers(place, located, layers, limit=LOCAL_LIMIT if located.is_local else REMOTE_LIMIT)
    unread = next((item for item in found if isinstance(item, Unread)), None)
    if unread is not None:
        text = f"only the first {unread.limit} bytes of {printable(unread.layer.label)} were read"
        run.observer(Message("warning", f"the config tells nothing of the weights: {text}"))
        return Facts()
    for item in found:
        if isinstance(item, Broken) and has_header(item.path):
            _tell_broken(item.error, run)
    return facts_of(kit, found)


def _tell_broken(error: HeaderError, run: Run) -> None:
    run.observer(Message("warning", f"the config tells nothing of these weights: {error.message}"))
