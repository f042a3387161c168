"""Windows: bytes in any order become a stream in order, within a bound of memory, and nobody waits for ever."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest

from kitops.content.cancel import CancelToken
from kitops.content.protocols import Reader, Run
from kitops.errors import AuthenticationError, Cancelled, KitError, NetworkError, RegistryError
from kitops.oci.descriptor import Descriptor
from kitops.registry.download import Origin
from kitops.registry.network import Patience
from kitops.registry.pace import Spare
from kitops.registry.stretch import Stretch
from kitops.registry.window import OWN, Room, Window, WindowReader

DATA = random.Random(3).randbytes(9_000_000)
DESC = Descriptor.of(DATA, "application/octet-stream")


def read_all(window: Reader) -> bytes:
    found = bytearray()
    buffer = memoryview(bytearray(100_003))
    while count := window.readinto(buffer):
        found += buffer[:count]
    return bytes(found)


def fill(window: Window, pieces: list[tuple[int, int]]) -> None:
    for start, end in pieces:
        window.write(start, memoryview(DATA)[start:end])


@pytest.mark.parametrize("start", [0, 1, 4_321_987])
def test_pieces_from_several_threads_in_any_order_come_out_in_order(start: int) -> None:
    window = Window(DESC, start, Room(3_000_000), CancelToken())
    assert [(span.start, span.end) for span in window.missing()] == [(start, len(DATA))]
    step = 90_001
    pieces = [(at, min(at + step, len(DATA))) for at in range(0, len(DATA), step)]
    third = len(pieces) // 3
    parts = [pieces[:third], pieces[third : 2 * third], pieces[2 * third :], pieces[5:9]]  # the last ones once more
    threads = [threading.Thread(target=fill, args=(window, part)) for part in parts]
    for thread in threads:
        thread.start()
    assert read_all(window) == DATA[start:]
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_what_is_too_far_ahead_waits_and_is_let_go_of() -> None:
    room = Room(0)
    window = Window(DESC, 0, room, CancelToken())
    assert window.write(0, memoryview(DATA)[:OWN]) == OWN
    ended: list[int] = []
    thread = threading.Thread(target=lambda: ended.append(window.write(OWN, memoryview(DATA)[OWN : OWN + 10])))
    thread.start()
    time.sleep(0.05)
    assert not ended
    window.close()
    thread.join(10)
    assert ended == [0]
    assert window.is_superseded()


def test_room_is_given_back() -> None:
    room = Room(6_000_000)
    window = Window(DESC, 0, room, CancelToken())
    window.write(0, memoryview(DATA)[:1_000_000])
    window.write(4_000_000, memoryview(DATA)[4_000_000:6_000_000])
    assert not room.take(2_000_000, is_read=False)  # half is for those that are read
    assert room.take(4_000_000, is_read=True)
    room.give_back(4_000_000)
    window.close()
    assert room.take(6_000_000, is_read=True)


def test_a_failure_is_told_after_what_came_before() -> None:
    window = Window(DESC, 0, Room(), CancelToken())
    window.write(0, memoryview(DATA)[:500])
    window.fail(NetworkError("the network failed"))
    buffer = memoryview(bytearray(1000))
    assert window.readinto(buffer) == 500
    with pytest.raises(NetworkError):
        window.readinto(buffer)


def test_the_end_is_heeded_by_reader_and_writer() -> None:
    cancel = CancelToken()
    window = Window(DESC, 0, Room(0), cancel)
    cancel.cancel()
    with pytest.raises(Cancelled):
        window.readinto(memoryview(bytearray(10)))
    assert window.write(OWN, memoryview(DATA)[OWN : OWN + 10]) == 0


class SlowAnswer:
    """Bytes from ``start`` on; up to ``until``, if that is not None, at 1.6 MB/s, and then ``error``."""

    def __init__(self, start: int, until: int | None, error: KitError) -> None:
        self._position = start
        self._until = until
        self._error = error

    def readinto(self, buffer: memoryview, /) -> int:
        if self._until is not None:
            if self._position >= self._until:
                raise self._error
            time.sleep(0.04)
        count = min(len(buffer), 64_000)
        buffer[:count] = DATA[self._position : self._position + count]
        self._position += count
        return count

    def abort(self) -> None: ...
    def close(self) -> None: ...


def read_slowly(open_range: Callable[[int, int], Stretch], room: int, patience: Patience) -> bytes:
    """Read all of it over at most two connections; Cancelled after twenty seconds."""
    run = Run()
    origin = Origin(
        what="a blob",
        open_range=open_range,
        open_whole=lambda: open_range(0, len(DATA)),
        doubt=lambda: None,
        patience=patience,
        spare=Spare(1),
        piece=4_000_000,
    )
    alarm = threading.Timer(20, run.cancel.cancel)
    alarm.start()
    try:
        with WindowReader(origin, DESC, 0, Room(room), run) as reader:
            return read_all(reader)
    finally:
        alarm.cancel()


@pytest.mark.parametrize(
    "second", [None, RegistryError("the registry wants fewer connections", status=400)], ids=["breaks", "refused"]
)
def test_who_waits_for_room_never_waits_for_bytes_that_nobody_brings(second: RegistryError | None) -> None:
    errors = [second]

    def open_range(start: int, end: int) -> Stretch:
        if 1_400_000 < start < 4_000_000 and errors and (error := errors.pop()):
            raise error
        answer = SlowAnswer(start, None if start else 1_400_000, NetworkError("the connection broke"))
        return Stretch(answer, start, end, is_ranged=True)  # type: ignore[arg-type]

    assert read_slowly(open_range, 100_000, Patience(pause=0.25)) == DATA


@pytest.mark.parametrize("room", [100_000, 50_000_000], ids=["one waits", "both break"])
@pytest.mark.parametrize("error", [NetworkError("the network is away"), AuthenticationError("who are you?")])
def test_an_end_without_hope_is_an_end(error: KitError, room: int) -> None:
    opened: list[int] = []

    def open_range(start: int, end: int) -> Stretch:
        opened.append(start)
        if len(opened) > 2:
            raise error
        answer = SlowAnswer(start, start + 1_400_000, NetworkError("the connection broke"))
        return Stretch(answer, start, end, is_ranged=True)  # type: ignore[arg-type]

    with pytest.raises(type(error)):
        read_slowly(open_range, room, Patience(attempts=3, pause=0.05))
    assert len(opened) <= 14
