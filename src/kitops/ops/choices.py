"""What a program passes where one of a few words is wanted, or several texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterable


def check_choice(option: str, given: str, known: Iterable[str]) -> None:
    """Raise InvalidValueError, with the words there are, unless ``given`` is one of those that ``option`` may be."""
    words = tuple(known)
    if given not in words:
        raise InvalidValueError(f"{option} {given!r} is not known", hint=f"it is one of {', '.join(words)}")


def list_texts(given: str | Iterable[str]) -> tuple[str, ...]:
    """Several texts; a text alone is one, and not its letters."""
    return (given,) if isinstance(given, str) else tuple(given)
