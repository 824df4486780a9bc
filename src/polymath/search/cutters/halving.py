"""Asynchronous successive halving (Li et al. 2020, 'A System for Massively Parallel Hyperparameter Tuning', alg. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from .base import Cutter, Field, Standing


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
        field = Field(standings, work_left=work_left)
        for share in field.shares():
            here = field.at(share)
            work = field.work[here]
            goes_on = field.waiting[here] & (np.cumsum(work) - work / 2 <= work.sum() / self.eta)
            if goes_on.any():
                return int(field.number[field.owner[here[goes_on][0]]])
        return None
