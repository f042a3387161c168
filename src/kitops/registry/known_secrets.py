"""What is secret between us and a registry, so that it is not shown when a server says it back. No I/O."""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kitops.registry.credentials import Credential

_SHOWN_INSTEAD: Final = "***"
_SHORT: Final = 4
"""A secret with fewer characters is hidden where it is a word: it may be a part of any other."""


class KnownSecrets:
    """The passwords and tokens of one session, in the forms in which servers may say them. Thread-safe."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._lock = threading.Lock()

    def add(self, *secrets: str) -> None:
        """Hide these from now on."""
        found = {form for secret in secrets if secret for form in _forms(secret)}
        with self._lock:
            self._texts |= found

    def add_pair(self, username: str, password: str) -> None:
        """Hide a password, and what HTTP Basic makes of it."""
        if password:
            pair = base64.b64encode(_bytes(f"{username}:{password}")).decode()
            self.add(password, pair.rstrip("="))

    def add_credential(self, credential: Credential) -> None:
        """Hide everything secret in ``credential``."""
        self.add_pair(credential.username, credential.password)
        self.add_pair("<token>", credential.identity_token)
        self.add_pair(credential.username, credential.identity_token)
        self.add(credential.registry_token)

    def add_proxy(self, url: str | None) -> None:
        """Hide the password in the URL of a proxy, if it has one."""
        try:
            parts = urlsplit(url or "")
            self.add_pair(*(unquote(text or "", errors="surrogateescape") for text in (parts.username, parts.password)))
        except ValueError:  # told when it is used
            return

    def hide(self, text: str) -> str:
        """``text`` without them."""
        return self.hiding()(text)

    def hiding(self, *more: str) -> Callable[[str], str]:
        """What hides them, and ``more``, in a text."""
        with self._lock:
            texts = self._texts.union(*map(_forms, filter(None, more)))
        if not texts:
            return str
        pattern = "|".join(map(_pattern, sorted(texts, key=len, reverse=True)))
        return lambda text: re.sub(pattern, _SHOWN_INSTEAD, text)


def _forms(secret: str) -> Iterator[str]:
    yield from (secret, html.escape(secret), json.dumps(secret)[1:-1])
    yield from (form(_bytes(secret), safe="") for form in (quote, quote_plus))


def _bytes(text: str) -> bytes:
    """``text`` as it is sent; half a character, which only JSON can hold, as JSON's other readers send it."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _pattern(text: str) -> str:
    return re.escape(text) if len(text) >= _SHORT else rf"(?<!\w){re.escape(text)}(?!\w)"
