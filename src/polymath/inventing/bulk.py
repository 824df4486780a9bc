"""Many trainings as one tensor program: a rule on an exercise, with all its learning rates and seeds side by side.

The weights of all nets stand in one tensor [lanes, weights]; one backward pass of the summed losses gives all
gradients, and the rule is evaluated once for all of them. Each lane comes out as if it were trained alone (rules that
draw random numbers draw others). Learning rates that died or fell hopelessly behind leave the stack.

Axes: R learning rates, S seeds, L lanes (R x S, rates outside), P weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..train.update import Expression, Operands, evaluate, new_state
from .exercises import Exercise

RATES = tuple(10 ** (-5 + 0.6 * number) for number in range(11))
"""The sweep of a search: 1e-5 to 10 in eleven steps of a factor 4 (Bello et al. 2017 sweep the same range)."""
FINER = tuple(10 ** (-5 + 0.3 * number) for number in range(21))
"""The same range in steps of a factor 2: between two of `RATES` a rule may lose what sets it apart."""
SEEDS = (0, 1, 2)
DEATH_TEST = 8
"""Steps after which a learning rate that explodes or changes nothing is taken out."""
EXPLODED = 30.0
"""Times its first loss: a learning rate that stands there after the death test is dead."""
STANDS_STILL = 0.99
"""Times the held-out loss before training: what ends above it has learned nothing, and is dead."""
BEHIND = {0.25: 0.25, 0.5: 0.5}
"""At this share of the steps, a learning rate that gained less than this share of what the best gained is cut."""
FADE = 0.85
"""Of the running mean of the training loss, by which learning rates are cut."""


@dataclass(frozen=True)
class Trained:
    """What a sweep gave."""

    rates: tuple[float, ...]
    losses: np.ndarray
    """Held-out loss at the end, [R, S]; infinite where the learning rate died or was cut."""
    lane_steps: int
    """Steps of single nets that were really run."""

    @property
    def by_rate(self) -> np.ndarray:
        """Logarithm of the loss, mean over seeds, [R]; infinite for the dead."""
        return np.asarray(np.log(np.maximum(self.losses, 1e-12)).mean(1))

    @property
    def best(self) -> float:
        """The lowest of `by_rate`; infinite when every learning rate died."""
        return float(self.by_rate.min())

    @property
    def best_rate(self) -> float:
        return self.rates[int(self.by_rate.argmin())]

    @property
    def dead(self) -> bool:
        return not math.isfinite(self.best)


def train(
    exercise: Exercise,
    rule: Expression,
    *,
    rates: Sequence[float] = RATES,
    seeds: Sequence[int] = SEEDS,
    steps: int | None = None,
    cut: bool = True,
) -> Trained:
    """Trains all nets of a sweep, the learning rate falling to 0 in a straight line. Never raises for what explodes.

    `cut`: whether learning rates that are dead or far behind leave early; without it every one is trained to its end.
    """
    steps = exercise.steps if steps is None else steps
    stack = _Stack(exercise, rule, rates, seeds)
    orders = exercise.orders(seeds, steps)
    for step in range(steps):
        stack.step(orders[step], progress=step / steps)
        share = (step + 1) / steps
        if cut and (step + 1 == DEATH_TEST or any(step < at * steps <= step + 1 for at in BEHIND)):
            stack.take_out(share if step + 1 != DEATH_TEST else 0.0)
        if not len(stack.alive):
            break
    return Trained(tuple(rates), stack.final(), stack.lane_steps)


class _Stack:
    """The nets of a sweep in training."""

    def __init__(self, exercise: Exercise, rule: Expression, rates: Sequence[float], seeds: Sequence[int]) -> None:
        self.exercise, self.rule, self.seeds = exercise, rule, len(seeds)
        self.alive = torch.arange(len(rates))
        """Numbers of the learning rates that are still trained."""
        self._rates = len(rates)
        self._rate_L1 = torch.tensor(rates, dtype=torch.float32).repeat_interleave(self.seeds)[:, None]
        start = exercise.start(seeds)
        self._untrained = float(exercise.held_loss(start).mean())
        self._weights = start.repeat(len(rates), 1).requires_grad_()
        self._state = new_state(rule, self._weights)
        self._first: Tensor | None = None
        self._recent: Tensor | None = None
        self._generator = torch.Generator().manual_seed(0)
        self._step = 0
        self.lane_steps = 0

    def step(self, order_SB: Tensor, *, progress: float) -> None:
        """One step of every net."""
        self._step += 1
        self.lane_steps += len(self._weights)
        batch = tuple(self._laid_out(rows[order_SB]) for rows in self.exercise.train)
        loss_L = self.exercise.loss(self.exercise.parts(self._weights), batch)
        (gradient,) = torch.autograd.grad(loss_L.sum(), self._weights)
        with torch.no_grad():
            loss_L = loss_L.detach()
            self._first = loss_L if self._first is None else self._first
            self._recent = loss_L if self._recent is None else torch.lerp(loss_L, self._recent, FADE)
            operands = Operands(gradient, self._weights, step=self._step, progress=progress, generator=self._generator)
            update = evaluate(self.rule, operands, self._state)
            self._weights.addcmul_(update, self._rate_L1, value=progress - 1)

    def _laid_out(self, rows_SB: Tensor) -> Tensor:
        """A batch for each seed -> for each lane."""
        many = rows_SB.unsqueeze(0).expand(len(self.alive), *rows_SB.shape)
        return many.reshape(len(self.alive) * self.seeds, *rows_SB.shape[1:])

    def take_out(self, share: float) -> None:
        """Learning rates that died, or (share > 0 of the steps are over) gained too little, leave the stack."""
        assert self._first is not None and self._recent is not None
        first = self._first.view(-1, self.seeds)
        recent = self._recent.view(-1, self.seeds)
        good = torch.isfinite(recent).all(1) & torch.isfinite(self._weights.view(len(first), -1).sum(1))
        good &= (recent <= EXPLODED * first).all(1)
        if share > 0:
            gained = (first - recent).mean(1)
            most = float(gained[good].max()) if good.any() else 0.0
            asked = min(factor for at, factor in BEHIND.items() if share <= at + 0.5 / self._step) * most
            good &= gained >= max(asked, 0.0)
        if not good.all():
            self._keep(good)

    def _keep(self, good_R: Tensor) -> None:
        lanes = good_R.repeat_interleave(self.seeds)
        self.alive = self.alive[good_R]
        self._rate_L1 = self._rate_L1[lanes]
        self._weights = self._weights.detach()[lanes].requires_grad_()
        self._state = [one[lanes] for one in self._state]
        assert self._first is not None and self._recent is not None
        self._first, self._recent = self._first[lanes], self._recent[lanes]

    def final(self) -> np.ndarray:
        """Held-out losses, [R, S]."""
        found = np.full((self._rates, self.seeds), np.inf)
        if len(self.alive):
            losses = self.exercise.held_loss(self._weights.detach()).view(-1, self.seeds)
            learned = losses.mean(1, keepdim=True) < STANDS_STILL * self._untrained
            losses = torch.where(learned & torch.isfinite(losses).all(1, keepdim=True), losses, torch.inf)
            found[self.alive.numpy()] = losses.numpy()
        return found


# Against AdamW ----------------------------------------------------------------------------------------------------
HORIZONS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Lengths of training at which AdamW is measured, in lengths of the exercise; each ends at the end of its own decay."""
ADAMW = Expression(update=["+", "adam", ["*", 0.01, "w"]])
Curve = tuple[float, ...]
"""Logarithm of the loss at each of `HORIZONS`, tuned at each; never rising."""


def curve(
    exercise: Exercise,
    rule: Expression = ADAMW,
    *,
    rates: Sequence[float] = RATES,
    seeds: Sequence[int] = SEEDS,
    horizons: Sequence[float] = HORIZONS,
) -> Curve:
    """What a rule reaches in trainings of several lengths, the learning rate tuned for each."""
    lengths = [max(round(horizon * exercise.steps), 10) for horizon in horizons]
    best = [train(exercise, rule, rates=rates, seeds=seeds, steps=steps).best for steps in lengths]
    return tuple(round(float(one), 5) for one in np.minimum.accumulate(np.array(best)))


def doublings(log_loss: float, reference: Curve, *, at: float = 1.0) -> float:
    """How often the steps of a tuned AdamW must be doubled to reach a loss that a rule reaches in `at` lengths.

    1: AdamW needs twice as many steps. Only lengths at which AdamW was measured count, so it lies within
    log2(HORIZONS / at); the dead get the least.
    """
    places = np.log2(np.array(HORIZONS) / at)
    if not math.isfinite(log_loss):
        return float(places[0])
    rising = -np.array(reference) + 1e-9 * np.arange(len(reference))
    return float(np.interp(-log_loss, rising, places))
