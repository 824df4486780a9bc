"""Ageing evolution: the best of a few takes a small change, and the oldest dies, however good it was."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..choices import Sketch, at_random, crossed, mutated
from .base import Draw, Experience, Generator, News
from .board import Board

POPULATION = 15
"""Alive at once. With 50 it is still random at 50 experiments."""
TOURNAMENT = 3
CROSSING = 0.1
"""Share of children with two parents."""
TRIES = 10
"""Children made for one proposal before one that has been tried before is let through."""


class Evolution(Generator):
    """Regularised evolution (Real, Aggarwal, Huang, Le, 2019, arXiv 1802.01548), asynchronous.

    The population is the last `POPULATION` experiments that have ended, whoever proposed them. A parent is the best of
    `TOURNAMENT` of them; a child has one choice changed, now and then it is first crossed with a second parent.
    """

    name: ClassVar[str] = "evolution"

    def __init__(self, draw: Draw, *, seed: int, experience: Experience | None = None) -> None:
        super().__init__(draw, seed=seed, experience=experience)
        self._board = Board()

    def propose(self, number: int) -> Sketch:
        generator = np.random.default_rng([self.seed, number])
        alive = [self._board.foretold(news) for news in list(self._board.latest.values())[-POPULATION:]]
        sketch = self.draw(at_random(generator))
        for _ in range(TRIES):
            if len(alive) >= POPULATION:
                sketch = self._child(alive, generator)
            if sketch.identity not in self.begun and not sketch.error:
                return sketch
            if len(alive) < POPULATION:
                sketch = self.draw(at_random(generator))
        return sketch

    def _child(self, alive: list[News], generator: np.random.Generator) -> Sketch:
        trace = self._parent(alive, generator).trace
        if generator.random() < CROSSING:
            trace = self.draw(crossed(trace, self._parent(alive, generator).trace, generator)).trace
        return self.draw(mutated(trace, generator))

    def _parent(self, alive: list[News], generator: np.random.Generator) -> News:
        chosen = generator.choice(len(alive), size=min(TOURNAMENT, len(alive)), replace=False)
        return max((alive[int(place)] for place in chosen), key=lambda news: (news.score, -news.number))

    def observe(self, news: News) -> None:
        """A later rung updates the score; age counts from the first."""
        self._board.tell(news)
