"""What a person names as the source of an import, and which kind of source that is. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from kitops.errors import InvalidValueError

Kind = Literal["huggingface", "git", "mlflow", "directory"]

HUB_HOSTS: Final = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
_REPO_ID: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}(?:/[A-Za-z0-9_][A-Za-z0-9._-]{0,95})?", re.ASCII)
_SCP: Final = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:.+", re.ASCII)
_MLFLOW: Final = ("models:/", "runs:/")
_PLACES: Final = ("tree", "blob", "resolve")


@dataclass(frozen=True, slots=True)
class Location:
    """The source that a text names.

    Args:
        kind: of the source.
        where: a repository id of Hugging Face, a URL of git, a URI of MLflow, or a path.
        is_dataset: of Hugging Face.
        revision: that the text itself names, else empty.
        folder: below which the files lie that are wanted, else empty.
    """

    kind: Kind
    where: str
    is_dataset: bool = False
    revision: str = ""
    folder: str = ""


def parse_location(text: str, *, hub_host: str = "", tool: Literal["", "hf", "git"] = "") -> Location:
    """Find out which source ``text`` names.

    ``org/repo``, ``datasets/org/repo``, ``hf://…`` and URLs of the hub are Hugging Face's; ``models:/`` and ``runs:/``
    are MLflow's; a path that begins with ``.``, ``/`` or ``~`` is a directory; any other URL is git's.

    Args:
        text: what a person typed.
        hub_host: the host of another hub than huggingface.co (``$HF_ENDPOINT``).
        tool: ``hf`` or ``git``: how to fetch a URL of the hub, instead of the default (``hf``).

    Raises:
        InvalidValueError: it names none of these; or a user or a token stands in a URL.
    """
    if text.startswith(_MLFLOW):
        return Location("mlflow", text)
    if text.startswith((".", "/", "~")):
        return Location("directory", text)
    if text.startswith("file://"):
        return Location("git", text)
    if text.startswith("git+"):
        return Location("git", _without_secrets(text.removeprefix("git+")))
    if _SCP.fullmatch(text) or text.startswith(("ssh://", "git://")):
        return Location("git", _without_secrets(text))
    if text.startswith("hf://"):
        return _parse_hub(text.removeprefix("hf://"), text)
    if text.startswith(("http://", "https://")):
        return _parse_url(text, hub_host, tool)
    return _parse_hub(text, text)


def _parse_url(text: str, hub_host: str, tool: str) -> Location:
    text = _without_secrets(text)
    parts = urlsplit(text)
    if parts.hostname in HUB_HOSTS or (hub_host and parts.netloc == hub_host):
        found = _parse_hub(unquote(parts.path).strip("/"), text)
        if tool != "git":
            return found
    elif tool == "hf":
        raise InvalidValueError(
            f"{text} is not on Hugging Face", hint="leave out --tool hf, or set HF_ENDPOINT to your hub"
        )
    return Location("git", text)


def _parse_hub(path: str, text: str) -> Location:
    """``[datasets/|models/]org/repo[@revision][/tree/revision[/folder]]``."""
    words = path.split("/")
    is_dataset = words[0] == "datasets"
    if words[0] in ("datasets", "models"):
        words = words[1:]
    elif words[0] == "spaces":
        raise InvalidValueError(f"{text} is a space of Hugging Face", hint="models and datasets can be imported")
    place = next((index for index in (1, 2) if len(words) > index + 1 and words[index] in _PLACES), None)
    repo, rest = (words, []) if place is None else (words[:place], words[place + 1 :])
    name, at, revision = "/".join(repo).removesuffix(".git").partition("@")
    if not _REPO_ID.fullmatch(name) or (at and not revision) or ".." in name or "--" in name:
        raise InvalidValueError(
            f"{text!r} names no source",
            hint="give a repository of Hugging Face (org/repo), a URL of git, an MLflow URI (models:/name/1) "
            "or a directory (./path)",
        )
    return Location("huggingface", name, is_dataset, revision or (rest[0] if rest else ""), "/".join(rest[1:]))


def _without_secrets(url: str) -> str:
    """The URL, if no password stands in it: it would end up in logs and process lists.

    Raises:
        InvalidValueError: one does.
    """
    parts = urlsplit(url)
    if parts.password is not None or (parts.username and parts.scheme in ("http", "https")):
        raise InvalidValueError(
            f"a user or token stands in the URL of {parts.hostname}",
            hint="leave it out, and give the token with --token or by git's credential helper",
        )
    return url
