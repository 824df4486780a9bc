"""Convolutions of each channel by itself, whose training on a processor costs about what their arithmetic says.

Axes: B examples, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE = 3
"""Side of the windows whose gradient oneDNN finds quickly; larger ones are put together from these."""


class Depthwise(nn.Conv2d):
    """`nn.Conv2d` with a group for each channel, an odd square window, half of it as padding, and no bias.

    While it trains on a processor, windows lose the rim that never meets a pixel (5x5 on a map of 2x2 is 3x3, on a
    single pixel one number), and in bfloat16 its gradients are put together from what is quick; sums may differ in
    their last bits. 64 maps of 8x8 with 64 channels, 5x5 in bfloat16, forward and backward: 2 ms of 5, at a stride of
    two 1.4 of 21 (benchmarks/LOG.md).
    """

    def __init__(self, channels: int, *, size: int, stride: int = 1) -> None:
        super().__init__(channels, channels, size, stride, size // 2, groups=channels, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or input.device.type != "cpu":
            return super().forward(input)
        (size, _), (stride, _) = self.kernel_size, self.stride
        rims = [max(size // 2 + 1 - length, 0) for length in input.shape[2:]]
        weight = self.weight[:, :, rims[0] : size - rims[0], rims[1] : size - rims[1]] if any(rims) else self.weight
        if stride == 1 and max(weight.shape[2:]) <= TILE <= min(input.shape[2:]):
            return F.conv2d(input, weight, None, 1, _padding(weight), groups=len(weight))
        if torch.is_autocast_enabled("cpu"):
            half = torch.get_autocast_dtype("cpu")
            input, weight = input.to(half), weight.to(half)
        made: Tensor = _Tiled.apply(input, weight, stride)  # type: ignore[no-untyped-call]
        return made


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x_BCHW, weight)
        ctx.stride = stride
        return F.conv2d(x_BCHW, weight, None, stride, _padding(weight), groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x_BCHW, weight = ctx.saved_tensors
        of_pixels = None
        if ctx.needs_input_grad[0]:
            # At a stride, oneDNN takes seventy times as long in bfloat16 as in float32.
            given = [t if ctx.stride == 1 else t.float() for t in (gradient, x_BCHW, weight)]
            of_pixels = _gradients(*given, stride=ctx.stride, padding=_padding(weight), weights=False)
            of_pixels = of_pixels.to(x_BCHW.dtype)
        return of_pixels, _of_weights(gradient, x_BCHW, weight, stride=ctx.stride), None


def _of_weights(gradient: Tensor, x_BCHW: Tensor, weight: Tensor, *, stride: int) -> Tensor:
    height, width = weight.shape[2:]
    sides = (width // 2, width // 2, height // 2, height // 2)
    padded = F.pad(x_BCHW, sides).contiguous(memory_format=torch.channels_last)
    found = torch.empty_like(weight)
    reach = [stride * (n - 1) for n in gradient.shape[2:]]
    for down in _tiles(height):
        for right in _tiles(width):
            part = padded[:, :, down.start : down.stop + reach[0], right.start : right.stop + reach[1]]
            shape = weight[:, :, down, right].contiguous(memory_format=torch.channels_last)
            found[:, :, down, right] = _gradients(gradient, part, shape, stride=stride, padding=[0, 0], weights=True)
    return found


def _padding(weight: Tensor) -> list[int]:
    return [weight.shape[2] // 2, weight.shape[3] // 2]


def _tiles(size: int) -> list[slice]:
    """Windows of `TILE` that cover `size`, the last one overlapping."""
    starts = [*range(0, size - TILE, TILE), max(size - TILE, 0)]
    return [slice(start, min(start + TILE, size)) for start in starts]


def _gradients(
    gradient: Tensor, x_BCHW: Tensor, weight: Tensor, *, stride: int, padding: list[int], weights: bool
) -> Tensor:
    """Of the weights, or of the pixels."""
    found = torch.ops.aten.convolution_backward(
        gradient,
        x_BCHW,
        weight,
        None,
        [stride] * 2,
        padding,
        [1, 1],
        False,
        [0, 0],
        len(weight),
        [not weights, weights, False],
    )
    made: Tensor = found[1 if weights else 0]
    return made
