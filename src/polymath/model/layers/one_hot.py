"""A row as a linear model wants it: standardised numbers, flags for missing ones, every category code a column."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ...problem.form import Form, vector
from .base import Layer

FARTHEST = 10.0
"""Standardised numbers are cut here, so that one wild value cannot carry a linear prediction away."""


class OneHot(Layer):
    """Row [B, D] with NaN and codes -> vector [B, 2 x numbers + codes]."""

    kind: Literal["one_hot"] = "one_hot"

    def form(self, *inputs: Form) -> Form:
        (row,) = self.take(inputs, "vector", codes=True)
        sizes = row.categories or (0,) * row.width
        return vector(sum(size or 2 for size in sizes))

    def build(self, *inputs: Form) -> nn.Module:
        (row,) = self.take(inputs, "vector", codes=True)
        return _OneHot(row.categories or (0,) * row.width)


class _OneHot(nn.Module):
    mean: Tensor
    scale: Tensor
    gaps: Tensor

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self._numbers = [column for column, size in enumerate(sizes) if not size]
        self._codes = [(column, size) for column, size in enumerate(sizes) if size]
        self.register_buffer("mean", torch.zeros(len(self._numbers)))
        self.register_buffer("scale", torch.ones(len(self._numbers)))
        self.register_buffer("gaps", torch.zeros(len(self._numbers)))

    def prepare(self, row_BD: Tensor) -> None:
        """Takes means, deviations and which columns have gaps from a sample of training rows."""
        x = row_BD[:, self._numbers].double()
        known = x.isfinite()
        count = known.sum(0).clamp_min(1)
        x = torch.where(known, x, torch.zeros_like(x))
        mean = x.sum(0) / count
        deviation = (torch.where(known, x - mean, torch.zeros_like(x)) ** 2).sum(0).div(count).sqrt()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(deviation > 1e-9, 1 / deviation.clamp_min(1e-9), torch.zeros_like(deviation)))
        self.gaps.copy_((~known).any(0))

    def forward(self, row_BD: Tensor) -> Tensor:
        x = row_BD[:, self._numbers].float()
        missing = ~x.isfinite()
        x = torch.where(missing, self.mean, x)
        x = ((x - self.mean) * self.scale).clamp(-FARTHEST, FARTHEST)
        parts = [x, missing * self.gaps]
        for column, size in self._codes:
            code = row_BD[:, column].nan_to_num().long().clamp(0, size - 1)
            parts.append(nn.functional.one_hot(code, size).to(x.dtype))
        return torch.cat(parts, 1)
