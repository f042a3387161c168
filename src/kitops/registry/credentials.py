"""Where credentials are kept: our own file, Docker's and Podman's, and their helper programs.

The formats are those of ``docker login``: ``auths``, ``credHelpers``, ``credsStore``, with Podman's path-scoped keys.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from kitops.errors import FileSystemError, InvalidValueError, naming, printable
from kitops.registry.helper import HelperRunner, run_helper
from kitops.registry.realms import RealmPins
from kitops.registry.secret_files import Table, changing, read_table, write_table
from kitops.registry.urls import DOCKER_HUB, is_docker_hub

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kitops.content.cancel import CancelToken

_MEND = "log in again, or mend it"
_HUB_KEY = "https://index.docker.io/v1/"
_TOKEN = re.compile(r"[\x21-\x7e]*", re.ASCII)
_TOKEN_USER = "<token>"  # noqa: S105 - the user name that stands for "the secret is an identity token"


@dataclass(frozen=True, slots=True)
class Credential:
    """Who we are at a registry.

    Args:
        username: may be empty beside a token.
        password: for Basic, and to ask for tokens with.
        identity_token: an OAuth2 refresh token, to ask for tokens with instead.
        registry_token: a bearer token to use as it is.

    Raises:
        InvalidValueError: no request can carry it.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        try:
            f"{self.username}{self.password}{self.identity_token}".encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise InvalidValueError("half a character is in a user name, a password or an identity token") from error
        if not _TOKEN.fullmatch(self.registry_token):
            raise InvalidValueError("a registry token has spaces, line ends or letters that no token has")

    @classmethod
    def of_login(cls, username: str, password: str) -> Credential:
        """What a person typed: a password without a user is an identity token."""
        return cls(username, password) if username else cls(identity_token=password)


class FindsCredential(Protocol):
    """What a connection to a registry needs of a credential store."""

    def find(self, host: str, repository: str = "", *, cancel: CancelToken | None = None) -> Credential | None:
        """The credential for ``host``, or None for an anonymous visit."""
        ...

    def pinned_realm(self, host: str, offered: str) -> str | None:
        """The origin of the token server that the credential for ``host`` may be sent to.

        Args:
            host: the registry.
            offered: the origin that the registry names now, another than is known to belong to it.
        """
        ...


@dataclass(frozen=True, slots=True)
class FixedCredential:
    """One credential, or none at all, and where else than to the registry it may go."""

    credential: Credential | None = None
    realm: str | None = None

    def find(self, host: str, repository: str = "", *, cancel: CancelToken | None = None) -> Credential | None:  # noqa: ARG002
        """The credential, whatever is asked for."""
        return self.credential

    def pinned_realm(self, host: str, offered: str) -> str | None:  # noqa: ARG002 - one for all
        """The token server that was given."""
        return self.realm


