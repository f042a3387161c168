"""Progress: sums, lines for logs, JSON, and what a terminal shows."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import threading

import pytest

from kitops.cli import _display
from kitops.cli._bars import Bars
from kitops.cli._display import Display, JsonDisplay, LinesDisplay, LiveDisplay, line_interval, open_display
from kitops.cli._tally import Item, Sums, Tally, format_seconds
from kitops.content.events import Advanced, Event, Finished, Level, Message, Outcome, Planned, Started, Waiting

KIB = 1024


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def tell(observer: object, *events: Event) -> None:
    for event in events:
        observer(event)  # type: ignore[operator]


def test_sums_are_over_all_layers(clock: Clock) -> None:
    tally = Tally(clock)
    tell(tally, Planned("push", 3, 300 * KIB), Started("a", "model", 100 * KIB), Started("b", "code", 100 * KIB))
    tally.sums()
    clock.now = 2.0
    tell(tally, Advanced("a", 40 * KIB), Finished("b", "exists"))
    sums = tally.sums()
    assert (sums.done, sums.size, sums.items_done, sums.items, sums.rate) == (140 * KIB, 300 * KIB, 1, 3, 20 * KIB)
    assert sums.active == (Item("model", 100 * KIB, 40 * KIB),)
    assert sums.seconds_left == pytest.approx(160 / 20)
    assert str(sums) == "push: 140.0 KiB of 300.0 KiB (46 %), 1 of 3 layers, 20.0 KiB/s, 8 s left"


def test_the_same_blobs_to_another_registry_are_further_ones(clock: Clock) -> None:
    tally = Tally(clock)
    for _ in range(2):
        tell(tally, Planned("push", 2, 30 * KIB), Started("a", "a", 10 * KIB), Started("b", "b", 20 * KIB))
        tell(tally, Advanced("a", 10 * KIB), Finished("a", "done"), Finished("b", "mounted"))
    sums = tally.sums()
    assert (sums.done, sums.size, sums.items_done, sums.items) == (60 * KIB, 60 * KIB, 4, 4)


@pytest.mark.parametrize("outcome", ["exists", "mounted", "cached", "skipped"])
def test_speed_is_that_of_moved_bytes(clock: Clock, outcome: Outcome) -> None:
    tally = Tally(clock)
    tell(tally, Planned("pull", 2, 2000 * KIB), Started("a", "model", 1000 * KIB), Started("b", "code", 1000 * KIB))
    tally.sums()
    clock.now = 1.0
    tell(tally, Advanced("a", 500 * KIB, existed=True), Finished("b", outcome))
    assert (tally.sums().done, tally.sums().rate, tally.sums().seconds_left) == (1500 * KIB, None, None)
    tell(tally, Advanced("a", 100 * KIB))
    assert (tally.sums().done, tally.sums().rate, tally.sums().seconds_left) == (1600 * KIB, 100 * KIB, 4.0)
    tell(tally, Advanced("a", -600 * KIB))  # damaged: all of it comes again
    assert (tally.sums().done, tally.sums().rate) == (1000 * KIB, None)


def test_sizes_that_nobody_planned_are_added_up(clock: Clock) -> None:
    tally = Tally(clock)
    tell(tally, Started("a", "model", 10), Started("b", "code", 10))
    assert tally.sums().size == 20
    tell(tally, Started("c", "docs", None))
    assert tally.sums().size is None
    assert str(tally.sums()) == "working: 0 B, 0 of 3 layers"


def test_more_of_the_same_is_added_and_another_phase_begins_anew(clock: Clock) -> None:
    tally = Tally(clock)
    tell(tally, Planned("pack", 1, 10), Started("a", "model", 10), Planned("pack", 2, 20))
    assert (tally.sums().items, tally.sums().size) == (3, 30)
    tell(tally, Planned("pack", 1, None))
    assert tally.sums().size is None
    tell(tally, Planned("push", 1, 5))
    assert (tally.sums().verb, tally.sums().items, tally.sums().size, tally.sums().done) == ("push", 1, 5, 0)


def test_an_attempt_that_starts_again_takes_its_bytes_back(clock: Clock) -> None:
    tally = Tally(clock)
    tell(tally, Started("a", "x", 10), Advanced("a", 6), Advanced("a", -6))
    assert tally.sums().done == 0
    tell(tally, Advanced("a", 6), Advanced("a", -60))
    assert tally.sums().done == 0


def test_items_that_were_never_started_count_too(clock: Clock) -> None:
    tally = Tally(clock)
    tell(tally, Advanced("a", 6), Finished("b", "done"))
    assert (tally.sums().done, tally.sums().items_done) == (6, 1)


@pytest.mark.parametrize("event", [Advanced("a", 1), Started("a", "x", 1), Finished("a", "done"), Planned("p", 1, 1)])
def test_waiting_is_named_until_something_moves(clock: Clock, event: Event) -> None:
    tally = Tally(clock)
    assert tally.is_empty
    tell(tally, Planned("push", 1, 1), Waiting("reg.example.com to accept the manifest"))
    assert str(tally.sums()) == "push: waiting for reg.example.com to accept the manifest"
    tell(tally, event)
    assert "waiting" not in str(tally.sums())


def test_the_rate_is_that_of_the_last_seconds(clock: Clock) -> None:
    tally = Tally(clock)
    tell(tally, Planned("pull", 1, 10_000))
    for second in range(30):
        clock.now = float(second)
        tell(tally, Advanced("a", 100 if second < 15 else 0))
        sums = tally.sums()
    assert sums.rate is None
    assert sums.seconds_left is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_times(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_lines_become_rarer() -> None:
    assert [line_interval(seconds) for seconds in (2, 59, 60, 599, 600, 9999)] == [5, 5, 15, 15, 60, 60]


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("error", ""),
        ("warn", "Warning: w\n"),
        ("info", "Debug-less"),
        ("debug", "Debug: d\ni\nWarning: w\n"),
    ],
)
def test_levels_decide_what_is_told(capsys: pytest.CaptureFixture[str], level: str, shown: str) -> None:
    display = Display(level)
    levels: list[tuple[Level, str]] = [("debug", "d"), ("info", "i"), ("warning", "w")]
    for message_level, text in levels:
        display(Message(message_level, text))
    assert capsys.readouterr().err == ("i\nWarning: w\n" if level == "info" else shown)


def test_trace_tells_events(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display("trace")
    tell(display, Started("a", "model", 1), Advanced("a", 1), Message("info", "\x1b[2J"))
    with display.drawing():
        display.close()
    assert capsys.readouterr().err == "Trace: Started(item='a', label='model', size=1)\n\\x1b[2J\n"


def test_lines_for_logs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_display, "_FIRST_SECONDS", 0.001)
    monkeypatch.setattr(_display, "line_interval", lambda seconds: 60.0)
    display = LinesDisplay("info")
    tell(display, Planned("pull", 2, 2048), Started("a", "model", 2048), Advanced("a", 1024))
    written = io_event(display)
    with display.drawing():
        assert written.wait(10)
    assert capsys.readouterr().err == "pull: 1.0 KiB of 2.0 KiB (50 %), 0 of 2 layers\n"


def test_the_first_line_knows_how_fast_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_display, "_FIRST_SECONDS", 0.01)
    monkeypatch.setattr(_display, "line_interval", lambda seconds: 60.0)
    display = LinesDisplay("info")
    tell(display, Planned("pull", 1, 4096), Started("a", "model", 4096))
    looked = Tally.sums
    moves = [Advanced("a", 1024)]

    def look_then_move(tally: Tally) -> object:
        found = looked(tally)
        while moves:
            tally(moves.pop())
        return found

    monkeypatch.setattr(Tally, "sums", look_then_move)
    written = io_event(display)
    with display.drawing():
        assert written.wait(10)
    assert re.fullmatch(r"pull: 1\.0 KiB of 4\.0 KiB \(25 %\), .*/s, .* left\n", capsys.readouterr().err)


def io_event(display: LinesDisplay) -> threading.Event:
    """Set when the display has written a line."""
    done = threading.Event()
    write = display._write

    def note(line: str) -> None:
        write(line)
        done.set()

    display._write = note  # type: ignore[method-assign]
    return done


def test_short_work_draws_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for display in (LinesDisplay("info"), LiveDisplay("info", is_fancy=True)):
        with display.drawing():
            tell(display, Planned("pull", 1, 1), Advanced("a", 1))
    assert capsys.readouterr().err == ""


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    display = JsonDisplay("info", clock)
    with display.drawing():
        tell(
            display,
            Planned("push", 1, 10),
            Started("a", "model", 10),
            Advanced("a", 1),
            Advanced("a", 2),
            Waiting("reg"),
            Message("debug", "not told"),
            Message("warning", "told"),
        )
        clock.now = 1.0
        tell(display, Advanced("a", 3), Finished("a", "done"))
    rows = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [row.pop("event") for row in rows] == [
        "planned",
        "started",
        "advanced",
        "waiting",
        "message",
        "advanced",
        "finished",
    ]
    assert rows[0] == {"verb": "push", "items": 1, "size": 10}
    assert rows[1] == {"item": "a", "label": "model", "size": 10}
    assert rows[2]["done"] == 1
    assert rows[3] == {"what": "reg"}
    assert rows[4] == {"level": "warning", "text": "told"}
    assert (rows[5]["done"], rows[5]["totalSize"]) == (6, 10)
    assert rows[6] == {"item": "a", "outcome": "done", "totalDone": 10, "totalSize": 10, "bytesPerSecond": 9}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stderr a terminal, from within the test: pytest puts its own stderr in place before each."""
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return found


