"""How the controller's policy learns from episodes: the gradients, by torch, on one thread.

Axes: B episodes, T steps, M rows of an input, N decisions, K options, H units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .policy import Episode, Policy
from .settings import Settings


@dataclass(frozen=True)
class Lesson:
    """An episode and what to make of it."""

    episode: Episode
    advantage: float
    """How much better than expected it was; 0 where the policy did not propose it."""
    imitate: float
    """How much its likelihood counts, whoever proposed it."""


class Learner:
    """Adam over the arrays of a policy, which it changes in place."""

    def __init__(self, policy: Policy, settings: Settings) -> None:
        self.policy, self.settings = policy, settings
        self.steps = 0
        self.moments: dict[str, tuple[Tensor, Tensor]] = {}

    def learn(self, lessons: Sequence[Lesson]) -> None:
        """Several steps on the same lessons."""
        with one_thread():
            batch = Batch(lessons)
            for _ in range(self.settings.epochs):
                weights = {name: torch.from_numpy(array).requires_grad_() for name, array in self.policy.arrays.items()}
                loss = self._loss(batch, weights)
                gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
                self._step(dict(zip(weights, gradients, strict=True)), weights)

    def _loss(self, batch: Batch, weights: dict[str, Tensor]) -> Tensor:
        logs_NK = batch.logs(weights, layers=self.policy.layers)
        log_N = logs_NK.gather(1, batch.taken_N[:, None])[:, 0]
        advantage_N = batch.advantage_B[batch.episode_N]
        if self.settings.clip:  # Schulman et al. 2017, equation 7
            ratio_N = (log_N - batch.chance_N).exp()
            near_N = ratio_N.clamp(1 - self.settings.clip, 1 + self.settings.clip)
            gain = torch.minimum(ratio_N * advantage_N, near_N * advantage_N).sum()
        else:  # Williams 1992; what an older policy proposed counts by its weight today, at most 1
            drift_B = torch.zeros_like(batch.advantage_B).index_add(0, batch.episode_N, log_N - batch.chance_N)
            gain = (drift_B.detach().clamp(max=0).exp()[batch.episode_N] * advantage_N * log_N).sum()
        repeated = (batch.imitate_B[batch.episode_N] * log_N).sum()
        entropy = -(logs_NK.exp() * logs_NK.clamp(min=-30)).sum()
        return -(gain + repeated + self.settings.entropy * entropy) / len(batch.advantage_B)

    def _step(self, gradients: dict[str, Tensor | None], weights: dict[str, Tensor]) -> None:
        """One step of Adam (Kingma and Ba 2015), its norm held at most 1 before."""
        found = {name: gradient for name, gradient in gradients.items() if gradient is not None}
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in found.values()))
        self.steps += 1
        for name, gradient in found.items():
            gradient = gradient * min(1.0, self.settings.norm / (norm + 1e-9))
            first, second = self._moments(name, gradient)
            first.mul_(0.9).add_(gradient, alpha=0.1)
            second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            root = (second / (1 - 0.999**self.steps)).sqrt_().add_(1e-8)
            with torch.no_grad():
                weights[name].addcdiv_(first, root, value=-self.settings.learning_rate / (1 - 0.9**self.steps))

    def _moments(self, name: str, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The two running means of a gradient, longer than before where options were added."""
        old = self.moments.get(name)
        if old is None or old[0].shape != gradient.shape:
            new = (torch.zeros_like(gradient), torch.zeros_like(gradient))
            if old is not None:
                for kept, wider in zip(old, new, strict=True):
                    wider[: len(kept)] = kept
            self.moments[name] = old = new
        return old


class Batch:
    """Episodes of different lengths as tensors."""

    def __init__(self, lessons: Sequence[Lesson]) -> None:
        episodes = [lesson.episode for lesson in lessons]
        length = max(len(episode.inputs) for episode in episodes)
        most = max((len(rows) for episode in episodes for rows in episode.inputs), default=1)
        self.rows_BTM = torch.zeros(len(episodes), length, most, dtype=torch.long)
        self.weights_BTM = torch.zeros(len(episodes), length, most)
        rows, weights = self.rows_BTM.numpy(), self.weights_BTM.numpy()
        for b, episode in enumerate(episodes):
            for t, given in enumerate(episode.inputs):
                rows[b, t, : len(given)] = [row for row, _ in given]
                weights[b, t, : len(given)] = [weight for _, weight in given]
        decisions = [(b, decision) for b, episode in enumerate(episodes) for decision in episode.decisions]
        widest = max(len(decision.rows) for _, decision in decisions)
        options = np.zeros((len(decisions), widest), np.int64)
        self.closed_NK = torch.ones(len(decisions), widest, dtype=torch.bool)
        closed = self.closed_NK.numpy()
        for n, (_, decision) in enumerate(decisions):
            options[n, : len(decision.rows)] = decision.rows
            closed[n, : len(decision.rows)] = False
        self.options_NK = torch.from_numpy(options)
        self.episode_N = torch.tensor([b for b, _ in decisions])
        self.state_N = torch.tensor([b * length + decision.step for b, decision in decisions])
        self.taken_N = torch.tensor([decision.taken for _, decision in decisions])
        self.chance_N = torch.tensor([decision.chance for _, decision in decisions])
        skips = [(n, b, decision.other) for n, (b, decision) in enumerate(decisions) if decision.other is not None]
        self.skip_S = torch.tensor([n for n, _, _ in skips], dtype=torch.long)
        self.other_S = torch.tensor([b * length + max(other, 0) for _, b, other in skips], dtype=torch.long)
        self.there_S = torch.tensor([float(other >= 0) for _, _, other in skips])
        self.advantage_B = torch.tensor([lesson.advantage for lesson in lessons])
        self.imitate_B = torch.tensor([lesson.imitate for lesson in lessons])

    def logs(self, weights: dict[str, Tensor], *, layers: int) -> Tensor:
        """[N, K]: the logarithm of the probability of each option of each decision."""
        given_BTH = (weights["embedding"][self.rows_BTM] * self.weights_BTM[..., None]).sum(2)
        units = given_BTH.shape[-1]
        start = torch.zeros(layers, len(given_BTH), units)
        net = []
        for layer in range(layers):
            bias = weights[f"lstm{layer}.bias"]
            net += [weights[f"lstm{layer}.input"], weights[f"lstm{layer}.state"], bias, torch.zeros_like(bias)]
        states_BTH = torch.lstm(given_BTH, (start, start), net, True, layers, 0.0, False, False, True)[0]
        state_XH = states_BTH.reshape(-1, units)
        here_NH = state_XH[self.state_N]
        logits_NK = (weights["head"][self.options_NK] @ here_NH[..., None])[..., 0] + weights["bias"][self.options_NK]
        if len(self.skip_S):
            earlier_SH = state_XH[self.other_S] * self.there_S[:, None]
            mixed_SH = earlier_SH @ weights["skip.earlier"].T + here_NH[self.skip_S] @ weights["skip.here"].T
            logit_S = torch.tanh(mixed_SH) @ weights["skip.score"]
            skip_SK = torch.zeros(len(logit_S), logits_NK.shape[1])
            skip_SK = torch.cat([skip_SK[:, :1], logit_S[:, None], skip_SK[:, 2:]], dim=1)
            logits_NK = logits_NK.index_copy(0, self.skip_S, skip_SK)
        return logits_NK.masked_fill(self.closed_NK, -1e9).log_softmax(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in the same order on every machine; small tensors gain nothing from more threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
