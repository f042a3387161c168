"""What a person names as the source of an import, and which kind of source that is. Pure."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote, urlsplit

from kitops.errors import InvalidValueError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

Kind = Literal["huggingface", "git", "mlflow", "directory"]
Tool = Literal["", "hf", "git"]

HUB: Final = "https://huggingface.co"
HUB_HOSTS: Final = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
_REPO_ID: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}(?:/[A-Za-z0-9_][A-Za-z0-9._-]{0,95})?", re.ASCII)
SCP: Final = re.compile(
    r"(?:(?P<user>\w[\w.-]*)@)?(?P<host>\w[\w.-]+|\[[0-9A-Fa-f:.]+\]):(?!//|:)(?P<path>.+)", re.ASCII
)
"""How ssh's own tools and git write a path on a host; a single letter is a drive of Windows."""
_WEB: Final = ("http", "https")
_MLFLOW: Final = ("models:/", "runs:/")
_PLACES: Final = ("tree", "blob", "resolve")
_NAMES: Final[dict[Kind, str]] = {
    "huggingface": "a repository of Hugging Face",
    "git": "a repository of git",
    "mlflow": "a model or run of MLflow",
    "directory": "a directory",
}
_INSTEAD: Final = {
    "--ref": "name it in the URI: models:/name/version, models:/name@alias, runs:/id",
    "--token": "set MLFLOW_TRACKING_TOKEN",
}
"""What MLflow has instead of options."""


@dataclass(frozen=True, slots=True)
class Location:
    """The source that a text names.

    Args:
        kind: of the source.
        where: a repository id of Hugging Face, a URL of git, a URI of MLflow, or a path.
        is_dataset: whether the hub holds it as a dataset.
        revision: that the text itself names, else empty.
        folder: below which the files lie that are wanted, else empty.
    """

    kind: Kind
    where: str
    is_dataset: bool = False
    revision: str = ""
    folder: str = ""

    def check_asked(
        self, *, revision: str = "", token: str | None = None, submodules: bool = False, symlinks: str = "refuse"
    ) -> None:
        """Refuse what this kind of source does not have, rather than forget it.

        Raises:
            InvalidValueError: it is asked for; or for another revision than the text names.
        """
        if self.kind in ("mlflow", "directory"):
            hints = _INSTEAD if self.kind == "mlflow" else {}
            for option, given in (("--ref", revision), ("--token", token)):
                if given:
                    raise InvalidValueError(f"{option} does not apply to {_NAMES[self.kind]}", hint=hints.get(option))
        if submodules and self.kind != "git":
            raise InvalidValueError(f"--submodules does not apply to {_NAMES[self.kind]}")
        if symlinks != "refuse" and self.kind != "directory":
            raise InvalidValueError(f"--symlinks does not apply to {_NAMES[self.kind]}")
        if self.revision and revision and self.revision != revision:
            raise InvalidValueError(
                f"{self.where} is asked for at {self.revision!r} and at {revision!r}", hint="leave one of them out"
            )


def parse_location(text: str, *, hub: str = "", tool: Tool = "") -> Location:
    """Find out which source ``text`` names.

    ``org/repo``, ``datasets/org/repo``, ``hf://…`` and URLs of the hub are Hugging Face's; ``models:/`` and ``runs:/``
    are MLflow's; a path that begins with ``.``, ``/`` or ``~`` is a directory; any other URL, and ``host:path``, is
    git's.

    Args:
        text: what a person typed.
        hub: the URL of another hub than huggingface.co (``$HF_ENDPOINT``).
        tool: ``hf`` or ``git``: how to fetch a repository of the hub, instead of the default (``hf``).

    Raises:
        InvalidValueError: it names none of these; or a user or a token stands in a URL; or ``tool`` cannot fetch it; or
            the hub's URL is none.
    """
    found = _parse(text, hub)
    if found.kind == "huggingface" and hub:
        check_endpoint(hub)  # the hub's client stumbles over it when it is imported
    if tool == "git" and found.kind == "huggingface":
        where = f"{check_endpoint(hub or HUB)}/{'datasets/' if found.is_dataset else ''}{found.where}"
        return replace(found, kind="git", where=where)
    if tool == "git" and found.kind != "git":
        raise InvalidValueError(f"{text} is {_NAMES[found.kind]}, not of git", hint="leave out --tool git")
    if tool == "hf" and found.kind != "huggingface":
        raise InvalidValueError(
            f"{text} is not on Hugging Face", hint="leave out --tool hf, or set HF_ENDPOINT to your hub"
        )
    return found


