"""Says what is waited for, when it takes long enough to wonder."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from kitops.content.events import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kitops.content.events import Observer

SECONDS: Final = 1.0


@contextmanager
def herald(observer: Observer, what: str) -> Iterator[Callable[[], None]]:
    """Gives what to call when waiting begins; a second later, unless the block ended, the observer is told ``what``."""
    lock = threading.Lock()
    timer: threading.Timer | None = None
    is_over = False

    def tell() -> None:
        with lock:
            if not is_over:
                observer(Waiting(what))

    def begin() -> None:
        nonlocal timer
        timer = threading.Timer(SECONDS, tell)
        timer.daemon = True
        timer.start()

    try:
        yield begin
    finally:
        with lock:
            is_over = True
        if timer is not None:
            timer.cancel()
