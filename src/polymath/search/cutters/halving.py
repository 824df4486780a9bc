"""Asynchronous successive halving (Li et al. 2020, 'A System for Massively Parallel Hyperparameter Tuning', alg. 2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .base import Cutter


class Halving(Cutter):
    """An experiment goes on when its score is among the best 1/`eta` of all that finished the same rung.

    Differs from the paper in one point: the first `eta` finishers of a rung already send their best one on, so that
    short searches reach the last rung too. `rungs` is the number of rungs of a whole experiment.
    """

    def __init__(self, *, rungs: int, eta: int = 3) -> None:
        self.rungs, self.eta = rungs, eta

    def promote(self, scores: Mapping[int, Sequence[float]], started: Mapping[int, int]) -> int | None:
        for rung in range(self.rungs - 1, 0, -1):  # the most advanced first
            finished = [n for n in scores if len(scores[n]) >= rung and math.isfinite(scores[n][rung - 1])]
            finished.sort(key=lambda n: (-scores[n][rung - 1], n))
            allowed = finished[: len(finished) // self.eta]
            for number in allowed:
                if started[number] == rung and len(scores[number]) == rung:
                    return number
        return None
