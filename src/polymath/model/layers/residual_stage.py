"""A stage of residual blocks: the reusable unit of the one-cycle residual nets."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form
from ._pieces import ConvolutionNorm, SqueezeExcite, halved, in_place
from .base import Activation, Layer


class ResidualStage(Layer):
    """An entry convolution that changes the width, then `blocks` residual blocks of `convolutions` 3x3 convolutions.

    `entry`: `pool` = convolve, then halve height and width by maximum (ResNet-9 of DAWNBench: Page 2018, "How to train
    your ResNet"); `stride` = halve in the convolution itself, cheaper and a little weaker; `keep` = same size.
    """

    kind: Literal["residual_stage"] = "residual_stage"
    width: int = Field(ge=1, le=4096)
    blocks: int = Field(default=1, ge=0, le=32)
    convolutions: Literal[1, 2] = 2
    entry: Literal["pool", "stride", "keep"] = "pool"
    activation: Activation = "relu"
    gate: Literal["none", "squeeze"] = "none"

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "map")
        return Form(kind="map", width=self.width, size=given.size if self.entry == "keep" else halved(given.size))

    def build(self, *inputs: Form) -> nn.Module:
        (given,) = self.take(inputs, "map")
        stride = 2 if self.entry == "stride" else 1
        entry = ConvolutionNorm(given.width, self.width, stride=stride, act=self.activation)
        if self.entry == "pool":
            # Between convolution and norm: norm and activation then pass over four times fewer numbers.
            entry.insert(1, nn.MaxPool2d(2, ceil_mode=True))
        blocks = [_Block(self) for _ in range(self.blocks)]
        return nn.Sequential(entry, *blocks).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def work(self, *inputs: Form) -> float:
        (given,) = self.take(inputs, "map")
        outside, inside = self.form(*inputs).size, given.size if self.entry == "pool" else self.form(*inputs).size
        entry = 9 * given.width * self.width * inside[0] * inside[1]
        return float(entry + self.blocks * self.convolutions * 9 * self.width**2 * outside[0] * outside[1])


class _Block(nn.Module):
    """activation(x + f(x)) with f starting at zero, so a fresh block is the identity for ReLU."""

    def __init__(self, layer: ResidualStage) -> None:
        super().__init__()
        width, act = layer.width, layer.activation
        parts = [ConvolutionNorm(width, width, act=act) for _ in range(layer.convolutions - 1)]
        last = ConvolutionNorm(width, width, act=None)
        last.start_at_zero()
        gates = [SqueezeExcite(width)] if layer.gate == "squeeze" else []
        self.inside = nn.Sequential(*parts, last, *gates)
        self.act = in_place(act)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        result: Tensor = self.act(x_BCHW + self.inside(x_BCHW))
        return result
