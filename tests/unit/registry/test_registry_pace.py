"""How many connections a download has: a matter of rates and times, without a clock or a socket."""

from __future__ import annotations

from dataclasses import dataclass

from kitops.registry.pace import AGAIN, MOST, WINDOW, Pace, Spare

REST = 10**12


class Link:
    """A link on which each connection brings ``each`` bytes a second, all together at most ``most``."""

    def __init__(self, each: float, most: float, spare: int = 7) -> None:
        self.each, self.most = each, most
        self.spare = Spare(spare)
        self.pace = Pace(self.spare)
        self.now = self.done = 0.0

    def go(self, seconds: float, rest: int = REST) -> list[int]:
        """The target after each look, one every tenth of a second."""
        found = []
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.done += 0.1 * min(self.each * self.pace.target, self.most)
            self.pace.look(self.now, int(self.done), rest)
            found.append(self.pace.target)
        return found


def test_connections_double_while_that_pays() -> None:
    link = Link(30e6, 1e12)
    targets = link.go(6)
    assert sorted(set(targets)) == [1, 2, 4, MOST]
    assert targets[-1] == MOST


def test_connections_that_bring_nothing_are_given_up() -> None:
    link = Link(1e9, 1e9)
    targets = link.go(AGAIN)
    assert max(targets) == 2
    assert targets[-1] == 1
    assert targets.count(2) * 0.1 <= 3 * WINDOW
    assert max(link.go(3)) == 2  # tried again after a while


def test_the_last_doubling_is_taken_back_where_it_did_not_pay() -> None:
    link = Link(30e6, 65e6)
    assert link.go(10)[-1] == 2


def test_what_is_done_in_seconds_is_left_alone() -> None:
    assert set(Link(1e9, 1e12).go(5, rest=int(2e9))) == {1}


def test_there_are_no_more_than_are_to_spare() -> None:
    link = Link(30e6, 1e12, spare=2)
    assert link.go(6)[-1] == 3
    assert link.spare.take(5) == 0
    link.pace.close()
    assert link.spare.take(5) == 2


def test_none_to_spare() -> None:
    assert set(Link(30e6, 1e12, spare=0).go(6)) == {1}


def test_stopping() -> None:
    link = Link(30e6, 1e12)
    link.go(6)
    link.pace.stop(3)
    assert set(link.go(6)) == {3}


@dataclass
class Strand:
    begun: float
    came: int
    rest: int


def test_laggards_are_those_far_below_the_others() -> None:
    pace = Pace(Spare(7))
    fast = [Strand(0, 100_000_000, 10**9), Strand(0, 80_000_000, 10**9)]
    slow = Strand(0, 1_000_000, 10**9)
    strands = [*fast, slow]
    assert pace.is_laggard(slow, strands, 10.0)
    assert not pace.is_laggard(fast[0], strands, 10.0)
    assert not pace.is_laggard(slow, strands, 1.0)  # too young to tell
    assert not pace.is_laggard(Strand(0, 1_000_000, 1000), strands, 10.0)  # nearly done
    assert not pace.is_laggard(slow, [slow], 10.0)  # nobody to compare with
    assert sum(pace.is_laggard(slow, strands, 10.0) for _ in range(100)) < 20
