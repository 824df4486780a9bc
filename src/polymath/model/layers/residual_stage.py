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
    """An entry convolution that changes the width, then `blocks` residual blocks of two 3x3 convolutions.

    `entry`: `pool` = convolve, then halve height and width by maximum (ResNet-9 of DAWNBench: Page 2018, "How to train
    your ResNet"); `stride` = halve in the convolution itself, cheaper and a little weaker; `keep` = same size.
    """

    kind: Literal["residual_stage"] = "residual_stage"
    width: int = Field(ge=1, le=4096)
    blocks: int = Field(default=1, ge=0, le=32)
    entry: Literal["pool", "stride", "keep"] = "pool"
    activation: Activation = "relu"
    gate: Literal["none", "squeeze"] = "none"

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "map")
        return Form(kind="map", width=self.width, size=given.size if self.entry == "keep" else halved(given.size))

    def build(self, *inputs: Form) -> nn.Module:
        (given,) = self.take(inputs, "map")
        stride = 2 if self.entry == "stride" else 1
        parts: list[nn.Module] = [ConvolutionNorm(given.width, self.width, stride=stride, act=None)]
        if self.entry == "pool":
            parts.append(nn.MaxPool2d(2, ceil_mode=True))
        # Activation after the pool: the maximum commutes with it, and there are four times fewer numbers to pass.
        parts.append(in_place(self.activation))
        parts += [_Block(self.width, act=self.activation, gate=self.gate == "squeeze") for _ in range(self.blocks)]
        return nn.Sequential(*parts).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def work(self, *inputs: Form) -> float:
        (given,) = self.take(inputs, "map")
        outside, inside = self.form(*inputs).size, given.size if self.entry == "pool" else self.form(*inputs).size
        entry = 9 * given.width * self.width * inside[0] * inside[1]
        return float(entry + self.blocks * 2 * 9 * self.width**2 * outside[0] * outside[1])


class _Block(nn.Module):
    """x + f(x) with f = convolution, norm, activation, convolution, norm, (gate,) activation. f starts at zero."""

    def __init__(self, width: int, *, act: Activation, gate: bool) -> None:
        super().__init__()
        self.first = ConvolutionNorm(width, width, act=act)
        self.second = ConvolutionNorm(width, width, act=None)
        self.gate = SqueezeExcite(width) if gate else nn.Identity()
        self.act = in_place(act)
        self.second.start_at_zero()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        result: Tensor = self.act(x_BCHW + self.gate(self.second(self.first(x_BCHW))))
        return result
