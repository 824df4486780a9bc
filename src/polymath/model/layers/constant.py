"""The same vector for every example: the prediction that all others must beat."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, Tokens, vector
from .base import Layer


class Constant(Layer):
    """Any form -> vector [B, width], equal for all examples; starts at 0."""

    kind: Literal["constant"] = "constant"
    width: int = Field(ge=1)

    def form(self, *inputs: Form) -> Form:
        if len(inputs) != 1:
            raise ValueError(f"constant takes one input, got {len(inputs)}")
        return vector(self.width)

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _Constant(self.width)


class _Constant(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor | Tokens) -> Tensor:
        size = len(x.values) if isinstance(x, Tokens) else len(x)
        return self.value.expand(size, -1)
