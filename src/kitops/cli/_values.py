"""Values of options that more than click must read."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from kitops.cli._output import is_terminal
from kitops.errors import FileSystemError, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

_CREATED = "org.opencontainers.image.created"


def parse_annotations(texts: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` words as a mapping; the last of one key wins.

    Raises:
        InvalidValueError: a word has no ``=`` or no key.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise InvalidValueError(f"annotation {text!r} is not KEY=VALUE", hint="--annotation team=vision")
        found[key] = value
    return found


def parse_created(text: str | None) -> dict[str, str]:
    """``now`` or a time of RFC 3339 as the annotation for it, in UTC; nothing without ``text``.

    Raises:
        InvalidValueError: it is no time, or has no zone.
    """
    if text is None:
        return {}
    from datetime import UTC, datetime

    if text == "now":
        when = datetime.now(UTC).replace(microsecond=0)
    else:
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            when = datetime.min  # noqa: DTZ901 - refused below
        if when.tzinfo is None or "T" not in text.upper():
            raise InvalidValueError(f"--created {text!r} is not a time", hint="now, or like 2026-01-31T12:00:00Z")
    return {_CREATED: when.astimezone(UTC).isoformat().replace("+00:00", "Z")}


def read_hub() -> str:
    """The URL of another Hugging Face hub, as its client is told of it; empty without one."""
    return os.environ.get("HF_ENDPOINT", "")


def read_token(text: str | None, kind: str) -> str | None:
    """The token of a source: as it was typed, from standard input for ``-``, else that of the environment for git.

    Args:
        text: what was typed, which everybody on the machine can see in the list of processes.
        kind: of the source.
    """
    if text == "-":
        return read_stdin().decode("utf-8", "replace")
    if text is None and kind == "git":
        return os.environ.get("KITOPS_GIT_TOKEN") or None
    return text


def quiet_mlflow() -> None:
    """MLflow's client draws bars and prints links to stdout of its own; ours is for results. And it waits for ever.

    Without a word of the person's own it tries a server that is not there seven times, over four minutes.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


def can_ask() -> bool:
    """Whether there is a person to ask."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def ask(label: str, *, hidden: bool = False) -> str:
    """What a person types at a question; ``hidden`` shows nothing of it.

    Raises:
        InvalidValueError: it is not UTF-8.
    """
    from getpass import getpass  # only who is asked pays for it

    try:
        if hidden:
            text = getpass(f"{label}: ", sys.stderr)
        else:
            text = str(click.prompt(label, default="", show_default=False, err=True))
        text.encode()
    except EOFError as error:
        raise click.Abort from error
    except UnicodeError:  # as it is read, or by what line editing makes of it
        raise InvalidValueError(f"{label}: what was typed is not UTF-8") from None
    return text


def read_stdin() -> bytes:
    """All of standard input.

    Raises:
        FileSystemError: it is closed or cannot be read.
    """
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", "standard input") from error
    except (AttributeError, ValueError) as error:
        raise FileSystemError("reading standard input: it is closed") from error
