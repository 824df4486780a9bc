"""A linear map with norm, activation and dropout: a node of free architectures over vectors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, vector
from .base import Activation, BatchNorm, Dropout, Layer, activation


class VectorBlock(Layer):
    """Vector [B, D] -> vector [B, width]: `dropout(activation(norm(linear(x))))`.

    `gated`: times the sigmoid of a second linear map (Dauphin et al. 2017, arXiv:1612.08083), which lets a row choose
    its columns.
    """

    kind: Literal["vector_block"] = "vector_block"
    width: int = Field(ge=1, le=65_536)
    norm: Literal["batch", "layer", "none"] = "batch"
    activation: Activation = "relu"
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    gated: bool = False

    def form(self, *inputs: Form) -> Form:
        self.take(inputs, "vector")
        return vector(self.width)

    def build(self, *inputs: Form) -> nn.Module:
        (x,) = self.take(inputs, "vector")
        return _VectorBlock(self, x.width)

    def work(self, *inputs: Form) -> float:
        return float(inputs[0].width * self.width * (2 if self.gated else 1))


class _VectorBlock(nn.Module):
    def __init__(self, layer: VectorBlock, width: int) -> None:
        super().__init__()
        norms: dict[str, list[nn.Module]] = {
            "batch": [BatchNorm(layer.width)],
            "layer": [nn.LayerNorm(layer.width)],
            "none": [],
        }
        self.map = nn.Sequential(nn.Linear(width, layer.width), *norms[layer.norm], activation(layer.activation))
        self.gate = nn.Linear(width, layer.width) if layer.gated else None
        self.dropout = Dropout(layer.dropout)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.map(x)
        if self.gate is not None:
            y = y * self.gate(x).sigmoid()
        result: Tensor = self.dropout(y)
        return result
