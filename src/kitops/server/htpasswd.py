"""Users from a password file of Apache's ``htpasswd -B``: a line each, ``name:$2y$…`` (bcrypt, nothing else).

Checking a password takes bcrypt tens of milliseconds, on purpose. A pull asks hundreds of times, so who was let in once
is remembered, by a keyed digest of name and password that only this process can make. Who was not let in is never
remembered, and only so many are checked at a time, so that guessing does not starve everybody else. How long a refusal
takes does not tell whether there is such a user.
"""

from __future__ import annotations

import codecs
import hashlib
import hmac
import os
import re
import secrets
import threading
from typing import TYPE_CHECKING, Final

from kitops.errors import FileSystemError, InvalidValueError, KitError, printable
from kitops.server.access import read_basic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_BCRYPT: Final = re.compile(rb"\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")
_NOBODY: Final = b"$2b$%02d$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
"""A hash of any cost that no password has."""
_REMEMBERED: Final = 1024
_AT_A_TIME: Final = 2
_SIGNIFICANT: Final = 72
"""Bytes of a password that bcrypt looks at; ``htpasswd`` cuts longer ones there too."""


class HtpasswdAccess:
    """HTTP Basic over a password file: every user may do everything. A file that changes is read again. Thread-safe.

    Args:
        path: the file.
        realm: shown to people.

    Raises:
        InvalidValueError: a line is not ``name:bcrypt``.
        FileSystemError: it cannot be read.
    """

    def __init__(self, path: Path, realm: str = "kitops") -> None:
        self._path = path
        self._realm = realm
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._checking = threading.Semaphore(_AT_A_TIME)
        self._welcome: dict[bytes, None] = {}
        self._stamp = _stamp(path)
        self._users = read_htpasswd(path)

    def challenge(self, authorization: str | None, scope: str) -> str | None:  # noqa: ARG002 - a rule is given both
        found = read_basic(authorization)
        if found is not None and self._is_known(*found):
            return None
        return f'Basic realm="{self._realm}"'

    def _is_known(self, user: str, password: str) -> bool:
        name, secret = user.encode(), password.encode()
        card = hmac.digest(self._key, b"%d:%b:%b" % (len(name), name, secret), hashlib.sha256)
        users = self._current()
        with self._lock:
            if card in self._welcome:
                return True
        import bcrypt  # noqa: PLC0415 - a server without users does not need it

        wanted = users.get(name)
        with self._checking:
            try:
                fits = any(bcrypt.checkpw(secret[:_SIGNIFICANT], one) for one in _checks(wanted, users))
            except ValueError:  # a zero byte, where this library takes none
                fits = False
        if wanted is None or not fits:
            return False
        with self._lock:
            if users is self._users:
                while len(self._welcome) >= _REMEMBERED:
                    del self._welcome[next(iter(self._welcome))]
                self._welcome[card] = None
        return True

    def _current(self) -> Mapping[bytes, bytes]:
        """The users of the file as it is now; as they were while it is missing or wrong."""
        with self._lock:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._users = read_htpasswd(self._path)
                except KitError:
                    return self._users
                self._welcome.clear()
            return self._users


def _checks(wanted: bytes | None, users: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """The hash of a user, if there is one, and hashes of nobody: a wrong password takes as long whoever it is for.

    As long as the hash of the highest cost in the file, that is; each cost takes twice as long as the one before.
    """
    highest = max(map(_cost, users.values()))
    if wanted is None:
        yield _NOBODY % highest
        return
    yield wanted
    for cost in range(_cost(wanted), highest):
        yield _NOBODY % cost


def _cost(hashed: bytes) -> int:
    return int(hashed[4:6])


def read_htpasswd(path: Path) -> Mapping[bytes, bytes]:
    """The bcrypt hash of each user.

    Raises:
        InvalidValueError: a line is not ``name:bcrypt``.
        FileSystemError: it cannot be read.
    """
    try:
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)  # some editors' own
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", path) from error
    users = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip() or line.startswith(b"#"):
            continue
        name, colon, hashed = line.strip().partition(b":")
        if not (name and colon and _BCRYPT.fullmatch(hashed)):
            raise InvalidValueError(
                f"{printable(path)}, line {number}: not a name and a bcrypt hash",
                hint=f"`htpasswd -B {printable(path)} NAME` adds a user",
            )
        users[name] = hashed
    if not users:
        raise InvalidValueError(
            f"{printable(path)} has no users", hint=f"`htpasswd -B {printable(path)} NAME` adds one"
        )
    return users


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
