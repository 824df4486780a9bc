"""Asynchronous successive halving (Li et al. 2020, 'A System for Massively Parallel Hyperparameter Tuning', alg. 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from .base import Cutter, Standing


class Halving(Cutter):
    """An experiment goes on when its score is among the best 1/`eta` of all that finished the same rung.

    Differs from the paper in one point: the first `eta` finishers of a rung already send their best one on, so that
    short searches reach the last rung too.
    """

    name: ClassVar[str] = "halving"

    def __init__(self, *, eta: int = 3) -> None:
        self.eta = eta

    def promote(self, standings: Sequence[Standing], *, work_left: float) -> int | None:
        for rung in range(max((len(s.scores) for s in standings), default=0), 0, -1):  # the most advanced first
            finished = [s for s in standings if len(s.scores) >= rung and math.isfinite(s.scores[rung - 1])]
            finished.sort(key=lambda s: (-s.scores[rung - 1], s.number))
            for standing in finished[: len(finished) // self.eta]:
                if len(standing.scores) == rung and standing.may_go_on:
                    return standing.number
        return None
