"""Which way edges run in each part of a picture: the strongest picture features that need no training.

Axes: B examples, C channels, H height, W width in pixels, K directions, R rows and S columns of cells.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ...problem.form import Form
from .base import Layer

FAINT = 1.0
"""Gradient, in grey levels per pixel, below which a block counts as flat: noise is not blown up."""
MOST = 0.2
"""Of a block's length that a single number may be."""
BLOCKS = 4
"""Of 2 x 2 cells, that hold a cell."""


class OrientedGradients(Layer):
    """Map in 0..255 -> map of one place for each cell of `cell` x `cell` pixels, the last ones filled up with nothing.

    Histograms of oriented gradients (Dalal and Triggs 2005): every pixel votes for the direction of its gradient, that
    of its strongest channel, with its size; votes are shared out linearly between two directions and four cells. A cell
    is divided by the length of each block of 2 x 2 cells that holds it, cut at `MOST`, and the four are averaged; what
    all directions have in each of the four stands behind (Felzenszwalb et al. 2010, section 6.2, its analytic form).
    """

    kind: Literal["oriented_gradients"] = "oriented_gradients"
    cell: int = Field(default=4, ge=1, le=256)
    directions: int = Field(default=9, ge=2, le=64)
    """Of half a turn."""
    signed: bool = False
    """Before them twice as many of a whole turn, too: from dark to bright is not from bright to dark."""

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "map")
        width = self.directions * (3 if self.signed else 1) + BLOCKS
        return Form(kind="map", width=width, size=tuple(-(-side // self.cell) for side in given.size))

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _OrientedGradients(self)

    def work(self, *inputs: Form) -> float:
        (given,) = self.take(inputs, "map")
        directions = self.directions * (2 if self.signed else 1)
        return float((8 * given.width + 4 * directions) * given.size[0] * given.size[1])


class _OrientedGradients(nn.Module):
    def __init__(self, layer: OrientedGradients) -> None:
        super().__init__()
        self.cell, self.directions, self.signed = layer.cell, layer.directions, layer.signed

    def forward(self, x_BCHW: Tensor) -> Tensor:
        cells_BKRS = self._cells(self._votes(*_strongest(x_BCHW.float())))
        kinds = [cells_BKRS]
        if self.signed:
            one, other = cells_BKRS.chunk(2, 1)
            kinds.append(one + other)
        rows, columns = cells_BKRS.shape[2:]
        energy = F.pad(kinds[-1].square().sum(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        scale = (4 * F.avg_pool2d(energy, 2, stride=1) + FAINT**2).rsqrt()
        found = [torch.zeros_like(kind) for kind in kinds]
        strength = []
        for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
            beside = scale[:, :, y : y + rows, x : x + columns]
            cut = [(kind * beside).clamp_max(MOST) for kind in kinds]
            found = [before + one / 2 for before, one in zip(found, cut, strict=True)]
            strength.append(cut[0].sum(1, keepdim=True) / math.sqrt(2 * self.directions))
        return torch.cat([*found, *strength], 1)

    def _votes(self, down_BHW: Tensor, right_BHW: Tensor) -> Tensor:
        """Size of the gradient of every pixel, shared out between the two nearest directions, [B, K, H, W]."""
        turns = 2 if self.signed else 1
        number = self.directions * turns
        place = (torch.atan2(down_BHW, right_BHW) * (self.directions / math.pi) - 0.5).remainder(number)[:, None]
        size = torch.hypot(down_BHW, right_BHW)[:, None]
        before = place.floor()
        votes = size.new_zeros(len(size), number, *size.shape[2:])
        share = size * (place - before)
        first = before.long() % number  # a remainder may be rounded up to the divisor
        return votes.scatter(1, first, size - share).scatter(1, (first + 1) % number, share)

    def _cells(self, votes_BKHW: Tensor) -> Tensor:
        """Means of votes around the middle of every cell, falling to nothing at the middles of its neighbours."""
        cell, channels = self.cell, votes_BKHW.shape[1]
        height, width = votes_BKHW.shape[2:]
        votes_BKHW = F.pad(votes_BKHW, (0, -width % cell, 0, -height % cell))
        length = 2 * cell - cell % 2
        offset = torch.arange(length, device=votes_BKHW.device, dtype=votes_BKHW.dtype) - (length - 1) / 2
        share = (1 - offset.abs() / cell) / cell
        down, right = (share.view(1, 1, *shape).expand(channels, -1, -1, -1) for shape in ((-1, 1), (1, -1)))
        votes_BKHW = F.conv2d(votes_BKHW, down, stride=(cell, 1), padding=(cell // 2, 0), groups=channels)
        return F.conv2d(votes_BKHW, right, stride=(1, cell), padding=(0, cell // 2), groups=channels)


def _strongest(x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences down and to the right, of the channel where they are largest, each [B, H, W]."""
    wide = F.pad(x_BCHW, (1, 1, 1, 1), mode="replicate")
    down = (wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]) / 2
    right = (wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]) / 2
    if x_BCHW.shape[1] > 1:
        largest = (down.square() + right.square()).argmax(1, keepdim=True)
        down, right = down.gather(1, largest), right.gather(1, largest)
    return down[:, 0], right[:, 0]