class CredentialStore:
    """Finds credentials in our file, then in others' files; saves them in ours.

    Args:
        path: our file (``$KITOPS_HOME/credentials.json``), in Docker's format; need not exist. Token servers that
            logins recorded are in ``realms.json`` beside it.
        docker_configs: other files of that format that are read after it; see :func:`default_config_paths`.
        helper_runner: runs ``docker-credential-<suffix>``.
        warn: told about a file of others that cannot be used.
    """

    def __init__(
        self,
        path: Path,
        docker_configs: Sequence[Path] = (),
        *,
        helper_runner: HelperRunner = run_helper,
        warn: Callable[[str], None] = lambda text: None,  # noqa: ARG005
    ) -> None:
        self._path = path
        self._pins = RealmPins(path.with_name("realms.json"))
        self._docker_configs = tuple(docker_configs)
        self._run_helper = helper_runner
        self._warn = warn

    def find(self, host: str, repository: str = "", *, cancel: CancelToken | None = None) -> Credential | None:
        """The credential for ``host``: the most specific entry of the first file that has one.

        In a file: entries for a path below the host, the host's helper, the helper for all, the host's entry.

        Raises:
            InvalidValueError: our file is damaged, or a helper failed.
            FileSystemError: our file cannot be read.
        """
        if found := self._find_in(self._path, host, repository, cancel):
            return found
        for path in self._docker_configs:
            try:
                if found := self._find_in(path, host, repository, cancel):
                    return found
            except (InvalidValueError, FileSystemError) as error:  # theirs must not keep a public registry from us
                what = "it" if printable(path) in str(error) else printable(path)
                self._warn(f"{error}; {what} is left out")
        return None

    def pinned_realm(self, host: str, offered: str = "") -> str | None:  # noqa: ARG002 - what is offered changes nothing
        """The token server on another host that the login at ``host`` recorded."""
        return self._pins.find(_canonical(host))

    def save(self, host: str, credential: Credential, *, realm: str | None = None) -> None:
        """Keep ``credential`` for ``host``, in the helper that our file names for it, else in our file (mode 0600).

        Args:
            host: the registry.
            credential: what it took.
            realm: the origin of its token server where that is on another host, to be sent the credential from now on.
        """
        with changing(self._path):
            self._pins.pin(_canonical(host), realm)
            table = read_table(self._path, "credentials") or {}
            if helper := _helper_for(table, host):
                secret = credential.identity_token or credential.password
                user = _TOKEN_USER if credential.identity_token else credential.username
                answer = {"ServerURL": config_key(host), "Username": user, "Secret": secret}
                self._run_helper(helper, "store", json.dumps(answer), None)
                return
            auths = _section(table, "auths")
            for key in _keys_of(auths, host):
                del auths[key]
            auths[config_key(host)] = _entry_of(credential)
            table["auths"] = auths
            write_table(self._path, table, "credentials")

    def erase(self, host: str) -> bool:
        """Forget the credential for ``host`` in our file and its helper; says whether there was one."""
        with changing(self._path):
            self._pins.pin(_canonical(host), None)
            table = read_table(self._path, "credentials") or {}
            erased = False
            if helper := _helper_for(table, host):
                erased = self._run_helper(helper, "get", config_key(host), None) is not None
                if erased:
                    self._run_helper(helper, "erase", config_key(host), None)
            auths = _section(table, "auths")
            keys = _keys_of(auths, host)
            if keys:
                table["auths"] = {key: value for key, value in auths.items() if key not in keys}
                write_table(self._path, table, "credentials")
            return erased or bool(keys)

    def _find_in(self, path: Path, host: str, repository: str, cancel: CancelToken | None) -> Credential | None:
        table = read_table(path, "credentials")
        if table is None:
            return None
        auths = _section(table, "auths")
        parts = repository.split("/") if repository else []
        for count in range(len(parts), 0, -1):
            if found := _credential_of(auths.get(f"{host}/{'/'.join(parts[:count])}"), path):
                return found
        if (helper := _helper_for(table, host)) and (found := self._ask_helper(helper, host, cancel)):
            return found
        for key in _keys_of(auths, host):
            if found := _credential_of(auths[key], path):
                return found
        return None

    def _ask_helper(self, helper: str, host: str, cancel: CancelToken | None) -> Credential | None:
        answer = self._run_helper(helper, "get", config_key(host), cancel)
        if answer is None:
            return None
        try:
            table = json.loads(answer)
            user, secret = table["Username"], table["Secret"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidValueError(f"credential helper {helper} gave an answer that is not JSON") from error
        if not isinstance(user, str) or not isinstance(secret, str) or not secret:
            return None
        with naming(f"credential helper {helper}", _MEND):
            return Credential(identity_token=secret) if user == _TOKEN_USER else Credential(user, secret)


def default_config_paths(environ: Mapping[str, str], home: Path | None) -> tuple[Path, ...]:
    """Docker's and Podman's credential files, in the order in which they are asked.

    ``$REGISTRY_AUTH_FILE``, ``$DOCKER_CONFIG/config.json`` (else ``~/.docker/config.json``),
    ``$XDG_RUNTIME_DIR/containers/auth.json``, ``~/.config/containers/auth.json``.

    Args:
        environ: environment variables.
        home: the user's home directory; None where it is not known.
    """
    found = []
    if named := environ.get("REGISTRY_AUTH_FILE"):
        found.append(Path(named))
    if docker := environ.get("DOCKER_CONFIG"):
        found.append(Path(docker) / "config.json")
    elif home is not None:
        found.append(home / ".docker" / "config.json")
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        found.append(Path(runtime) / "containers" / "auth.json")
    if config := environ.get("XDG_CONFIG_HOME"):
        found.append(Path(config) / "containers" / "auth.json")
    elif home is not None:
        found.append(home / ".config" / "containers" / "auth.json")
    return tuple(dict.fromkeys(found))


def config_key(host: str) -> str:
    """The key under which ``host`` is written: the host, but for Docker Hub."""
    return _HUB_KEY if is_docker_hub(host) else host


def _canonical(host: str) -> str:
    return DOCKER_HUB if is_docker_hub(host) else host


def _keys_of(auths: Table, host: str) -> list[str]:
    """The keys that mean ``host``, the canonical one first."""
    wanted = config_key(host)
    found = [key for key in auths if key != wanted and _host_of_key(key) == _canonical(host)]
    return ([wanted] if wanted in auths else []) + found


def _host_of_key(key: str) -> str | None:
    """The host that a key like ``https://host/v1/`` means; None for a path-scoped one."""
    had_scheme = key.startswith(("http://", "https://"))
    bare = key.removeprefix("https://").removeprefix("http://")
    host, _, path = bare.partition("/")
    if path.strip("/") not in ("", "v1", "v2") and not had_scheme:
        return None
    return _canonical(host.lower())


def _helper_for(table: Table, host: str) -> str | None:
    helpers = _section(table, "credHelpers")
    keys = _keys_of(helpers, host)
    if keys and isinstance(found := helpers[keys[0]], str):
        return found or None
    store = table.get("credsStore")
    return store if isinstance(store, str) and store else None


def _credential_of(entry: object, path: Path) -> Credential | None:
    if not isinstance(entry, dict):
        return None
    text = {key: value for key, value in entry.items() if isinstance(value, str)}
    user, password = text.get("username", ""), text.get("password", "")
    if text.get("auth"):
        try:
            pair = base64.b64decode(text["auth"], validate=True).decode("utf-8", "surrogateescape")
        except (binascii.Error, ValueError) as error:
            raise InvalidValueError(f"{printable(path)}: an auth entry is not base64 of user:password") from error
        user, _, password = pair.partition(":")
        password = password.strip("\x00")
    with naming(printable(path), _MEND):
        found = Credential(user, password, text.get("identitytoken", ""), text.get("registrytoken", ""))
    if user == _TOKEN_USER and not found.identity_token:
        found = Credential(identity_token=password)
    return found if found.password or found.identity_token or found.registry_token else None


def _entry_of(credential: Credential) -> Table:
    entry: Table = {}
    if credential.username or credential.password:
        pair = f"{credential.username}:{credential.password}".encode("utf-8", "surrogateescape")
        entry["auth"] = base64.b64encode(pair).decode()
    if credential.identity_token:
        entry["identitytoken"] = credential.identity_token
    if credential.registry_token:
        entry["registrytoken"] = credential.registry_token
    return entry


def _section(table: Table, key: str) -> Table:
    found = table.get(key)
    return dict(found) if isinstance(found, dict) else {}
