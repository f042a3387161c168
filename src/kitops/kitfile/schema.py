"""The Kitfile's types: what a person wrote, without anything computed from it.

Each field carries a :class:`Rule` (its key in YAML and JSON, what it holds, what it is for). Reading, writing, and the
JSON Schema for editors all follow these rules, so a field is described once.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from kitops.errors import InvalidValueError
from kitops.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.oci.gojson import Json

MANIFEST_VERSION: Final = "1.0.0"
SCHEMA_URL: Final = "https://json-schema.org/draft/2020-12/schema"
PART_TYPE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
PART_TYPE_LIMIT: Final = 64
"""Characters of the longest type that a model part can have."""
ALWAYS_WRITTEN: Final = ("manifestVersion", "package")
"""Fields that are written even when they are empty (the package only in JSON)."""


class Kind(Enum):
    """What a field holds."""

    TEXT = "text"
    TEXTS = "a list of texts"
    JSON = "anything"
    PART = "a map"
    PARTS = "a list of maps"


@dataclass(frozen=True, slots=True)
class Rule:
    """How one field is written: ``key`` in YAML and JSON; ``part`` is the type of what PART and PARTS hold."""

    key: str
    kind: Kind
    description: str
    part: type[Any] | None = None
    pattern: str = ""
    limit: int = 0
    required: bool = False


def _text(key: str, description: str, *, pattern: str = "", limit: int = 0, required: bool = False) -> Any:
    rule = Rule(key, Kind.TEXT, description, pattern=pattern, limit=limit, required=required)
    return field(default="", metadata={"rule": rule})


def _texts(key: str, description: str) -> Any:
    return field(default=(), metadata={"rule": Rule(key, Kind.TEXTS, description)})


def _json(key: str, description: str) -> dict[str, Rule]:
    return {"rule": Rule(key, Kind.JSON, description)}


def _parts(key: str, part: type[Any], description: str) -> Any:
    return field(default=(), metadata={"rule": Rule(key, Kind.PARTS, description, part)})


@dataclass(frozen=True, slots=True)
class Package:
    """What the ModelKit as a whole is called, and whose it is."""

    name: str = _text("name", "Name of the ModelKit")
    version: str = _text("version", "Version of the ModelKit, for example 1.2.3")
    description: str = _text("description", "What the ModelKit is for")
    license: str = _text("license", "SPDX identifier of the licence of the whole, for example Apache-2.0")
    authors: tuple[str, ...] = _texts("authors", "Who made it")


@dataclass(frozen=True, slots=True)
class Part:
    """A file or directory that belongs to the model: a shard, a tokenizer, an adapter."""

    name: str = _text("name", "Name of the part")
    path: str = _text("path", "File or directory, relative to the Kitfile's directory")
    license: str = _text("license", "SPDX identifier of the part's licence")
    type: str = _text(
        "type",
        "What the part is, for example tokenizer or lora-adapter",
        pattern=f"^{PART_TYPE.pattern}$",
        limit=PART_TYPE_LIMIT,
    )


@dataclass(frozen=True, slots=True)
class Model:
    """The model; ``path`` is a file, a directory, or a reference to the ModelKit that the model is taken from."""

    name: str = _text("name", "Name of the model")
    path: str = _text("path", "File or directory, or a reference to another ModelKit whose model is used")
    license: str = _text("license", "SPDX identifier of the model's licence")
    framework: str = _text("framework", "Framework of the model, for example PyTorch")
    format: str = _text("format", "File format of the model, for example safetensors")
    version: str = _text("version", "Version of the model")
    description: str = _text("description", "What the model is for")
    parts: tuple[Part, ...] = _parts("parts", Part, "Further files of the model: shards, tokenizer, adapters")
    parameters: Json = field(
        default=None,
        metadata=_json("parameters", "Anything else that describes the model, for example its hyperparameters"),
    )


@dataclass(frozen=True, slots=True)
class Code:
    """Source code."""

    path: str = _text("path", "File or directory, relative to the Kitfile's directory")
    description: str = _text("description", "What the code does")
    license: str = _text("license", "SPDX identifier of the code's licence")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Data, packed (``path``) or left where it is (``remote_path``)."""

    name: str = _text("name", "Name of the dataset")
    path: str = _text("path", "File or directory, relative to the Kitfile's directory")
    remote_path: str = _text(
        "remotePath",
        "Where data that is not packed lies: s3://bucket/key[?versionId=…], https://… or a ModelKit's reference",
    )
    remote_hash: str = _text(
        "remoteHash", "What is at remotePath: sha256:… of its bytes (of its manifest, for a ModelKit), or its ETag"
    )
    description: str = _text("description", "What the data is")
    license: str = _text("license", "SPDX identifier of the data's licence")
    parameters: Json = field(default=None, metadata=_json("parameters", "Anything else that describes the data"))


@dataclass(frozen=True, slots=True)
class Docs:
    """Documentation."""

    path: str = _text("path", "File or directory, relative to the Kitfile's directory")
    description: str = _text("description", "What the document is about")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, an agent's instructions, or a skill (the directory of a SKILL.md)."""

    name: str = _text("name", "Name of the prompt")
    path: str = _text("path", "File or directory, relative to the Kitfile's directory")
    description: str = _text("description", "What the prompt is for")


