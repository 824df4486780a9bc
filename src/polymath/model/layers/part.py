"""Some neighbouring columns of a vector: how one trunk serves several outputs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, vector
from .base import Layer


class Part(Layer):
    """Columns `start` to `start + width` of a vector [B, D] -> vector [B, width]."""

    kind: Literal["part"] = "part"
    start: int = Field(ge=0)
    width: int = Field(ge=1, le=65_536)

    def form(self, *inputs: Form) -> Form:
        (x,) = self.take(inputs, "vector")
        if self.start + self.width > x.width:
            raise ValueError(f"part takes columns {self.start} to {self.start + self.width}, got {x}")
        return vector(self.width)

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _Part(self.start, self.width)


class _Part(nn.Module):
    def __init__(self, start: int, width: int) -> None:
        super().__init__()
        self.start, self.width = start, width

    def forward(self, x: Tensor) -> Tensor:
        return x.narrow(-1, self.start, self.width)
