"""Token ids -> one vector per token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field, model_serializer
from torch import Tensor, nn

from ...problem.form import Form, Tokens
from ._pieces import masked
from .base import Layer


class Embedding(Layer):
    """tokens of ids -> tokens of `width`, at most the first `length` of them (0 = all).

    Id 0 is padding and embeds to zeros. `positions`: `learned` adds a vector per place; a transformer with rotary
    positions and recurrent or convolution layers need none.
    """

    kind: Literal["embedding"] = "embedding"
    width: int = Field(ge=1, le=8192)
    length: int = Field(default=0, ge=0)
    positions: Literal["none", "learned"] = "none"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    scaled: bool = False
    """Vectors come sqrt(width) times as long, so that their values are about 1: for recurrent layers, which norm
    nothing. Where they do not, what is read arrives at a decoder too faint to be looked at."""

    @model_serializer(mode="wrap")
    def _as_before(self, dump: Callable[[Embedding], dict[str, Any]]) -> dict[str, Any]:
        """Without `scaled` where it is off: genes of earlier releases keep their identity."""
        return {name: value for name, value in dump(self).items() if name != "scaled" or value}

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "tokens")
        if given.vocabulary < 2 or len(given.size) != 1:
            raise ValueError(f"embedding takes tokens that are ids of a vocabulary, not {given}")
        return Form(kind="tokens", width=self.width, size=(self._kept(given),))

    def build(self, *inputs: Form) -> nn.Module:
        self.form(*inputs)
        return _Embedding(self, vocabulary=inputs[0].vocabulary, length=self._kept(inputs[0]))

    def _kept(self, given: Form) -> int:
        return min(self.length or given.size[0], given.size[0])


class _Embedding(nn.Module):
    def __init__(self, layer: Embedding, *, vocabulary: int, length: int) -> None:
        super().__init__()
        self.length = length
        self.table = nn.Embedding(vocabulary, layer.width, padding_idx=0)
        # Vectors of length 1, not sqrt(D): words never seen in training then add little to a mean.
        nn.init.normal_(self.table.weight, std=layer.width**-0.5)
        self.scale = layer.width**0.5 if layer.scaled else 1.0
        self.places = nn.Parameter(torch.zeros(length, layer.width)) if layer.positions == "learned" else None
        self.dropout = nn.Dropout(layer.dropout)
        with torch.no_grad():
            self.table.weight[0].zero_()

    def forward(self, tokens: Tokens) -> Tokens:
        ids_BT, mask_BT = tokens.values[:, : self.length].long(), tokens.mask[:, : self.length].bool()
        if not torch.compiler.is_compiling():
            # Columns that are padding in every example of the batch change nothing and cost as much as words.
            used = max(1, int(mask_BT.any(0).nonzero().max()) + 1 if bool(mask_BT.any()) else 1)
            ids_BT, mask_BT = ids_BT[:, :used], mask_BT[:, :used]
        x_BTD: Tensor = self.table(ids_BT)
        if self.scale != 1:
            x_BTD = x_BTD * self.scale
        if self.places is not None:
            x_BTD = x_BTD + self.places[: x_BTD.shape[1]]
        return Tokens(masked(self.dropout(x_BTD), mask_BT), mask_BT)
