"""Bytes of an image -> numbers of mean 0 and deviation 1 per channel."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ...problem.form import Form
from .base import Layer


class Pixels(Layer):
    """map of bytes -> map of numbers with mean 0 and deviation 1: the first layer of every image path.

    Mean and deviation per channel come from a sample of training rows and are stored with the weights.
    """

    kind: Literal["pixels"] = "pixels"

    def form(self, *inputs: Form) -> Form:
        return self.take(inputs, "map")[0]

    def build(self, *inputs: Form) -> nn.Module:
        return _Pixels(self.form(*inputs).width)


class _Pixels(nn.Module):
    """uint8 or float [B, C, H, W] in 0..255 -> float [B, C, H, W] in channels_last memory format."""

    mean: Tensor
    scale: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((channels, 1, 1), 127.5))
        self.register_buffer("scale", torch.full((channels, 1, 1), 1 / 64))

    def prepare(self, x_BCHW: Tensor) -> None:
        deviation_C, mean_C = torch.std_mean(x_BCHW.float(), dim=(0, 2, 3), correction=0)
        # A channel that never changes (an opaque alpha channel) is left at scale 1/64, not divided by almost nothing.
        steady_C = deviation_C < 1.0
        self.mean.copy_(mean_C[:, None, None])
        self.scale.copy_(torch.where(steady_C, 1 / 64, 1 / deviation_C.clamp_min(1.0))[:, None, None])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last).to(self.mean.dtype)
        return (x_BCHW - self.mean) * self.scale
