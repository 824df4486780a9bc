"""Asynchronous successive halving (Li et al. 2020, 'A System for Massively Parallel Hyperparameter Tuning', alg. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from .base import Cutter, Standing, by_progress


class Halving(Cutter):
    """An experiment goes on when it is in the best 1/`eta` of the work of all that finished the same rung.

    Differs from the paper in two points. The best third is counted in work, not in heads: ranked by score, each takes
    up the work of its rungs so far, and goes on when the middle of what it takes lies in the first third, so that slow
    experiments do not crowd out quick ones; with equal works this is the paper's rule, rounded instead of floored. And
    the better half of two finishers already goes on, so that short searches reach the last rung too.
    """

    name: ClassVar[str] = "halving"

    def __init__(self, *, eta: int = 3) -> None:
        self.eta = eta

    def promote(self, standings: Sequence[Standing], *, work_left: float) -> int | None:
        finished = by_progress(standings)
        for share in sorted(finished, reverse=True):  # the most advanced first
            here = finished[share]
            if not any(len(s.scores) == rung + 1 and s.may_go_on for _, s, rung in here):
                continue
            here.sort(key=lambda one: (-one[0], one[1].number))
            quota = sum(s.works[rung] for _, s, rung in here) / self.eta
            taken = 0.0
            for _, standing, rung in here:
                work = standing.works[rung]
                if taken + work / 2 > quota:
                    break
                taken += work
                if len(standing.scores) == rung + 1 and standing.may_go_on and standing.next_work <= work_left:
                    return standing.number
        return None
