"""A linear map of a vector, with an activation if wanted: heads, projections, the blocks of a plain MLP."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from ...problem.form import Form, vector
from .base import Activation, Dropout, Layer, activation


class Linear(Layer):
    """`activation(x W + b)`, then dropout: vector [B, D] -> vector [B, width]."""

    kind: Literal["linear"] = "linear"
    width: int = Field(ge=1, le=65_536)
    activation: Activation = "none"
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    def form(self, *inputs: Form) -> Form:
        self.take(inputs, "vector")
        return vector(self.width)

    def build(self, *inputs: Form) -> nn.Module:
        (x,) = self.take(inputs, "vector")
        parts: list[nn.Module] = [nn.Linear(x.width, self.width)]
        if self.activation != "none":
            parts.append(activation(self.activation))
        if self.dropout:
            parts.append(Dropout(self.dropout))
        return nn.Sequential(*parts)

    def work(self, *inputs: Form) -> float:
        return float(inputs[0].width * self.width)
