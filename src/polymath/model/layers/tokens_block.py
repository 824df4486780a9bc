"""One operation on tokens beside a residual path: a node of free text architectures."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, Tokens
from ._pieces import embedded, in_place, masked
from .base import Activation, Dropout, Layer


class TokensBlock(Layer):
    """tokens -> tokens of `width`: `x + dropout(operation(norm(x)))`, behind a linear map where the width changes.

    `convolution`: `size` tokens at a time; `separable`: each of the `width` numbers by itself, then a linear map;
    `feed_forward`: a linear map to twice the width, activation, and back.
    """

    kind: Literal["tokens_block"] = "tokens_block"
    width: int = Field(ge=1, le=8192)
    operation: Literal["convolution", "separable", "feed_forward"] = "convolution"
    size: Literal[1, 3, 5, 7, 9] = 3
    norm: Literal["layer", "none"] = "layer"
    activation: Activation = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)

    def form(self, *inputs: Form) -> Form:
        return Form(kind="tokens", width=self.width, size=embedded(self, inputs).size)

    def build(self, *inputs: Form) -> nn.Module:
        return _TokensBlock(self, embedded(self, inputs).width)

    def work(self, *inputs: Form) -> float:
        given, width = embedded(self, inputs), self.width
        entry = given.width * width if given.width != width else 0
        each = {"convolution": self.size * width**2, "separable": self.size * width + width**2}
        return float(given.size[0] * (entry + each.get(self.operation, 4 * width**2)))


class _TokensBlock(nn.Module):
    def __init__(self, layer: TokensBlock, width: int) -> None:
        super().__init__()
        wide, act = layer.width, in_place(layer.activation)
        self.entry = nn.Linear(width, wide) if width != wide else nn.Identity()
        self.norm = nn.LayerNorm(wide) if layer.norm == "layer" else nn.Identity()
        self.filters: nn.Module = nn.Identity()
        if layer.operation != "feed_forward":
            # As pictures one pixel high in channels_last, as in `convolution_tokens`.
            groups = wide if layer.operation == "separable" else 1
            filters = nn.Conv2d(wide, wide, (1, layer.size), padding=(0, layer.size // 2), groups=groups)
            self.filters = filters.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.has_filters = layer.operation != "feed_forward"
        after: dict[str, list[nn.Module]] = {
            "convolution": [act],
            "separable": [nn.Linear(wide, wide), act],
            "feed_forward": [nn.Linear(wide, 2 * wide), act, nn.Linear(2 * wide, wide)],
        }
        self.after = nn.Sequential(*after[layer.operation], Dropout(layer.dropout))

    def forward(self, tokens: Tokens) -> Tokens:
        x_BTD: Tensor = self.entry(tokens.values)
        y_BTD = masked(self.norm(x_BTD), tokens.mask)  # a norm's bias would reach over the end of a text
        if self.has_filters:
            y_BTD = self.filters(y_BTD[:, None].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)[:, 0]
        return Tokens(masked(x_BTD + self.after(y_BTD), tokens.mask), tokens.mask)
