"""Writing to files: every byte, past the page cache or through it; what fails is told, and no thread stays."""

from __future__ import annotations

import errno
import os
import random
import threading
from pathlib import Path

import pytest

from kitops.content import body, write
from kitops.content.body import BIG, FLUSH_EVERY, STEP, BodyWriter
from kitops.content.cancel import CancelToken
from kitops.content.mounts import read_mounts, takes_direct_writes
from kitops.content.write import write_all, write_at
from kitops.errors import Cancelled

SIZES = [0, 1, 4096, STEP - 1, STEP, STEP + 1, BIG, BIG + 3 * STEP + 513]


def content(size: int) -> bytes:
    block = random.Random(size).randbytes(65_537)
    return (block * (size // len(block) + 1))[:size]


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "kitops-write"]


def is_direct(descriptor: int) -> bool:
    fcntl = pytest.importorskip("fcntl")
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)


@pytest.fixture
def target(tmp_path: Path):
    descriptor = os.open(tmp_path / "body", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)
    assert not running()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("piece", [256 << 10, 100_003], ids=["blocks", "odd"])
def test_every_byte_is_written(tmp_path: Path, target: int, size: int, is_known: bool, piece: int) -> None:
    data = content(size)
    with BodyWriter(target, size if is_known else None, CancelToken()) as writer:
        for at in range(0, size, piece):
            writer.write(memoryview(data)[at : at + piece])
    assert (tmp_path / "body").read_bytes() == data
    assert not is_direct(target)
    os.write(target, b"more")  # whoever goes on does so at the end, as before
    assert os.fstat(target).st_size == size + 4


def test_more_or_less_than_was_announced(tmp_path: Path, target: int) -> None:
    data = content(2 * STEP)
    with BodyWriter(target, 10, CancelToken()) as writer:
        writer.write(data)
    assert (tmp_path / "body").read_bytes() == data


def test_a_small_body_starts_no_thread(target: int) -> None:
    with BodyWriter(target, STEP, CancelToken()) as writer:
        writer.write(bytes(STEP))
        assert not running()


def test_a_big_body_goes_past_the_page_cache(target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not takes_direct_writes(os.fstat(target).st_dev, read_mounts()):
        pytest.skip("this file system takes no direct writes")
    seen: list[tuple[bool, int]] = []
    real = os.write

    def watch(descriptor: int, piece: memoryview) -> int:
        seen.append((is_direct(descriptor), len(piece)))
        return real(descriptor, piece)

    monkeypatch.setattr(body.os, "write", watch)
    with BodyWriter(target, BIG + 5, CancelToken()) as writer:
        writer.write(bytes(BIG + 5))
    assert seen == [(True, STEP)] * (BIG // STEP) + [(False, 5)]


def test_where_no_direct_writes_are_taken(tmp_path: Path, target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "read_mounts", dict)
    flushed: list[int] = []
    monkeypatch.setattr(body, "flush_file", lambda descriptor: flushed.append(os.fstat(descriptor).st_size))
    data = content(FLUSH_EVERY + STEP)
    with BodyWriter(target, len(data), CancelToken()) as writer:
        writer.write(data)
        assert not is_direct(target)
    assert flushed == [FLUSH_EVERY]
    assert (tmp_path / "body").read_bytes() == data


def test_a_file_system_that_refuses_after_all(tmp_path: Path, target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not takes_direct_writes(os.fstat(target).st_dev, read_mounts()):
        pytest.skip("this file system takes no direct writes")
    monkeypatch.setattr(body, "_BLOCK", 1000)  # as on a disk with larger blocks than any that we know
    data = content(BIG + 500)
    with BodyWriter(target, len(data), CancelToken()) as writer:
        writer.write(data[: STEP // 2 + 100])
        writer.write(data[STEP // 2 + 100 :])
    assert (tmp_path / "body").read_bytes() == data


def fill(descriptor: int, cancel: CancelToken) -> None:
    with BodyWriter(descriptor, None, cancel) as writer:
        for _ in range(100):
            writer.write(bytes(STEP))
        pytest.fail("it was told late")


def test_a_failure_is_told_by_what_comes_next() -> None:
    read, write_end = os.pipe()
    os.close(read)
    with pytest.raises(BrokenPipeError):
        fill(write_end, CancelToken())
    os.close(write_end)
    assert not running()


@pytest.mark.parametrize("size", [3, STEP + 3])
def test_a_failure_of_the_last_piece_is_told(target: int, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    def fail(descriptor: int, piece: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer = BodyWriter(target, size, CancelToken())
    writer.write(bytes(size))
    with monkeypatch.context() as patch:
        patch.setattr(write.os, "write", fail)
        with pytest.raises(OSError, match="No space left"):
            writer.__exit__(None, None, None)


def test_the_end_is_heeded_while_the_disk_is_waited_for() -> None:
    cancel = CancelToken()
    read, write_end = os.pipe()  # nobody reads: the disk is never ready
    timer = threading.Timer(0.1, lambda: (cancel.cancel(), os.close(read)))
    timer.start()
    with pytest.raises(Cancelled):
        fill(write_end, cancel)
    timer.join()
    os.close(write_end)


def spoil(descriptor: int) -> None:
    with BodyWriter(descriptor, None, CancelToken()) as writer:
        writer.write(bytes(5 * STEP))
        raise KeyError


def test_what_a_failing_block_wrote_does_not_matter(target: int) -> None:
    with pytest.raises(KeyError):
        spoil(target)
    assert os.fstat(target).st_size <= 5 * STEP


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = content(100_000)
    real_write, real_pwrite = os.write, os.pwrite
    monkeypatch.setattr(write.os, "write", lambda descriptor, piece: real_write(descriptor, piece[:7000]))
    monkeypatch.setattr(write.os, "pwrite", lambda descriptor, piece, at: real_pwrite(descriptor, piece[:7000], at))
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    write_all(descriptor, data)
    write_at(descriptor, memoryview(data)[:50_000], 100_000)
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == data + data[:50_000]
