"""Small trainings on which update rules are tried: many of equal shape run as one batched tensor program.

An exercise holds data, the shapes of its weights and a loss for a whole stack of nets at once. All weights of a net lie
in one row of one tensor, so that a rule is evaluated once per step and not once per layer. Nothing here knows of rules.

Axes: L lanes (nets side by side: learning rates x seeds), P weights of a net, B rows of a batch, T time, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Sequence[Tensor]
"""The weights of a stack of nets by their shapes, each [L, ...]."""
Loss = Callable[[Weights, tuple[Tensor, ...]], Tensor]
"""Weights and a batch ([L, B, ...] each) -> loss of each net, [L]."""
MOST_HELD = 256
"""Held-out rows that are scored."""


@dataclass(frozen=True)
class Shape:
    """One tensor of a net: its shape, and the deviation of its first values (0 = zeros)."""

    sizes: tuple[int, ...]
    scale: float = 0.0

    @property
    def count(self) -> int:
        return math.prod(self.sizes)


def dense(inputs: int, outputs: int, *, gain: float = 1.0, bias: bool = True) -> list[Shape]:
    """A matrix [inputs, outputs] with the usual first values, and a bias of zeros."""
    return [Shape((inputs, outputs), gain / math.sqrt(inputs)), *([Shape((outputs,))] if bias else [])]


@dataclass(frozen=True, eq=False)
class Exercise:
    """One small training: data, a net, a loss and a number of steps. Equal only to itself."""

    name: str
    data: str
    """What it learns from: no data stands in exercises of search and in exercises of judging."""
    shapes: tuple[Shape, ...]
    loss: Loss
    train: tuple[Tensor, ...]
    """Rows to learn from, first axis the row."""
    held: tuple[Tensor, ...]
    """Rows to be judged by; at most `MOST_HELD` of them are used."""
    steps: int
    batch: int = 32

    @cached_property
    def size(self) -> int:
        """Weights of one net."""
        return sum(shape.count for shape in self.shapes)

    def parts(self, flat_LP: Tensor) -> list[Tensor]:
        """Views of the rows by shape: [L, *sizes] each."""
        pieces = flat_LP.split([shape.count for shape in self.shapes], dim=1)
        return [piece.view(-1, *shape.sizes) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def start(self, seeds: Sequence[int]) -> Tensor:
        """First weights by seed, [seeds, P]: the same for a seed whatever the others are."""
        scale = torch.cat([torch.full((shape.count,), shape.scale) for shape in self.shapes])
        rows = [torch.randn(self.size, generator=_generator(seed, 1)) * scale for seed in seeds]
        return torch.stack(rows)

    def orders(self, seeds: Sequence[int], steps: int) -> Tensor:
        """Row numbers of each batch by seed: [steps, seeds, B]."""
        size = (steps, self.batch)
        rows = [torch.randint(len(self.train[0]), size, generator=_generator(seed, 2)) for seed in seeds]
        return torch.stack(rows, dim=1)

    def held_loss(self, flat_LP: Tensor) -> Tensor:
        """Loss of each net on the held-out rows, [L]."""
        batch = tuple(one[:MOST_HELD].unsqueeze(0).expand(len(flat_LP), *one[:MOST_HELD].shape) for one in self.held)
        with torch.no_grad():
            return self.loss(self.parts(flat_LP), batch)


def _generator(seed: int, stream: int) -> torch.Generator:
    return torch.Generator().manual_seed(1_000_003 * seed + stream)


# Pieces of nets ---------------------------------------------------------------------------------------------------
def linear(x: Tensor, weight_LIO: Tensor, bias_LO: Tensor | None = None) -> Tensor:
    """[L, ..., I] -> [L, ..., O], each lane with weights of its own."""
    flat = x.reshape(len(x), -1, x.shape[-1])
    made = torch.bmm(flat, weight_LIO) if bias_LO is None else torch.baddbmm(bias_LO.unsqueeze(1), flat, weight_LIO)
    return made.view(*x.shape[:-1], made.shape[-1])


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over all but the first axis, in nats: [L, ..., C] and [L, ...] -> [L]."""
    losses = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), target.reshape(-1), reduction="none")
    return losses.view(len(logits), -1).mean(1)


