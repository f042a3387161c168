"""Errors as people and programs see them: ``Error:`` and ``Hint:`` on stderr, or one JSON object."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit, NoSuchOption

from kitops.cli._main import BUG, INTERRUPTED
from kitops.cli._output import to_stderr
from kitops.errors import FileSystemError, InvalidValueError, KitError, printable

if TYPE_CHECKING:
    from collections.abc import Sequence


_REFUSALS = frozenset(
    (
        *(errno.EACCES, errno.EPERM, errno.EROFS),
        *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE),
        *(errno.ENAMETOOLONG, errno.ELOOP, errno.EMFILE, errno.ENFILE),
    )
)
"""What the system says about a file and no code of ours can change: told here where it is not told any better."""

_NO_THREAD = "can't start new thread"
"""How Python's RuntimeError about it begins."""


class UsageError(InvalidValueError):
    """The command line itself is wrong."""

    kind = "usage"


def report(error: Exception, arguments: Sequence[str]) -> int | None:
    """Print a known error and return its exit code; None for a bug, of which nothing is printed."""
    if isinstance(error, Exit):
        return error.exit_code
    if isinstance(error, click.Abort):  # Ctrl-C or the end of input at a question
        return INTERRUPTED
    known = translate(error)
    if known is None:
        return None
    if wants_json(arguments):
        import json  # costs nothing where it is not wanted

        to_stderr(json.dumps(known.to_json(), ensure_ascii=False) + "\n")
    else:
        first, *rest = map(printable, known.lines)
        to_stderr("".join(f"{line}\n" for line in (f"Error: {first}", *rest)))
        if known.hint:
            to_stderr(f"Hint: {printable(known.hint)}\n")
    return known.exit_code


def report_bug(error: Exception) -> int:
    """Print the traceback of an error that nobody foresaw, and where to report it."""
    import traceback

    to_stderr("".join(traceback.format_exception(error)))
    to_stderr("This is a bug in kit: please report it with the lines above\n")
    return BUG


def translate(error: Exception) -> KitError | None:
    """The KitError that says the same as ``error``, or None where nobody foresaw it."""
    if isinstance(error, KitError):
        return error
    if isinstance(error, click.FileError):
        return FileSystemError(f"opening {error.ui_filename}: {error.message.lower()}", path=error.ui_filename)
    if isinstance(error, NoSuchOption):
        near = ", ".join(sorted(error.possibilities or ()))
        hint = f"did you mean {near}?" if near else _help_of(error)
        return UsageError(f"no such option: {error.option_name}", hint=hint)
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return KitError("the system gives no more memory", hint="raise the limit of the container, or `ulimit -v`")
    if isinstance(error, RuntimeError) and str(error).startswith(_NO_THREAD):
        return KitError(
            "the system starts no more threads", hint="raise the limit of the container, `ulimit -u` or `ulimit -v`"
        )
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        return FileSystemError.wrap(error, "using", error.filename or "a file")
    if isinstance(error, FileNotFoundError) and error.filename is None and not _has_working_directory():
        return FileSystemError("the working directory is gone", hint="cd to one that is there")
    if isinstance(error, click.ClickException):
        return UsageError(_as_ours(error.format_message()), hint=getattr(error, "hint", None) or _help_of(error))
    return None


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether ``--format json`` or ``--progress json`` is there; also on a line that does not parse."""
    for index, argument in enumerate(arguments):
        if argument == "--":
            return False
        if argument in ("--format=json", "--progress=json"):
            return True
        if argument in ("--format", "--progress") and list(arguments[index + 1 : index + 2]) == ["json"]:
            return True
    return False


def _has_working_directory() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _help_of(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "kit"
    return f"see `{path} --help`"


def _as_ours(message: str) -> str:
    """A message of click as ours are: lower case, no full stop."""
    text = " ".join(message.split()).removesuffix(".")
    return text[:1].lower() + text[1:] if not text[1:2].isupper() else text
