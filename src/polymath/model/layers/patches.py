"""A bank of fixed filters on whitened image patches, pooled over regions: image features without training.

Axes: B examples, C channels, H height, W width in pixels, K filters.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, vector
from .base import Layer

CONTRAST = 10.0
"""Added to a patch's variance (in grey levels squared), so that flat patches stay small (Coates, Lee & Ng 2011)."""


class Patches(Layer):
    """Map in 0..255 -> vector [B, 2 x filters x cells²] (Coates & Ng 2011): each patch less its mean over its
    deviation, filters that include the whitening, soft threshold of both signs, sums over cells x cells regions,
    standardised.
    """

    kind: Literal["patches"] = "patches"
    filters: int = Field(ge=1)
    side: int = Field(default=6, ge=1)
    cells: int = Field(default=2, ge=1)
    threshold: float = Field(default=0.25, ge=0)
    size: int = Field(default=32, ge=1)
    """Larger images are averaged down to so many pixels each way."""

    def form(self, *inputs: Form) -> Form:
        self._sizes(*inputs)
        return vector(2 * self.filters * self.cells**2)

    def build(self, *inputs: Form) -> nn.Module:
        return _Patches(self, self.take(inputs, "map")[0].width, self._sizes(*inputs))

    def work(self, *inputs: Form) -> float:
        height, width = self._sizes(*inputs)
        channels = self.take(inputs, "map")[0].width
        return float((height - self.side + 1) * (width - self.side + 1) * self.side**2 * channels * self.filters)

    def _sizes(self, *inputs: Form) -> tuple[int, int]:
        given = self.take(inputs, "map")[0]
        height, width = (min(size, self.size) for size in given.size)
        if min(height, width) - self.side + 1 < self.cells:
            raise ValueError(f"patches of side {self.side} in {self.cells} cells do not fit into {given}")
        return height, width


class _Patches(nn.Module):
    filter: Tensor
    bias: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, layer: Patches, channels: int, sizes: tuple[int, int]) -> None:
        super().__init__()
        self._layer, self._sizes = layer, sizes
        width = 2 * layer.filters * layer.cells**2
        self.register_buffer("filter", torch.zeros(layer.filters, channels, layer.side, layer.side))
        self.register_buffer("bias", torch.zeros(layer.filters))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return (self.pooled(x_BCHW) - self.mean) * self.scale

    def pooled(self, x_BCHW: Tensor) -> Tensor:
        """Before the standardisation."""
        x_BCHW = self.small(x_BCHW)
        answers_BKHW = nn.functional.conv2d(x_BCHW, self.filter)
        answers_BKHW = answers_BKHW * inverse_deviation(x_BCHW, self._layer.side) + self.bias[:, None, None]
        threshold, cells = self._layer.threshold, self._layer.cells
        pooled = [
            nn.functional.adaptive_avg_pool2d(signed.sub_(threshold).relu_(), cells).flatten(1)
            for signed in (answers_BKHW.clone(), -answers_BKHW)
        ]
        return torch.cat(pooled, 1)

    def small(self, x_BCHW: Tensor) -> Tensor:
        """The image as float at the size that patches are taken from."""
        x_BCHW = x_BCHW.float()
        if tuple(x_BCHW.shape[2:]) != self._sizes:
            x_BCHW = nn.functional.adaptive_avg_pool2d(x_BCHW, self._sizes)
        return x_BCHW


def inverse_deviation(x_BCHW: Tensor, side: int) -> Tensor:
    """1 / deviation of the pixels of every patch, all channels together, [B, 1, H - side + 1, W - side + 1]."""
    mean = nn.functional.avg_pool2d(x_BCHW, side, stride=1).mean(1, keepdim=True)
    square = nn.functional.avg_pool2d(x_BCHW.square(), side, stride=1).mean(1, keepdim=True)
    return (square - mean.square()).clamp_min(0).add(CONTRAST).rsqrt()
