"""A row of numbers and category codes -> a vector, with every number cut at its quantiles."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, vector
from ._row import Row, category_width, number_count
from .base import Layer


class Piecewise(Layer):
    """Row [B, D] with NaN and codes -> vector: `width` values per number, categories as in `columns`.

    A number becomes how far it has come through each of up to `bins` intervals between its quantiles (piecewise linear
    encoding, Gorishniy, Rubachev, Babenko 2022, arXiv:2203.05556, section 3.2), then a linear map of its own to `width`
    values, added to a linear map of the plain number (version "B" of their package). A missing one has its own.
    """

    kind: Literal["piecewise"] = "piecewise"
    bins: int = Field(default=16, ge=2, le=1024)
    width: int = Field(default=4, ge=1, le=1024)

    def form(self, *inputs: Form) -> Form:
        (row,) = self.take(inputs, "vector", codes=True)
        return vector(self.width * number_count(row) + category_width(row))

    def build(self, *inputs: Form) -> nn.Module:
        (row,) = self.take(inputs, "vector", codes=True)
        return _Piecewise(row, self.bins, self.width)

    def work(self, *inputs: Form) -> float:
        return float(number_count(inputs[0]) * (self.bins + 2) * (self.width + 1))


class _Piecewise(nn.Module):
    """Axes: B rows, N number columns, K intervals, D width."""

    def __init__(self, form: Form, bins: int, width: int) -> None:
        super().__init__()
        self.row = Row(form)
        numbers = self.row.num_numbers
        if numbers:
            self.edges_NK = nn.Buffer(torch.zeros(numbers, bins))
            self.slopes_NK = nn.Buffer(torch.zeros(numbers, bins))
            self.least_NK = nn.Buffer(torch.zeros(numbers, bins))
            self.most_NK = nn.Buffer(torch.ones(numbers, bins))
            # Last two places: the plain number and the missing flag. The encoding itself starts at zero.
            weight = torch.zeros(numbers, bins + 2, width)
            weight[:, bins:].uniform_(-1.0, 1.0)
            self.weight_NKD = nn.Parameter(weight)
            self.bias_ND = nn.Parameter(torch.empty(numbers, width).uniform_(-1.0, 1.0))

    def prepare(self, row: Tensor) -> None:
        self.row.prepare(row)
        if not self.row.num_numbers:
            return
        x_BN, _ = self.row.numbers(row)
        x_BN = torch.where(row[:, self.row.numbers_at].isfinite(), x_BN, torch.nan)
        for tensor, start in ((self.edges_NK, 0.0), (self.slopes_NK, 0.0), (self.least_NK, 0.0), (self.most_NK, 1.0)):
            tensor.fill_(start)
        levels = torch.linspace(0, 1, self.edges_NK.shape[1] + 1, dtype=torch.float64, device=row.device)
        for column, x in enumerate(x_BN.unbind(1)):
            x = x[x.isfinite()].double()
            edges = torch.quantile(x, levels).unique() if len(x) else x
            pieces = len(edges) - 1
            if pieces < 1:
                continue
            self.edges_NK[column, :pieces] = edges[:-1]
            self.slopes_NK[column, :pieces] = 1 / (edges[1:] - edges[:-1])
            # Outside the range seen, the outer intervals go on for one more width of their own.
            self.least_NK[column, 0] = -1.0
            self.most_NK[column, pieces - 1] = 2.0

    def forward(self, row: Tensor) -> Tensor:
        parts = []
        if self.row.num_numbers:
            x_BN, missing_BN = self.row.numbers(row)
            t_BNK = (x_BN.unsqueeze(-1) - self.edges_NK) * self.slopes_NK
            t_BNK = torch.minimum(torch.maximum(t_BNK, self.least_NK), self.most_NK)
            gone_BN1 = ~row[:, self.row.numbers_at].isfinite().unsqueeze(-1)
            t_BNK = t_BNK.masked_fill(gone_BN1, 0.0)
            t_BNK = torch.cat([t_BNK, x_BN.unsqueeze(-1), missing_BN.unsqueeze(-1)], dim=-1)
            y_BND = torch.einsum("bnk,nkd->bnd", t_BNK, self.weight_NKD) + self.bias_ND
            parts.append(y_BND.flatten(1))
        return torch.cat([*parts, *self.row.categories(row)], dim=1)
