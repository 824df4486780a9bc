"""Fixed filters that decorrelate the pixels of small patches: a first convolution that need not be learned.

Axes: B examples, C channels, H height, W width, N patches, P numbers of a patch (C x size x size).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form
from ._pieces import in_place
from .base import Activation, Layer

PATCHES = 100_000
"""Patches that the covariance is measured on; the covariance of a patch has at most a few thousand numbers."""
FLOOR = 5e-4
"""Added to each variance, so that directions of almost no variance (JPEG noise) are not blown up."""


class Whitening(Layer):
    """map -> map of up to `width` channels: the leading principal directions of patches, scaled to variance 1, each
    with both signs, then a learned bias and the activation.

    Coates, Ng, Lee 2011 ("An analysis of single-layer networks"); as a frozen first layer Page 2019 and Jordan 2024
    (arXiv:2404.00498), where it saves a good part of the training. The filters come from a sample of training rows.
    """

    kind: Literal["whitening"] = "whitening"
    width: int = Field(default=24, ge=2, le=512)
    size: Literal[3, 5] = 3
    activation: Activation = "relu"

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "map")
        return Form(kind="map", width=2 * self._directions(given), size=given.size)

    def build(self, *inputs: Form) -> nn.Module:
        (given,) = self.take(inputs, "map")
        return _Whitening(self, channels=given.width, directions=self._directions(given))

    def work(self, *inputs: Form) -> float:
        (given,) = self.take(inputs, "map")
        return float(2 * self._directions(given) * given.width * self.size**2 * given.size[0] * given.size[1])

    def _directions(self, given: Form) -> int:
        return min(self.width // 2, given.width * self.size**2)


class _Whitening(nn.Module):
    filters: Tensor

    def __init__(self, layer: Whitening, *, channels: int, directions: int) -> None:
        super().__init__()
        self.size, self.directions = layer.size, directions
        patch = channels * layer.size**2
        self.register_buffer("filters", self._both_signs(nn.init.orthogonal_(torch.empty(patch, patch))[:directions]))
        self.bias = nn.Parameter(torch.zeros(2 * directions))
        self.act = in_place(layer.activation)

    def prepare(self, x_BCHW: Tensor) -> None:
        x_BCHW = x_BCHW.float()
        if min(x_BCHW.shape[2:]) < self.size:
            x_BCHW = nn.functional.pad(x_BCHW, (self.size // 2,) * 4)
        every = max(1, x_BCHW.shape[0] * x_BCHW.shape[2] * x_BCHW.shape[3] // PATCHES)
        patches_NP = nn.functional.unfold(x_BCHW[::every], self.size).transpose(1, 2).flatten(0, 1).double()
        patches_NP = patches_NP - patches_NP.mean(0)
        variance_P, direction_PP = torch.linalg.eigh(patches_NP.T @ patches_NP / len(patches_NP))
        whitened_PP = (direction_PP / (variance_P.clamp_min(0) + FLOOR).sqrt()).T.flip(0)
        # The sign of an eigenvector is the library's accident: its largest entry is made positive.
        largest_P1 = whitened_PP.gather(1, whitened_PP.abs().argmax(1, keepdim=True))
        self.filters.copy_(self._both_signs((whitened_PP * largest_P1.sign())[: self.directions].float()))

    def _both_signs(self, filters_KP: Tensor) -> Tensor:
        filters = filters_KP.view(len(filters_KP), -1, self.size, self.size)
        return torch.cat([filters, -filters]).contiguous(memory_format=torch.channels_last)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        result: Tensor = self.act(nn.functional.conv2d(x_BCHW, self.filters, self.bias, padding=self.size // 2))
        return result
