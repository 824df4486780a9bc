"""Language models around a cell, several copies in one batched program: an embedding, the cell, a linear answer.

Copies differ in seed and learning rate. The text is read in streams whose state is carried on (truncated
backpropagation through time); the rule is Adam with the gradient of each copy cut to norm 1, a short warm-up and a
decay to zero at the end of the steps that were ordered, so that every number is one from the end of a schedule.

Axes: S copies, B streams, T time, D width of the embedding, H width of the cell, V symbols.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..model.cells import Cell
from ..model.cells.plan import Plan, planned
from ..model.cells.running import run
from ..spec import Spec
from .corpus import Corpus, Part

BETAS = (0.9, 0.99)
WARMUP, CLIP, SMALL = 20, 1.0, 1e-8
READ_STREAMS, READ_STEPS = 16, 100
"""How a held-out text is read: in so many streams, so many symbols at a time."""


class Trial(Spec):
    """How a cell is tried. Copies are all pairs of a learning rate and a seed."""

    parameters: int = 60_000
    """Of the whole model: the cell gets the width that comes nearest."""
    embedding: int = 48
    batch: int = 16
    length: int = 50
    steps: int = 400
    rates: tuple[float, ...] = (3e-3, 1e-2)
    seeds: tuple[int, ...] = (0,)
    most_read: int = 40_000
    """Symbols of a held-out text that are read."""

    @property
    def copies(self) -> list[tuple[float, int]]:
        return [(rate, seed) for rate in self.rates for seed in self.seeds]


@dataclass(frozen=True)
class Tried:
    """What a trial gave. Bits per symbol by learning rate and seed; NaN where a copy diverged."""

    width: int
    parameters: int
    bits: NDArray[np.float64]
    """On the first part of the text that was read."""
    judged: NDArray[np.float64]
    """On the last one, by which nothing is chosen where there are two."""
    seconds: float
    """Processor time of the training alone."""
    steps: int

    @property
    def best_rate(self) -> int:
        """Index of the learning rate with the lowest mean over seeds; of a diverged copy the mean is infinite."""
        return int(np.nan_to_num(self.bits, nan=np.inf).mean(1).argmin())

    @property
    def score(self) -> float:
        """Bits per symbol at the best learning rate, mean over seeds; infinite where every learning rate diverged."""
        best = float(self.bits[self.best_rate].mean())
        return best if math.isfinite(best) else math.inf


def num_parameters(cell: Cell, width: int, *, symbols: int, embedding: int) -> int:
    """Of the whole language model."""
    return symbols * embedding + cell.num_parameters(width, embedding) + symbols * (width + 1)


def width_for(cell: Cell, parameters: int, *, symbols: int, embedding: int) -> int:
    """The width with which the whole model comes nearest to so many parameters; at least 4."""
    width = 4
    while num_parameters(cell, width + 1, symbols=symbols, embedding=embedding) <= parameters:
        width += 1
    below, above = (
        abs(num_parameters(cell, w, symbols=symbols, embedding=embedding) - parameters) for w in (width, width + 1)
    )
    return width if below <= above else width + 1


class Models:
    """The weights of all copies and how they learn; `plan` and width as given."""

    def __init__(self, cell: Cell, width: int, *, symbols: int, trial: Trial) -> None:
        self.plan: Plan = planned(cell)
        self.width, self.trial = width, trial
        slots, d = len(self.plan.slots), trial.embedding
        bound = width**-0.5
        shapes = {
            "embedding": ((symbols, d), 0.1),
            "map_x": ((d, self.plan.num_x * width), bound),
            "map_h": ((width, (slots - self.plan.first_h) * width), bound),
            "bias": ((slots * width,), bound),
            "answer": ((width, symbols), bound),
            "offset": ((symbols,), 0.0),
        }
        generators = [torch.Generator().manual_seed(seed) for _, seed in trial.copies]
        self.weights: dict[str, Tensor] = {}
        for name, (shape, size) in shapes.items():
            drawn = [torch.rand(shape, generator=one).mul_(2 * size).sub_(size) for one in generators]
            self.weights[name] = torch.stack(drawn).requires_grad_()
        self.first = [torch.zeros_like(weight) for weight in self.weights.values()]
        self.second = [torch.zeros_like(weight) for weight in self.weights.values()]
        self.rates = torch.tensor([rate for rate, _ in trial.copies])
        self.done = 0

    def start(self, streams: int) -> tuple[Tensor, Tensor]:
        """h and c before the first symbol."""
        return (torch.zeros(len(self.rates), streams, self.width),) * 2

    def losses(
        self, symbols_SBT: Tensor, targets_SBT: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Mean loss of each copy in nats [S], and the state to go on from."""
        w = self.weights
        S, B, T = symbols_SBT.shape
        copy_S1 = torch.arange(S)[:, None]
        read_STB = symbols_SBT.transpose(1, 2).reshape(S, T * B)
        x_STBD = w["embedding"][copy_S1, read_STB].view(S, T, B, -1)
        h_STBH, c_SBH = self.recur(x_STBD, state)
        logits = torch.baddbmm(w["offset"][:, None], h_STBH.reshape(S, T * B, -1), w["answer"])
        wanted = targets_SBT.transpose(1, 2).reshape(S * T * B)
        loss = functional.cross_entropy(logits.view(S * T * B, -1), wanted, reduction="none")
        return loss.view(S, -1).mean(1), (h_STBH[:, -1].detach(), c_SBH.detach())

    def recur(self, x_STBD: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """All h [S, T, B, H] and the last c [S, B, H]."""
        w = self.weights
        return run(
            self.plan, x_STBD, map_x=w["map_x"], map_h=w["map_h"], bias=w["bias"], h_SBH=state[0], c_SBH=state[1]
        )

    def learn(self, loss_S: Tensor, *, share: float) -> None:
        """One step of Adam; `share` of the learning rate. A copy whose gradient is not finite is NaN for good."""
        tensors = list(self.weights.values())
        gradients = list(torch.autograd.grad(loss_S.sum(), tensors))
        self.done += 1
        norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        scale_S = CLIP / norms.clamp(min=CLIP)
        torch._foreach_mul_(gradients, [_wide(scale_S, g) for g in gradients])
        with torch.no_grad():
            torch._foreach_lerp_(self.first, gradients, 1 - BETAS[0])
            torch._foreach_mul_(self.second, BETAS[1])
            torch._foreach_addcmul_(self.second, gradients, gradients, 1 - BETAS[1])
            root = torch._foreach_sqrt(self.second)
            torch._foreach_div_(root, math.sqrt(1 - BETAS[1] ** self.done))
            torch._foreach_add_(root, SMALL)
            rate_S = -share * self.rates / (1 - BETAS[0] ** self.done)
            step = torch._foreach_div(self.first, root)
            torch._foreach_mul_(step, [_wide(rate_S, one) for one in step])
            torch._foreach_add_(tensors, step)

    @torch.no_grad()
    def bits(self, text: NDArray[np.int64]) -> NDArray[np.float64]:
        """Bits per symbol of a text for each copy, read in streams from beginning to end."""
        text = text[: self.trial.most_read + 1]
        length = (len(text) - 1) // READ_STREAMS
        read = torch.from_numpy(text[: READ_STREAMS * length]).view(READ_STREAMS, length)
        wanted = torch.from_numpy(text[1 : READ_STREAMS * length + 1]).view(READ_STREAMS, length)
        copies = len(self.rates)
        state, total, count = self.start(READ_STREAMS), torch.zeros(copies, dtype=torch.float64), 0
        for begin in range(0, length, READ_STEPS):
            part = slice(begin, min(begin + READ_STEPS, length))
            ids, targets = (one[:, part].expand(copies, -1, -1) for one in (read, wanted))
            loss, state = self.losses(ids, targets, state)
            total += loss.double() * ids[0].numel()
            count += ids[0].numel()
        return (total / count / math.log(2)).numpy()


def _wide(values_S: Tensor, like: Tensor) -> Tensor:
    return values_S.view(-1, *[1] * (like.dim() - 1))


def attempt(
    cell: Cell,
    trial: Trial,
    corpus: Corpus,
    *,
    parts: Sequence[Part] = ("held",),
    seconds: float = math.inf,
    kind: type[Models] | None = None,
) -> Tried:
    """Trains all copies for the steps of the trial, and reads the held-out parts of the text that are named.

    `seconds`: of processor time for the training; the schedule then follows the time instead of the steps. `kind`:
    models of another make, for comparison.
    """
    width = width_for(cell, trial.parameters, symbols=corpus.num_symbols, embedding=trial.embedding)
    models = (kind or Models)(cell, width, symbols=corpus.num_symbols, trial=trial)
    streams = _Streams(corpus.train, trial)
    state = models.start(trial.batch)
    begin, share_done = time.process_time(), 0.0
    while share_done < 1:
        ids, targets = streams.following()
        loss, state = models.losses(ids, targets, state)
        if not bool(loss.isfinite().any()):
            break
        models.learn(loss, share=min((models.done + 1) / WARMUP, 1.0) * max(1 - share_done, 0.02))
        timed = (time.process_time() - begin) / seconds
        share_done = timed if math.isfinite(seconds) else models.done / trial.steps
    spent = time.process_time() - begin
    tables = []
    for part in parts:
        bits = models.bits(getattr(corpus, part)).reshape(len(trial.rates), len(trial.seeds))
        tables.append(np.where(np.isfinite(bits), bits, np.nan))
    total = num_parameters(cell, width, symbols=corpus.num_symbols, embedding=trial.embedding)
    return Tried(width, total, tables[0], tables[-1], spent, models.done)


class _Streams:
    """The training text in `batch` streams for each copy, round and round; a seed decides where they begin."""

    def __init__(self, text: NDArray[np.int64], trial: Trial) -> None:
        self._text, self._length = torch.from_numpy(text), trial.length
        starts = {seed: np.random.default_rng([seed, 7]).integers(0, len(text), trial.batch) for seed in trial.seeds}
        self._place_SB1 = torch.from_numpy(np.stack([starts[seed] for _, seed in trial.copies]))[..., None]

    def following(self) -> tuple[Tensor, Tensor]:
        """The next symbols of each stream [S, B, T], and those that come after each of them."""
        index = (self._place_SB1 + torch.arange(self._length + 1)) % len(self._text)
        self._place_SB1 = (self._place_SB1 + self._length) % len(self._text)
        taken = self._text[index]
        return taken[..., :-1], taken[..., 1:]
