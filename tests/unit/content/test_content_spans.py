"""Sets of spans, and the pieces that a blob is cut into."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitops.content.spans import LARGEST_PIECE, SMALLEST_PIECE, Span, Spans, piece_size

BOUNDS = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted)


@pytest.mark.parametrize(("size", "piece"), [(1, SMALLEST_PIECE), (2 * 1024**3, 32 * 1024**2), (10**12, LARGEST_PIECE)])
def test_pieces(size: int, piece: int) -> None:
    assert piece_size(size) == piece


@given(st.lists(BOUNDS), BOUNDS)
def test_spans_are_sets_of_numbers(added: list[list[int]], window: list[int]) -> None:
    spans, numbers = Spans(), set[int]()
    for start, end in added:
        new = set(range(start, end)) - numbers
        assert spans.add(start, end) == len(new)
        numbers |= new
    assert {number for span in spans for number in range(span.start, span.end)} == numbers
    assert spans.size == len(numbers)
    assert spans.front == next(number for number in range(42) if number not in numbers)
    assert len(spans) == len([number for number in numbers if number - 1 not in numbers])
    gaps = {number for gap in spans.missing(*window) for number in range(gap.start, gap.end)}
    assert gaps == set(range(*window)) - numbers


def test_spans_that_touch_are_one() -> None:
    assert list(Spans([Span(4, 6), Span(0, 2), Span(2, 4)])) == [Span(0, 6)]
