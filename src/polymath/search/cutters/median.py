"""Median stopping (Golovin et al. 2017, 'Google Vizier: A Service for Black-Box Optimization', section 3.2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from .base import Cutter, Field, Standing


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
        field = Field(standings, work_left=work_left)
        if not len(field.number):
            return None
        best = np.maximum.reduceat(field.score, field.first)
        sums = np.cumsum(np.where(field.alive, field.score, 0.0))
        before = np.concatenate([[0.0], sums])[field.first][field.owner]
        means = (sums - before) / (np.arange(len(sums)) - field.first[field.owner] + 1)
        for share in field.shares():
            here = field.at(share)
            if len(here) <= self.least:
                continue
            passed = field.owner[here[field.waiting[here]]]
            passed = passed[best[passed] >= np.median(means[here])]
            if len(passed):
                order = np.lexsort((passed, -best[passed], field.rest[passed]))
                return int(field.number[passed[order[0]]])
        return None
