"""Convolutions of several sizes over tokens: detectors of words and short phrases."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from ...problem.form import Form, Tokens
from ._pieces import embedded, in_place, masked
from .base import Activation, Layer


class ConvolutionTokens(Layer):
    """tokens -> tokens: `width` filters of each of `sizes` side by side (Kim 2014, arXiv:1408.5882).

    `keep`: the tokens that came in stand beside the filters', so that a pool sees single words and phrases.
    """

    kind: Literal["convolution_tokens"] = "convolution_tokens"
    width: int = Field(ge=1, le=8192)
    sizes: tuple[int, ...] = Field(default=(2, 3, 4), min_length=1)
    activation: Activation = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    keep: bool = False

    @field_validator("sizes")
    @classmethod
    def _positive(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 1 <= size <= 63 for size in sizes):
            raise ValueError(f"sizes of filters lie between 1 and 63 tokens, not {sizes}")
        return sizes

    def form(self, *inputs: Form) -> Form:
        given = embedded(self, inputs)
        width = self.width * len(self.sizes) + (given.width if self.keep else 0)
        return Form(kind="tokens", width=width, size=given.size)

    def build(self, *inputs: Form) -> nn.Module:
        return _ConvolutionTokens(self, width=embedded(self, inputs).width)

    def work(self, *inputs: Form) -> float:
        given = embedded(self, inputs)
        return float(given.size[0] * given.width * self.width * sum(self.sizes))


class _ConvolutionTokens(nn.Module):
    def __init__(self, layer: ConvolutionTokens, *, width: int) -> None:
        super().__init__()
        self.keep = layer.keep
        # As pictures one pixel high in channels_last: half the time of Conv1d forward and back.
        filters = (nn.Conv2d(width, layer.width, (1, n), padding=(0, n // 2)) for n in layer.sizes)
        self.filters = nn.ModuleList(filters).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.act = in_place(layer.activation)
        self.dropout = nn.Dropout(layer.dropout)

    def forward(self, tokens: Tokens) -> Tokens:
        x_BTD = masked(tokens.values, tokens.mask)
        x_BD1T, length = x_BTD[:, None].permute(0, 3, 1, 2), x_BTD.shape[1]
        # A filter of even size gives one place too many; the last is dropped.
        found_BD1T = torch.cat([filters(x_BD1T)[..., :length] for filters in self.filters], 1)
        y_BTD: Tensor = self.dropout(self.act(found_BD1T.permute(0, 2, 3, 1)[:, 0]))
        if self.keep:
            y_BTD = torch.cat([x_BTD, y_BTD], -1)
        return Tokens(masked(y_BTD, tokens.mask), tokens.mask)
