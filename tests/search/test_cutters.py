"""Cutters hold their contract, and each its own rule."""

from __future__ import annotations

import math

import pytest

from polymath.search.cutters import CUTTERS, Cutter, Halving, Median, Standing, TopK
from polymath.testing import check_cutter


def standing(number: int, *scores: float, dear: float = 1.0, running: bool = False) -> Standing:
    works = (dear, 3 * dear, 9 * dear)
    ahead = works[len(scores)] - works[len(scores) - 1] if len(scores) < 3 else 0.0
    return Standing(number, works[: len(scores)], scores, ahead, works[-1], running)


@pytest.mark.parametrize("kind", CUTTERS, ids=lambda kind: kind.name)
def test_contract(kind: type[Cutter]) -> None:
    check_cutter(kind)


@pytest.mark.parametrize("kind", CUTTERS, ids=lambda kind: kind.name)
def test_schedules_of_other_lengths_are_not_compared(kind: type[Cutter]) -> None:
    """Ten experiments have just begun long schedules; one of a short schedule is half through with a higher score."""
    begun = [Standing(n, (9.0,), (0.1 * n,), 18.0, 81.0) for n in range(10)]
    other = Standing(10, (9.0,), (5.0,), 9.0, 18.0)
    chosen = kind().promote([*begun, other], work_left=math.inf)
    alone = kind().promote(begun, work_left=math.inf)
    assert chosen in {alone, 10}, "half a short schedule says nothing about a ninth of a long one"


def test_progress_is_by_share_of_the_own_schedule() -> None:
    assert standing(0, 0.1, 0.2).progress == standing(1, 0.3, 0.1, dear=7.0).progress == (0.11, 0.33)
    assert Standing(0, (5.0,), (0.1,), 1.0, 100.0, shares=(0.25,)).progress == (0.25,)


def test_halving_sends_on_the_best_third_and_the_most_advanced_first() -> None:
    first = [standing(n, n / 10) for n in range(9)]
    assert Halving().promote(first, work_left=math.inf) == 8
    first[8] = standing(8, 0.8, 0.9)
    assert Halving().promote(first, work_left=math.inf) == 7
    first[7], first[6] = standing(7, 0.7, 0.8), standing(6, 0.6, 0.7)
    assert Halving().promote(first, work_left=math.inf) == 8, "the most advanced first"
    first[8] = standing(8, 0.8, 0.9, 1.0)
    assert Halving().promote(first, work_left=math.inf) is None, "three of nine went on"


def test_halving_counts_work_and_not_heads() -> None:
    """Six quick ones and three slow ones, the slow ones best: one slow one fills the third of the work."""
    slow = [standing(n, 1.0 + n, dear=10.0) for n in range(3)]
    quick = [standing(n, 0.1 * n) for n in range(3, 9)]
    gone = []
    stands = {s.number: s for s in (*slow, *quick)}
    while (chosen := Halving().promote(list(stands.values()), work_left=math.inf)) is not None:
        gone.append(chosen)
        stands[chosen] = Standing(chosen, stands[chosen].works, stands[chosen].scores, 0.0, stands[chosen].full_work)
    assert gone == [2]


def test_top_k_waits_for_the_whole_wave() -> None:
    cutter = TopK(wave=4, best=2)
    wave = [standing(n, n / 10) for n in range(3)]
    assert cutter.promote(wave, work_left=math.inf) is None
    wave.append(standing(3, 0.15))
    assert cutter.promote(wave, work_left=math.inf) == 2
    wave[2] = standing(2, 0.2, 0.3, running=True)
    assert cutter.promote(wave, work_left=math.inf) == 3
    wave[3] = standing(3, 0.15, -math.inf)
    assert cutter.promote(wave, work_left=math.inf) is None, "a failure is not replaced by the third"


def test_top_k_takes_the_cheaper_of_equals() -> None:
    wave = [standing(0, 0.5, dear=4.0), standing(1, 0.5), standing(2, 0.1)]
    assert TopK(wave=3, best=1).promote(wave, work_left=math.inf) == 1


def test_median_stops_the_lower_half() -> None:
    assert Median().promote([standing(n, n / 10) for n in range(3)], work_left=math.inf) is None, "too few to judge by"
    stands = {n: standing(n, n / 10, dear=1 + n % 2) for n in range(6)}
    gone = []
    while (chosen := Median().promote(list(stands.values()), work_left=math.inf)) is not None:
        gone.append(chosen)
        stands[chosen] = Standing(chosen, stands[chosen].works, stands[chosen].scores, 0.0, stands[chosen].full_work)
    assert gone == [4, 5, 3], "the upper half, the cheapest rest first"
