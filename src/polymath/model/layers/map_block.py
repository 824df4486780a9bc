"""One operation on a map, its norm and its activation: a node of free image architectures."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form
from ._depthwise import Depthwise
from ._pieces import MapNorm, halved, in_place
from .base import Activation, Layer

Norm = Literal["batch", "layer", "none"]


class MapBlock(Layer):
    """map -> map of `width` channels; `step` 2 halves height and width (rounded up).

    `convolution`: `size` x `size`; `separable`: each channel by itself, then a 1x1 convolution (Chollet 2017,
    arXiv:1610.02357); `residual`: x + two convolutions that begin at zero, the way past them a 1x1 convolution where
    width or size change (He et al. 2016, arXiv:1512.03385). `norm` layer: over all channels and pixels of an example.
    """

    kind: Literal["map_block"] = "map_block"
    width: int = Field(ge=2, le=4096)
    operation: Literal["convolution", "separable", "residual"] = "convolution"
    size: Literal[1, 3, 5, 7] = 3
    step: Literal[1, 2] = 1
    norm: Norm = "batch"
    activation: Activation = "relu"

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "map")
        return Form(kind="map", width=self.width, size=halved(given.size) if self.step == 2 else given.size)

    def build(self, *inputs: Form) -> nn.Module:
        (given,) = self.take(inputs, "map")
        made = _Residual(self, given.width) if self.operation == "residual" else nn.Sequential(*self._parts(given))
        return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _parts(self, given: Form) -> list[nn.Module]:
        separable = self.operation == "separable"
        across = [_depthwise(given.width, self.size, step=self.step)] if separable else []
        size, step = (1, 1) if across else (self.size, self.step)
        last = _convolution(given.width, self.width, size, step=step, bias=self.norm == "none")
        return [*across, last, norm(self.norm, self.width), in_place(self.activation)]

    def work(self, *inputs: Form) -> float:
        (given,) = self.take(inputs, "map")
        height, width = self.form(*inputs).size
        before, after, window = given.width, self.width, self.size**2
        if self.operation == "convolution":
            each = before * after * window
        elif self.operation == "separable":
            each = before * window + before * after
        else:
            each = before * after * window + after * after * window
            each += before * after if self.step == 2 or before != after else 0
        return float(each * height * width)


def norm(name: Norm, width: int) -> nn.Module:
    """The normalisation of a map by its name."""
    if name == "none":
        return nn.Identity()
    return MapNorm(width) if name == "batch" else nn.GroupNorm(1, width)


def _depthwise(width: int, size: int, *, step: int) -> nn.Conv2d:
    made = Depthwise(width, size=size, stride=step)
    nn.init.kaiming_normal_(made.weight, mode="fan_in", nonlinearity="relu")
    return made


def _convolution(inputs: int, outputs: int, size: int, *, step: int = 1, bias: bool) -> nn.Conv2d:
    made = nn.Conv2d(inputs, outputs, size, step, size // 2, bias=bias)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    return made


class _Residual(nn.Module):
    """activation(past(x) + f(x)) with f starting at zero."""

    def __init__(self, layer: MapBlock, width: int) -> None:
        super().__init__()
        bias = layer.norm == "none"
        last, last_norm = _convolution(layer.width, layer.width, layer.size, bias=bias), norm(layer.norm, layer.width)
        nn.init.zeros_(last.weight if bias else last_norm.weight)  # type: ignore[arg-type]
        self.inside = nn.Sequential(
            _convolution(width, layer.width, layer.size, step=layer.step, bias=bias),
            norm(layer.norm, layer.width),
            in_place(layer.activation),
            last,
            last_norm,
        )
        changes = layer.step == 2 or width != layer.width
        past = _convolution(width, layer.width, 1, step=layer.step, bias=bias)
        self.past = nn.Sequential(past, norm(layer.norm, layer.width)) if changes else nn.Identity()
        self.act = in_place(layer.activation)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        result: Tensor = self.act(self.past(x_BCHW) + self.inside(x_BCHW))
        return result
