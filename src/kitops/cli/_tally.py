"""The sums of a transfer: how much of how much, how fast, how long yet. No drawing here."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from kitops.cli._output import format_size
from kitops.content.events import Advanced, Finished, Planned, Started, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from kitops.content.events import Event, Outcome

_WINDOW_SECONDS = 10.0


@dataclass(slots=True)
class Item:
    """One layer or blob; ``size`` and ``done`` in bytes. ``moved`` is what of ``done`` was not there before."""

    label: str
    size: int | None
    done: int = 0
    outcome: Outcome | None = None
    moved: int = 0


@dataclass(frozen=True, slots=True)
class Sums:
    """A moment of a transfer: bytes done and in all (None: unknown), items done and in all, bytes moved a second."""

    verb: str
    done: int
    size: int | None
    items_done: int
    items: int
    rate: float | None
    waiting: str | None
    active: tuple[Item, ...] = ()

    @property
    def seconds_left(self) -> float | None:
        """The time that the rest takes at this rate."""
        if not self.rate or self.size is None:
            return None
        return max(self.size - self.done, 0) / self.rate

    def __str__(self) -> str:
        if self.waiting:
            return f"{self.verb}: waiting for {self.waiting}"
        parts = [format_size(self.done)]
        if self.size:
            parts = [f"{format_size(self.done)} of {format_size(self.size)} ({100 * self.done // self.size} %)"]
        if self.items > 1:
            parts.append(f"{self.items_done} of {self.items} layers")
        if self.rate:
            parts.append(f"{format_size(int(self.rate))}/s")
        if (left := self.seconds_left) is not None and self.done < (self.size or 0):
            parts.append(f"{format_seconds(left)} left")
        return f"{self.verb}: {', '.join(parts)}"


@dataclass(slots=True)
class Tally:
    """Adds up events, from any thread. ``ended`` are items of plans before this one, which may have the same again."""

    clock: Callable[[], float] = monotonic
    verb: str = ""
    waiting: str | None = None
    items: dict[str, Item] = field(default_factory=dict)
    ended: list[Item] = field(default_factory=list)
    planned: int = 0
    planned_size: int | None = None
    samples: deque[tuple[float, int]] = field(default_factory=deque)
    lock: Lock = field(default_factory=Lock)

    def __call__(self, event: Event) -> None:
        with self.lock:
            if isinstance(event, Advanced):
                self._advance(event)
            elif isinstance(event, Started):
                self.items[event.item] = Item(event.label, event.size)
                self.waiting = None
            elif isinstance(event, Finished):
                self._finish(event)
            elif isinstance(event, Planned):
                self._plan(event)
            elif isinstance(event, Waiting):
                self.waiting = event.what

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show yet."""
        return not (self.verb or self.items or self.waiting)

    def sums(self) -> Sums:
        """The sums of now."""
        with self.lock:
            known = [*self.ended, *self.items.values()]
            done = sum(item.done for item in known)
            ended = sum(item.outcome is not None for item in known)
            size = self.planned_size
            if size is None and len(known) >= self.planned:
                sizes = [item.size for item in known]
                size = None if None in sizes else sum(size or 0 for size in sizes)
            active = tuple(Item(item.label, item.size, item.done) for item in known if item.outcome is None)
            items = max(self.planned, len(known))
            rate = self._rate(sum(item.moved for item in known))
            return Sums(self.verb or "working", done, size, ended, items, rate, self.waiting, active)

    def _plan(self, event: Planned) -> None:
        if event.verb != self.verb:  # another phase: pack, then push
            self.items.clear()
            self.ended.clear()
            self.samples.clear()
            self.verb, self.planned, self.planned_size = event.verb, event.items, event.size
        else:  # more of the same: a parent's layers, or the same blobs to another registry
            self.ended += [item for item in self.items.values() if item.outcome is not None]
            self.items = {name: item for name, item in self.items.items() if item.outcome is None}
            self.planned += event.items
            known = self.planned_size is not None and event.size is not None
            self.planned_size = (self.planned_size or 0) + (event.size or 0) if known else None
        self.waiting = None

    def _advance(self, event: Advanced) -> None:
        item = self.items.setdefault(event.item, Item(event.item, None))
        item.done = max(item.done + event.size, 0)
        if not event.existed:
            item.moved = max(item.moved + event.size, 0)
        self.waiting = None

    def _finish(self, event: Finished) -> None:
        item = self.items.setdefault(event.item, Item(event.item, None))
        if item.size is not None:
            if event.outcome == "done":
                item.moved += item.size - item.done
            item.done = item.size
        item.outcome = event.outcome
        self.waiting = None

    def _rate(self, moved: int) -> float | None:
        now = self.clock()
        self.samples.append((now, moved))
        while len(self.samples) > 2 and now - self.samples[0][0] > _WINDOW_SECONDS:
            self.samples.popleft()
        then, before = self.samples[0]
        return (moved - before) / (now - then) if now > then and moved > before else None


def format_seconds(seconds: float) -> str:
    """A time as people read it: ``7 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
