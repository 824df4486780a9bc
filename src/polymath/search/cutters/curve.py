"""Cuts what its learning curve promises too little for its cost: expected improvement per unit of work.

Expected improvement is that of Mockus (1975); paying for it by cost is as in Snoek et al. 2012, arXiv 1206.2944, 3.2.
Compared is at equal shares of own schedules, where the curves of one problem rise together: the gap between two
experiments at a share predicts their gap at the end far better than any extrapolation of one curve predicts its end
(benchmarks/LOG.md, LCDB).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from scipy.special import ndtr

from .base import Cutter, Field, FloatArray, IntArray, Standing


class Curve(Cutter):
    """An experiment goes on when what it may gain over the best at its share is worth the work to its end.

    Its gap at the end = gap now + `trend` x (difference of slopes) x doublings left (2 at most), with a standard
    deviation of (`doubt` x spread + |difference of slopes|) x doublings left; slopes are per doubling of the share, and
    the spread is the median gap to the best where most have finished, so that the unit of the score does not matter.
    Before it has a slope, an experiment is doubted `first` times as much. The gain is the expected improvement in
    spreads; the rest of an experiment of average cost must gain `price`, others in proportion. The best at its share
    always goes on; before `least` have finished the same rung nobody does.
    """

    name: ClassVar[str] = "curve"

    def __init__(
        self, *, price: float = 0.7, doubt: float = 0.12, first: float = 5.0, trend: float = 0.2, least: int = 3
    ) -> None:
        self.price, self.doubt, self.first, self.trend, self.least = price, doubt, first, trend, least

    def promote(self, standings: Sequence[Standing], *, work_left: float) -> int | None:
        field = Field(standings, work_left=work_left)
        shares = field.shares()
        if not shares:
            return None
        spread = self._spread(field)
        if spread is None:
            return None
        slopes = _slopes(field)
        price = self.price / field.full_work.mean()
        chosen, highest = None, 0.0
        for share in shares:
            here = field.at(share)
            gain = self._gain(field, here, slopes=slopes[here], spread=spread)
            rest = np.maximum(field.rest[field.owner[here]], 1e-300)
            passed = field.waiting[here] & (gain > price * rest)
            passed[0] = field.waiting[here[0]]
            rates = np.where(passed, np.maximum(gain, 1e-12) / rest, 0.0)
            best = int(rates.argmax())
            if rates[best] > highest:
                chosen, highest = int(field.number[field.owner[here[best]]]), float(rates[best])
        return chosen

    def _spread(self, field: Field) -> float | None:
        """Median gap to the best at the share that most have finished; None while those are too few."""
        shares, counts = np.unique(field.share[field.alive], return_counts=True)
        if not len(counts) or counts.max() < self.least:
            return None
        scores = field.score[field.at(float(shares[counts.argmax()]))]
        return max(float(scores[0] - np.median(scores)), 1e-9 * max(abs(float(scores[0])), 1e-9))

    def _gain(self, field: Field, here: IntArray, *, slopes: FloatArray, spread: float) -> FloatArray:
        """Expected improvement over the best, in spreads, of every entry at one share; `here[0]` is the best."""
        doublings = math.log2(1.0 / min(float(field.share[here[0]]), 0.999))
        scores = field.score[here]
        rival = np.full(len(here), scores[0])
        if len(here) > 1:
            rival[0] = scores[1]
        steeper = np.nan_to_num(slopes - slopes[0])
        mean = scores - rival + self.trend * steeper * min(doublings, 2.0)
        doubt = np.where(np.isnan(slopes), self.first, 1.0) * self.doubt
        deviation = doublings * (doubt * spread + np.abs(steeper))
        z = mean / deviation
        gain: FloatArray = deviation * (z * ndtr(z) + np.exp(-z * z / 2) / math.sqrt(2 * math.pi)) / spread
        return gain


def _slopes(field: Field) -> FloatArray:
    """Rise of the score per doubling of the share since the rung before, for each entry; NaN at first rungs."""
    slopes = np.full(len(field.score), math.nan)
    later = np.flatnonzero(np.diff(field.owner, prepend=-1) == 0)
    later = later[field.alive[later]]
    rise = field.score[later] - field.score[later - 1]
    slopes[later] = rise / np.maximum(np.log2(field.share[later] / field.share[later - 1]), 1e-3)
    return slopes
