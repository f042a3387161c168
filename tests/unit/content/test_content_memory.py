"""Whether files have room in the page cache: a tenth of what a machine, or a container, has."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitops.content.memory import has_room_in_cache


@pytest.mark.parametrize(
    ("memory", "limit", "most"),
    [
        ("MemTotal: 9 kB\nMemAvailable:    1000 kB\n", None, 102_400),
        ("MemAvailable: 1000 kB\n", "max\n", 102_400),
        ("MemAvailable: 1000 kB\n", "500000\n", 50_000),
        ("MemAvailable: 1000 kB\n", "9223372036854771712\n", 102_400),
        (None, "500000\n", 50_000),
        ("MemTotal: 9 kB\n", None, None),
        ("MemAvailable:\n", "", None),
        (None, None, None),
    ],
)
def test_what_there_is_room_for(tmp_path: Path, memory: str | None, limit: str | None, most: int | None) -> None:
    places = tmp_path / "meminfo", tmp_path / "limit"
    for place, text in zip(places, (memory, limit), strict=True):
        if text is not None:
            place.write_text(text)
    places_given = (str(places[0]), (str(tmp_path / "nowhere"), str(places[1])))
    if most is None:
        assert has_room_in_cache(1 << 60, *places_given)
    else:
        assert has_room_in_cache(most, *places_given)
        assert not has_room_in_cache(most + 1, *places_given)


def test_here() -> None:
    assert has_room_in_cache(0)
