"""The head of a path that answers for every pixel: a linear map at each place, brought to the size of the picture."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, pixels
from .base import Layer
from .upsampled import brought_to


class PerPixel(Layer):
    """A map of features and the picture that they come from -> map of `width` channels of the picture's size.

    The linear map comes first and the bilinear enlargement after it: the two may be exchanged, and so it is cheaper.
    Of the picture only its size is read.
    """

    kind: Literal["per_pixel"] = "per_pixel"
    num_inputs: ClassVar[int | None] = 2
    width: int = Field(ge=1, le=65_536)

    def form(self, *inputs: Form) -> Form:
        _, picture = self.take(inputs, "map")
        return pixels(self.width, *picture.size)

    def build(self, *inputs: Form) -> nn.Module:
        features, _ = self.take(inputs, "map")
        return _PerPixel(features.width, self.width)

    def work(self, *inputs: Form) -> float:
        features, picture = self.take(inputs, "map")
        places = features.size[0] * features.size[1]
        return float(places * features.width * self.width + 4 * self.width * picture.size[0] * picture.size[1])


class _PerPixel(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        # Weights from zero would all learn first that the commonest class is common: with features of 0 or more, every
        # one then speaks for it, and what is rare is where nothing is seen. Text on photographs stayed unseen by that.
        self.linear = nn.Conv2d(inputs, outputs, 1)
        assert self.linear.bias is not None
        nn.init.zeros_(self.linear.bias)

    def forward(self, features_BCHW: Tensor, picture_BCHW: Tensor) -> Tensor:
        return brought_to(self.linear(features_BCHW), picture_BCHW)
