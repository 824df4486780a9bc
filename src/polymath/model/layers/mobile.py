"""Blocks of nets for phones as TensorFlow trains them, so that their published weights fit."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form
from ._pieces import MapNorm, halved
from .base import Layer

EPSILON = 1e-3
"""Of batch norms, as published weights expect it."""


class Mobile(Layer):
    """map -> map of `width` channels, at half the size where `step` is 2.

    `inverted`: widen by `expansion`, a depthwise convolution, narrow, and the input added where its form is the same
    (Sandler et al. 2018, arXiv:1801.04381; without squeeze as in EfficientNet-Lite). `convolution`: one, for a net's
    begin and end. Padding is TensorFlow's: an odd pixel more at the right and below. Activations end at 6.
    """

    kind: Literal["mobile"] = "mobile"
    width: int = Field(ge=1, le=8192)
    operation: Literal["inverted", "convolution"] = "inverted"
    size: Literal[1, 3, 5, 7] = 3
    step: Literal[1, 2] = 1
    expansion: int = Field(default=6, ge=1, le=16)

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "map")
        return Form(kind="map", width=self.width, size=given.size if self.step == 1 else halved(given.size))

    def build(self, *inputs: Form) -> nn.Module:
        (given,) = self.take(inputs, "map")
        made = _Plain(self, given.width) if self.operation == "convolution" else _Inverted(self, given.width)
        return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def work(self, *inputs: Form) -> float:
        (given,) = inputs
        height, width = self.form(given).size
        if self.operation == "convolution":
            return float(height * width * self.size**2 * given.width * self.width)
        hidden = given.width * self.expansion
        before = given.size[0] * given.size[1] * given.width * hidden if self.expansion > 1 else 0
        return float(before + height * width * hidden * (self.size**2 + self.width))


class _Same(nn.Conv2d):
    """A convolution without bias whose padding is TensorFlow's 'SAME'."""

    def __init__(self, inputs: int, outputs: int, *, size: int = 1, step: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, size, step, groups=groups, bias=False)
        nn.init.kaiming_normal_(self.weight, mode="fan_out" if groups == 1 else "fan_in", nonlinearity="relu")

    def forward(self, input: Tensor) -> Tensor:
        size, step = self.kernel_size[0], self.stride[0]
        missing = [max((-(-n // step) - 1) * step + size - n, 0) for n in (input.shape[3], input.shape[2])]
        sides = [side for n in missing for side in (n // 2, n - n // 2)]
        return super().forward(F.pad(input, sides) if any(sides) else input)


class _Plain(nn.Module):
    def __init__(self, layer: Mobile, width: int) -> None:
        super().__init__()
        self.convolution = _Same(width, layer.width, size=layer.size, step=layer.step)
        self.norm = MapNorm(layer.width, eps=EPSILON)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y: Tensor = F.relu6(self.norm(self.convolution(x_BCHW)))
        return y


class _Inverted(nn.Module):
    def __init__(self, layer: Mobile, width: int) -> None:
        super().__init__()
        hidden = width * layer.expansion
        self.adds = layer.step == 1 and width == layer.width
        self.widen = _Same(width, hidden) if layer.expansion > 1 else None
        self.widen_norm = MapNorm(hidden, eps=EPSILON) if layer.expansion > 1 else None
        self.depthwise = _Same(hidden, hidden, size=layer.size, step=layer.step, groups=hidden)
        self.depthwise_norm = MapNorm(hidden, eps=EPSILON)
        self.narrow = _Same(hidden, layer.width)
        self.narrow_norm = MapNorm(layer.width, eps=EPSILON)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y: Tensor = x_BCHW
        if self.widen is not None and self.widen_norm is not None:
            y = F.relu6(self.widen_norm(self.widen(y)))
        y = F.relu6(self.depthwise_norm(self.depthwise(y)))
        y = self.narrow_norm(self.narrow(y))
        return x_BCHW + y if self.adds else y
