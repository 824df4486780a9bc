"""The default generator: several others as arms, paid by how often they improve on the best per unit of work.

New bests of an arm are taken as a Poisson process over the work spent on its proposals; its rate has a Gamma belief,
and the arm whose rate drawn from its belief is highest proposes next (Thompson 1933). Old news fade, for an arm that is
good early is often not good late; the belief then falls back to the rate of all arms together, times what tests on
tables say of the arm. A new best counts one, whatever its size, so the scale of the scores does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..choices import Sketch
from .base import Draw, Experience, Generator, News
from .portfolio import Portfolio

PORTFOLIO = "portfolio"
ARMS = (PORTFOLIO, "surrogate", "evolution", "local")
RANDOM = "random"
RANDOM_EVERY = 10
"""Every tenth proposal is random: the only arm that cannot be misled."""
FADE = 0.98
"""Of what was seen, after each further finished rung: half is forgotten after 34."""
EARLY = 200
"""Finished experiments until evolution and local search have caught up with the surrogate on tables."""
PRIOR: Mapping[str, float] = {PORTFOLIO: 16.0, "surrogate": 4.0, "evolution": 0.1, "local": 0.1}
"""Rate of an arm, in rates of all arms together, believed until `EARLY`; later 1."""
STRENGTH = 20.0
"""Experiments' worth of work for which such a belief counts."""


@dataclass(frozen=True)
class Account:
    """What an arm was paid and what it cost, both fading."""

    bests: float = 0.0
    work: float = 0.0


class Bandit(Generator):
    """Asks the arm that pays best now; every tenth proposal is random. All arms are told everything."""

    name: ClassVar[str] = "bandit"

    def __init__(self, draw: Draw, *, seed: int, experience: Experience | None = None) -> None:
        from . import generators  # the list of which this one is a part

        super().__init__(draw, seed=seed, experience=experience)
        kinds = generators()
        names = [name for name in ARMS if name in kinds and (name != PORTFOLIO or self.experience.past)]
        self.arms = {
            name: kinds[name](draw, seed=seed, experience=_own(self.experience, name)) for name in [*names, RANDOM]
        }
        self.accounts = dict.fromkeys(names, Account())
        self._best = -math.inf
        self._work: dict[int, float] = {}

    def propose(self, number: int) -> Sketch:
        order = [] if number % RANDOM_EVERY == 0 else self._order(number)
        for name in order:
            sketch = self.arms[name].propose(number)
            if sketch.identity not in self.begun:  # else the next best arm may know something new
                return replace(sketch, by=name)
        return replace(self.arms[RANDOM].propose(number), by=RANDOM)

    def begin(self, number: int, sketch: Sketch) -> None:
        super().begin(number, sketch)
        for arm in self.arms.values():
            arm.begin(number, sketch)

    def observe(self, news: News) -> None:
        work = max(news.work - self._work.get(news.number, 0.0), 0.0)
        self._work[news.number] = max(news.work, self._work.get(news.number, 0.0))
        better = news.ok and news.score > self._best
        self._best = max(self._best, news.score) if news.ok else self._best
        self.accounts = {
            name: Account(
                FADE * account.bests + (better and name == news.by),
                FADE * account.work + (work if name == news.by else 0.0),
            )
            for name, account in self.accounts.items()
        }
        for arm in self.arms.values():
            arm.observe(news)

    def memory(self) -> dict[str, np.ndarray]:
        return {f"{name}/{key}": array for name, arm in self.arms.items() for key, array in arm.memory().items()}

    def _order(self, number: int) -> list[str]:
        """The arms, the one first whose rate of new bests, drawn from what is believed of it, is highest."""
        generator = np.random.default_rng([self.seed, number, 1])
        unit = sum(self._work.values()) / max(len(self._work), 1) or 1.0
        together = (sum(a.bests for a in self.accounts.values()) + 1) / (
            sum(a.work for a in self.accounts.values()) / unit + 1
        )
        drawn = {}
        for name, account in self.accounts.items():
            arm = self.arms[name]
            if isinstance(arm, Portfolio) and arm.exhausted:
                continue
            prior = PRIOR.get(name, 1.0) if len(self._work) < EARLY else 1.0
            shape, scale = account.bests + STRENGTH * prior * together, 1 / (account.work / unit + STRENGTH)
            drawn[name] = generator.gamma(shape, scale)
        return sorted(drawn, key=lambda name: -drawn[name])


def _own(experience: Experience, name: str) -> Experience:
    """What one arm may know: of the weights its own; of the past nothing but in the portfolio, which has a limit."""
    weights = {
        key.removeprefix(f"{name}/"): array for key, array in experience.weights.items() if key.startswith(f"{name}/")
    }
    return replace(experience, weights=weights, past=experience.past if name == PORTFOLIO else ())
