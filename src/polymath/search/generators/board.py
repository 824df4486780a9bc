"""What a score part of the way says of the end: experiments that were cut beside those that were not.

A net after a ninth of its training is worse than a finished tree, and often the better choice. Scores of unfinished
experiments are therefore carried to the end of their own schedule by what those gained that went on from the same
share of theirs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from statistics import median

from .base import News

REMEMBERED = 100
"""Latest gains from a share that are looked at."""


class Board:
    """The latest news of each experiment, in order of their first news; `foretold` carries scores to the end."""

    def __init__(self) -> None:
        self.latest: dict[int, News] = {}
        self._scores: dict[int, dict[float, float]] = {}
        """Experiment -> share of its schedule -> score."""
        self._gains: dict[float, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
        """Share -> later share -> gains in between."""
        self._best: dict[float, float] = {}
        """Share -> best score there."""
        self._known: dict[float, float] = {}

    def tell(self, news: News) -> None:
        """Takes in the end of a rung; older news of an experiment never replace later ones."""
        known = self.latest.get(news.number)
        if known is None or news.rung >= known.rung:
            self.latest[news.number] = news
        if not news.ok:
            return
        share = round(min(news.share, 1.0), 3)
        self._best[share] = max(news.score, self._best.get(share, -math.inf))
        scores = self._scores.setdefault(news.number, {})
        for earlier, score in scores.items():
            if earlier < share:
                gains = self._gains[earlier][share]
                gains.append(news.score - score)
                del gains[:-REMEMBERED]
        scores[share] = news.score
        self._known.clear()

    def foretold(self, news: News) -> News:
        """The same news with the score that is to be expected at the end of the experiment's schedule."""
        share = round(min(news.share, 1.0), 3)
        if not news.ok or share >= 1.0:
            return news
        return replace(news, score=news.score + self._gain(share))

    def all(self) -> list[News]:
        """The latest news of all experiments, foretold."""
        return [self.foretold(news) for news in self.latest.values()]

    def _gain(self, share: float) -> float:
        """Usual gain from a share to the end. Where nobody has got further, its best is taken to end as the best."""
        if share >= 1.0:
            return 0.0
        if share not in self._known:
            later = {end: median(gains) for end, gains in self._gains.get(share, {}).items()}
            if later:
                end = max(later)
                self._known[share] = later[end] + self._gain(end)
            else:
                self._known[share] = max(self._best.get(1.0, -math.inf) - self._best.get(share, math.inf), 0.0)
        return self._known[share]
