"""What a registry takes, learnt from what it did."""

from __future__ import annotations

import pytest

from kitops.registry.limits import FIRST, LARGEST, SECONDS, SMALLEST, Limits
from kitops.registry.memory import Memory
from kitops.registry.quirks import Quirks, quirks_of

MIB = 1024 * 1024
GIB = 1024 * MIB


@pytest.mark.parametrize(
    ("registry", "quirks"),
    [
        ("ghcr.io", Quirks(most=4 * MIB)),
        ("GHCR.io:443", Quirks(most=4 * MIB)),
        ("ghcr.io.example.com", Quirks()),
        ("europe-docker.pkg.dev", Quirks(chunks=False)),
        ("eu.gcr.io", Quirks(chunks=False)),
        ("gcr.io", Quirks(chunks=False)),
        ("mygcr.io", Quirks()),
        ("1234.dkr.ecr.eu-central-1.amazonaws.com", Quirks(least=5 * MIB, most=10_000_000)),
        ("1234.dkr.ecr.cn-north-1.amazonaws.com.cn", Quirks(least=5 * MIB, most=10_000_000)),
        ("localhost:5000", Quirks()),
        ("[::1]:5000", Quirks()),
    ],
)
def test_what_is_known_beforehand(registry: str, quirks: Quirks) -> None:
    assert quirks_of(registry) == quirks


def test_chunks_take_a_few_seconds_each() -> None:
    limits = Limits()
    assert limits.next_size(GIB) == FIRST
    limits.note_sent(FIRST, 8.0)
    assert limits.next_size(GIB) == 2 * MIB * SECONDS
    limits.note_sent(10 * MIB, 0.01)
    assert limits.next_size(10 * GIB) == 4 * FIRST
    limits.note_sent(64 * MIB, 0.01)
    limits.note_sent(256 * MIB, 0.01)
    assert limits.next_size(10 * GIB) == LARGEST
    assert limits.next_size(5) == 5


def test_one_cut_is_chance_and_two_are_a_limit() -> None:
    limits = Limits()
    limits.note_sent(FIRST, 16.0)
    limits.note_cut(MIB * 9, 9.0)
    assert limits.next_size(GIB) == 3 * MIB
    for _ in range(3):
        limits.note_sent(MIB, 1.0)
    assert limits.next_size(GIB) == SECONDS * MIB
    limits.note_cut(MIB * 9, 9.5)
    for _ in range(3):
        limits.note_sent(MIB, 1.0)
    assert limits.next_size(GIB) < 3.5 * MIB


def test_a_cut_before_the_first_byte_says_nothing() -> None:
    limits = Limits()
    limits.note_cut(0, 3.0)
    assert limits.next_size(GIB) == FIRST


def test_too_large_is_remembered() -> None:
    limits = Limits()
    limits.note_sent(FIRST, 0.01)
    assert limits.note_too_large(FIRST)
    assert limits.next_size(GIB) == 4 * MIB
    assert limits.note_too_large(4 * MIB)
    assert limits.note_too_large(MIB)
    assert limits.next_size(GIB) == SMALLEST
    assert not limits.note_too_large(SMALLEST)


def test_a_limit_is_stronger_than_a_minimum() -> None:
    limits = Limits(Quirks(most=4 * MIB))
    limits.note_least(5 * MIB)
    assert limits.next_size(GIB) == 4 * MIB


def test_without_chunks_everything_goes_at_once() -> None:
    limits = Limits(Quirks(chunks=False))
    assert limits.next_size(50 * GIB) == 50 * GIB
    assert not limits.note_too_large(GIB)


def test_what_is_known_of_a_registry_is_known_to_all_who_talk_to_it() -> None:
    memory = Memory()
    memory.limits("a.example.com").refuse_chunks()
    assert not memory.limits("a.example.com").takes_chunks
    assert memory.limits("b.example.com").takes_chunks
    assert [memory.is_news("x"), memory.is_news("x"), memory.is_news("y")] == [True, False, True]
