"""Death tests: what they cut, what they leave alone."""

from __future__ import annotations

import math

from polymath.search.cutters import Standing
from polymath.search.deaths import note, verdict

ALIVE = Standing(3, (1.0, 3.0), (0.4, 0.6), 6.0, 9.0)


def test_who_lives() -> None:
    assert verdict(ALIVE) == ""
    assert verdict(ALIVE, chance=0.5, predictions="a", seen={"a": 3, "b": 1}, work_left=6.0) == ""
    assert verdict(Standing(0, (), (), 1.0, 9.0), chance=0.5, work_left=0.0) == "", "before its first rung"


def test_divergence() -> None:
    for score in (math.nan, -math.inf):
        assert verdict(Standing(3, (1.0,), (score,), 2.0, 9.0)).startswith("diverged")


def test_no_progress() -> None:
    assert verdict(Standing(3, (1.0,), (0.5,), 2.0, 9.0), chance=0.5).startswith("no progress")
    assert verdict(Standing(3, (1.0, 3.0), (0.6, 0.5), 6.0, 9.0), chance=0.5) == "", "it was better once"


def test_the_earlier_of_two_equal_ones_lives() -> None:
    seen: dict[str, int] = {}
    note(seen, "a", 7)
    note(seen, "a", 3)
    note(seen, None, 1)
    assert seen == {"a": 3}
    assert verdict(ALIVE, predictions="a", seen=seen) == ""
    later = Standing(7, (1.0,), (0.6,), 2.0, 9.0)
    assert verdict(later, predictions="a", seen=seen) == "behaves exactly as experiment 3"


def test_too_dear() -> None:
    assert "6 units, 5.9 are left" in verdict(ALIVE, work_left=5.9)
