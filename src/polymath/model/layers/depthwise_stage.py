"""A stage of depthwise blocks: fewer weights and multiply-adds than a residual stage of the same width."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form
from ._pieces import ConvolutionNorm, SqueezeExcite, halved
from .base import Activation, Layer


class DepthwiseStage(Layer):
    """An entry convolution that changes the width, then `blocks` residual blocks with a depthwise convolution.

    `order`: `inverted` = widen, depthwise, narrow (Sandler et al. 2018, arXiv:1801.04381); `first` = depthwise, widen,
    narrow (Liu et al. 2022, arXiv:2201.03545, with batch norm in place of layer norm).
    """

    kind: Literal["depthwise_stage"] = "depthwise_stage"
    width: int = Field(ge=1, le=4096)
    blocks: int = Field(default=2, ge=1, le=32)
    size: Literal[3, 5, 7] = 5
    expansion: int = Field(default=2, ge=1, le=8)
    order: Literal["inverted", "first"] = "first"
    entry: Literal["stride", "keep"] = "stride"
    activation: Activation = "relu"
    gate: Literal["none", "squeeze"] = "none"

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "map")
        return Form(kind="map", width=self.width, size=given.size if self.entry == "keep" else halved(given.size))

    def build(self, *inputs: Form) -> nn.Module:
        (given,) = self.take(inputs, "map")
        stride = 1 if self.entry == "keep" else 2
        parts: list[nn.Module] = [ConvolutionNorm(given.width, self.width, stride=stride, act=self.activation)]
        parts += [_Block(self) for _ in range(self.blocks)]
        return nn.Sequential(*parts).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def work(self, *inputs: Form) -> float:
        height, width = self.form(*inputs).size
        hidden = self.width * self.expansion
        across = self.size**2 * (hidden if self.order == "inverted" else self.width)
        block = 2 * self.width * hidden + across
        return float(height * width * (9 * inputs[0].width * self.width + self.blocks * block))


class _Block(nn.Module):
    """x + f(x), f starting at zero; no activation after the sum, as f ends in a linear narrowing."""

    def __init__(self, layer: DepthwiseStage) -> None:
        super().__init__()
        width, hidden, act = layer.width, layer.width * layer.expansion, layer.activation
        narrow = ConvolutionNorm(hidden, width, size=1, act=None)
        narrow.start_at_zero()
        if layer.order == "inverted":
            widen = ConvolutionNorm(width, hidden, size=1, act=act)
            parts = [widen, ConvolutionNorm(hidden, hidden, size=layer.size, groups=hidden, act=act), narrow]
        else:
            across = ConvolutionNorm(width, width, size=layer.size, groups=width, act=None)
            parts = [across, ConvolutionNorm(width, hidden, size=1, act=act), narrow]
        gates = [SqueezeExcite(width)] if layer.gate == "squeeze" else []
        self.inside = nn.Sequential(*parts, *gates)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        result: Tensor = x_BCHW + self.inside(x_BCHW)
        return result
