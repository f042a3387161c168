"""Conversations with registries, word by word."""

from __future__ import annotations

import pytest

from kitops.errors import AuthenticationError, IntegrityError, KitError, NetworkError, NotFoundError, RegistryError
from kitops.registry.limits import FIRST, LARGEST, SMALLEST, Limits
from kitops.registry.network import Patience
from kitops.registry.quirks import Quirks
from kitops.registry.resume import Breaks
from kitops.registry.strategy import Ask, Begun, Drop, Look, Open, Outcome, Pause, Send, Step, conduct

MIB = 1024 * 1024
SIZE = 40 * MIB
OK = Outcome(status=202, seconds=1.0)
DONE = Outcome(status=201, seconds=1.0)
OPENED = Outcome(status=202)
NOTHING = Outcome(status=200)
CUT = NetworkError("the connection was closed early")
PATIENCE = Patience(attempts=3, pause=1.0)


def has(count: int) -> Outcome:
    return Outcome(status=204, offset=count)


def cut(sent: int, seconds: float = 1.0) -> Outcome:
    return Outcome(error=CUT, sent=sent, seconds=seconds)


def refused(status: int, offset: int | None = None) -> Outcome:
    error: KitError = RegistryError(f"answered {status}", status=status)
    return Outcome(status=status, error=NotFoundError("gone") if status == 404 else error, offset=offset)


def talk(
    *turns: tuple[Step, Outcome], size: int = SIZE, limits: Limits | None = None, begun: Begun = "no"
) -> KitError | None:
    """Go through a conversation; the error that it ends with."""
    steps = conduct(size, limits or Limits(Quirks(least=1)), Breaks(PATIENCE), begun)
    said = 0
    try:
        step = next(steps)
        for expected, outcome in turns:
            assert step == expected, f"turn {said}"
            said += 1
            step = steps.send(outcome)
    except StopIteration:
        assert said == len(turns)
        return None
    except KitError as error:
        assert said == len(turns), error
        return error
    raise AssertionError(f"one more step: {step}")


FIRST_CHUNK = Send(0, FIRST)
REST = Send(FIRST, SIZE, is_last=True)
WHOLE = Send(0, SIZE, is_last=True)


def test_a_small_blob_is_one_request() -> None:
    assert talk((Open(), OPENED), (Send(0, 5, is_last=True), DONE), size=5) is None


def test_an_empty_blob() -> None:
    assert talk((Open(), OPENED), (Send(0, 0, is_last=True), DONE), size=0) is None


def test_the_last_chunk_rides_on_the_put() -> None:
    assert talk((Open(), OPENED), (FIRST_CHUNK, OK), (REST, DONE)) is None


def test_chunks_grow_by_what_was_taken() -> None:
    limits, size, turns, start = Limits(Quirks(least=1)), 2048 * MIB, [], 0
    for count in (FIRST, 4 * FIRST, 16 * FIRST, LARGEST, LARGEST):
        turns.append((Send(start, start + count), Outcome(status=202, seconds=count / (1024 * MIB))))
        start += count
    end = (Send(start, start + LARGEST), OK), (Send(start + LARGEST, size, is_last=True), DONE)
    assert talk((Open(), OPENED), *turns, *end, size=size, limits=limits) is None


def test_a_registry_that_took_less_than_was_sent() -> None:
    took = Outcome(status=202, offset=FIRST - 100, seconds=1.0)
    assert talk((Open(), OPENED), (FIRST_CHUNK, took), (Send(FIRST - 100, SIZE, is_last=True), DONE)) is None


def test_a_registry_that_takes_nothing_and_says_thanks() -> None:
    none = Outcome(status=202, offset=0, seconds=1.0)
    assert (
        talk(
            (Open(), OPENED),
            (FIRST_CHUNK, none),
            (Send(0, SIZE, is_last=True), refused(500)),
        )
        is not None
    )


def test_a_registry_that_has_more_than_was_sent_gets_the_blob_whole() -> None:
    more = Outcome(status=202, offset=FIRST + 1, seconds=1.0)
    turns = [(Open(), OPENED), (FIRST_CHUNK, more), (Drop(is_alive=True), NOTHING), (Open(), OPENED), (WHOLE, DONE)]
    assert talk(*turns) is None


def test_a_blob_that_goes_with_the_post() -> None:
    limits = Limits()
    assert talk((Open(single=True), DONE), size=5, limits=limits) is None
    assert limits.tries_single(MIB)


def test_a_post_that_does_not_take_the_blob_opens_the_upload() -> None:
    limits = Limits()
    assert talk((Open(single=True), OPENED), (Send(0, 5, is_last=True), DONE), size=5, limits=limits) is None
    assert not limits.tries_single(5)


