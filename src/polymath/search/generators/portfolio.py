"""The generator that begins with what won before: of each earlier problem the best, which together do well on all.

First the winner that does best over the earlier problems, then the one that improves most where those chosen are weak
(greedy covering, as the portfolios of Feurer et al. 2022, auto-sklearn 2.0, arXiv:2007.04074). Problems count by the
likeness of their fingerprints and, once there are results, by how well they foretold them: data can switch an earlier
problem off. Only winners: a second of the same problem tells little that is new, and ten chosen among 20 of each by
what the other problems let guess of them did worse (benchmarks/LOG.md).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..choices import Sketch, Trace, as_traced, first, mutated, offer_of
from ..encoding import likeness
from .base import FIXED, Draw, Experience, Generator, News, Past
from .random import Random

SIZE = 10
"""Traces in the portfolio: what it can cost where no earlier problem is like this one."""
COMPARED = 300
"""So many experiments of an earlier problem are used to guess how a trace would have done there."""
LIKE = 0.03
"""What an experiment counts in a guess for each answer in which it differs: those that equal the trace decide."""
UNLIKE = 1e-6
"""What the mean of all counts in a guess: it decides where nothing is alike."""
PLACES = 5
"""Numbers are compared by the sixth of their range in which they lie."""
TRUST = 5.0
"""Logarithm of how much more a problem counts that foretold all ranks here than one that foretold none."""
LEAST_COST = 0.05
"""In the usual work of an experiment: what costs less is no cheaper. Of two good winners the cheaper comes first."""
DOUBT = 5
"""So many results here count for as much as the fingerprint alone."""
ON_THE_WHOLE = 0.1
"""What merit over all problems counts beside what it adds to the cover: more than a cover of doubtful problems."""


class Portfolio(Generator):
    """Proposes winners of earlier problems, best cover first; without any left, mutations of the best and random."""

    name: ClassVar[str] = "portfolio"

    def __init__(self, draw: Draw, *, seed: int, experience: Experience | None = None) -> None:
        super().__init__(draw, seed=seed, experience=experience)
        past = [one for one in self.experience.past if any(news.ok for news in one.news)]
        self._likeness = np.array([likeness(self.experience.fingerprint, one.fingerprint) for one in past])
        self._problems = [_Problem(one) for one in past]
        found: dict[frozenset[str], Trace] = {}
        costs: dict[frozenset[str], list[float]] = {}
        for problem in self._problems:
            for winner in problem.winner:
                words = _words(winner.trace)
                found.setdefault(words, winner.trace)
                costs.setdefault(words, []).append(max(winner.work / problem.usual, LEAST_COST))
        self._candidates = list(found.values())
        self._costs = np.array([float(np.median(costs[words])) for words in found])
        """Work of each candidate where it won, in the usual work of an experiment there."""
        self._values = np.array([[p.guess(words) for p in self._problems] for words in found])
        """How well each candidate did, or would have done, on each earlier problem: 1 the best, 0 the worst."""
        self._open = [True] * len(self._candidates)
        self._covered = np.zeros(len(self._problems))
        self._told: dict[int, News] = {}
        self._foretold: dict[int, list[float]] = {}
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
        if self._problems and news.number not in self._foretold:
            words = _words(news.trace)
            self._foretold[news.number] = [problem.guess(words) for problem in self._problems]

    def _next(self) -> int:
        """The open candidate that adds most to what is covered for its cost; with nothing to add, the best of all."""
        weights = self._likeness * self._agreement()
        weights = weights / weights.sum()
        gains = np.maximum(self._values - self._covered, 0) @ weights if self._covered.any() else 0.0
        merit = (gains + ON_THE_WHOLE * (self._values @ weights)) / self._costs
        return int(np.argmax(np.where(self._open, merit, -np.inf)))

    def _agreement(self) -> np.ndarray:
        """How well the results of each earlier problem foretold the ranks seen here, as a factor of its weight."""
        scores = np.array([news.score for news in self._told.values()])
        if len(scores) < DOUBT:
            return np.ones(len(self._problems))
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


class _Problem:
    """Ranks of the experiments of one earlier problem, and what they say of a trace that was not among them."""

    def __init__(self, past: Past) -> None:
        order = sorted(past.news, key=lambda news: (-news.score, news.number))
        kept = order if len(order) <= COMPARED else [order[n * len(order) // COMPARED] for n in range(COMPARED)]
        self.usual = float(np.mean([news.work for news in order])) or 1.0
        """Work of an experiment there."""
        self.winner = [news for news in order if news.ok and news.by != FIXED][:1]
        """The best of what was proposed; what is always tried is tried here too."""
        # By the logarithm of the rank: who was first or fifth matters more than who was 50th or 90th.
        ranks = len(kept) - 1 - _ranks(np.array([news.score for news in kept]))
        merits = 1 - np.log1p(ranks) / np.log(max(len(kept), 2))
        self._merits = np.where([news.ok for news in kept], np.maximum(merits, 0), 0)
        kept_words = [_words(news.trace) for news in kept]
        self._columns = {word: n for n, word in enumerate(sorted(frozenset().union(*kept_words)))}
        self._table = np.zeros((len(kept), len(self._columns)), dtype=np.float32)
        for row, words in zip(self._table, kept_words, strict=True):
            row[[self._columns[word] for word in words]] = 1
        self._sizes = self._table.sum(1)

    def guess(self, words: frozenset[str]) -> float:
        """What a trace of these words is worth here: the mean of its likes, the more alike the weightier."""
        asked = np.zeros(len(self._columns), dtype=np.float32)
        asked[[self._columns[word] for word in words if word in self._columns]] = 1
        differing = (self._sizes + len(words)) / 2 - self._table @ asked
        weights = LIKE**differing + UNLIKE
        return float(weights @ self._merits / weights.sum())


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


def _words(trace: Trace) -> frozenset[str]:
    """The choices of a trace as words that other problems' traces may share."""
    found = []
    for choice in trace.choices:
        told = choice.token if choice.kind == "options" else round(PLACES * offer_of(choice).place(choice.answer))
        found.append(f"{choice.name}={told}")
    return frozenset(found)


def _ranks(values: np.ndarray) -> np.ndarray:
    """How many are smaller than each value; equal ones, failures for example, share the highest rank of them."""
    return np.searchsorted(np.sort(values), values, side="right").astype(float) - 1


def _correlation(ones: np.ndarray, others: np.ndarray) -> float:
    """Of two lists of numbers; 0 where one does not vary."""
    spread = ones.std() * others.std()
    return float(((ones - ones.mean()) * (others - others.mean())).mean() / spread) if spread > 0 else 0.0
