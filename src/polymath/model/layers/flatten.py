"""A map -> one vector that keeps where things are: what a linear model of pixels takes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, vector
from .base import Layer


class Flatten(Layer):
    """Map [B, C, H, W] -> vector [B, C x h x w], averaged down first to at most `side` pixels each way."""

    kind: Literal["flatten"] = "flatten"
    side: int = Field(default=32, ge=1)

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "map")
        height, width = (min(size, self.side) for size in given.size)
        return vector(given.width * height * width)

    def build(self, *inputs: Form) -> nn.Module:
        (given,) = self.take(inputs, "map")
        height, width = (min(size, self.side) for size in given.size)
        return _Flatten((height, width))


class _Flatten(nn.Module):
    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self._size = size

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if tuple(x_BCHW.shape[2:]) != self._size:
            x_BCHW = nn.functional.adaptive_avg_pool2d(x_BCHW, self._size)
        return x_BCHW.flatten(1)