def test_a_post_with_a_blob_that_fails_is_done_without() -> None:
    turns = [(Open(single=True), refused(400)), (Open(), OPENED), (Send(0, 5, is_last=True), DONE)]
    assert talk(*turns, size=5, limits=Limits()) is None


def test_wrong_bytes_are_sent_again_only_where_others_may_have_come_between() -> None:
    wrong = Outcome(status=400, error=IntegrityError("blob", "a", "b"))
    assert isinstance(talk((Open(), OPENED), (Send(0, 5, is_last=True), wrong), size=5), IntegrityError)
    begun_anew = [(Drop(is_alive=False), NOTHING), (Open(), OPENED), (FIRST_CHUNK, OK), (REST, wrong)]
    found = talk((Ask(), has(SIZE - 5)), (Send(SIZE - 5, SIZE, is_last=True), wrong), *begun_anew, begun="left")
    assert isinstance(found, IntegrityError)


def test_an_upload_that_was_opened_already() -> None:
    assert talk((FIRST_CHUNK, OK), (REST, DONE), begun="open") is None


def test_an_upload_that_was_left() -> None:
    assert talk((Ask(), has(SIZE - 5)), (Send(SIZE - 5, SIZE, is_last=True), DONE), begun="left") is None


def test_an_upload_that_was_left_and_is_still_being_written_to() -> None:
    rest = Send(2 * MIB, 2 * MIB + FIRST)
    assert talk(
        (Ask(), has(2 * MIB)), (rest, refused(409)),
        (Pause(4.0), NOTHING), (Ask(), has(2 * MIB)), (rest, refused(409)),
        (Pause(8.0), NOTHING), (Ask(), has(30 * MIB)), (Send(30 * MIB, SIZE, is_last=True), DONE), begun="left",
    ) is None  # fmt: skip


def test_an_upload_that_is_written_to_for_ever_is_given_up() -> None:
    rest = Send(2 * MIB, 2 * MIB + FIRST)
    waits = [((Pause(pause), NOTHING), (Ask(), has(2 * MIB)), (rest, refused(409))) for pause in (4.0, 8.0, 16.0, 32.0)]
    turns = [turn for wait in waits for turn in wait]
    end = [(Drop(is_alive=True), NOTHING), (Open(), OPENED), (FIRST_CHUNK, OK), (REST, DONE)]
    assert talk((Ask(), has(2 * MIB)), (rest, refused(409)), *turns, *end, begun="left") is None


def test_an_upload_that_was_left_and_is_all_there() -> None:
    assert talk((Ask(), has(SIZE)), (Send(SIZE, SIZE, is_last=True), DONE), begun="left") is None


@pytest.mark.parametrize(
    "answer",
    [
        refused(404),
        refused(403),
        has(SIZE + 1),
        Outcome(status=204),
        Outcome(status=401, error=AuthenticationError("")),
    ],
)
def test_an_upload_that_was_left_and_is_no_more(answer: Outcome) -> None:
    turns = [(Ask(), answer), (Drop(is_alive=False), NOTHING), (Open(), OPENED), (FIRST_CHUNK, OK), (REST, DONE)]
    assert talk(*turns, begun="left") is None


def test_an_upload_that_was_left_where_nobody_answers() -> None:
    assert talk((Ask(), Outcome(error=CUT)), begun="left") is CUT


def test_a_cut_chunk_goes_on_from_what_the_registry_has() -> None:
    turns = [(Open(), OPENED), (FIRST_CHUNK, cut(9 * MIB)), (Pause(4.0), NOTHING), (Ask(), has(8 * MIB))]
    third = 8 * MIB + int(9 * MIB * (1 / 3))
    turns += [(Send(8 * MIB, third), Outcome(status=202, seconds=0.01)), (Send(third, third + FIRST), OK)]
    assert talk(*turns, (Send(third + FIRST, SIZE, is_last=True), DONE)) is None


def test_a_put_that_was_cut_may_have_been_enough() -> None:
    turns = [(Open(), OPENED), (FIRST_CHUNK, OK), (REST, cut(SIZE - FIRST)), (Look(), Outcome(status=200))]
    assert talk(*turns) is None


def test_a_put_that_was_cut_and_whose_upload_is_gone_by_now() -> None:
    turns = [
        (Open(), OPENED),
        (FIRST_CHUNK, OK),
        (REST, cut(SIZE - FIRST)),
        (Look(), refused(404)),
        (Pause(4.0), NOTHING),
        (Ask(), refused(404)),
        (Look(), Outcome(status=200)),
    ]
    assert talk(*turns) is None


