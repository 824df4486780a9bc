"""Learns which choices, and which pairs of choices, score well, and proposes what it expects most of.

A ridge regression on all choices and all pairs of choices, refitted for every few proposals; what it expects is blurred
a little, so that it also tries what it is unsure of (Thompson, 1933). It learns ranks, not scores, so that one disaster
does not hide the differences between good ones.
"""

from __future__ import annotations

from collections import deque
from typing import ClassVar

import numpy as np

from ..candidates import Grid, around
from ..choices import Sketch, Trace, at_random
from ..encoding import Encoder, Quadratic, fit, ranked
from .base import Draw, Experience, Generator, News
from .board import Board
from .portfolio import Portfolio

START = 10
"""Experiments before the first fit."""
BATCH = 5
"""Proposals of one fit."""
NOISE = 0.1
"""Blur of what is expected, in units of the targets, which lie in -1.7 ... 1.7."""
RIDGE = 5.0
THRIFT = 0.25
"""What ten times the work must bring, in units of the targets: the same work tries ten cheaper ones."""
MOST = 500
"""Results that a fit uses: of more, the better half of these and a sample of the others."""
PARENTS = 6
"""The best so far, around which a large space is searched."""


class Surrogate(Generator):
    """A model of pairs of choices, fitted to what is known, proposes what it expects to be best.

    It begins with what won on earlier problems, then random ones up to `START`; from there on the data alone decide.
    Models of earlier problems brought nothing more, or did worse (benchmarks/LOG.md): they differ where the best are.
    """

    name: ClassVar[str] = "surrogate"

    def __init__(self, draw: Draw, *, seed: int, experience: Experience | None = None) -> None:
        super().__init__(draw, seed=seed, experience=experience)
        self._encoder = Encoder()
        self._board = Board()
        self._rows: dict[int, np.ndarray] = {}
        self._queue: deque[Sketch] = deque()
        self._grid: Grid | None = None
        self._looked = False
        self._portfolio = Portfolio(draw, seed=seed, experience=self.experience)

    def propose(self, number: int) -> Sketch:
        winner = self._portfolio.winner()
        if winner is not None:
            return winner
        generator = np.random.default_rng([self.seed, number])
        if len(self._board.latest) < START // 2 or len(self.begun) < START:
            return self.draw(at_random(generator))
        while self._queue:
            sketch = self._queue.popleft()
            if sketch.identity not in self.begun:
                return sketch
        self._look()
        self._queue.extend(self._best(self._model(), generator, count=BATCH))
        return self._queue.popleft() if self._queue else self.draw(at_random(generator))

    def begin(self, number: int, sketch: Sketch) -> None:
        super().begin(number, sketch)
        self._portfolio.begin(number, sketch)

    def observe(self, news: News) -> None:
        self._board.tell(news)
        self._portfolio.observe(news)

    def _look(self) -> None:
        """Once, when the first traces are known: is the space small?"""
        if self._looked:
            return
        self._looked = True
        traces = [news.trace for news in self._board.latest.values() if news.ok]
        self._grid = Grid.of(self.draw, traces) if traces else None

    def _model(self) -> Quadratic:
        """Of what is known."""
        known = sorted(self._board.all(), key=lambda news: (-news.score, news.number))
        if len(known) > MOST:
            rest = np.random.default_rng([self.seed, len(known)]).permutation(len(known) - MOST // 2) + MOST // 2
            known = [*known[: MOST // 2], *(known[place] for place in rest[: MOST // 2])]
        return fit(self._rows_of(known), ranked([news.score for news in known]), ridge=RIDGE)

    def _rows_of(self, known: list[News]) -> np.ndarray:
        """The rows of the experiments of this search, each encoded once."""
        fresh = [news for news in known if news.number not in self._rows]
        rows = self._encoded([news.trace for news in fresh])
        self._rows.update(zip((news.number for news in fresh), rows, strict=True))
        found = np.zeros((len(known), self._encoder.width), dtype=np.float32)
        for row, news in zip(found, known, strict=True):
            old = self._rows[news.number]
            row[: len(old)] = old
        return found

    def _encoded(self, traces: list[Trace]) -> np.ndarray:
        return self._encoder.rows(traces) if self._grid is None else self._grid.rows(traces, self._encoder)

    def _best(self, model: Quadratic, generator: np.random.Generator, *, count: int) -> list[Sketch]:
        """New sketches of which the model expects most."""
        ranking = sorted(self._board.all(), key=lambda news: (-news.score, news.number))
        if self._grid is not None:
            top = ranking[0].trace if ranking and ranking[0].ok else None
            return self._grid.best(
                model, self._encoder, count=count, noise=NOISE, generator=generator, begun=self.begun, near=top
            )
        parents = [news.trace for news in ranking[:PARENTS]]
        drawn = around(parents, model, self._encoder, draw=self.draw, count=count, noise=NOISE, generator=generator)
        fresh = {sketch.identity: sketch for sketch in drawn if not sketch.error and sketch.identity not in self.begun}
        rows = self._encoder.rows([sketch.trace for sketch in fresh.values()])
        sketches = list(fresh.values())
        judged = model.widened(self._encoder.width)(rows) + NOISE * generator.standard_normal(len(rows))
        judged -= THRIFT * np.array([sketch.proxies.get("work", 0.0) for sketch in sketches])
        return [sketches[index] for index in np.argsort(-judged, kind="stable")[:count]]
