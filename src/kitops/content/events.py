"""What happens, told to an observer. The library prints nothing; the command line draws these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

Outcome: TypeAlias = Literal["done", "exists", "mounted", "cached", "skipped"]
Level: TypeAlias = Literal["debug", "info", "warning"]


@dataclass(frozen=True, slots=True)
class Planned:
    """What is going to be moved: ``items`` and ``size`` in bytes, over all layers (None where unknown)."""

    verb: str
    items: int
    size: int | None


@dataclass(frozen=True, slots=True)
class Started:
    """Work on one item began. ``item`` is unique in this run (a digest or a path), ``label`` is for people."""

    item: str
    label: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Advanced:
    """``size`` more bytes of ``item`` are done (negative when an attempt starts again).

    ``existed`` tells bytes that did not move: an earlier attempt left them.
    """

    item: str
    size: int
    existed: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """An item ended: done, or there already, or left out."""

    item: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing moves because of ``what`` (``"registry.example.com to accept the manifest"``)."""

    what: str


@dataclass(frozen=True, slots=True)
class Message:
    """One line for people."""

    level: Level
    text: str


Event: TypeAlias = Planned | Started | Advanced | Finished | Waiting | Message


class Observer(Protocol):
    """Told every event, from any thread, quickly; what it raises is a bug of its own."""

    def __call__(self, event: Event, /) -> None: ...


def ignore_events(event: Event, /) -> None:
    """The observer that looks away."""
