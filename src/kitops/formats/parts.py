"""The parts of a Kitfile that become layers, in the order of the layers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from kitops.kitfile.schema import clean_path, model_reference

if TYPE_CHECKING:
    from kitops.kitfile.schema import Kitfile


class Kind(Enum):
    """What a part is. The value is the word that filters and listings use."""

    MODEL = "model"
    MODEL_PART = "modelpart"
    CODE = "code"
    DATASET = "datasets"
    DOCS = "docs"
    PROMPT = "prompts"
    MCP_SERVER = "mcpservers"


@dataclass(frozen=True, slots=True)
class Part:
    """One part: where it stands in the Kitfile, and which path it takes.

    Args:
        kind: what it is.
        index: its place in its list (0 for the model).
        name: its name, or "".
        path: its path, cleaned, relative to the context.
    """

    kind: Kind
    index: int
    name: str
    path: str

    @property
    def field(self) -> str:
        """Where it stands, for people and programs: ``model``, ``model.parts[1]``, ``datasets[0]``."""
        section = _SECTIONS[self.kind]
        return section if self.kind is Kind.MODEL else f"{section}[{self.index}]"

    @property
    def label(self) -> str:
        """Its name where it has one, else its path."""
        return self.name or self.path


_SECTIONS = {
    Kind.MODEL: "model",
    Kind.MODEL_PART: "model.parts",
    Kind.CODE: "code",
    Kind.DATASET: "datasets",
    Kind.DOCS: "docs",
    Kind.PROMPT: "prompts",
    Kind.MCP_SERVER: "mcpServers",
}


def list_parts(kitfile: Kitfile) -> tuple[Part, ...]:
    """The parts of ``kitfile`` that have a layer, in layer order.

    Left out are a model that refers to a parent ModelKit and datasets that stay where they are (``remotePath``).
    """
    found: list[Part] = []
    model = kitfile.model
    if model is not None:
        if model.path and model_reference(model) is None:
            found.append(Part(Kind.MODEL, 0, model.name, clean_path(model.path)))
        found += [Part(Kind.MODEL_PART, i, part.name, clean_path(part.path)) for i, part in enumerate(model.parts)]
    found += [Part(Kind.CODE, i, "", clean_path(part.path)) for i, part in enumerate(kitfile.code)]
    found += [
        Part(Kind.DATASET, i, part.name, clean_path(part.path))
        for i, part in enumerate(kitfile.datasets)
        if not part.remote_path
    ]
    found += [Part(Kind.DOCS, i, "", clean_path(part.path)) for i, part in enumerate(kitfile.docs)]
    found += [Part(Kind.PROMPT, i, part.name, clean_path(part.path)) for i, part in enumerate(kitfile.prompts)]
    found += [Part(Kind.MCP_SERVER, i, part.name, clean_path(part.path)) for i, part in enumerate(kitfile.mcp_servers)]
    return tuple(found)
