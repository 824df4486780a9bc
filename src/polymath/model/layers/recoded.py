"""A row of one table -> the row as another table has it: columns found again, numbers and codes in its terms."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ...problem.form import Form, vector
from .base import Layer


class Recoded(Layer):
    """Row [B, D] with NaN and codes -> row [B, len(columns)] with the codes of `categories`.

    `columns`: for each column that is given where it stands in the row that is taken, -1 = nowhere: it is then missing.
    Numbers become `x scale + shift`; one that is missing 0, their mean. Codes are looked up in a stored table; 0,
    which is missing, stays so.
    """

    kind: Literal["recoded"] = "recoded"
    columns: tuple[int, ...] = Field(min_length=1)
    categories: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _one_each(self) -> Recoded:
        if self.categories and len(self.categories) != len(self.columns):
            raise ValueError(f"{len(self.categories)} numbers of categories for {len(self.columns)} columns")
        return self

    def form(self, *inputs: Form) -> Form:
        (row,) = self.take(inputs, "vector", codes=True)
        sizes = row.categories or (0,) * row.width
        for column, wanted in zip(self.columns, self.categories or (0,) * len(self.columns), strict=True):
            if column >= row.width:
                raise ValueError(f"recoded reads column {column} of a row of {row.width}")
            if column >= 0 and bool(sizes[column]) != bool(wanted):
                raise ValueError(f"recoded: column {column} is {'codes' if sizes[column] else 'a number'}")
        return vector(len(self.columns), categories=self.categories if any(self.categories) else ())

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        (row,) = inputs
        return _Recoded(self, row.categories or (0,) * row.width)


class _Recoded(nn.Module):
    scale: Tensor
    shift: Tensor
    table: Tensor

    def __init__(self, layer: Recoded, sizes: tuple[int, ...]) -> None:
        super().__init__()
        wanted = layer.categories or (0,) * len(layer.columns)
        most = max((size for size in sizes), default=0)
        self.columns, self.is_code = layer.columns, [bool(size) for size in wanted]
        self.register_buffer("scale", torch.ones(len(wanted)))
        self.register_buffer("shift", torch.zeros(len(wanted)))
        self.register_buffer("table", torch.zeros(len(wanted), max(most, 1), dtype=torch.int32))

    def forward(self, row_BD: Tensor) -> Tensor:
        found = []
        for place, column in enumerate(self.columns):
            if column < 0:
                found.append(row_BD.new_zeros(len(row_BD)))
            elif self.is_code[place]:
                code_B = row_BD[:, column].nan_to_num().long().clamp(0, self.table.shape[1] - 1)
                found.append(self.table[place][code_B].to(row_BD.dtype))
            else:
                x_B = row_BD[:, column]
                known_B = x_B * self.scale[place] + self.shift[place]
                found.append(torch.where(x_B.isfinite(), known_B, torch.zeros_like(x_B)))
        return torch.stack(found, 1)
