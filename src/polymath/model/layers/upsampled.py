"""A coarse map beside a finer one: how a decoder comes back to the detail that the encoder saw on its way down."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...problem.form import Form
from .base import Layer


class Upsampled(Layer):
    """Two maps, coarse and fine -> one map of the fine one's size: side by side (`concat`) or summed (`add`).

    The coarse map is brought to the size that the fine one has at run time, so a path works for pictures of any size.
    `concat` is the skip connection of the U-Net (Ronneberger et al. 2015, arXiv:1505.04597). `add` gives the width of
    the coarse map; a fine one of another width passes a 1x1 convolution first (Lin et al. 2017, arXiv:1612.03144).
    """

    kind: Literal["upsampled"] = "upsampled"
    num_inputs: ClassVar[int | None] = 2
    how: Literal["concat", "add"] = "concat"

    def form(self, *inputs: Form) -> Form:
        coarse, fine = self.take(inputs, "map")
        width = coarse.width if self.how == "add" else coarse.width + fine.width
        return Form(kind="map", width=width, size=fine.size)

    def build(self, *inputs: Form) -> nn.Module:
        coarse, fine = self.take(inputs, "map")
        return _Upsampled(coarse.width, fine.width, add=self.how == "add")

    def work(self, *inputs: Form) -> float:
        coarse, fine = self.take(inputs, "map")
        changed = self.how == "add" and coarse.width != fine.width
        each = 4 * coarse.width + (coarse.width * fine.width if changed else 0)
        return float(each * fine.size[0] * fine.size[1])


class _Upsampled(nn.Module):
    def __init__(self, coarse: int, fine: int, *, add: bool) -> None:
        super().__init__()
        self.add = add
        self.change = nn.Conv2d(fine, coarse, 1, bias=False) if add and fine != coarse else None

    def forward(self, coarse_BCHW: Tensor, fine_BCHW: Tensor) -> Tensor:
        brought = brought_to(coarse_BCHW, fine_BCHW)
        if brought.requires_grad:
            # Gradients of what was joined are slices, on which the step back of an enlargement takes thrice as long.
            brought.register_hook(_dense)
        if not self.add:
            return torch.cat([brought, fine_BCHW.to(brought.dtype)], 1)
        return brought + (fine_BCHW if self.change is None else self.change(fine_BCHW))


def _dense(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.contiguous(memory_format=torch.channels_last)


def brought_to(x_BCHW: Tensor, reference_BCHW: Tensor) -> Tensor:
    """The map at height and width of another one, bilinear."""
    size = reference_BCHW.shape[2:]
    if x_BCHW.shape[2:] == size:
        return x_BCHW
    return F.interpolate(x_BCHW, (size[0], size[1]), mode="bilinear", align_corners=False)
