"""Flushing beside the writer: what failed is told, and nothing is left running."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from kitops.content.cancel import CancelToken
from kitops.layers.flush import STEP, Flusher

if TYPE_CHECKING:
    from pathlib import Path


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "kitops-flush"]


def test_a_small_file_starts_no_thread(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "small", os.O_RDWR | os.O_CREAT)
    flusher = Flusher(descriptor, CancelToken())
    flusher.advance(STEP - 1)
    assert not running()
    flusher.close()
    os.close(descriptor)


def test_the_thread_ends_with_close(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "big", os.O_RDWR | os.O_CREAT)
    flusher = Flusher(descriptor, CancelToken())
    for _ in range(5):
        os.write(descriptor, b"x")
        flusher.advance(STEP)
    assert len(running()) == 1
    flusher.close()
    os.close(descriptor)
    assert not running()


def test_a_failed_flush_is_told_at_the_next_step_and_at_the_end() -> None:
    read, write = os.pipe()  # a pipe cannot be flushed: EINVAL
    flusher = Flusher(write, CancelToken())
    flusher.advance(STEP)
    with pytest.raises(OSError, match="Invalid argument"):
        flusher.advance(STEP)
    with pytest.raises(OSError, match="Invalid argument"):
        flusher.close()
    os.close(read)
    os.close(write)
    assert not running()
