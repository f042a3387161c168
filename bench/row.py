"""One row of the table: what is measured beside what, and what it should come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from measure import MIB, Sample


@dataclass
class Row:
    """One row of the table.

    ``floor`` and ``commands`` each do the work once; ``goal`` judges the two medians in seconds.
    """

    name: str
    floor_name: str
    goal_text: str
    goal: Callable[[float, float], bool]
    floor: Callable[[], Sample]
    commands: dict[str, Callable[[], Sample]]
    reads: Callable[[], list[Path]] = list
    writes: int = 0
    runs: int = 1
    floors: list[Sample] = field(default_factory=list)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def times(factor: float) -> Callable[[float, float], bool]:
    """The goal of at most so many times the floor."""
    return lambda kit, floor: kit <= factor * floor


def size_text(size: int) -> str:
    """Bytes for the name of a row."""
    return f"{size // (1024 * MIB)} GiB" if size >= 1024 * MIB else f"{size // MIB} MiB"
