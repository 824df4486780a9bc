"""Recurrent layers over tokens: GRU or LSTM, one or both ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, Tokens
from ._pieces import embedded, masked
from .base import Layer


class Recurrent(Layer):
    """tokens -> tokens of `width`, twice that when `both_ways`.

    `depth` cells stand on top of each other, with residual connections where widths agree.
    """

    kind: Literal["recurrent"] = "recurrent"
    width: int = Field(ge=1, le=8192)
    cell: Literal["gru", "lstm"] = "gru"
    both_ways: bool = True
    depth: int = Field(default=1, ge=1, le=16)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    def form(self, *inputs: Form) -> Form:
        given = embedded(self, inputs)
        return Form(kind="tokens", width=self.width * (2 if self.both_ways else 1), size=given.size)

    def build(self, *inputs: Form) -> nn.Module:
        cell, out = nn.GRU if self.cell == "gru" else nn.LSTM, self.form(*inputs).width
        widths = [embedded(self, inputs).width, *[out] * (self.depth - 1)]

        def one(width: int) -> nn.Module:
            return cell(width, self.width, batch_first=True)

        return Stacked(one, widths, both_ways=self.both_ways, dropout=self.dropout)

    def work(self, *inputs: Form) -> float:
        given, out = embedded(self, inputs), self.form(*inputs)
        gates, ways = (3 if self.cell == "gru" else 4), (2 if self.both_ways else 1)
        widths = [given.width, *[out.width] * (self.depth - 1)]
        return float(sum(given.size[0] * ways * gates * self.width * (width + self.width) for width in widths))


class Stacked(nn.Module):
    """Recurrent modules on top of each other, one for each width that is read, each one or both ways.

    `one(width)` builds a module of [B, T, width] whose answer begins with [B, T, D].
    """

    def __init__(
        self, one: Callable[[int], nn.Module], widths: Sequence[int], *, both_ways: bool, dropout: float
    ) -> None:
        super().__init__()
        self.ahead = nn.ModuleList(one(width) for width in widths)
        self.back = nn.ModuleList(one(width) for width in widths if both_ways)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tokens) -> Tokens:
        x_BTD, mask_BT = masked(tokens.values, tokens.mask), tokens.mask
        order_BT1 = _reversed_places(mask_BT)[..., None]
        for i, ahead in enumerate(self.ahead):
            y_BTD: Tensor = ahead(x_BTD)[0]
            if len(self.back):
                # Each text is turned round within its own length: padding stays behind it, so neither way reads any.
                turned_BTD = x_BTD.gather(1, order_BT1.expand_as(x_BTD))
                back_BTD = self.back[i](turned_BTD)[0]
                y_BTD = torch.cat([y_BTD, back_BTD.gather(1, order_BT1.expand_as(back_BTD))], -1)
            y_BTD = self.dropout(y_BTD)
            x_BTD = x_BTD + y_BTD if x_BTD.shape == y_BTD.shape else y_BTD
        return Tokens(masked(x_BTD, mask_BT), mask_BT)


def _reversed_places(mask_BT: Tensor) -> Tensor:
    """For each place, the one it changes with when the tokens are turned round; padding keeps its place."""
    place_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    last_B1 = (mask_BT * (place_T + 1)).amax(1, keepdim=True)
    return torch.where(place_T < last_B1, last_B1 - 1 - place_T, place_T)
