"""How many connections one download should have, by what they bring. No I/O, no clock of its own."""

from __future__ import annotations

import threading
from statistics import median
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST: Final = 8
WINDOW: Final = 0.5
"""Seconds over which a rate is measured."""
GAIN: Final = 1.25
"""How much more twice the connections must bring, to be kept."""
WORTH: Final = 3.0
"""Seconds that must be left at the present rate for a second connection to be tried."""
WORTH_MORE: Final = 1.0
"""The same for more, once the second has paid."""
AGAIN: Final = 30.0
"""Seconds until more connections are tried again after they brought nothing."""
_LAGGARD_AGE: Final = 3.0
_LAGGARD_SHARE: Final = 8
_MOST_LAGGARDS: Final = 16


class Spare:
    """Connections that all downloads of a repository may open together, beside the first of each. Thread-safe."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()

    def take(self, wanted: int) -> int:
        """Up to ``wanted`` of them."""
        with self._lock:
            found = min(wanted, self._count)
            self._count -= found
            return found

    def give_back(self, count: int) -> None:
        """What was taken."""
        with self._lock:
            self._count += count


class Moving(Protocol):
    """What the pace looks at of a connection: when it began (seconds), bytes since then, bytes to go."""

    @property
    def begun(self) -> float: ...
    @property
    def came(self) -> int: ...
    @property
    def rest(self) -> int: ...


class Pace:
    """Doubles the connections while that raises the total rate. Not thread-safe.

    Args:
        spare: where connections beside the first come from.
    """

    def __init__(self, spare: Spare) -> None:
        self.target = 1
        self._spare = spare
        self._taken = 0
        self._window: tuple[float, int] | None = None
        self._is_settling = False
        self._before: tuple[int, float] | None = None
        self._not_before = 0.0
        self._is_stopped = False
        self._laggards = 0

    def look(self, now: float, done: int, rest: int) -> None:
        """See how it goes, and set :attr:`target`.

        Args:
            now: seconds by any clock that only goes on.
            done: bytes that came so far.
            rest: bytes that are still to come.
        """
        if self._is_stopped:
            return
        if self._window is None:
            self._window = (now, done)
            return
        since, before = self._window
        if now - since < WINDOW:
            return
        rate = (done - before) / (now - since)
        self._window = (now, done)
        if self._is_settling:  # connections that were just opened have not found their speed
            self._is_settling = False
            return
        if self._before is not None:
            target, old_rate = self._before
            self._before = None
            if rate < old_rate * GAIN:
                self._set(target)
                self._not_before = now + AGAIN
                return
        worth = WORTH if self.target == 1 else WORTH_MORE
        if now >= self._not_before and self.target < MOST and rate > 0 and rest > rate * worth:
            self._before = (self.target, rate)
            self._set(min(2 * self.target, MOST))
            if self.target == self._before[0]:  # none to spare
                self._before = None
            self._is_settling = True

    def is_laggard(self, one: Moving, strands: Sequence[Moving], now: float) -> bool:
        """Whether a connection brings so much less than the others that another should take its place."""
        if now - one.begun < _LAGGARD_AGE or self._laggards >= _MOST_LAGGARDS:
            return False
        others = [other.came / (now - other.begun) for other in strands if other is not one and now > other.begun]
        if not others:
            return False
        rate = one.came / (now - one.begun)
        if rate * _LAGGARD_SHARE < median(others) and one.rest > rate * _LAGGARD_AGE:
            self._laggards += 1
            return True
        return False

    def stop(self, target: int = 1) -> None:
        """Stay at ``target`` connections from now on."""
        self._is_stopped = True
        self._set(min(target, self.target))

    def close(self) -> None:
        """Give back what was taken."""
        self._set(1)

    def _set(self, target: int) -> None:
        extra = target - 1
        if extra > self._taken:
            self._taken += self._spare.take(extra - self._taken)
        else:
            self._spare.give_back(self._taken - extra)
            self._taken = extra
        self.target = 1 + self._taken