def squared(given: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of each lane: [L]."""
    return (given - target).square().flatten(1).mean(1)


def embedded(table_LVD: Tensor, tokens: Tensor) -> Tensor:
    """[L, ...] tokens -> [L, ..., D], each lane from its own table.

    A product with ones and zeros: for small vocabularies much faster than looking up, because of the way back.
    """
    ones = torch.eye(table_LVD.shape[1])[tokens.reshape(len(tokens), -1)]
    return torch.bmm(ones, table_LVD).view(*tokens.shape, table_LVD.shape[2])


def patches(x_LBHWC: Tensor, side: int) -> Tensor:
    """All side x side patches, rows of C numbers side by side: [L, B, H', W', side * side * C]."""
    windows = x_LBHWC.unfold(2, side, 1).unfold(3, side, 1)
    return windows.flatten(4)


# Nets: shapes and forward pass ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Mlp:
    """Layers of these widths with an activation between them. `scales` multiplies what each layer gives.

    With scales far from 1 the same function is badly conditioned: weights are divided by them at the start.
    """

    widths: tuple[int, ...]
    activation: Callable[[Tensor], Tensor] = torch.tanh
    scales: tuple[float, ...] = ()
    gain: float = 1.0

    def shapes(self) -> tuple[Shape, ...]:
        found: list[Shape] = []
        for place, (inputs, outputs) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            found += dense(inputs, outputs, gain=self.gain / (self.scales[place] if self.scales else 1.0))
        return tuple(found)

    def __call__(self, weights: Weights, x: Tensor) -> Tensor:
        for place in range(len(self.widths) - 1):
            x = linear(x, weights[2 * place], weights[2 * place + 1])
            if self.scales:
                x = x * self.scales[place]
            if place < len(self.widths) - 2:
                x = self.activation(x)
        return x


@dataclass(frozen=True)
class Convolutions:
    """Convolutions of `side` x `side` with ReLU, the mean over places, and a linear head."""

    channels: tuple[int, ...]
    classes: int
    side: int = 3

    def shapes(self) -> tuple[Shape, ...]:
        found: list[Shape] = []
        for inputs, outputs in zip(self.channels, self.channels[1:], strict=False):
            found += dense(self.side**2 * inputs, outputs, gain=1.4)
        return (*found, *dense(self.channels[-1], self.classes))

    def __call__(self, weights: Weights, x_LBHWC: Tensor) -> Tensor:
        for place in range(len(self.channels) - 1):
            x_LBHWC = torch.relu(linear(patches(x_LBHWC, self.side), weights[2 * place], weights[2 * place + 1]))
        return linear(x_LBHWC.mean((2, 3)), weights[-2], weights[-1])


@dataclass(frozen=True)
class Recurrent:
    """Next-token model: embedding, a plain recurrent net or an LSTM, linear head."""

    words: int
    width: int
    gates: int = 4
    """4: an LSTM; 1: a plain net."""

    def shapes(self) -> tuple[Shape, ...]:
        width = self.width
        inside = [*dense(width, self.gates * width), *dense(width, self.gates * width, bias=False)]
        return (Shape((self.words, width), 0.3), *inside, *dense(width, self.words))

    def __call__(self, weights: Weights, tokens_LBT: Tensor) -> Tensor:
        table, enter, bias, again, head, head_bias = weights
        given = linear(embedded(table, tokens_LBT), enter, bias)
        lanes, rows, length, _ = given.shape
        hidden = given.new_zeros(lanes, rows, self.width)
        cell, outputs = hidden, []
        for time in range(length):
            gates = torch.baddbmm(given[:, :, time], hidden, again)
            if self.gates == 1:
                hidden = torch.tanh(gates)
            else:
                keep, write, show, new = gates.chunk(4, dim=2)
                cell = torch.sigmoid(keep + 1) * cell + torch.sigmoid(write) * torch.tanh(new)
                hidden = torch.sigmoid(show) * torch.tanh(cell)
            outputs.append(hidden)
        return linear(torch.stack(outputs, dim=2), head, head_bias)


@dataclass(frozen=True)
class Transformer:
    """Next-token model: embedding with places, pre-norm blocks of attention and ReLU feed-forward, linear head."""

    words: int
    width: int
    length: int
    blocks: int = 1
    heads: int = 2

    def shapes(self) -> tuple[Shape, ...]:
        width = self.width
        found = [Shape((self.words, width), 0.3), Shape((self.length, width), 0.3)]
        for _ in range(self.blocks):
            found += [*dense(width, 3 * width), *dense(width, width, gain=0.5)]
            found += [*dense(width, 2 * width, gain=1.4), *dense(2 * width, width, gain=0.5)]
        return (*found, *dense(width, self.words))

    def __call__(self, weights: Weights, tokens_LBT: Tensor) -> Tensor:
        left = iter(weights)
        x = embedded(next(left), tokens_LBT) + next(left)[:, None, : tokens_LBT.shape[2]]
        for _ in range(self.blocks):
            x = x + linear(self._attended(linear(_normed(x), next(left), next(left))), next(left), next(left))
            x = x + linear(torch.relu(linear(_normed(x), next(left), next(left))), next(left), next(left))
        return linear(_normed(x), next(left), next(left))

    def _attended(self, mixed: Tensor) -> Tensor:
        lanes, rows, length, _ = mixed.shape
        query, key, value = mixed.view(lanes * rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        seen: Tensor = torch.softmax(weights.masked_fill(later, -torch.inf), dim=3) @ value
        return seen.transpose(1, 2).reshape(lanes, rows, length, self.width)


def _normed(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])
