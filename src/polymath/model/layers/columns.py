"""A row of numbers and category codes -> a vector of plain numbers: the simplest start of a table path."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ...problem.form import Form, vector
from ._row import Row, category_width, number_count
from .base import Layer


class Columns(Layer):
    """Row [B, D] with NaN and codes -> vector: scaled numbers, missing flags, categories one-hot or embedded."""

    kind: Literal["columns"] = "columns"

    def form(self, *inputs: Form) -> Form:
        (row,) = self.take(inputs, "vector", codes=True)
        return vector(2 * number_count(row) + category_width(row))

    def build(self, *inputs: Form) -> nn.Module:
        (row,) = self.take(inputs, "vector", codes=True)
        return _Columns(row)


class _Columns(nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.row = Row(form)

    def prepare(self, row: Tensor) -> None:
        self.row.prepare(row)

    def forward(self, row: Tensor) -> Tensor:
        numbers = self.row.numbers(row) if self.row.num_numbers else ()
        return torch.cat([*numbers, *self.row.categories(row)], dim=1)
