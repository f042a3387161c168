"""What a listing leaves out because it could not be read: one of many must not hide the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from kitops.content.events import Message
from kitops.errors import AuthenticationError, IntegrityError, KitError, RegistryError

if TYPE_CHECKING:
    from kitops.content.protocols import Run

UNREADABLE: Final = (AuthenticationError, RegistryError, IntegrityError)
"""What is wrong with one thing in a registry, and says nothing of the others."""
_Found = TypeVar("_Found")


class LeftOut:
    """What was looked at, and what of it could not be read."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._failed: dict[str, KitError] = {}

    def keep(self, name: str, found: _Found | KitError) -> _Found | None:
        """What was found under ``name``; None where it was an error, which is noted."""
        self._names.add(name)
        if isinstance(found, KitError):
            self._failed[name] = found
            return None
        return found

    def tell(self, run: Run) -> None:
        """Warn of each.

        Raises:
            KitError: the first of them, when there was nothing else.
        """
        if self._failed and self._failed.keys() == self._names:
            raise next(iter(self._failed.values()))
        for name, error in self._failed.items():
            run.observer(Message("warning", f"{name} is left out: {error.message}"))
