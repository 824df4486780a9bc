"""What a pixel and its surroundings look like, without weights: the ground on which a cheap head answers for pixels."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ...problem.form import Form
from ._pieces import halved
from .base import Layer
from .upsampled import brought_to


class LocalFilters(Layer):
    """map -> map, half as large: each channel, its means and deviations over ever larger surroundings, and the place.

    Surroundings double `levels` times. The last two channels are row and column of the pixel, counted from the
    upper left corner in steps of 64.
    """

    kind: Literal["local_filters"] = "local_filters"
    levels: int = Field(default=4, ge=1, le=8)

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "map")
        return Form(kind="map", width=given.width * (1 + 2 * self.levels) + 2, size=halved(given.size))

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _LocalFilters(self.levels)

    def work(self, *inputs: Form) -> float:
        form = self.form(*inputs)
        return float(8 * form.width * form.size[0] * form.size[1])


class _LocalFilters(nn.Module):
    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        mean = F.avg_pool2d(x_BCHW.float(), 2, ceil_mode=True, count_include_pad=False)
        found, square = [mean], mean.square()
        for _ in range(self.levels):
            mean, square = (F.avg_pool2d(one, 2, ceil_mode=True, count_include_pad=False) for one in (mean, square))
            spread = (square - mean.square()).clamp_min(0).sqrt()
            found += [brought_to(mean, found[0]), brought_to(spread, found[0])]
        size, _, height, width = found[0].shape
        # Not shares of the size: a picture may be shown on a canvas that is larger than itself.
        down, right = (torch.arange(n, device=x_BCHW.device, dtype=torch.float32) / 64 for n in (height, width))
        rows, columns = down[None, None, :, None], right[None, None, None, :]
        rows, columns = (one.expand(size, 1, height, width) for one in (rows, columns))
        return torch.cat([*found, rows, columns], 1)