def test_the_display_fits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(open_display("json", "info")) is JsonDisplay
    assert type(open_display("none", "info")) is Display
    assert type(open_display("fancy", "info")) is LinesDisplay
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert type(open_display("plain", "info")) is LiveDisplay
    monkeypatch.setenv("TERM", "dumb")
    assert type(open_display("plain", "info")) is LinesDisplay


def sums(active: int) -> Sums:
    items = tuple(Item(f"layer {number}\x1b", 10 if number else None, number) for number in range(active))
    return Sums("pull", 50, 100, 1, active + 1, 5.0, None, active=items)


def test_bars_show_what_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    bars = Bars(is_fancy=True)
    bars.draw(sums(10))
    bars.write("a [red]line[/red]")
    bars.close()
    text = terminal.getvalue()
    assert "layer 7\\x1b" in text
    assert "layer 8" not in text
    assert "and 2 more" in text
    assert "pull: 50 B of 100 B (50 %), 1 of 11 layers, 5 B/s, 10 s left" in text
    assert "a [red]line[/red]" in text


@pytest.mark.parametrize("columns", [50, 80])
@pytest.mark.parametrize("is_fancy", [True, False])
def test_speed_and_time_left_fit_on_any_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: int, *, is_fancy: bool
) -> None:
    terminal = open_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    bars = Bars(is_fancy=is_fancy)
    size = 1 << 20
    bars.draw(Sums("pull", 1022 * size, 1023 * size, 12, 14, 35.5 * size, None, active=(Item("model", size),)))
    bars.close()
    drawn = terminal.getvalue()
    assert "1022.0 MiB of 1023.0 MiB (99 %), 12 of 14 layers, 35.5 MiB/s, 0 s left" in " ".join(drawn.split())
    assert "…" not in drawn
    if is_fancy:
        assert "━pull" not in re.sub(r"\x1b\[[0-9;]*m", "", drawn)