def check_endpoint(text: str) -> str:
    """The address of a hub, without a slash at its end.

    Raises:
        InvalidValueError: it is none, or a user or a token stands in it.
    """
    try:
        parts = urlsplit(text)
        is_web = parts.scheme in _WEB and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_web = False
    if not is_web or not text.isascii() or not text.isprintable():
        raise InvalidValueError(f"{text!r} is not the address of a hub", hint="HF_ENDPOINT=https://hub.example.com")
    return _without_secrets(text).rstrip("/")


def _parse(text: str, hub: str) -> Location:
    if text.startswith(_MLFLOW):
        return Location("mlflow", text)
    if text.startswith((".", "/", "~")):
        return Location("directory", text)
    if text.startswith("file://"):
        return Location("git", text)
    if text.startswith("git+"):
        return Location("git", _without_secrets(text.removeprefix("git+")))
    if text.startswith(("ssh://", "git://")):
        return Location("git", _without_secrets(text))
    if text.startswith("hf://"):
        return _parse_hub(text.removeprefix("hf://").split("/"), text)
    if text.startswith(("http://", "https://")):
        return _parse_url(_without_secrets(text), hub)
    if is_scp(text):
        return Location("git", text)
    return _parse_hub(text.split("/"), text)


def is_scp(text: str) -> bool:
    """Whether ``text`` is a path on a host: ``git@host:repo``, ``host:org/repo``, ``host:repo.git``."""
    found = SCP.fullmatch(text)
    return found is not None and bool(found["user"] or "/" in found["path"] or found["path"].endswith(".git"))


def _parse_url(text: str, hub: str) -> Location:
    parts = _split(text)
    if parts.hostname in HUB_HOSTS or (hub and parts.netloc == urlsplit(check_endpoint(hub)).netloc):
        return _parse_hub([unquote(word) for word in parts.path.strip("/").split("/")], text)
    return Location("git", text)


def _parse_hub(words: list[str], text: str) -> Location:
    """``[datasets/|models/]org/repo[@revision][/tree/revision[/folder]]``, split."""
    is_dataset = words[0] == "datasets"
    if words[0] in ("datasets", "models"):
        words = words[1:]
    elif words[0] == "spaces":
        raise InvalidValueError(f"{text} is a space of Hugging Face", hint="models and datasets can be imported")
    place = next((index for index in (1, 2) if len(words) > index + 1 and words[index] in _PLACES), None)
    repo, rest = (words, []) if place is None else (words[:place], words[place + 1 :])
    name, at, revision = "/".join(repo).removesuffix(".git").partition("@")
    if not _REPO_ID.fullmatch(name) or (at and not revision) or ".." in name or "--" in name:
        hint = (
            "give a repository of Hugging Face (org/repo), a URL of git, an MLflow URI (models:/name/1) "
            "or a directory (./path)"
        )
        if os.path.isdir(text):
            hint = f"the directory of that name is ./{text}"
        raise InvalidValueError(f"{text!r} names no source", hint=hint)
    length = 3 if rest[:1] == ["refs"] else 1  # refs/pr/1, refs/convert/parquet: written with slashes too
    named = "/".join(rest[:length])
    return Location("huggingface", name, is_dataset, revision or named, "/".join(rest[length:]))


def _without_secrets(url: str) -> str:
    """The URL, if no password stands in it: it would end up in logs and process lists.

    Raises:
        InvalidValueError: one does.
    """
    parts = _split(url)
    if parts.password is not None or (parts.username and parts.scheme in ("http", "https")):
        raise InvalidValueError(
            f"a user or token stands in the URL of {parts.hostname}",
            hint="leave it out, and give the token with --token or by git's credential helper",
        )
    return url


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:  # half of an IPv6 address
        raise InvalidValueError(f"{url!r} is not a URL") from error
