"""A small correction behind a frozen layer: what is trained where stored layers stay as they are.

Axes: B examples, D width.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, Tokens
from ._pieces import masked
from .base import Activation, Layer, activation


class Adapter(Layer):
    """Vector, tokens or map -> the same form: `x + up(activation(down(norm(x))))`, at every token and pixel alike.

    Residual bottleneck adapters (Houlsby et al. 2019, arXiv:1902.00751, figure 2). `up` begins at zero, so that a fresh
    adapter changes nothing. The paper leaves the norm to the layer behind it; stored maps have none there.
    """

    kind: Literal["adapter"] = "adapter"
    hidden: int = Field(default=16, ge=1, le=65_536)
    """Width of the bottleneck: 2 x width x hidden weights."""
    activation: Activation = "relu"

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, inputs[0].kind if inputs and inputs[0].kind in ("map", "tokens") else "vector")
        if given.vocabulary:
            raise ValueError(
                f"adapter takes tokens that are vectors, got {given}; embed them first (layer 'embedding')"
            )
        return given

    def build(self, *inputs: Form) -> nn.Module:
        return _Adapter(self, self.form(*inputs))

    def work(self, *inputs: Form) -> float:
        (given,) = inputs
        return float(2 * math.prod(given.size) * given.width * self.hidden)


class _Adapter(nn.Module):
    def __init__(self, layer: Adapter, form: Form) -> None:
        super().__init__()
        self.is_map = form.kind == "map"
        self.norm = nn.LayerNorm(form.width)
        self.down = nn.Linear(form.width, layer.hidden)
        self.activation = activation(layer.activation)
        self.up = nn.Linear(layer.hidden, form.width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor | Tokens) -> Tensor | Tokens:
        if isinstance(x, Tokens):
            return Tokens(masked(self._adapted(x.values), x.mask), x.mask)
        if self.is_map:  # a linear map of the last axis is a 1x1 convolution of maps that are kept channels last
            return self._adapted(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self._adapted(x)

    def _adapted(self, x: Tensor) -> Tensor:
        """All axes but the last alike, [..., D]."""
        y: Tensor = x + self.up(self.activation(self.down(self.norm(x))))
        return y
