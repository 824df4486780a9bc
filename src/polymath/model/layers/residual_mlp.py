"""A residual MLP: the plain deep trunk over vectors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, vector
from .base import Activation, BatchNorm, Dropout, Layer, activation


class ResidualMlp(Layer):
    """Vector [B, D] -> vector [B, width]: linear, then blocks `x + linear(dropout(act(linear(norm(x)))))`, norm, act.

    The ResNet of Gorishniy et al. 2021 (arXiv:2106.11959) with one dropout per block.
    """

    kind: Literal["residual_mlp"] = "residual_mlp"
    width: int = Field(ge=1, le=65_536)
    blocks: int = Field(default=2, ge=1, le=64)
    expansion: int = Field(default=2, ge=1, le=16)
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    norm: Literal["batch", "layer"] = "batch"
    activation: Activation = "relu"

    def form(self, *inputs: Form) -> Form:
        self.take(inputs, "vector")
        return vector(self.width)

    def build(self, *inputs: Form) -> nn.Module:
        (x,) = self.take(inputs, "vector")
        blocks = [_Block(self) for _ in range(self.blocks)]
        return nn.Sequential(nn.Linear(x.width, self.width), *blocks, norm(self), activation(self.activation))

    def work(self, *inputs: Form) -> float:
        return float(inputs[0].width * self.width + self.blocks * 2 * self.expansion * self.width**2)


def norm(layer: ResidualMlp) -> nn.Module:
    """The normalisation that the layer asks for."""
    return BatchNorm(layer.width) if layer.norm == "batch" else nn.LayerNorm(layer.width)


class _Block(nn.Module):
    def __init__(self, layer: ResidualMlp) -> None:
        super().__init__()
        inner = layer.width * layer.expansion
        self.change = nn.Sequential(
            norm(layer),
            nn.Linear(layer.width, inner),
            activation(layer.activation),
            Dropout(layer.dropout),
            nn.Linear(inner, layer.width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.change(x)  # type: ignore[no-any-return]
