"""A map of any size -> one vector per image."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ...problem.form import Form
from .base import Layer


class PoolMap(Layer):
    """Global pooling over all pixels: `mean`, `max`, both joined, or a mean weighted by learned attention."""

    kind: Literal["pool_map"] = "pool_map"
    how: Literal["mean", "max", "mean_max", "attention"] = "mean"

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "map")
        return Form(kind="vector", width=given.width * (2 if self.how == "mean_max" else 1))

    def build(self, *inputs: Form) -> nn.Module:
        return _PoolMap(self.take(inputs, "map")[0].width, how=self.how)

    def work(self, *inputs: Form) -> float:
        (given,) = self.take(inputs, "map")
        return float(2 * given.width * given.size[0] * given.size[1]) if self.how == "attention" else 0.0


class _PoolMap(nn.Module):
    def __init__(self, width: int, *, how: str) -> None:
        super().__init__()
        self.how = how
        self.score = nn.Conv2d(width, 1, 1) if how == "attention" else None
        if self.score is not None:
            nn.init.zeros_(self.score.weight)  # starts as the plain mean

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.score is not None:
            weight_BP = self.score(x_BCHW).flatten(1).softmax(1)
            return torch.einsum("bcp,bp->bc", x_BCHW.flatten(2), weight_BP)
        if self.how == "mean":
            return x_BCHW.mean((2, 3))
        if self.how == "max":
            return x_BCHW.amax((2, 3))
        return torch.cat([x_BCHW.mean((2, 3)), x_BCHW.amax((2, 3))], 1)
