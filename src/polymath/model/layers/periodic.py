"""A row of numbers and category codes -> a vector, with every number seen through learned waves."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, vector
from ._row import Row, category_width, number_count
from .base import Layer


class Periodic(Layer):
    """Row [B, D] with NaN and codes -> vector: `width` values per number, categories as in `columns`.

    A number x becomes x itself beside `width - 1` values linear in `waves` cosines of x with learned frequencies and
    phases: periodic embeddings (Gorishniy, Rubachev, Babenko 2022, arXiv:2203.05556, section 3.3) in the form of
    RealMLP (Holzmüller et al. 2024, arXiv:2407.04491, section 3.2), with the missing flag added.
    """

    kind: Literal["periodic"] = "periodic"
    waves: int = Field(default=16, ge=1, le=1024)
    width: int = Field(default=4, ge=2, le=1024)
    spread: float = Field(default=0.1, gt=0.0)
    """Standard deviation of the fresh frequencies, per unit of the scaled number."""

    def form(self, *inputs: Form) -> Form:
        (row,) = self.take(inputs, "vector", codes=True)
        return vector((self.width + 1) * number_count(row) + category_width(row))

    def build(self, *inputs: Form) -> nn.Module:
        (row,) = self.take(inputs, "vector", codes=True)
        return _Periodic(self, row)

    def work(self, *inputs: Form) -> float:
        return float(number_count(inputs[0]) * self.waves * (self.width + 1))


class _Periodic(nn.Module):
    """Axes: B rows, N number columns, K waves, D width."""

    def __init__(self, layer: Periodic, form: Form) -> None:
        super().__init__()
        self.row = Row(form)
        numbers = self.row.num_numbers
        if numbers:
            bound = layer.waves**-0.5
            self.frequency_NK = nn.Parameter(torch.randn(numbers, layer.waves) * layer.spread)
            self.phase_NK = nn.Parameter(torch.empty(numbers, layer.waves).uniform_(-math.pi, math.pi))
            self.weight_NKD = nn.Parameter(torch.empty(numbers, layer.waves, layer.width - 1).uniform_(-bound, bound))
            self.bias_ND = nn.Parameter(torch.empty(numbers, layer.width - 1).uniform_(-bound, bound))

    def prepare(self, row: Tensor) -> None:
        self.row.prepare(row)

    def forward(self, row: Tensor) -> Tensor:
        parts = []
        if self.row.num_numbers:
            x_BN, missing_BN = self.row.numbers(row)
            waves_BNK = torch.cos(2 * math.pi * x_BN.unsqueeze(-1) * self.frequency_NK + self.phase_NK)
            y_BND = torch.einsum("bnk,nkd->bnd", waves_BNK, self.weight_NKD) + self.bias_ND
            parts = [x_BN, missing_BN, y_BND.flatten(1)]
        return torch.cat([*parts, *self.row.categories(row)], dim=1)