def test_one_line_of_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    bars = Bars(is_fancy=False)
    bars.draw(sums(2))
    bars.close()
    assert "pull: 50 B of 100 B" in terminal.getvalue()
    assert "layer" not in terminal.getvalue().replace("layers", "")


def test_messages_stand_above_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    monkeypatch.setattr(_display, "_LIVE_FROM_SECONDS", 0.001)
    display = LiveDisplay("info", is_fancy=False)
    display(Message("info", "before"))
    with display.drawing():
        display(Planned("pull", 1, 1))
        while display._bars is None:
            pass
        display(Message("info", "while"))
    display(Message("info", "after"))
    text = terminal.getvalue()
    assert text.index("before") < text.index("while") < text.index("after")


SCRIPT = """
import time
from kitops.cli._display import open_display
from kitops.content.events import *
display = open_display("{progress}", "info")
with display.drawing():
    display(Planned("pull", 1, 1 << 20))
    display(Started("a", "model", 1 << 20))
    display(Advanced("a", 1 << 19))
    while getattr(display, "_bars", None) is None:
        time.sleep(0.01)
    display(Message("info", "hello"))
"""


@pytest.mark.parametrize("progress", ["plain", "fancy"])
def test_a_real_terminal_is_left_clean(progress: str) -> None:
    outer, inner = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.Popen([sys.executable, "-c", SCRIPT.format(progress=progress)], stderr=inner, env=environ)
    os.close(inner)
    text = b""
    try:
        while chunk := os.read(outer, 4096):
            text += chunk
    except OSError:  # what Linux says when the other end is closed
        pass
    os.close(outer)
    assert done.wait(30) == 0
    assert b"pull: 512.0 KiB of 1.0 MiB (50 %)" in text
    assert b"hello" in text
    assert text.count(b"\x1b[?25h") >= text.count(b"\x1b[?25l") > 0
