"""The recurrent controller of Zoph and Le (2017, arXiv 1611.01578): an LSTM that answers a space token by token.

It is trained by REINFORCE with a moving-average baseline (`Reinforce`), or by proximal policy optimisation (`Ppo`;
Schulman et al. 2017, arXiv 1707.06347). Both differ from the publication where small budgets ask for it: a higher
rate, several steps on the latest experiments, the share of experiments that are worse as the reward (any scale of
scores will do, a failure is the worst), and imitation of the best experiments known (Abolafia et al. 2018, arXiv
1801.03526). `Reinforce2017` is the published one. Numbers: benchmarks/LOG.md.

Skip connections are choices named "A.from.B"; see `Pass`. One controller serves many problems: its first input is a
linear map of the numbers that describe the problem, and `memory` gives its weights by names that hold in any problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...choices import Sketch, Trace
from ..base import Draw, Experience, Generator, News, Past
from .policy import Episode, Pass, Policy, sampled, traced
from .settings import Settings

if TYPE_CHECKING:
    from .learning import Learner, Lesson

TRIES = 12
"""Passes for one proposal, as long as all of them build what has begun before."""
HEATING = 1.15
"""Each such pass is hotter than the one before by this factor."""
RARER = 20
"""There is a lesson when the experiments have grown by this part, once these are more than `Settings.every`."""
TRUST = 0.5
"""Of the difference between remembered and fresh weights, what is kept at most after the first experiments."""
PROBLEMS = 8
"""Earlier problems, the latest ones, that a controller without weights looks at before it begins."""
LOOKS = 6
"""Lessons from their best experiments."""


@dataclass
class Tried:
    """One experiment as the controller knows it."""

    episode: Episode
    own: bool
    """Whether it was proposed here, so that its probability at that time is known."""
    recalled: bool = False
    """Whether experience of earlier problems proposed it."""
    rung: int = -1
    score: float = -np.inf
    counted: bool = False
    """Whether its reward is part of the baseline."""

    @property
    def ok(self) -> bool:
        return bool(np.isfinite(self.score))


class Controller(Generator):
    """What both ways of training share: the policy proposes, finished experiments are lessons.

    The gradient follows only experiments that this controller proposed, for only of these it knows how likely they
    were. Those of others count in the ranks, and are imitated when they are among the best. Lessons are given when
    a proposal is asked for, so that an arm that a bandit never asks costs nothing.
    """

    settings: ClassVar[Settings] = Settings()

    def __init__(self, draw: Draw, *, seed: int, experience: Experience | None = None) -> None:
        super().__init__(draw, seed=seed, experience=experience)
        self.policy = Policy(
            layers=self.settings.layers, units=self.settings.units, fingerprint=self.experience.fingerprint
        )
        self._experienced = self.policy.remember(self.experience.weights)
        self._schooled = self._experienced or not any(past.news for past in self.experience.past)
        self._learner: Learner | None = None
        self._proposed: dict[str, tuple[Episode, bool]] = {}
        self._tried: dict[int, Tried] = {}
        self._new = 0
        self._baseline: float | None = None

    def propose(self, number: int) -> Sketch:
        if not self._schooled:
            self._go_to_school()
        often = max(self.settings.every, len(self._tried) // RARER)  # so that a long search is not slowed by lessons
        own = sum(one.own for one in self._tried.values()) if self._experienced else self.settings.first
        if self._new >= often and min(own, len(self._tried)) >= self.settings.first:
            self._new = 0
            self._learn()
        generator = np.random.default_rng([self.seed, number])
        recalled = self._experienced and number % 2 == 0
        even, heat = 1.0 if self._experienced and not recalled else self.settings.even, 1.0
        for _ in range(TRIES):
            walk = Pass(self.policy, sampled(generator, heat=heat, even=even))
            sketch = self.draw(walk)
            if sketch.identity not in self.begun:
                break
            heat *= HEATING
        self._proposed[sketch.trace.digest] = walk.episode, recalled
        return sketch

    def observe(self, news: News) -> None:
        tried = self._tried.get(news.number)
        if tried is None:
            own = self._proposed.pop(news.trace.digest, None)
            tried = Tried(own[0], True, own[1]) if own else Tried(self._followed(news.trace), False)
            self._tried[news.number] = tried
            self._new += 1
        if news.rung > tried.rung:  # an earlier rung may be told later
            tried.rung, tried.score = news.rung, news.score

    def memory(self) -> dict[str, np.ndarray]:
        return self.policy.memory()

    def _followed(self, trace: Trace, *, past: Past | None = None) -> Episode:
        """What the LSTM would have seen, had it answered as this trace did."""
        first = None if past is None else self.policy.problem(past.fingerprint)
        walk = Pass(self.policy, traced(trace), forward=False, first=first)
        self.draw(walk)
        return walk.episode

    def _learner_of(self) -> Learner:
        from .learning import Learner  # torch is loaded by a search that learns, not by one that asks what there is

        self._learner = self._learner or Learner(self.policy, self.settings)
        return self._learner

    def _go_to_school(self) -> None:
        """Imitates the best experiments of earlier problems, each behind the numbers that describe its problem."""
        from .learning import Lesson

        self._schooled = self._experienced = True
        lessons: list[Lesson] = []
        for past in self.experience.past[-PROBLEMS:]:
            best = sorted((news for news in past.news if news.ok), key=lambda news: (-news.rung, -news.score))
            episodes = [self._followed(news.trace, past=past) for news in best[: self.settings.elite]]
            lessons += [Lesson(episode, 0.0, 1.0) for episode in episodes if episode.decisions]
        for _ in range(LOOKS if lessons else 0):
            self._learner_of().learn(lessons)

    def _learn(self) -> None:
        from .learning import Lesson

        tried = [one for one in self._tried.values() if one.episode.decisions]
        if self._experienced:
            self._audition(tried)
        rewards = self._standardised(tried) if self.settings.power == 0 else self._ranked(tried) ** self.settings.power
        own = [n for n, one in enumerate(tried) if one.own]
        for n in own:
            if not tried[n].counted:
                tried[n].counted = True
                mean = float(rewards[n]) if self._baseline is None else self._baseline
                self._baseline = mean + (1 - self.settings.decay) * (float(rewards[n]) - mean)
        recent = set(own[-self.settings.window :])
        order = sorted((n for n, one in enumerate(tried) if one.ok), key=lambda n: -rewards[n])
        elite = set(order[: self.settings.elite]) if self.settings.imitation else set()
        spread = float(rewards.std()) + 1e-6 if tried else 1.0
        lessons = [
            Lesson(
                tried[n].episode,
                (float(rewards[n]) - (self._baseline or 0.0)) / spread if n in recent else 0.0,
                self.settings.imitation * (n in elite),
            )
            for n in sorted(recent | elite)
        ]
        if lessons:
            self._learner_of().learn(lessons)

    def _audition(self, tried: list[Tried]) -> None:
        """Trusts what is remembered as far as its proposals did better than random ones; data may switch it off."""
        self._experienced, self._learner = False, None
        shares = self._ranked(tried)
        recalled = [share for share, one in zip(shares, tried, strict=True) if one.own and one.recalled]
        random = [share for share, one in zip(shares, tried, strict=True) if one.own and not one.recalled]
        gain = float(np.mean(recalled) - np.mean(random)) if recalled and random else 0.0
        self.policy.trust(TRUST * min(max(2 * gain, 0.0), 1.0))  # at best a half: all of these above all of those

    def _ranked(self, tried: list[Tried]) -> np.ndarray:
        """The share of experiments that are worse. A later rung beats an earlier one, for only what did well went
        there; failures are last.
        """
        keys = [(one.rung, one.score) if one.ok else (-1, 0.0) for one in tried]
        places = {key: place for place, key in enumerate(sorted(set(keys)))}
        place = np.array([places[key] for key in keys])
        counts = np.bincount(place)
        worse = np.cumsum(counts) - counts + (counts - 1) / 2  # equals share their places
        return np.asarray(worse[place] / max(len(tried) - 1, 1))

    def _standardised(self, tried: list[Tried]) -> np.ndarray:
        """Scores on a scale of their own; failures as the worst that was seen."""
        scores = np.array([one.score for one in tried])
        fine = np.isfinite(scores)
        if not fine.any():
            return np.zeros(len(tried))
        scores = np.where(fine, scores, scores[fine].min())
        return np.asarray((scores - scores.mean()) / (scores.std() + 1e-12))


class Reinforce(Controller):
    """Trained by REINFORCE (Williams 1992); an experiment that an older policy proposed counts by its weight today."""

    name: ClassVar[str] = "reinforce"


class Reinforce2017(Controller):
    """As published: eight experiments per step, no entropy, no imitation. For large budgets and for comparison."""

    name: ClassVar[str] = "reinforce2017"
    settings: ClassVar[Settings] = Settings(
        learning_rate=6e-4,
        every=8,
        first=8,
        epochs=1,
        window=8,
        imitation=0.0,
        entropy=0.0,
        power=0.0,
        decay=0.95,
        even=0.0,
    )


class Ppo(Controller):
    """Trained by proximal policy optimisation: several steps on the same experiments, none of them too far."""

    name: ClassVar[str] = "ppo"
    settings: ClassVar[Settings] = Settings(clip=0.2)


__all__ = ["Controller", "Ppo", "Reinforce", "Reinforce2017", "Settings"]
