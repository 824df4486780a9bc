"""The generator that begins with what did well before, the best cover of the earlier problems for its cost first.

First what does best over the earlier problems, then what adds most where those chosen are weak (greedy covering, as
the portfolios of Feurer et al. 2022, auto-sklearn 2.0, arXiv:2007.04074). How a trace would have done where it was not
tried, and what it costs, is guessed by a model of all earlier problems and of what sets each apart: guesses by the most
alike experiments alone did worse (benchmarks/LOG.md). Problems count by the likeness of their fingerprints and, once
there are results, by how well they foretold them: data can switch an earlier problem off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ..choices import Sketch, Trace, as_traced, first, mutated
from ..encoding import Encoder, likeness, pairs
from .base import FIXED, Draw, Experience, Generator, News, Past
from .random import Random

SIZE = 20
"""Traces in the portfolio: what it can cost where no earlier problem is like this one."""
EACH = 5
"""Best traces of each earlier problem that may be in it."""
PROBLEMS = 40
"""Earlier problems that are looked at: the most alike."""
COMPARED = 1000
"""So many of their experiments, evenly over problems and ranks, are used to guess how a trace would have done there."""
LEAST_COMPARED = 25
"""... and so many of each at least."""
TOGETHER, APART = 5.0, 2.0
"""Ridge of the model of all earlier problems, and of what sets each apart from it."""
COST_RIDGE = 1.0
"""Ridge of the model of what a trace costs."""
LEAST_COST = 0.05
"""In the usual work of an experiment: what costs less is no cheaper."""
THRIFT = 0.5
"""Power of its cost by which the merit of a trace is divided: what costs four times as much must add twice."""
TRUST = 5.0
"""Logarithm of how much more a problem counts that foretold all ranks here than one that foretold none."""
DOUBT = 5
"""So many results here count for as much as the fingerprint alone."""
ON_THE_WHOLE = 0.1
"""What merit over all problems counts beside what it adds to the cover: more than a cover of doubtful problems."""
LEAST_MERIT = 0.01
"""On the whole: a guess of nothing or less must not turn cheap and dear around."""


class Portfolio(Generator):
    """Proposes what did well before, best cover first; without any left, mutations of the best and random."""

    name: ClassVar[str] = "portfolio"

    def __init__(self, draw: Draw, *, seed: int, experience: Experience | None = None) -> None:
        super().__init__(draw, seed=seed, experience=experience)
        fingerprint = self.experience.fingerprint
        past = [one for one in self.experience.past if any(news.ok for news in one.news)]
        past = sorted(past, key=lambda one: -likeness(fingerprint, one.fingerprint))[:PROBLEMS]
        self._likeness = np.array([likeness(fingerprint, one.fingerprint) for one in past])
        self._lessons = Lessons(past) if past else None
        found = {news.trace.digest: news.trace for one in past for news in _winners(one)}
        self._candidates = list(found.values())
        self._open = [True] * len(found)
        self._covered = np.zeros(len(past))
        if self._lessons is not None and found:
            self._values = self._lessons.merits(self._candidates)
            """How well each candidate did, or would have done, on each earlier problem: 1 the best, 0 the worst."""
            self._costs = np.maximum(self._lessons.costs(self._candidates), LEAST_COST) ** THRIFT
        self._told: dict[int, News] = {}
        self._foretold: dict[int, np.ndarray] = {}
        self._random = Random(draw, seed=seed)

    @property
    def exhausted(self) -> bool:
        """Whether all that it has to propose was proposed."""
        return self._open.count(False) >= SIZE or not any(self._open)

    def propose(self, number: int) -> Sketch:
        return self.winner() or self._near_the_best(number)

    def winner(self) -> Sketch | None:
        """The next of the portfolio that is new here; None when it is exhausted."""
        while not self.exhausted:
            chosen = self._next()
            self._open[chosen] = False
            self._covered = np.maximum(self._covered, self._values[chosen])
            sketch = replayed(self.draw, self._candidates[chosen])
            if not sketch.error and sketch.identity not in self.begun:
                return sketch
        return None

    def observe(self, news: News) -> None:
        self._told[news.number] = news
        if self._lessons is not None and news.number not in self._foretold:
            self._foretold[news.number] = self._lessons.merits([news.trace])[0]

    def _next(self) -> int:
        """The open candidate that adds most to what is covered for its cost; with nothing to add, the best of all."""
        weights = self._likeness * self._agreement()
        weights = weights / weights.sum()
        gains = np.maximum(self._values - self._covered, 0) @ weights if self._covered.any() else 0.0
        merit = (gains + ON_THE_WHOLE * np.maximum(self._values @ weights, LEAST_MERIT)) / self._costs
        return int(np.argmax(np.where(self._open, merit, -np.inf)))

    def _agreement(self) -> np.ndarray:
        """How well the results of each earlier problem foretold the ranks seen here, as a factor of its weight."""
        scores = np.array([news.score for news in self._told.values()])
        if len(scores) < DOUBT:
            return np.ones(len(self._likeness))
        foretold = np.array([self._foretold[number] for number in self._told]).T
        ranks = _ranks(scores)
        correlations = np.array([_correlation(_ranks(column), ranks) for column in foretold])
        factors: np.ndarray = np.exp(TRUST * correlations * len(scores) / (len(scores) + DOUBT))
        return factors

    def _near_the_best(self, number: int) -> Sketch:
        """The default, then in turn a mutation of the best so far and a random sketch."""
        if number % 2 == 0:
            return self._random.propose(number)
        best = max(self._told.values(), key=lambda news: (news.score, -news.number), default=None)
        trace = best.trace if best is not None and best.ok else self.draw(first).trace
        return self.draw(mutated(trace, np.random.default_rng([self.seed, number])))


class Lessons:
    """What earlier problems say of a trace: how good it would have been on each of them, and what it costs."""

    def __init__(self, past: Sequence[Past]) -> None:
        each = max(COMPARED // len(past), LEAST_COMPARED)
        kept = [_spread(sorted(one.news, key=lambda news: (-news.score, news.number)), each) for one in past]
        merits, costs = (np.concatenate([of(one) for one in kept]) for of in (_merits, _costs))
        self._encoder = Encoder()
        self._rows = self._encoder.rows([news.trace for one in kept for news in one])
        alike = pairs(self._rows, self._rows)
        self._middle, self._cost_middle = merits.mean(), costs.mean()
        together = _solved(alike, merits - self._middle, ridge=TOGETHER)
        apart = merits - self._middle - alike @ together
        self._duals = np.repeat(together[:, None], len(past), axis=1)
        """(experiments, problems): the model of all together, and what sets each problem apart."""
        ends = np.cumsum([len(one) for one in kept])
        for problem, (end, one) in enumerate(zip(ends, kept, strict=True)):
            own = slice(end - len(one), end)
            self._duals[own, problem] += _solved(alike[own, own], apart[own], ridge=APART)
        self._cost_dual = _solved(alike, costs - self._cost_middle, ridge=COST_RIDGE)

    def merits(self, traces: Sequence[Trace]) -> np.ndarray:
        """(traces, problems): 1 like the best there, 0 like the worst."""
        return np.asarray(self._middle + self._alike(traces) @ self._duals)

    def costs(self, traces: Sequence[Trace]) -> np.ndarray:
        """Work of a whole experiment with each trace, in the usual work of an experiment."""
        return np.asarray(10.0 ** (self._cost_middle + self._alike(traces) @ self._cost_dual))

    def _alike(self, traces: Sequence[Trace]) -> np.ndarray:
        rows = self._encoder.rows(traces)
        self._rows = self._encoder.widened(self._rows)
        return pairs(rows, self._rows)


def _solved(alike: np.ndarray, targets: np.ndarray, *, ridge: float) -> np.ndarray:
    """What each example counts in a ridge regression by a kernel."""
    found: np.ndarray = np.linalg.solve(alike + ridge * np.eye(len(alike)), targets)
    return found


def _winners(past: Past) -> list[News]:
    """The best of what was proposed; what is always tried is tried here too."""
    proposed = [news for news in past.news if news.ok and news.by != FIXED]
    return sorted(proposed, key=lambda news: (-news.score, news.number))[:EACH]


def _spread(ranking: list[News], most: int) -> list[News]:
    """At most so many of a ranking, evenly."""
    return ranking if len(ranking) <= most else [ranking[n * len(ranking) // most] for n in range(most)]


def _merits(news: Sequence[News]) -> np.ndarray:
    """By the logarithm of the rank, 1 the best: who was first or fifth matters more than who was 50th or 90th."""
    ranks = len(news) - 1 - _ranks(np.array([one.score for one in news]))
    merits = 1 - np.log1p(ranks) / np.log(max(len(news), 2))
    return np.where([one.ok for one in news], np.maximum(merits, 0), 0)


def _costs(news: Sequence[News]) -> np.ndarray:
    """Logarithm of the work that each would have taken to its end, about the mean."""
    works = np.log10([max(one.work, 1e-9) / max(one.share, 1e-9) for one in news])
    return np.asarray(works - works.mean())


def replayed(draw: Draw, trace: Trace) -> Sketch:
    """What a trace of another problem builds in this space: its options found again wherever they stand in the lists.

    An option that is offered no more falls to the default, a number to the nearest bound.
    """
    wanted = {choice.name: choice for choice in trace.choices if choice.kind == "options"}
    changed: dict[str, float] = {}
    sketch = draw(as_traced(trace))
    while True:
        wrong = next(
            (
                choice
                for choice in sketch.trace.choices
                if choice.name in wanted and choice.name not in changed and choice.token != wanted[choice.name].token
            ),
            None,
        )
        if wrong is None:
            return sketch
        for answer in [*range(wrong.options), 0]:
            changed[wrong.name] = float(answer)
            sketch = draw(as_traced(trace, changed=changed))
            now = next((choice for choice in sketch.trace.choices if choice.name == wrong.name), wrong)
            if now.token == wanted[wrong.name].token:
                break


def _ranks(values: np.ndarray) -> np.ndarray:
    """How many are smaller than each value; equal ones, failures for example, share the highest rank of them."""
    return np.searchsorted(np.sort(values), values, side="right").astype(float) - 1


def _correlation(ones: np.ndarray, others: np.ndarray) -> float:
    """Of two lists of numbers; 0 where one does not vary."""
    spread = ones.std() * others.std()
    return float(((ones - ones.mean()) * (others - others.mean())).mean() / spread) if spread > 0 else 0.0
