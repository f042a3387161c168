"""What a file most likely is, by its name alone."""

from __future__ import annotations

import re
from enum import Enum
from fnmatch import fnmatchcase
from typing import Final


class FileKind(Enum):
    """What a file is in a Kitfile. METADATA belongs to the model, or is data where there is none."""

    MODEL = "model"
    METADATA = "metadata"
    DOCS = "docs"
    DATASET = "dataset"
    PROMPT = "prompt"
    MCP_SERVER = "MCP server"
    UNKNOWN = "unknown"


LEFT_OUT: Final = frozenset(
    (
        *(".git", ".hg", ".svn", ".bzr", ".jj", ".gitattributes", ".gitignore", ".gitmodules", ".hgignore", ".hgtags"),
        *("__pycache__", ".ipynb_checkpoints", ".venv", "venv", "node_modules"),
        *(".env", ".netrc"),
    )
)
"""Names (lower case) that a generated Kitfile leaves out: version control, what is made again, and secrets."""

# Also made by the machine, but `pack` leaves these out by itself, wherever they are.
_JUNK = frozenset(
    (
        *(".ds_store", ".appledouble", ".lsoverride", ".spotlight-v100", ".trashes"),
        *("thumbs.db", "desktop.ini", "$recycle.bin", "ehthumbs.db"),
    )
)
_PROMPTS: Final = frozenset(("agents.md", "skill.md", "claude.md"))
_SUFFIXES: Final[dict[str, FileKind]] = {
    **dict.fromkeys((".safetensors", ".pkl", ".joblib", ".pth", ".pt", ".mar", ".pt2", ".ptl"), FileKind.MODEL),
    **dict.fromkeys((".pb", ".ckpt", ".tflite", ".tfrecords", ".npy", ".npz", ".keras", ".h5"), FileKind.MODEL),
    **dict.fromkeys((".caffemodel", ".pmml", ".coreml", ".gguf", ".ggml", ".ggmf"), FileKind.MODEL),
    **dict.fromkeys((".llamafile", ".onnx"), FileKind.MODEL),
    **dict.fromkeys((".json", ".yaml", ".yml", ".xml", ".txt"), FileKind.METADATA),
    **dict.fromkeys((".md", ".adoc", ".html", ".pdf"), FileKind.DOCS),
    **dict.fromkeys((".tar", ".zip", ".parquet", ".csv", ".tsv", ".jsonl", ".arrow"), FileKind.DATASET),
    ".mcpb": FileKind.MCP_SERVER,
}
# Beside weights these belong to the model; elsewhere nobody knows what they are.
_COMPANIONS = (".bin", ".model", ".jinja", ".tiktoken", ".spm", ".bpe")
_SOURCE: Final = (
    *(".py", ".ipynb", ".sh", ".bash", ".r", ".jl", ".js", ".ts", ".go", ".rs", ".java", ".kt", ".scala", ".swift"),
    *(".c", ".cc", ".cpp", ".cu", ".h", ".hpp", ".cs", ".lua", ".pl", ".rb", ".php", ".sql", ".ps1", ".bat", ".m"),
    *("dockerfile", "makefile", ".cmake", ".gradle", ".proto", ".mojo", ".toml", ".lock", ".whl"),
)
_SHARD = re.compile(r"(.+?)[-_.]?[0-9]{5}-of-[0-9]{5}", re.ASCII)


def classify(name: str) -> FileKind:
    """The kind of the file called ``name`` (without directories), upper and lower case alike."""
    folded = name.lower()
    if folded in _PROMPTS or ".prompt" in folded:
        return FileKind.PROMPT
    if name == "MLmodel":  # MLflow's own description of a model
        return FileKind.METADATA
    if fnmatchcase(folded, "*pytorch_model*.bin"):
        return FileKind.MODEL
    return _SUFFIXES.get(_suffix(folded), FileKind.UNKNOWN)


def is_companion(name: str) -> bool:
    """Whether the file belongs to the weights that lie beside it, if any do."""
    return classify(name) is FileKind.UNKNOWN and _suffix(name.lower()) in _COMPANIONS


def is_source(name: str) -> bool:
    """Whether the file is source code, or what source code is built from or into."""
    return name.lower().endswith(_SOURCE)


def is_called_model(name: str) -> bool:
    """Whether the file is called what spaCy (``model``) and CTranslate2 (``model.bin``) call weights."""
    return name in ("model", "model.bin")


def tells_weights(name: str) -> bool:
    """Whether the name is one of weights."""
    return classify(name) is FileKind.MODEL or is_called_model(name)


def is_readme(name: str) -> bool:
    """Whether the file is the project's front page."""
    return name.lower().startswith("readme")


def is_licence(name: str) -> bool:
    """Whether the file holds a licence, in either spelling."""
    return name.lower().startswith(("license", "licence", "copying"))


def is_skill(name: str) -> bool:
    """Whether the file makes its directory a skill."""
    return name.lower() == "skill.md"


def is_junk(name: str) -> bool:
    """Whether the operating system, or our own unpack, dropped the file."""
    return name.lower() in _JUNK or name.startswith(".kitops-unpack")


def model_name(path: str) -> str:
    """What a model is called by its path: without suffix, and without the number of a shard."""
    directory, slash, name = path.rpartition("/")
    stem = name[: -len(_suffix(name))] if _suffix(name) else name
    shard = _SHARD.fullmatch(stem)
    return f"{directory}{slash}{shard[1] if shard else stem}"


def _suffix(name: str) -> str:
    dot = name.rfind(".")
    return name[dot:] if dot >= 0 else ""