@dataclass(frozen=True, slots=True)
class McpServer:
    """An MCP server as one bundle."""

    name: str = _text("name", "Name of the server, each once", required=True)
    path: str = _text("path", "The server's .mcpb bundle, relative to the Kitfile's directory", required=True)
    description: str = _text("description", "What the server offers")


@dataclass(frozen=True, slots=True)
class Kitfile:
    """A Kitfile as its author wrote it. ``kitops.kitfile.check`` says what is wrong with one made by a program."""

    manifest_version: str = field(
        default=MANIFEST_VERSION,
        metadata={"rule": Rule("manifestVersion", Kind.TEXT, f"Version of the Kitfile's format: {MANIFEST_VERSION}")},
    )
    package: Package = field(
        default=Package(),
        metadata={
            "rule": Rule("package", Kind.PART, "What the ModelKit as a whole is called, and whose it is", Package)
        },
    )
    model: Model | None = field(default=None, metadata={"rule": Rule("model", Kind.PART, "The model", Model)})
    code: tuple[Code, ...] = _parts("code", Code, "Source code")
    datasets: tuple[Dataset, ...] = _parts("datasets", Dataset, "Data for training, validation, tests")
    docs: tuple[Docs, ...] = _parts("docs", Docs, "Documentation")
    prompts: tuple[Prompt, ...] = _parts("prompts", Prompt, "Prompts, agents' instructions, skills")
    mcp_servers: tuple[McpServer, ...] = _parts("mcpServers", McpServer, "MCP servers as .mcpb bundles")


def rules(kind: type[Any]) -> tuple[tuple[str, Rule], ...]:
    """Attribute and rule of each field of one of this module's types, in the order in which they are written."""
    return tuple((found.name, found.metadata["rule"]) for found in fields(kind))


def paths(kitfile: Kitfile) -> Iterator[tuple[str, str]]:
    """Field (``code[0].path``) and path of everything that has one, in the order of the layers.

    A model that is a reference to another ModelKit has no path.
    """
    if kitfile.model is not None:
        if model_reference(kitfile.model) is None:
            yield "model.path", kitfile.model.path
        for index, part in enumerate(kitfile.model.parts):
            yield f"model.parts[{index}].path", part.path
    for key in ("code", "datasets", "docs", "prompts", "mcp_servers"):
        name = "mcpServers" if key == "mcp_servers" else key
        for index, entry in enumerate(getattr(kitfile, key)):
            yield f"{name}[{index}].path", entry.path


def clean_path(text: str) -> str:
    """The shortest form of a path, as Go's ``path.Clean``: ``./notebooks/`` is ``notebooks``, nothing is ``.``."""
    cleaned = posixpath.normpath(text) if text else "."
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def model_reference(model: Model) -> Reference | None:
    """The ModelKit that ``model.path`` refers to, or None where it is a path.

    As in the Go tool: what has a ``:`` or ``@`` and parses as a reference is one. ``./weights:v2`` is always a path.
    """
    if ":" not in model.path and "@" not in model.path:
        return None
    try:
        return Reference.parse(model.path)
    except InvalidValueError:
        return None


def json_schema() -> dict[str, Json]:
    """The JSON Schema (draft 2020-12) of a Kitfile, for editors."""
    return {
        "$schema": SCHEMA_URL,
        "title": "Kitfile",
        **_object_schema(Kitfile),
        "required": ["manifestVersion"],
    }


def _object_schema(kind: type[Any]) -> dict[str, Json]:
    properties: dict[str, Json] = {rule.key: _field_schema(rule) for _, rule in rules(kind)}
    found: dict[str, Json] = {"type": "object", "additionalProperties": False, "properties": properties}
    required: list[Json] = [rule.key for _, rule in rules(kind) if rule.required]
    return found | {"required": required} if required else found


def _field_schema(rule: Rule) -> dict[str, Json]:
    about: dict[str, Json] = {"description": rule.description}
    match rule.kind:
        case Kind.TEXT:
            return about | _text_schema(rule)
        case Kind.TEXTS:
            return about | {"type": ["array", "null"], "items": {"type": ["string", "number", "boolean", "null"]}}
        case Kind.JSON:
            return about
        case Kind.PART | Kind.PARTS if rule.part is not None:
            schema = _object_schema(rule.part)
            if rule.kind is Kind.PART:
                return about | schema | {"type": ["object", "null"]}
            return about | {"type": ["array", "null"], "items": schema}
    raise AssertionError(rule)


def _text_schema(rule: Rule) -> dict[str, Json]:
    # A text may be written without quotes: `version: 1.10` is the text 1.10 here, and a number to an editor.
    found: dict[str, Json] = {"type": ["string", "number", "boolean", "null"]}
    if rule.required:
        found = {"type": ["string", "number", "boolean"], "minLength": 1}
    if rule.pattern:
        found["pattern"] = rule.pattern
    if rule.limit:
        found["maxLength"] = rule.limit
    return found
