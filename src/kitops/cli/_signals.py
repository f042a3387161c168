"""Ctrl-C and SIGTERM end the work through its cancel token, even while the main thread is deep in a system call.

Python runs a signal handler only between two bytecodes of the main thread, and a handler must not take locks that the
main thread may hold. So the handler does nothing: the C level writes the signal's number into a pipe, and a thread
reads it there.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kitops.cli._output import to_stderr

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from kitops.content.cancel import CancelToken

GRACE_SECONDS = 3.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def watch_signals(token: CancelToken, grace_seconds: float = GRACE_SECONDS) -> Iterator[None]:
    """While the block runs, the first signal cancels ``token``.

    A second one, or staying longer than ``grace_seconds`` after the first, ends the process at once (what it was
    writing has a temporary name).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    former_fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    former = {number: signal.signal(number, _do_nothing) for number in _SIGNALS}
    watcher = threading.Thread(target=_watch, args=(reading, token, grace_seconds), name="signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        for number, action in former.items():
            signal.signal(number, action)
        signal.set_wakeup_fd(former_fd)
        os.close(writing)
        watcher.join()
        os.close(reading)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Be there, so that the signal is written into the pipe and waking calls go on."""


def _watch(reading: int, token: CancelToken, grace_seconds: float) -> None:
    number = _read_signal(reading)
    if number is None:
        return
    timer = threading.Timer(grace_seconds, _end_now, [number])
    timer.daemon = True
    timer.start()
    token.cancel(number)
    second = _read_signal(reading)
    timer.cancel()
    if second is not None:
        _end_now(second)


def _read_signal(reading: int) -> int | None:
    """The number of the next signal of ours; None when the work is over."""
    while number := os.read(reading, 1):
        if number[0] in _SIGNALS:
            return number[0]
    return None


def _end_now(number: int) -> None:
    to_stderr("Error: ended before everything was tidied up; the next run does it\n")
    os._exit(128 + number)
