"""Talk and progress on stderr, from any thread, in the form that was asked for."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from kitops.cli._output import is_terminal, to_stderr
from kitops.cli._tally import Tally
from kitops.content.events import Advanced, Event, Finished, Level, Message, Planned, Started, Waiting
from kitops.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kitops.cli._bars import Bars

_SHOWN: dict[str, tuple[Level, ...]] = {
    "error": (),
    "warn": ("warning",),
    "info": ("warning", "info"),
    "debug": ("warning", "info", "debug"),
    "trace": ("warning", "info", "debug"),
}
_PREFIX: dict[Level, str] = {"warning": "Warning: ", "info": "", "debug": "Debug: "}
_FIRST_SECONDS = 2.0
_LIVE_FROM_SECONDS = 0.2
_LIVE_EVERY_SECONDS = 0.2
_JSON_EVERY_SECONDS = 0.5


def open_display(progress: str, level: str) -> Display:
    """The display for ``--progress`` and ``--log-level``, as far as stderr can show it."""
    if progress == "json":
        return JsonDisplay(level)
    if progress == "none":
        return Display(level)
    if is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb":
        return LiveDisplay(level, is_fancy=progress == "fancy")
    return LinesDisplay(level)


class Display:
    """Tells messages and shows no progress (``--progress none``); the others add to it.

    Args:
        level: the lowest level that is told: ``error warn info debug trace``.
    """

    def __init__(self, level: str) -> None:
        self._shown = _SHOWN[level]
        self._traces = level == "trace"

    def __call__(self, event: Event, /) -> None:
        """Take an event of the library; called from any thread."""
        if isinstance(event, Message):
            if event.level in self._shown:
                self._write(f"{_PREFIX[event.level]}{printable(event.text)}")
        else:
            if self._traces and not isinstance(event, Advanced):
                self._write(f"Trace: {event}")
            self._count(event)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Draw progress while the block runs."""
        yield

    def close(self) -> None:
        """Leave the terminal as it was."""

    def _write(self, line: str) -> None:
        to_stderr(f"{line}\n")

    def _count(self, event: Event) -> None:
        """Add ``event`` to what is shown."""


class _TickingDisplay(Display):
    """Draws now and then, from a thread of its own."""

    def __init__(self, level: str) -> None:
        super().__init__(level)
        self.tally = Tally()
        self._stop = threading.Event()

    def _count(self, event: Event) -> None:
        self.tally(event)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        self._stop.clear()
        ticker = threading.Thread(target=self._draw_until_stopped, name="display", daemon=True)
        ticker.start()
        try:
            yield
        finally:
            self._stop.set()
            ticker.join()
            self.close()

    def _draw_until_stopped(self) -> None:
        raise NotImplementedError


class LinesDisplay(_TickingDisplay):
    """One line now and then, for logs: after two seconds, then every five; rarer the longer it takes."""

    def _draw_until_stopped(self) -> None:
        began = monotonic()
        wait = _FIRST_SECONDS / 2
        if self._stop.wait(wait):
            return
        self.tally.sums()  # so that the first line knows how fast it is
        while not self._stop.wait(wait):
            if not self.tally.is_empty:
                self._write(str(self.tally.sums()))
            wait = line_interval(monotonic() - began)


def line_interval(seconds: float) -> float:
    """How long to wait, in seconds, until the next line of a transfer that has taken ``seconds``."""
    if seconds < 60:
        return 5.0
    return 15.0 if seconds < 600 else 60.0


class LiveDisplay(_TickingDisplay):
    """Redraws in place on a terminal: one line of sums, or bars for every layer."""

    def __init__(self, level: str, *, is_fancy: bool) -> None:
        super().__init__(level)
        self._is_fancy = is_fancy
        self._bars: Bars | None = None
        self._lock = threading.Lock()

    def _draw_until_stopped(self) -> None:
        wait = _LIVE_FROM_SECONDS  # what is over sooner than that draws nothing, and does not pay for the import
        while not self._stop.wait(wait):
            wait = _LIVE_EVERY_SECONDS
            if not self.tally.is_empty:
                self._draw()

    def _draw(self) -> None:
        from kitops.cli._bars import Bars  # rich costs 60 ms: only for what takes time

        sums = self.tally.sums()
        with self._lock:
            if self._bars is None:
                self._bars = Bars(is_fancy=self._is_fancy)
            self._bars.draw(sums)

    def _write(self, line: str) -> None:
        with self._lock:
            if self._bars is None:
                super()._write(line)
            else:
                self._bars.write(line)

    def close(self) -> None:
        with self._lock:
            if self._bars is not None:
                self._bars.close()
                self._bars = None


class JsonDisplay(Display):
    """Every event as one JSON object a line; bytes are summed up, at most two lines a second for each item."""

    def __init__(self, level: str, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(level)
        self._traces = False
        self._clock = clock
        self.tally = Tally(clock)
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event, /) -> None:
        if isinstance(event, Message):
            if event.level in self._shown:
                self._emit({"event": "message", "level": event.level, "text": event.text})
            return
        self.tally(event)
        if (told := self._describe(event)) is not None:
            self._emit(told)

    def _describe(self, event: Event) -> dict[str, object] | None:
        match event:
            case Planned(verb, items, size):
                return {"event": "planned", "verb": verb, "items": items, "size": size}
            case Started(item, label, size):
                return {"event": "started", "item": item, "label": label, "size": size}
            case Advanced(item):
                return self._advanced(item)
            case Finished(item, outcome):
                return {"event": "finished", "item": item, "outcome": outcome, **self._sums()}
            case Waiting(what):
                return {"event": "waiting", "what": what}
        return None  # an event of a later release

    def _advanced(self, item: str) -> dict[str, object] | None:
        now = self._clock()
        with self._lock:
            if now - self._told.get(item, -_JSON_EVERY_SECONDS) < _JSON_EVERY_SECONDS:
                return None
            self._told[item] = now
        found = self.tally.items[item]
        return {"event": "advanced", "item": item, "done": found.done, "size": found.size, **self._sums()}

    def _sums(self) -> dict[str, object]:
        sums = self.tally.sums()
        rate = None if sums.rate is None else int(sums.rate)
        return {"totalDone": sums.done, "totalSize": sums.size, "bytesPerSecond": rate}

    def _emit(self, value: dict[str, object]) -> None:
        import json

        to_stderr(json.dumps(value, ensure_ascii=False) + "\n")
