"""What is remembered of registries while a process lives, whichever repositories are talked to."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, Protocol

from kitops.registry.limits import Limits
from kitops.registry.quirks import quirks_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_MOST_TOLD: Final = 1000


class OpenUpload(Protocol):
    """An upload that is this process's alone, until the block that gave it ends."""

    @property
    def location(self) -> str | None:
        """Where an earlier process left it; None: there is none yet."""
        ...

    def save(self, location: str) -> None:
        """It goes on at ``location``, should this process end. Never raises."""
        ...

    def forget(self) -> None:
        """It is over. Never raises."""
        ...


class KeepsUploads(Protocol):
    """Where unfinished uploads are kept from one process to the next."""

    def claim(self, blob: str) -> AbstractContextManager[OpenUpload]:
        """The upload of ``blob`` (registry, repository and digest in one line), which is nobody else's."""
        ...


class Forgetful:
    """Keeps no uploads."""

    location: str | None = None

    def claim(self, blob: str) -> AbstractContextManager[OpenUpload]:  # noqa: ARG002 - a protocol's
        return nullcontext(self)

    def save(self, location: str) -> None:
        """Keep nothing."""

    def forget(self) -> None:
        """Nothing was kept."""


class Memory:
    """What a process learns of registries. Thread-safe.

    Args:
        uploads: keeps unfinished uploads for later processes.
    """

    def __init__(self, uploads: KeepsUploads | None = None) -> None:
        self.uploads: KeepsUploads = uploads or Forgetful()
        self._limits: dict[str, Limits] = {}
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def limits(self, registry: str) -> Limits:
        """What is known of the registry ``host[:port]``."""
        with self._lock:
            return self._limits.setdefault(registry, Limits(quirks_of(registry)))

    def is_news(self, text: str) -> bool:
        """Whether ``text`` is told for the first time."""
        with self._lock:
            if text in self._told or len(self._told) >= _MOST_TOLD:
                return False
            self._told.add(text)
            return True
