"""Calls in a thread of their own, and patience with what fails."""

from __future__ import annotations

import threading
import time

import pytest

from kitops.content.apart import call_apart
from kitops.content.cancel import CancelToken
from kitops.content.events import Event, Message
from kitops.content.patience import Patience
from kitops.content.protocols import Run
from kitops.errors import Cancelled, NetworkError


def test_what_it_returns_or_raises_comes_back() -> None:
    assert call_apart(lambda: 5, CancelToken()) == 5
    with pytest.raises(ZeroDivisionError):
        call_apart(lambda: 1 // 0, CancelToken())


def test_the_end_is_heeded_and_what_comes_late_is_closed() -> None:
    cancel = CancelToken()
    gate, closed = threading.Event(), threading.Event()
    threading.Timer(0.1, cancel.cancel).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        call_apart(lambda: gate.wait(60), cancel, lambda _: closed.set())
    assert time.monotonic() - started < 30
    gate.set()
    assert closed.wait(5)
    with pytest.raises(Cancelled):
        call_apart(lambda: 5, cancel)


def test_only_failures_that_got_nothing_on_count() -> None:
    events: list[Event] = []
    patience = Patience(Run(events.append), 1)
    error = NetworkError("it broke")
    for _ in range(3):
        patience.note(error, moved=True)
    with pytest.raises(NetworkError):
        patience.note(error, moved=False)
    assert [event.text for event in events if isinstance(event, Message)] == ["it broke; trying again"] * 3
    with pytest.raises(NetworkError):
        patience.note(NetworkError("no such host", permanent=True), moved=True)
