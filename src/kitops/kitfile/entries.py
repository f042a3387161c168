"""Entries of a generated Kitfile, from the files that were found for them. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from kitops.kitfile.check import DRIVE
from kitops.kitfile.classify import model_name
from kitops.kitfile.schema import (
    Code,
    Dataset,
    Docs,
    Kitfile,
    McpServer,
    Model,
    Part,
    Prompt,
    model_reference,
    paths,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.kitfile.directories import Listed

_Entry = TypeVar("_Entry", Model, Part, Code, Dataset, Docs, Prompt, McpServer)


def build_model(
    files: Sequence[Listed], weights: Sequence[Listed], metadata: Sequence[Listed], *, from_root: bool = False
) -> Model | None:
    """The largest file is the model if it stands out, else the first; the others are its parts.

    Args:
        files: weights, and what stands among them.
        weights: of ``files`` those that may be the model.
        metadata: more parts.
        from_root: weights of the root are the model, and those of directories others of it.
    """
    if not weights:
        return None
    mean = sum(file.size for file in files) // len(files)
    largest = max(weights, key=lambda file: file.size)
    stands_out = largest.size > mean + mean // 2
    chosen = largest if stands_out else weights[0]
    named = stands_out or len({model_name(file.path) for file in weights}) == 1
    rest = [file for file in files if file is not chosen]
    beside = next((file for file in rest if file in weights and "/" not in file.path), None)
    if from_root and "/" in chosen.path and beside is not None:
        rest[rest.index(beside)] = chosen
        chosen = beside
    return Model(
        name=model_name(chosen.path) if named else "",
        path=as_model_path(chosen.path),
        parts=tuple(Part(path=file.path) for file in (*rest, *metadata)),
    )


def build_servers(files: Sequence[Listed]) -> tuple[McpServer, ...]:
    """Each bundle under the name of its file, or its whole path where two are called the same."""
    stems = [file.name.rpartition(".")[0] for file in files]
    names = (
        stem if stems.count(stem) == 1 else file.path.rpartition(".")[0]
        for stem, file in zip(stems, files, strict=True)
    )
    return tuple(McpServer(name or file.path, file.path) for name, file in zip(names, files, strict=True))


def with_licence(kitfile: Kitfile, licences: set[str]) -> Kitfile:
    """The licence goes to what it most likely is for; several, or one that is not known, go nowhere."""
    if len(licences) != 1 or not (licence := next(iter(licences))):
        return kitfile
    if kitfile.model is not None:
        return replace(kitfile, model=replace(kitfile.model, license=licence))
    if len(kitfile.datasets) == 1:
        return replace(kitfile, datasets=(replace(kitfile.datasets[0], license=licence),))
    if len(kitfile.code) == 1:
        return replace(kitfile, code=(replace(kitfile.code[0], license=licence),))
    return replace(kitfile, package=replace(kitfile.package, license=licence))


def without_drives(kitfile: Kitfile) -> Kitfile:
    """What lies in a directory called like a drive of Windows (``a:``) is told from that by a ``./``."""
    if not any(DRIVE.match(path) for _, path in paths(kitfile)):
        return kitfile

    def mend(entry: _Entry) -> _Entry:
        return replace(entry, path=f"./{entry.path}") if DRIVE.match(entry.path) else entry

    model = kitfile.model and replace(mend(kitfile.model), parts=tuple(map(mend, kitfile.model.parts)))
    return replace(
        kitfile,
        model=model,
        code=tuple(map(mend, kitfile.code)),
        datasets=tuple(map(mend, kitfile.datasets)),
        docs=tuple(map(mend, kitfile.docs)),
        prompts=tuple(map(mend, kitfile.prompts)),
        mcp_servers=tuple(map(mend, kitfile.mcp_servers)),
    )


def as_model_path(path: str) -> str:
    """A file called like a reference (``tiny:v1.gguf``) is told from one by the ``./`` before it."""
    return path if model_reference(Model(path=path)) is None else f"./{path}"