def test_a_registry_that_loses_count_after_a_cut_gets_smaller_chunks_not_whole_blobs() -> None:
    limits = Limits(Quirks(least=1))
    turns = [
        (Open(), OPENED),
        (FIRST_CHUNK, cut(6 * MIB, 2.0)),
        (Pause(4.0), NOTHING),
        (Ask(), refused(404)),
        (Drop(is_alive=False), NOTHING),
        (Open(), OPENED),
        (Send(0, 2 * MIB), OK),
    ]
    steps = conduct(SIZE, limits, Breaks(PATIENCE))
    step = next(steps)
    for expected, outcome in turns:
        assert step == expected
        step = steps.send(outcome)
    assert limits.takes_chunks


def test_patience_begins_anew_with_every_byte_and_ends_without() -> None:
    turns = [(Open(), OPENED), (FIRST_CHUNK, cut(MIB)), (Pause(4.0), NOTHING), (Ask(), has(0))]
    again = Send(0, MIB // 3)
    turns += [(again, cut(1)), (Pause(8.0), NOTHING), (Ask(), has(0))]
    whole = [
        (Drop(is_alive=True), NOTHING),
        (Open(), OPENED),
        (WHOLE, cut(0)),
    ]
    assert talk(*turns, (Send(0, SMALLEST), cut(1)), *whole) is CUT


def test_a_busy_registry_is_asked_where_it_is_without_another_pause() -> None:
    busy = Outcome(status=503, error=CUT, is_put_off=True, sent=FIRST)
    assert talk((Open(), OPENED), (FIRST_CHUNK, busy), (Ask(), has(0)), (FIRST_CHUNK, OK), (REST, DONE)) is None


def test_a_registry_that_asks_for_too_much_patience() -> None:
    found = talk((Open(), OPENED), (FIRST_CHUNK, OK), (REST, refused(429)))
    assert isinstance(found, RegistryError)
    assert found.status == 429


@pytest.mark.parametrize("status", [404, 405, 501, 400])
def test_a_registry_without_chunks(status: int) -> None:
    limits = Limits(Quirks(least=1))
    drop = Drop(is_alive=status != 404)
    turns = [(Open(), OPENED), (FIRST_CHUNK, refused(status)), (drop, NOTHING), (Open(), OPENED), (WHOLE, DONE)]
    assert talk(*turns, limits=limits) is None
    assert talk((Open(), OPENED), (WHOLE, DONE), limits=limits) is None


def test_a_registry_that_forbids_a_rider() -> None:
    limits = Limits(Quirks(least=1))
    end = Send(SIZE, SIZE, is_last=True)
    turns = [(REST, refused(400)), (Ask(), has(FIRST)), (Send(FIRST, SIZE), OK), (end, DONE)]
    assert talk((Open(), OPENED), (FIRST_CHUNK, OK), *turns, limits=limits) is None
    assert not limits.takes_riders


@pytest.mark.parametrize("status", [413, 416])
def test_bodies_that_are_too_large(status: int) -> None:
    turns = [(Open(), OPENED), (FIRST_CHUNK, refused(status)), (Ask(), has(0)), (Send(0, FIRST // 4), OK)]
    assert talk(
        *turns, (Send(FIRST // 4, FIRST // 2), refused(403)), (Drop(is_alive=False), NOTHING), (Open(), refused(403))
    )


def test_a_416_that_says_where_to_go_on() -> None:
    turns = [(Open(), OPENED), (FIRST_CHUNK, refused(416, 3 * MIB)), (Send(3 * MIB, 19 * MIB), OK)]
    assert talk(*turns, (Send(19 * MIB, SIZE, is_last=True), DONE)) is None


def test_a_registry_that_takes_no_body_at_all() -> None:
    limits = Limits(Quirks(most=SMALLEST))
    found = talk((Open(), OPENED), (Send(0, SMALLEST), refused(413)), limits=limits)
    assert isinstance(found, RegistryError)
    assert "client_max_body_size" in (found.hint or "")


def test_a_minimum_is_kept() -> None:
    limits = Limits(Quirks(least=20 * MIB))
    turns = [(Open(), OPENED), (Send(0, 20 * MIB), OK), (Send(20 * MIB, SIZE, is_last=True), DONE)]
    assert talk(*turns, limits=limits) is None


def test_an_absurd_minimum_is_kept_by_one_request() -> None:
    assert talk((Open(), OPENED), (WHOLE, DONE), limits=Limits(Quirks(least=10**18))) is None


def test_who_may_not_push_is_told_so() -> None:
    error = AuthenticationError("no")
    assert talk((Open(), Outcome(status=401, error=error))) is error
    assert talk((Open(), OPENED), (FIRST_CHUNK, Outcome(status=401, error=error))) is error


def test_a_registry_that_loses_every_upload() -> None:
    turns = [(Open(), OPENED), (WHOLE, refused(404)), (Look(), refused(404)), (Drop(is_alive=False), NOTHING)]
    limits = Limits(Quirks(chunks=False))
    found = talk(*turns, *turns, *turns[:3], limits=limits)
    assert isinstance(found, NotFoundError)
