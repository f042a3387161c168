"""Cancellation, parallel jobs, verification, graph copy: with a memory store, no network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from kitops.content.cancel import CancelToken
from kitops.content.copy import ATTEMPTS, MAX_DEPTH, BytesReader, copy
from kitops.content.events import Advanced, Event, Finished, Message, ignore_events
from kitops.content.parallel import run_all
from kitops.content.protocols import Reader, Run, tell_found
from kitops.content.verify import VerifyingReader, check_bytes
from kitops.errors import Cancelled, IntegrityError, InvalidValueError, NetworkError, NotFoundError
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.oci.manifest import Manifest


class MemoryRepository:
    """A source and a sink in memory, that keeps the order in which things came."""

    def __init__(self) -> None:
        self.content: dict[Digest, bytes] = {}
        self.order: list[Digest] = []
        self.failures: list[Exception] = []

    def add(self, data: bytes, media_type: str = "application/x") -> Descriptor:
        desc = Descriptor.of(data, media_type)
        self.content[desc.digest] = data
        return desc

    def resolve(self, pointer: str) -> Descriptor:
        raise NotFoundError(pointer)

    def fetch(self, desc: Descriptor) -> bytes:
        return self.content[desc.digest]

    @contextmanager
    def open(self, desc: Descriptor) -> Iterator[Reader]:
        yield VerifyingReader(BytesReader(self.content[desc.digest]), desc, "blob")

    @contextmanager
    def stream(self, desc: Descriptor) -> Iterator[Reader]:
        yield BytesReader(self.content[desc.digest])

    def exists(self, desc: Descriptor) -> bool:
        return desc.digest in self.content

    def put(self, desc: Descriptor, reader: Reader, moved) -> None:
        data = read_all(reader)
        moved(len(data))
        if self.failures:
            raise self.failures.pop()
        check_bytes(data, desc, "blob")
        self.content[desc.digest] = data
        self.order.append(desc.digest)

    def tag(self, desc: Descriptor, tag: str) -> None:
        raise AssertionError(tag)


def read_all(reader: Reader) -> bytes:
    buffer = memoryview(bytearray(7))
    found = bytearray()
    while count := reader.readinto(buffer):
        found += buffer[:count]
    return bytes(found)


def make_kit(source: MemoryRepository, *layers: bytes) -> Descriptor:
    manifest = Manifest.build(config=source.add(b"{}"), layers=[source.add(layer) for layer in layers])
    return source.add(manifest.raw, manifest.media_type)


def test_a_token_tells_its_signal() -> None:
    token = CancelToken()
    token.check()
    token.cancel(15)
    token.cancel(2)
    assert token.is_cancelled
    with pytest.raises(Cancelled) as caught:
        token.wait(10)
    assert caught.value.signal_number == 15


def test_waiting_ends_when_another_thread_cancels() -> None:
    token = CancelToken()
    threading.Timer(0.01, token.cancel).start()
    with pytest.raises(Cancelled):
        token.wait(60)


def test_a_wait_that_nobody_ends_returns() -> None:
    CancelToken().wait(0.001)


def test_cancelling_closes_what_blocks() -> None:
    token = CancelToken()
    closed = []
    with token.closing(lambda: closed.append(1)):
        token.cancel()
    assert closed == [1]
    with pytest.raises(Cancelled), token.closing(lambda: None):
        raise AssertionError("the block must not run")


def test_results_keep_the_order_of_the_jobs() -> None:
    jobs = [lambda run, number=number: number * 2 for number in range(20)]
    assert run_all(jobs, Run(), workers=3) == [number * 2 for number in range(20)]


def test_the_first_failure_ends_the_others() -> None:
    started = threading.Event()

    def fail(run: Run) -> None:
        started.wait(10)
        raise NotFoundError("this one")

    def wait(run: Run) -> None:
        started.set()
        run.cancel.wait(60)

    with pytest.raises(NotFoundError, match="this one"):
        run_all([wait, fail], Run(), workers=2)


def test_cancelling_from_outside_ends_all_jobs() -> None:
    run = Run()

    def wait(inner: Run) -> None:
        run.cancel.cancel(2)
        inner.cancel.wait(60)

    with pytest.raises(Cancelled) as caught:
        run_all([wait, wait], run, workers=2)
    assert caught.value.signal_number == 2


def test_a_run_that_is_cancelled_starts_nothing() -> None:
    run = Run()
    run.cancel.cancel()
    with pytest.raises(Cancelled):
        run_all([lambda inner: 1], run, workers=1)


@pytest.mark.parametrize("data", [b"abc", b"abcdefghij", b"abcdexxhi"])
def test_a_verifying_reader_refuses_what_is_not_promised(data: bytes) -> None:
    desc = Descriptor.of(b"abcdefghi", "application/x")
    with pytest.raises(IntegrityError):
        read_all(VerifyingReader(BytesReader(data), desc, "it"))
    with pytest.raises(IntegrityError):
        check_bytes(data, desc, "it")


def test_a_verifying_reader_passes_what_is() -> None:
    desc = Descriptor.of(b"abcdefghi", "application/x")
    assert read_all(VerifyingReader(BytesReader(b"abcdefghi"), desc, "it")) == b"abcdefghi"


def test_children_are_there_before_their_manifest() -> None:
    source, sink = MemoryRepository(), MemoryRepository()
    kits = [make_kit(source, b"one", b"shared"), make_kit(source, b"two", b"shared")]
    index = Index.build(kits)
    root = source.add(index.raw, index.media_type)
    done = copy(source, sink, root, Run(ignore_events))
    assert sink.content == source.content
    assert sink.order[-1] == root.digest
    assert set(sink.order[-3:-1]) == {kit.digest for kit in kits}
    assert done.moved == 7
    assert done.moved_size == len(b"oneshared{}two")


def test_what_is_there_is_not_copied_again() -> None:
    source, sink = MemoryRepository(), MemoryRepository()
    root = make_kit(source, b"one")
    copy(source, sink, root, Run())
    events: list[Event] = []
    done = copy(source, sink, root, Run(events.append))
    assert (done.moved, done.existed) == (0, 3)
    assert [event.outcome for event in events if isinstance(event, Finished)] == ["exists", "exists"]


def test_a_blob_is_tried_again_when_the_network_fails() -> None:
    source, sink = MemoryRepository(), MemoryRepository()
    root = make_kit(source, b"one")
    sink.failures = [NetworkError("cut off")]
    events: list[Event] = []
    copy(source, sink, root, Run(events.append, concurrency=1))
    assert sink.content == source.content
    assert any(isinstance(event, Message) and "trying again" in event.text for event in events)
    assert sum(event.size for event in events if isinstance(event, Advanced)) == len(b"one{}")


def test_bytes_that_were_there_are_told_apart() -> None:
    class HalfThere(MemoryRepository):
        def put(self, desc: Descriptor, reader: Reader, moved) -> None:
            tell_found(moved, 1)
            super().put(desc, reader, lambda size: moved(size - 1))

    source, sink = MemoryRepository(), HalfThere()
    events: list[Event] = []
    copy(source, sink, make_kit(source, b"one"), Run(events.append, concurrency=1))
    steps = [event for event in events if isinstance(event, Advanced)]
    assert sorted((step.size, step.existed) for step in steps) == [(1, False), (1, True), (1, True), (2, False)]
    sizes: list[int] = []
    tell_found(sizes.append, 3)  # to who knows no difference it is as good as moved
    assert sizes == [3]


def test_a_network_that_keeps_failing_is_an_error() -> None:
    source, sink = MemoryRepository(), MemoryRepository()
    root = make_kit(source)
    sink.failures = [NetworkError("cut off") for _ in range(ATTEMPTS)]
    with pytest.raises(NetworkError):
        copy(source, sink, root, Run(concurrency=1))
    assert root.digest not in sink.content


def test_something_else_than_a_manifest_is_refused() -> None:
    source = MemoryRepository()
    with pytest.raises(InvalidValueError, match="neither manifest nor index"):
        copy(source, MemoryRepository(), source.add(b"x"), Run())


def test_indexes_that_nest_without_end_are_refused() -> None:
    source = MemoryRepository()
    desc = make_kit(source)
    for _ in range(MAX_DEPTH + 1):
        index = Index.build([desc])
        desc = source.add(index.raw, index.media_type)
    with pytest.raises(InvalidValueError, match="nested"):
        copy(source, MemoryRepository(), desc, Run())


def test_indexes_that_list_each_other_many_times_are_read_once() -> None:
    source, sink = MemoryRepository(), MemoryRepository()
    desc = make_kit(source)
    for _ in range(MAX_DEPTH):
        index = Index.build(replace(desc, annotations={"copy": str(number)}) for number in range(100))
        desc = source.add(index.raw, index.media_type)
    copied = copy(source, sink, desc, Run())
    assert sink.exists(desc)
    assert copied.moved == len(sink.content)
