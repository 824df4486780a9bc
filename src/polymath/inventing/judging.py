"""Rules beside each other on exercises that no search has seen: steps to a target, and loss at the end of the decay.

Every rule gets the same: a coarse sweep of eleven learning rates, a fine one of eleven around its best, for each of
several lengths of training, each with its own decay to the end. The target is what AdamW reaches in one length; the
steps to it are the shortest length (between those measured) at whose end a rule gets there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from ..engine import Engine
from ..spec import canonical, loads, sha256
from ..store import Store
from ..train.update import Expression, parse
from .bulk import RATES, Curve, curve, train
from .tasks import judging_exercises, lengthened

KIND = "judged"
VERSION = 1
LENGTHS = (0.5, 0.7, 1.0, 1.4, 2.0)
FINE = 1.6
"""Between two learning rates of the fine sweep."""
SEEDS = (100, 101, 102)
BASELINE = "adamw"


@dataclass(frozen=True)
class Judged:
    """Curves of rules on the judging exercises: rule -> exercise -> logarithm of the loss at each of `LENGTHS`."""

    curves: Mapping[str, Mapping[str, Curve]]

    @property
    def exercises(self) -> list[str]:
        return list(self.curves[BASELINE])

    def steps(self, rule: str, exercise: str) -> float:
        """Steps of a rule to what AdamW reaches in one length, over AdamW's own; 2 where twice as many do not do."""
        target = self.curves[BASELINE][exercise][LENGTHS.index(1.0)]
        reached = np.array(self.curves[rule][exercise])
        if not math.isfinite(reached[-1]) or reached[-1] > target:
            return LENGTHS[-1]
        place = int(np.argmax(np.isfinite(reached) & (reached <= target)))
        if place == 0:  # an upper bound
            return LENGTHS[0]
        before, after = min(reached[place - 1], 1e3), reached[place]
        shorter, longer = np.log2(LENGTHS[place - 1 : place + 1])
        return float(2 ** (shorter + (before - target) / (before - after) * (longer - shorter)))

    def mean_steps(self, rule: str) -> float:
        """Geometric mean over the exercises."""
        return float(np.exp(np.mean([math.log(self.steps(rule, one)) for one in self.exercises])))

    def interval(self, rule: str, *, share: float = 0.95, draws: int = 2000) -> tuple[float, float]:
        """Where the mean lies with other exercises of the same sort (bootstrap over exercises)."""
        logs = np.log([self.steps(rule, one) for one in self.exercises])
        generator = np.random.default_rng(0)
        means = logs[generator.integers(len(logs), size=(draws, len(logs)))].mean(1)
        low, high = np.quantile(means, [(1 - share) / 2, (1 + share) / 2])
        return float(np.exp(low)), float(np.exp(high))

    def wins(self, rule: str) -> float:
        """Share of the exercises on which a rule needs fewer steps than AdamW."""
        return float(np.mean([self.steps(rule, one) < 1 for one in self.exercises]))

    def loss(self, rule: str, exercise: str) -> float:
        """Held-out loss at the end of one length; infinite where no learning rate trains."""
        return math.exp(self.curves[rule][exercise][LENGTHS.index(1.0)])


def answered(text: str) -> str:
    """A worker's job: the curve of a rule on one judging exercise."""
    import torch

    torch.set_num_threads(1)
    request = loads(text)
    exercise = next(one for one in judging_exercises() if one.name == request["exercise"])
    exercise = lengthened(exercise, request["length"])
    rule, seeds = parse(request["rule"]), tuple(request["seeds"])
    coarse = train(exercise, rule, seeds=seeds[:1])
    if coarse.dead:
        return canonical({"curve": [None] * len(LENGTHS)})
    fine = [coarse.best_rate * FINE**step for step in range(-(len(RATES) // 2), len(RATES) // 2 + 1)]
    found = curve(exercise, rule, rates=fine, seeds=seeds, horizons=LENGTHS)
    return canonical({"curve": [one if math.isfinite(one) else None for one in found]})


def judge(
    rules: Mapping[str, Expression],
    engine: Engine,
    *,
    store: Store | None = None,
    seeds: Sequence[int] | None = None,
    length: float = 1.0,
    only: Sequence[str] = (),
) -> Judged:
    """Curves of all rules, AdamW's among them, by an engine that runs `answered`; what the store knows is not run.

    `seeds`: of all trainings (default `SEEDS`); `length`: of all exercises, for a quick look; `only`: names of the
    exercises, all if empty.
    """
    assert BASELINE in rules
    names = [one.name for one in judging_exercises() if not only or one.name in only]
    stored = {} if store is None else {body["key"]: body["curve"] for _, body in store.records(KIND)}
    waiting: dict[tuple[str, str], tuple[str, Future[str] | None]] = {}
    for rule, expression in rules.items():
        for name in names:
            request = {
                "rule": expression.model_dump(mode="json"),
                "exercise": name,
                "seeds": list(SEEDS if seeds is None else seeds),
                "length": length,
                "version": VERSION,
            }
            text = canonical(request)
            key = sha256(text.encode())
            waiting[rule, name] = key, None if key in stored else engine.submit(text)
    curves: dict[str, dict[str, Curve]] = {rule: {} for rule in rules}
    for (rule, name), (key, future) in waiting.items():
        values = stored[key] if future is None else loads(future.result())["curve"]
        if future is not None and store is not None:
            store.add_record(KIND, {"key": key, "rule": rule, "exercise": name, "curve": values}, id=key)
        curves[rule][name] = tuple(math.inf if one is None else one for one in values)
    return Judged(curves)
