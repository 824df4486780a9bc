"""Another view of every picture: mirrored, or moved by whole pixels."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form
from .base import KeepsForm


class Moved(KeepsForm):
    """map -> the same map moved `down` and `right` by whole pixels, mirrored at its border, and left to right."""

    kind: Literal["moved"] = "moved"
    takes: ClassVar = "map"
    mirror: bool = False
    down: int = Field(default=0, ge=-64, le=64)
    right: int = Field(default=0, ge=-64, le=64)

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _Moved(self)


class _Moved(nn.Module):
    def __init__(self, layer: Moved) -> None:
        super().__init__()
        self.mirror, self.down, self.right = layer.mirror, layer.down, layer.right

    def forward(self, x_BCHW: Tensor) -> Tensor:
        for axis, by in ((2, self.down), (3, self.right)):
            if by:
                places = _places(x_BCHW.shape[axis], by).to(x_BCHW.device)
                x_BCHW = x_BCHW.index_select(axis, places)
        return x_BCHW.flip(3) if self.mirror else x_BCHW


def _places(length: int, by: int) -> Tensor:
    """Where each pixel of a line comes from."""
    places = (torch.arange(length) - by).abs()
    return torch.where(places < length, places, 2 * (length - 1) - places).clamp(0, length - 1)
