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
from kitops.importers.location import SCP

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
_LOCAL: Final = frozenset(
    (
        *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_OBJECT_DIRECTORY", "GIT_DIR", "GIT_WORK_TREE"),
        *("GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE", "GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS", "GIT_PREFIX"),
        *("GIT_REPLACE_REF_BASE", "GIT_INTERNAL_SUPER_PREFIX", "GIT_SHALLOW_FILE", "GIT_COMMON_DIR"),
        *("GIT_QUARANTINE_PATH", "GIT_NAMESPACE"),
    )
)
"""Variables that speak of one repository, which a hook of git hands on (``git rev-parse --local-env-vars``).

``GIT_CONFIG_PARAMETERS`` and ``GIT_CONFIG_COUNT`` stay, as git keeps them for submodules: they are people's settings.
"""
_AUTHENTICATION: Final = re.compile(
    r"could not read (?:Username|Password)|Authentication failed|terminal prompts disabled"
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
    r"|batch request|LFS: .*(?:EOF|refused|reset|timeout)|dial tcp|i/o timeout",
)
_STRANGE_HOST: Final = re.compile(r"Host key verification failed|No \S+ host key is known")
_NO_KEY: Final = re.compile(r"Permission denied \(|Too many authentication failures")
_EMPTY_WORDS: Final = re.compile(
    r"(?:fatal: )?Could not read from remote repository\.|Please make sure you have the correct access rights"
    r"|and the repository exists\.|error: failed to fetch some objects from .*"
)
"""What git says when ssh or git-lfs has said why."""
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

    def run(self, *arguments: str, more: Mapping[str, str] | None = None, given: bytes = b"") -> str:
        """Run ``git ARGUMENTS``; its standard output.

        Args:
            arguments: the command and its own.
            more: environment variables.
            given: its standard input.

        Raises:
            SourceError: git is not installed; or it failed for good.
            NetworkError: the connection failed.
            Cancelled: the work was asked to stop.
        """
        command = ["git", *_SAFE, *self._helper(), *arguments]
        inherited = {key: value for key, value in os.environ.items() if key not in _LOCAL}
        environment = {**inherited, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **(more or {})}
        environment.setdefault("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
        if self.token:
            environment[_TOKEN] = self.token
        try:
            process = subprocess.Popen(  # noqa: S603 - git, with arguments of ours; the URL stands behind --
                command,
                cwd=self.directory,
                env=environment,
                stdin=subprocess.PIPE if given else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise SourceError(
                "importing by git needs the git command", hint="install git (apt-get install git)"
            ) from error
        output, complaint = self._wait(process, given or None)
        if process.returncode:
            verb = next((word for word in arguments if not word.startswith("-") and "=" not in word), "")
            raise self._explain(verb, complaint.decode("utf-8", "replace"))
        return output.decode("utf-8", "surrogateescape")

    def _helper(self) -> tuple[str, ...]:
        """Settings that give the token to the URL's host, and to no other (a submodule's, one of ``.lfsconfig``)."""
        if self.token is None or not self._is_http:
            return ()
        parts = urlsplit(self.url)
        where = f"credential.{parts.scheme}://{parts.netloc}.helper"
        return "-c", f"{where}=", "-c", f"{where}={_HELPER}"

    def _wait(self, process: subprocess.Popen[bytes], given: bytes | None) -> tuple[bytes, bytes]:
        try:
            while True:
                try:
                    return process.communicate(given, timeout=0.2)
                except subprocess.TimeoutExpired:
                    self.cancel.check()
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise

    def _explain(self, verb: str, complaint: str) -> KitError:
        """The error of a git that failed; the line of what it said that tells why stands in it."""
        lines = [line for line in _SECRET.sub("", complaint).strip().splitlines() if line.strip()]
        lines = [line for line in lines if not _EMPTY_WORDS.fullmatch(line.strip())] or lines
        said = next((line for line in reversed(lines) if line.startswith(("fatal:", "error:", "ERROR"))), "")
        said = (said or (lines[-1] if lines else "no reason given")).removeprefix("fatal: ").removeprefix("error: ")
        if self.token:
            said = said.replace(self.token, "…")
        message = f"git {verb} {self.url}: {said.strip()}"
        if _NO_REVISION.search(complaint):
            return SourceError(message, hint="name a branch, tag or commit that the repository has with --ref")
        if _STRANGE_HOST.search(complaint):
            return SourceError(
                message, hint=f"make the host known to ssh first: `ssh -T {self._host}`, and compare its fingerprint"
            )
        if _NO_KEY.search(complaint):
            return SourceError(
                message, hint="give ssh a key that the host knows (`ssh-add -l` lists them), or use an https URL"
            )
        if _AUTHENTICATION.search(complaint):
            return SourceError(message, hint="give a token with --token, or log in with git's credential helper")
        if _NETWORK.search(complaint):
            return NetworkError(message, hint="run the same command again")
        if _MISSING.search(complaint):
            access = "a private repository needs --token or a credential helper" if self._is_http else "and your access"
            return SourceError(message, hint=f"check the URL{'; ' if self._is_http else ', '}{access}")
        return SourceError(message)

    @property
    def _is_http(self) -> bool:
        return self.url.startswith(("http://", "https://"))

    @property
    def _host(self) -> str:
        """What ssh is to be told: ``git@host``."""
        if (found := SCP.fullmatch(self.url)) is not None:
            host = str(found["host"]).strip("[]")
            return f"{found['user']}@{host}" if found["user"] else host
        return urlsplit(self.url).netloc
