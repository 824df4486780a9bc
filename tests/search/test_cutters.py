"""Cutters hold their contract, and each its own rule."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from polymath.search.cutters import CUTTERS, Curve, Cutter, Field, Halving, Median, Standing, TopK
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
    data = Standing(5, (5.0,), (0.1,), 1.0, 100.0, shares=(0.25,))
    field = Field([data, standing(1, 0.3, 0.1, dear=7.0), standing(0, 0.1, 0.2)], work_left=math.inf)
    assert field.number.tolist() == [0, 1, 5]
    assert field.share.tolist() == [0.11, 0.33, 0.11, 0.33, 0.25]
    assert field.shares() == [0.33, 0.25]


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
    gone = continued(Halving(), [*slow, *quick])
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
    gone = continued(Median(), [standing(n, n / 10, dear=1 + n % 2) for n in range(6)])
    assert gone == [4, 5, 3], "the upper half, the cheapest rest first"


def test_curve_cuts_the_dear_before_the_cheap() -> None:
    """Two are behind by as much; one costs thirty times the other: only the cheap one is worth its rest."""
    stands = [standing(n, n / 100, dear=2.0) for n in range(7)]
    stands += [standing(7, 0.07), standing(8, 0.05, dear=0.5), standing(9, 0.05, dear=15.0)]
    gone = continued(Curve(), stands)
    assert 8 in gone
    assert 7 in gone, "the best always goes on"
    assert 9 not in gone


def test_curve_believes_in_a_steeper_slope() -> None:
    flat = [standing(n, 0.80 + n / 100, 0.81 + n / 100) for n in range(6)]
    late = standing(6, 0.60, 0.80)
    level = standing(6, 0.79, 0.80)
    cutter = Curve(price=3.0)
    assert 6 in continued(cutter, [*flat, late])
    assert 6 not in continued(cutter, [*flat, level])


def test_curve_does_not_mind_the_unit_of_the_score() -> None:
    scores = [0.1, 0.35, 0.2, 0.44, 0.5, 0.41, 0.05]
    plain = continued(Curve(), [standing(n, s, dear=1 + n) for n, s in enumerate(scores)])
    other = continued(Curve(), [standing(n, 1e3 * s - 1e4, dear=7 + 7 * n) for n, s in enumerate(scores)])
    assert plain == other
    equal = [standing(n, 0.5) for n in range(6)]
    assert Curve().promote(equal, work_left=math.inf) == 0, "no spread at all"


def continued(cutter: Cutter, stands: list[Standing]) -> list[int]:
    """Who is named one after the other, each taken out of the running once named."""
    now, gone = {s.number: s for s in stands}, []
    while (chosen := cutter.promote(list(now.values()), work_left=math.inf)) is not None:
        gone.append(chosen)
        now[chosen] = replace(now[chosen], next_work=0.0)
    return gone
