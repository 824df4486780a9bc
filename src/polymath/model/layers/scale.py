"""A raw prediction times one number: the temperature that calibration found."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, vector
from .base import Layer


class Scale(Layer):
    """`factor * x`: vector [B, W] -> [B, W]. The factor is 1 / temperature (Guo et al. 2017, arXiv:1706.04599)."""

    kind: Literal["scale"] = "scale"
    factor: float = Field(gt=0.0)

    def form(self, *inputs: Form) -> Form:
        return vector(self.take(inputs, "vector")[0].width)

    def build(self, *inputs: Form) -> nn.Module:
        self.take(inputs, "vector")
        return _Scale(self.factor)

    def work(self, *inputs: Form) -> float:
        return float(inputs[0].width)


class _Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x
