"""Serving ends when it is asked to, whenever that is."""

from __future__ import annotations

import threading

from kitops.content.cancel import CancelToken
from kitops.ops.serve import wait_for_end


def test_the_end_may_be_asked_for_before_anybody_waits() -> None:
    token = CancelToken()
    token.cancel(15)
    wait_for_end(token)
    assert token.is_cancelled


def test_the_end_may_be_asked_for_later() -> None:
    token = CancelToken()
    waiting = threading.Thread(target=wait_for_end, args=(token,))
    waiting.start()
    token.cancel(15)
    waiting.join(30)
    assert not waiting.is_alive()
