"""Pooling over small windows of a map: half the size, or the same."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ...problem.form import Form
from ._pieces import halved
from .base import Layer


class LocalPool(Layer):
    """map -> map of the same width: maximum or mean of 2x2 windows (`step` 2, rounded up) or of 3x3 ones (`step` 1)."""

    kind: Literal["local_pool"] = "local_pool"
    how: Literal["max", "mean"] = "max"
    step: Literal[1, 2] = 2

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "map")
        return Form(kind="map", width=given.width, size=halved(given.size) if self.step == 2 else given.size)

    def build(self, *inputs: Form) -> nn.Module:
        self.take(inputs, "map")
        return _LocalPool(self)

    def work(self, *inputs: Form) -> float:
        """Comparisons or additions, which a core does no faster than multiply-adds."""
        form = self.form(*inputs)
        return float((4 if self.step == 2 else 9) * form.width * form.size[0] * form.size[1])


class _LocalPool(nn.Module):
    def __init__(self, layer: LocalPool) -> None:
        super().__init__()
        self.mean, self.step = layer.how == "mean", layer.step

    def forward(self, x_BCHW: Tensor) -> Tensor:
        window, around = (2, 0) if self.step == 2 else (3, 1)
        if self.mean:
            return nn.functional.avg_pool2d(x_BCHW, window, self.step, around, ceil_mode=True, count_include_pad=False)
        return nn.functional.max_pool2d(x_BCHW, window, self.step, around, ceil_mode=True)
