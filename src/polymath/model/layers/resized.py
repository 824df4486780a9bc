"""Bytes of an image -> numbers at the size and in the range that a net from outside was trained with."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form
from .base import Layer


class Resized(Layer):
    """map -> map of `side` x `side` pixels: bilinear, smoothed where it shrinks, then `(x - mean) / deviation`.

    `channels`: a map of one channel is repeated so often; any other must have so many.
    """

    kind: Literal["resized"] = "resized"
    side: int = Field(ge=1, le=2048)
    channels: int = Field(default=3, ge=1, le=64)
    mean: float = 127.0
    deviation: float = Field(default=128.0, gt=0)

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "map")
        if given.width not in (1, self.channels):
            raise ValueError(f"resized takes maps of 1 or {self.channels} channels, got {given}")
        return Form(kind="map", width=self.channels, size=(self.side, self.side))

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _Resized(self)

    def work(self, *inputs: Form) -> float:
        return 4.0 * inputs[0].width * self.side**2


class _Resized(nn.Module):
    def __init__(self, layer: Resized) -> None:
        super().__init__()
        self.side, self.channels = layer.side, layer.channels
        self.mean, self.deviation = layer.mean, layer.deviation

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x = x_BCHW if x_BCHW.is_floating_point() else x_BCHW.float()
        if x.shape[2:] != (self.side, self.side):
            x = F.interpolate(x, (self.side, self.side), mode="bilinear", align_corners=False, antialias=True)
        return ((x - self.mean) / self.deviation).expand(-1, self.channels, -1, -1)
