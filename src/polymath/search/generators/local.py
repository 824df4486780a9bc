"""Local search: tries all that differs from the best in one choice, moves to what is better, else starts anew."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..choices import Sketch, as_traced, at_random, neighbours
from .base import Draw, Experience, Generator, News
from .board import Board

START = 10
"""Random experiments, the best of which is where the first climb begins."""
RESTART = 3
"""Random experiments before each further climb."""


class Local(Generator):
    """Hill climbing over single choices, neighbours in random order (White et al., 2020, arXiv 2005.02960).

    Any experiment that does better than the top of the climb becomes its top, whoever proposed it. When all neighbours
    of the top have been tried, the next climb begins at the best of a few random experiments.
    """

    name: ClassVar[str] = "local"

    def __init__(self, draw: Draw, *, seed: int, experience: Experience | None = None) -> None:
        super().__init__(draw, seed=seed, experience=experience)
        self._board = Board()
        self._top: News | None = None
        self._around: list[dict[str, float]] = []
        """Changes of the top that have not been tried, the next one last."""
        self._random_left = START

    def propose(self, number: int) -> Sketch:
        generator = np.random.default_rng([self.seed, number])
        if self._random_left > 0 or self._top is None:
            self._random_left -= 1
            return self.draw(at_random(generator))
        while self._around:
            changed = self._around.pop()
            sketch = self.draw(as_traced(self._top.trace, otherwise=at_random(generator), changed=changed))
            if sketch.identity not in self.begun and not sketch.error:
                return sketch
        self._top, self._random_left = None, RESTART - 1
        return self.draw(at_random(generator))

    def observe(self, news: News) -> None:
        self._board.tell(news)
        if not news.ok:
            return
        news = self._board.foretold(news)
        if self._top is None or news.score > self._top.score:
            self._climb(news)
        elif news.number == self._top.number and news.rung > self._top.rung:
            self._top = news

    def _climb(self, top: News) -> None:
        """From here on around `top`."""
        changes = list(neighbours(top.trace))
        order = np.random.default_rng([self.seed, top.number, len(changes)]).permutation(len(changes))
        self._top, self._around = top, [changes[int(place)] for place in order]
