"""One convolution with batch norm and activation: the stem of an image path."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from ...problem.form import Form
from ._pieces import ConvolutionNorm, halved
from .base import Activation, Layer


class Convolution(Layer):
    """map -> map of `width` channels; `step` 2 halves height and width (rounded up)."""

    kind: Literal["convolution"] = "convolution"
    width: int = Field(ge=1, le=4096)
    size: Literal[1, 3, 5, 7] = 3
    step: Literal[1, 2] = 1
    activation: Activation = "relu"

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "map")
        return Form(kind="map", width=self.width, size=halved(given.size) if self.step == 2 else given.size)

    def build(self, *inputs: Form) -> nn.Module:
        (given,) = self.take(inputs, "map")
        part = ConvolutionNorm(given.width, self.width, size=self.size, stride=self.step, act=self.activation)
        return part.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def work(self, *inputs: Form) -> float:
        height, width = self.form(*inputs).size
        return float(inputs[0].width * self.width * self.size**2 * height * width)
