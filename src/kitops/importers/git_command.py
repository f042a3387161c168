"""The ``git`` command: run so that it asks nothing, ends when it is told to, and its failures are told apart."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kitops.errors import NetworkError, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kitops.content.cancel import CancelToken
    from kitops.errors import KitError

_TOKEN: Final = "KITOPS_GIT_TOKEN"  # noqa: S105 - a variable's name
# A credential helper in a shell function: the token comes from the environment, so it is in no argument and no file.
_HELPER: Final = f'!f() {{ test "$1" = get && printf "username=oauth2\\npassword=%s\\n" "${_TOKEN}"; }}; f'
_SAFE: Final = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "protocol.ext.allow=never"),
    *("-c", "fetch.fsckObjects=true"),
    *("-c", "core.autocrlf=false"),
    *("-c", "advice.detachedHead=false"),
    *("-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60"),  # a silent server is given up
)
_AUTHENTICATION: Final = re.compile(
    r"could not read (?:Username|Password)|Authentication failed|terminal prompts disabled|Permission denied"
    r"|HTTP (?:Basic: )?[Aa]ccess denied|returned error: 40[13]",
)
_MISSING: Final = re.compile(
    r"not found|does not exist|does not appear to be a git repository|returned error: 404", re.IGNORECASE
)
_NO_REVISION: Final = re.compile(
    r"couldn't find remote ref|not our ref|unadvertised object|bad object|unknown revision|did not match any file"
)
_NETWORK: Final = re.compile(
    r"Could not resolve host|Failed to connect|Connection (?:refused|reset|timed out)|early EOF|RPC failed"
    r"|unexpected disconnect|Operation timed out|returned error: 5\d\d|returned error: 429|remote end hung up"
    r"|batch request|LFS: .*(?:EOF|refused|reset|timeout)",
)
_SECRET: Final = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git in one directory.

    Args:
        directory: of the clone.
        url: of the repository, for errors.
        cancel: ends a running git.
        token: for the repository's host; None leaves it to git's own credential helpers.
    """

    directory: Path
    url: str
    cancel: CancelToken
    token: str | None = field(default=None, repr=False)

    def run(self, *arguments: str, more: Mapping[str, str] | None = None) -> str:
        """Run ``git ARGUMENTS``; its standard output.

        Args:
            arguments: the command and its own.
            more: environment variables.

        Raises:
            SourceError: git is not installed; or it failed for good.
            NetworkError: the connection failed.
            Cancelled: the work was asked to stop.
        """
        command = ["git", *_SAFE, *self._helper(), *arguments]
        environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **(more or {})}
        environment.setdefault("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
        if self.token:
            environment[_TOKEN] = self.token
        try:
            process = subprocess.Popen(  # noqa: S603 - git, with arguments of ours; the URL stands behind --
                command,
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise SourceError(
                "importing by git needs the git command", hint="install git (apt-get install git)"
            ) from error
        output, complaint = self._wait(process)
        if process.returncode:
            raise self._explain(arguments[0], complaint.decode("utf-8", "replace"))
        return output.decode("utf-8", "surrogateescape")

    def _helper(self) -> tuple[str, ...]:
        """Settings that give the token to the URL's host, and to no other (a submodule's, one of ``.lfsconfig``)."""
        parts = urlsplit(self.url)
        if self.token is None or parts.scheme not in ("http", "https"):
            return ()
        where = f"credential.{parts.scheme}://{parts.netloc}.helper"
        return "-c", f"{where}=", "-c", f"{where}={_HELPER}"

    def _wait(self, process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
        try:
            while True:
                try:
                    return process.communicate(timeout=0.2)
                except subprocess.TimeoutExpired:
                    self.cancel.check()
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise

    def _explain(self, verb: str, complaint: str) -> KitError:
        """The error of a git that failed; the last line of what it said stands in it."""
        lines = [line for line in _SECRET.sub("", complaint).strip().splitlines() if line.strip()]
        said = next((line for line in reversed(lines) if line.startswith(("fatal:", "error:", "ERROR"))), "")
        said = (said or (lines[-1] if lines else "no reason given")).removeprefix("fatal: ").removeprefix("error: ")
        if self.token:
            said = said.replace(self.token, "…")
        message = f"git {verb} {self.url}: {said}"
        if _NO_REVISION.search(complaint):
            return SourceError(message, hint="name a branch, tag or commit that the repository has with --ref")
        if _AUTHENTICATION.search(complaint):
            return SourceError(message, hint="give a token with --token, or log in with git's credential helper")
        if _NETWORK.search(complaint):
            return NetworkError(message, hint="run the same command again")
        if _MISSING.search(complaint):
            return SourceError(message, hint="check the URL; a private repository needs --token or a credential helper")
        return SourceError(message)
