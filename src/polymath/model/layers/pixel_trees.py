"""Sums of decision trees at every pixel of a map."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ...problem.form import Form, vector
from .trees import Trees


class PixelTrees(Trees):
    """map -> map of `width` channels: at each pixel what `trees` give for its channels as a row."""

    kind: Literal["pixel_trees"] = "pixel_trees"  # type: ignore[assignment]

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "map")
        return Form(kind="map", width=self.width, size=given.size)

    def build(self, *inputs: Form) -> nn.Module:
        (given,) = self.take(inputs, "map")
        return _PixelTrees(super_build(self, vector(given.width)), self.width)

    def work(self, *inputs: Form) -> float:
        (given,) = self.take(inputs, "map")
        return Trees.work(self, given) * given.size[0] * given.size[1]


def super_build(layer: Trees, row: Form) -> nn.Module:
    """The module of trees on rows."""
    return Trees(**{**layer.model_dump(), "kind": "trees"}).build(row)


class _PixelTrees(nn.Module):
    def __init__(self, trees: nn.Module, width: int) -> None:
        super().__init__()
        self.trees, self.width = trees, width

    def forward(self, x_BCHW: Tensor) -> Tensor:
        size, channels, height, width = x_BCHW.shape
        rows = x_BCHW.permute(0, 2, 3, 1).reshape(-1, channels)
        answer: Tensor = self.trees(rows)
        return (
            answer.view(size, height, width, self.width)
            .permute(0, 3, 1, 2)
            .contiguous(memory_format=torch.contiguous_format)
        )
