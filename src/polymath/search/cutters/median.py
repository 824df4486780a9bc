"""Median stopping (Golovin et al. 2017, 'Google Vizier: A Service for Black-Box Optimization', section 3.2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median
from typing import ClassVar

from .base import Cutter, Standing, by_progress


class Median(Cutter):
    """An experiment goes on when its best score so far is not below the median of running means.

    The median is over all that finished the same share of their schedules; until they are more than `least`, nobody is
    judged and new experiments begin. Among those that pass, the one with the most of its schedule done goes first, then
    the cheapest rest.
    """

    name: ClassVar[str] = "median"

    def __init__(self, *, least: int = 3) -> None:
        self.least = least

    def promote(self, standings: Sequence[Standing], *, work_left: float) -> int | None:
        finished = by_progress(standings)
        for share in sorted(finished, reverse=True):
            here = finished[share]
            waiting = [s for _, s, rung in here if len(s.scores) == rung + 1 and s.may_go_on]
            if not waiting or len(here) <= self.least:
                continue
            bar = median(fmean(s.scores[: rung + 1]) if rung else s.scores[0] for _, s, rung in here)
            passed = [s for s in waiting if max(s.scores) >= bar and s.next_work <= work_left]
            if passed:
                return min(passed, key=lambda s: (s.work_left, -max(s.scores), s.number)).number
        return None
