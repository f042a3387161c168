"""Credential helper programs: ``docker-credential-<suffix> get|store|erase``, a line in, JSON out."""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import TYPE_CHECKING, Protocol

from kitops.errors import InvalidValueError
from kitops.registry.headers import one_line

if TYPE_CHECKING:
    from kitops.content.cancel import CancelToken

_SUFFIX = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_SECONDS = 60.0
_SLICE = 0.05
_NONE = ("not found in native keychain", "no credentials", "credentials not found")


class HelperRunner(Protocol):
    """Runs a helper: suffix of its name, verb, standard input, what ends it early.

    Returns its standard output, or None when it has no such credential.
    """

    def __call__(self, suffix: str, verb: str, text: str, cancel: CancelToken | None, /) -> str | None: ...


def run_helper(
    suffix: str, verb: str, text: str, cancel: CancelToken | None = None, /, *, seconds: float = _SECONDS
) -> str | None:
    """Run ``docker-credential-<suffix> <verb>`` with ``text`` on its standard input.

    Args:
        suffix: of its name.
        verb: ``get``, ``store`` or ``erase``.
        text: what it is given.
        cancel: ends it early.
        seconds: how long it may take.

    Returns:
        What it printed, or None when it has no such credential.

    Raises:
        InvalidValueError: it is not there, failed, or took too long. What it said is told, what it was
            given is not.
    """
    if not _SUFFIX.fullmatch(suffix):
        raise InvalidValueError(f"{suffix!r} does not name a credential helper")
    program = f"docker-credential-{suffix}"
    try:
        running = subprocess.Popen(  # noqa: S603 - the suffix was checked; the person's own configuration names it
            [program, verb],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise InvalidValueError(
            f"credential helper {program} cannot be run: {(error.strerror or '').lower()}",
            hint="install it, or take it out of credsStore and credHelpers",
        ) from error
    with running:
        output, complaint = _talk(running, text, program, cancel, seconds)
    if running.returncode == 0:
        return output
    if verb == "get" and '"Secret"' in output:
        output = "it gave an answer nevertheless;"  # which is not to be shown
    said = one_line(f"{output} {complaint}")
    if verb == "store" and json.loads(text)["Secret"] in said:
        said = "it repeats what it was given"
    if verb != "store" and any(mark in said.lower() for mark in _NONE):
        return None
    raise InvalidValueError(f"credential helper {program} {verb} failed: {said or f'exit {running.returncode}'}")


def _talk(
    running: subprocess.Popen[str], text: str, program: str, cancel: CancelToken | None, seconds: float
) -> tuple[str, str]:
    deadline = time.monotonic() + seconds
    given: str | None = text
    try:
        while True:
            try:
                return running.communicate(given, timeout=_SLICE)
            except subprocess.TimeoutExpired:
                given = None  # it was taken the first time
            if cancel is not None:
                cancel.check()
            if time.monotonic() > deadline:
                raise InvalidValueError(
                    f"credential helper {program} did not answer in {seconds:g} s",
                    hint=f"see what it waits for: echo HOST | {program} get",
                )
    except BaseException:
        running.kill()  # what it started may live on and hold the pipes: nobody waits for their end
        raise
